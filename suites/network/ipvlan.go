package network

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var ipvlanNeed = claim.Device("ipvlan", "CONFIG_IPVLAN", probe.Link{Kind: "ipvlan", Name: "need0", Parent: "lower0", Mode: "l2"})

// children is a host with two children of its interface under0 in containers a
// and b, made by the given kind and mode, and another host on the wire.
type children struct{ host, far, a, b *Host }

func newChildren(ctx SpecContext, kind, mode string) children {
	t := NewTopology(ctx)
	m := children{host: t.Host("host"), far: t.Host("far")}
	t.Wire(m.host, "under0", m.far, "eth0")
	m.host.Address("under0", "192.0.2.1/24")
	m.far.Address("eth0", "192.0.2.2/24")
	m.a, m.b = t.Container(m.host, "a"), t.Container(m.host, "b")
	for i, c := range []*Host{m.a, m.b} {
		probe.AddLink.In(m.host.Agent, probe.Link{Kind: kind, Name: "eth0", Parent: "under0", Mode: mode, NetworkOf: c.PID()})
		probe.Raise.In(c.Agent, "eth0")
		c.Address("eth0", fmt.Sprintf("192.0.2.%d/24", 11+i))
	}
	return m
}

var _ = claim.It(claim.Claim{
	ID:       "network/ipvlan-children-share-the-parent-mac",
	Text:     "ipvlan children have the parent's MAC address and are told apart by IP address.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "IPVLAN"), claim.Doc("kernel ipvlan", "")},
	Needs:    claim.Needs{claim.Wired, ipvlanNeed, macvlanNeed},
	Contrast: "macvlan children have different MACs",
	Try:      "ip link add v0 type veth peer name v1; ip link add ip0 link v0 type ipvlan mode l2; ip link add mv0 link v1 type macvlan mode bridge; for p in v0/ip0 v1/mv0; do test $(cat /sys/class/net/${p%/*}/address) = $(cat /sys/class/net/${p#*/}/address) && echo same || echo other; done",
	Shows:    "same\nother",
}, func(ctx SpecContext) {
	o := newChildren(ctx, "ipvlan", "l2")
	sibling, outA, outB := o.a.reaches("192.0.2.12"), o.a.reaches("192.0.2.2"), o.b.reaches("192.0.2.2")
	in := []bool{o.far.reaches("192.0.2.11"), o.far.reaches("192.0.2.12")}
	unknown := o.far.silent("192.0.2.13")
	macs := []string{o.host.Link("under0").MAC, o.a.Link("eth0").MAC, o.b.Link("eth0").MAC}
	other := newChildren(ctx, "macvlan", "bridge")
	contrast := []string{other.host.Link("under0").MAC, other.a.Link("eth0").MAC, other.b.Link("eth0").MAC}
	claim.Evidence("MACs of parent, a and b: %v, with macvlan %v; sibling %v, a out %v, b out %v, in %v; an address that no child has: silence %v", macs, contrast, sibling, outA, outB, in, unknown)
	Expect(macs).To(HaveEach(macs[0]), "MACs of an ipvlan's parent and of its two children")
	Expect(sibling).To(BeTrue(), "ipvlan child a -> child b: reply")
	Expect(outA && outB).To(BeTrue(), "ipvlan child -> parent interface -> far: replies to both children, told apart by address")
	Expect(in).To(HaveEach(true), "far -> parent interface -> ipvlan child a and b: replies")
	Expect(unknown).To(BeTrue(), "far -> parent interface, an address that no child has: no reply")
	Expect(contrast[0] != contrast[1] && contrast[1] != contrast[2] && contrast[0] != contrast[2]).To(BeTrue(), "contrast: three different MACs with macvlan")
})

var _ = claim.It(claim.Claim{
	ID:       "network/ipvlan-l3-mode-passes-no-broadcast",
	Text:     "In l3 mode ipvlan children get no broadcast or ARP and are reached by routing only.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "IPVLAN"), claim.Doc("kernel ipvlan", "")},
	Needs:    claim.Needs{claim.Wired, ipvlanNeed},
	Contrast: "l2 mode passes broadcasts",
}, func(ctx SpecContext) {
	l2 := newChildren(ctx, "ipvlan", "l2")
	probe.Capture.In(l2.a.Agent, "eth0")
	l2.far.transmit(broadcast(l2.far, "l2"))
	// ipvlan hands broadcasts to its children in work that it queues.
	var with int
	Eventually(func() int { with += copies(l2.a, "l2"); return with }).WithTimeout(linkTime).WithPolling(pollTime).
		Should(Equal(1), "contrast: copies of far's broadcast frame at an ipvlan child in l2 mode")
	resolved := l2.far.reaches("192.0.2.11")

	l3 := newChildren(ctx, "ipvlan", "l3")
	probe.Capture.In(l3.a.Agent, "eth0")
	l3.far.transmit(broadcast(l3.far, "l3"))
	unresolved := l3.far.silent("192.0.2.11")
	// Routed: the host is the next hop.
	probe.AddNeighbour.In(l3.far.Agent, probe.Neighbour{Link: "eth0", IP: "192.0.2.11", MAC: l3.host.Link("under0").MAC})
	routed := l3.far.reaches("192.0.2.11")
	without := copies(l3.a, "l3")
	claim.Evidence("copies of a broadcast frame at a child: %d in l2 mode, %d in l3 mode; resolved by ARP in l2 mode: %v; in l3 mode silence %v; with the neighbour given: reply %v", with, without, resolved, unresolved, routed)
	Expect(without).To(BeZero(), "copies of far's broadcast frame at an ipvlan child in l3 mode")
	Expect(resolved).To(BeTrue(), "contrast: far -> parent interface -> ipvlan child in l2 mode, resolved by ARP: reply")
	Expect(unresolved).To(BeTrue(), "no reply: far -> parent interface -> ipvlan child in l3 mode, which answers no ARP")
	Expect(routed).To(BeTrue(), "far -> parent interface, routed -> ipvlan child in l3 mode: reply")
})
