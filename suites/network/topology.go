// Package network holds the claims on veth, bridges, routing, NAT and overlays
// and their specs: topologies are built, packets are sent. It knows nothing of
// how a run is carried out or reported.
package network

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// Host is a machine of a topology: a network namespace with an agent in it.
type Host struct {
	Name string
	*harness.Sandbox
	Agent *harness.Agent
}

// Topology is hosts and containers, and who is connected to whom. It is drawn,
// with the counters of every interface, when a spec fails.
type Topology struct {
	ctx   SpecContext
	hosts []*Host
	wires []wire
	drawn bool
}

type wire struct{ a, b string }

// NewTopology begins an empty topology, which ends with the spec.
func NewTopology(ctx SpecContext) *Topology { return &Topology{ctx: ctx} }

// drawFailure keeps the drawing of a failed spec's topology. Clean-up runs
// last in, first out: it is registered behind each machine, so that all of
// them are still there when it first runs.
func (t *Topology) drawFailure() {
	if CurrentSpecReport().Failed() && !t.drawn {
		t.drawn = true
		claim.Evidence("the topology when it failed:\n%s", t.Draw())
	}
}

// Host adds a machine: a network namespace of its own, lo raised.
func (t *Topology) Host(name string) *Host { return t.add(name, harness.Host(t.ctx)) }

// Container adds a container of a host: a network namespace made by a child
// of the host's first process.
func (t *Topology) Container(host *Host, name string) *Host { return t.add(name, host.Sandbox) }

func (t *Topology) add(name string, parent *harness.Sandbox) *Host {
	sb := harness.Start(t.ctx, harness.Under(parent), harness.New(namespace.Network, namespace.Mount), harness.Held(), harness.Named(name))
	Expect(harness.Got(sb.Namespace(namespace.Network)).String()).NotTo(Equal(harness.Got(parent.Namespace(namespace.Network)).String()),
		"the network namespace of %s, which was cloned with CLONE_NEWNET, is its parent's", name)
	h := &Host{Name: name, Sandbox: sb, Agent: sb.Agent(t.ctx)}
	settle(sb)
	probe.Raise.In(h.Agent, "lo")
	t.hosts = append(t.hosts, h)
	DeferCleanup(t.drawFailure)
	return h
}

// Wire connects two machines by a veth pair, of which a holds the end nameA
// and b, a container of a or another machine, the end nameB. Both are raised.
func (t *Topology) Wire(a *Host, nameA string, b *Host, nameB string) {
	// Made in place: a move waits for every reader of the old namespace. Both
	// ends having one index in their namespaces, the kernel would take its time
	// with what their carrier changes.
	probe.AddLink.In(a.Agent, probe.Link{Kind: "veth", Name: nameA, Index: 100 + len(t.wires), Peer: nameB, PeerPID: b.PID()})
	probe.Raise.In(a.Agent, nameA)
	probe.Raise.In(b.Agent, nameB)
	w := wire{a.Name + ":" + nameA, b.Name + ":" + nameB}
	t.wires = append(t.wires, w)
	claim.Wire(w.a, w.b)
}

// Bridge makes a bridge on a machine, raised, with the ports attached.
func (t *Topology) Bridge(h *Host, name string, ports ...string) {
	t.bridge(h, probe.Link{Kind: "bridge", Name: name}, ports...)
}

func (t *Topology) bridge(h *Host, bridge probe.Link, ports ...string) {
	probe.AddLink.In(h.Agent, bridge)
	for _, p := range ports {
		probe.SetMaster.In(h.Agent, probe.Attach{Name: p, Master: bridge.Name})
	}
	probe.Raise.In(h.Agent, bridge.Name)
}

// Address adds an address to an interface.
func (h *Host) Address(link, cidr string) {
	probe.AddAddress.In(h.Agent, probe.Address{Link: link, CIDR: cidr})
}

// Route adds a route; dst empty is the default.
func (h *Host) Route(dst, via string) {
	probe.AddRoute.In(h.Agent, probe.Route{Dst: dst, Via: via})
}

// Link returns an interface; one that is not there ends the spec as broken.
func (h *Host) Link(name string) probe.Link {
	l, ok := probe.Find(probe.Links.In(h.Agent, probe.None{}), name)
	if !ok {
		harness.Broken("%s has no interface %s", h.Name, name)
	}
	return l
}

// replyTime is how long a reply that must come may take, in milliseconds, on a
// busy machine; a reply that is there is seen at once. A spec waits for several
// and is to fail, not to run out of time, where none comes.
var replyTime = int(min(harness.Scaled(5*time.Second), 25*time.Second).Milliseconds())

// reaches pings until a reply comes; it says whether one did.
func (h *Host) reaches(address string) bool {
	return probe.Ping.In(h.Agent, probe.Echo{Dst: address, Within: replyTime}).From != ""
}

// silent pings and says whether no reply came, which is seen without waiting
// for a length of time: see probe.Outrun.
func (h *Host) silent(address string) bool {
	return probe.Outrun.In(h.Agent, probe.Echo{Dst: address}).From == ""
}

// Draw is the topology as text: the wires, then each machine's interfaces with
// what they received and sent, so that a reader sees where a packet died.
func (t *Topology) Draw() string {
	var b strings.Builder
	for _, w := range t.wires {
		fmt.Fprintf(&b, "%s ---- %s\n", w.a, w.b)
	}
	for _, h := range t.hosts {
		fmt.Fprintf(&b, "%s\n", h.Name)
		counters, err := h.ReadFile("/proc/self/net/dev")
		if err != nil {
			fmt.Fprintf(&b, "  its interfaces cannot be read: %v\n", err)
			continue
		}
		for _, line := range strings.Split(counters, "\n") {
			name, rest, ok := strings.Cut(line, ":")
			f := strings.Fields(rest)
			if ok && len(f) > 11 {
				fmt.Fprintf(&b, "  %-10s received %s (%s dropped), sent %s (%s dropped)\n", strings.TrimSpace(name), f[1], f[3], f[9], f[11])
			}
		}
	}
	return b.String()
}

// pair builds the article's first picture: a host and a container, joined by
// a veth pair with 10.0.0.1 and 10.0.0.2.
func pair(ctx SpecContext) (t *Topology, host, container *Host) {
	t = NewTopology(ctx)
	host = t.Host("host")
	container = t.Container(host, "container")
	t.Wire(host, "veth0", container, "eth0")
	host.Address("veth0", "10.0.0.1/24")
	container.Address("eth0", "10.0.0.2/24")
	return t, host, container
}

// bridged builds the article's second picture: containers whose host ends
// vethN are ports of br0, with the addresses 10.0.0.11 and on.
func bridged(ctx SpecContext, n int) (t *Topology, host *Host, containers []*Host) {
	return bridgedBy(ctx, n, probe.Link{Kind: "bridge", Name: "br0"})
}

func bridgedBy(ctx SpecContext, n int, bridge probe.Link) (t *Topology, host *Host, containers []*Host) {
	t = NewTopology(ctx)
	host = t.Host("host")
	var ports []string
	for i := range n {
		c := t.Container(host, fmt.Sprintf("container%d", i+1))
		port := fmt.Sprintf("veth%d", i+1)
		t.Wire(host, port, c, "eth0")
		c.Address("eth0", fmt.Sprintf("10.0.0.%d/24", 11+i))
		containers, ports = append(containers, c), append(ports, port)
	}
	t.bridge(host, bridge, ports...)
	return t, host, containers
}
