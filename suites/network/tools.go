package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	. "github.com/onsi/ginkgo/v2"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
)

// pollTime is between two looks at what the kernel changes by itself.
const pollTime = 2 * time.Millisecond

// linkTime bounds the wait for the kernel's link watch work.
var linkTime = harness.Scaled(5 * time.Second)

// tryNetwork starts a sandbox in a network namespace of its own.
func tryNetwork(ctx context.Context) (*harness.Sandbox, error) {
	return harness.TryStart(ctx, harness.New(namespace.Network), harness.Held())
}

var (
	vxlanNeed   = claim.Device("vxlan", "CONFIG_VXLAN", probe.Link{Kind: "vxlan", Name: "need0", ID: 1, Remote: "192.0.2.2", Port: 4789})
	macvlanNeed = claim.Device("macvlan", "CONFIG_MACVLAN", probe.Link{Kind: "macvlan", Name: "need0", Parent: "lower0", Mode: "bridge"})
	ipv6Need    = claim.Feature("IPv6", "", []string{"CONFIG_IPV6"}, func(ctx context.Context) error {
		sb, err := tryNetwork(ctx)
		if err != nil {
			return err
		}
		if lack := kernel.IPv6Obstacle(); lack != nil {
			return lack
		}
		if _, err := sb.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0); err != nil {
			return err
		}
		return sb.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0")
	})
)

func mac(s string) []byte { return harness.Got(net.ParseMAC(s)) }

// eui64 is the link-local address that belongs to a MAC.
func eui64(s string) string {
	m := mac(s)
	ip := net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
	return ip.String()
}

// sysPath mounts a sysfs of the host's own network namespace, once, and
// returns its class/net.
func sysPath(_ context.Context, h *Host) string {
	dir := h.Scratch() + "/sys-" + strings.ReplaceAll(h.Name, " ", "-")
	if err := h.Mkdir(dir); err != nil && !errors.Is(err, unix.EEXIST) {
		harness.Must(err)
	}
	if _, err := h.Stat(dir + "/class/net/lo"); err != nil {
		harness.Must(h.Mount("sysfs", dir, "sysfs", 0, ""))
	}
	return dir + "/class/net/"
}

// sysClassNet reads attributes below class/net.
func sysClassNet(ctx context.Context, h *Host) func(string) string {
	dir := sysPath(ctx, h)
	return func(path string) string { return strings.TrimSpace(harness.Got(h.ReadFile(dir + path))) }
}

// overlay is the article's second part: two hosts, each with a container, a
// bridge and a VTEP, joined by an underlay.
type overlay struct {
	h1, h2, c1, c2 *Host
}

// overlayOptions differ from the article's VNI 100 and port 4789.
type overlayOptions struct {
	vni1, vni2   int
	port1, port2 int
}

func orElse(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

func newOverlay(ctx SpecContext, opt overlayOptions) overlay {
	t := NewTopology(ctx)
	o := overlay{h1: t.Host("host1"), h2: t.Host("host2")}
	t.Wire(o.h1, "under0", o.h2, "under0")
	o.c1, o.c2 = t.Container(o.h1, "container1"), t.Container(o.h2, "container2")
	for _, s := range []struct {
		h, c                          *Host
		local, remote, bridge, inside string
		vni, port                     int
	}{
		{o.h1, o.c1, "192.0.2.1", "192.0.2.2", "10.0.0.1/24", "10.0.0.11/24", orElse(opt.vni1, 100), orElse(opt.port1, 4789)},
		{o.h2, o.c2, "192.0.2.2", "192.0.2.1", "10.0.0.2/24", "10.0.0.12/24", orElse(opt.vni2, 100), orElse(opt.port2, 4789)},
	} {
		s.h.Address("under0", s.local+"/24")
		t.Wire(s.h, "veth0", s.c, "eth0")
		s.c.Address("eth0", s.inside)
		probe.AddLink.In(s.h.Agent, probe.Link{Kind: "vxlan", Name: "vxlan0", ID: s.vni, Local: s.local, Remote: s.remote, Port: s.port, Parent: "under0"})
		t.Bridge(s.h, "br0", "veth0", "vxlan0")
		probe.Raise.In(s.h.Agent, "vxlan0")
		s.h.Address("br0", s.bridge)
	}
	return o
}

// captured pings across and returns what passed on the underlay meanwhile.
func (o overlay) captured(context.Context) []packet {
	probe.Capture.In(o.h2.Agent, "under0")
	if !o.c1.reaches("10.0.0.12") {
		Fail("container1 -> br0 -> vxlan0 -> underlay -> vxlan0 -> br0 -> container2: no reply")
	}
	var packets []packet
	for _, f := range probe.Frames.In(o.h2.Agent, "under0") {
		packets = append(packets, decode(f))
	}
	return packets
}

// echoRequest is an ICMP echo request as it crossed the underlay: the outer
// packet and the one inside it.
func (o overlay) echoRequest(ctx context.Context) (outer, inner packet) {
	for _, p := range o.captured(ctx) {
		if p.inner != nil && p.inner.icmp && p.inner.src == "10.0.0.11" {
			return p, *p.inner
		}
	}
	Fail("no encapsulated ICMP packet of container1 on the underlay")
	return outer, inner
}

// packet is what a captured frame says.
type packet struct {
	srcMAC, dstMAC, src, dst string
	// icmp is any ICMP, echo an echo request.
	icmp, echo bool
	udpPort    int
	vni        uint32
	// valid is the I flag of the VXLAN header.
	valid bool
	inner *packet
}

func decode(frame []byte) packet {
	return read(gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).Layers())
}

func read(list []gopacket.Layer) packet {
	var p packet
	for i, l := range list {
		switch l := l.(type) {
		case *layers.Ethernet:
			p.srcMAC, p.dstMAC = l.SrcMAC.String(), l.DstMAC.String()
		case *layers.IPv4:
			p.src, p.dst = l.SrcIP.String(), l.DstIP.String()
		case *layers.ICMPv4:
			p.icmp, p.echo = true, l.TypeCode.Type() == layers.ICMPv4TypeEchoRequest
		case *layers.UDP:
			p.udpPort = int(l.DstPort)
		case *layers.VXLAN:
			p.vni, p.valid = l.VNI, l.ValidIDFlag
			inner := read(list[i+1:])
			p.inner = &inner
			return p
		}
	}
	return p
}

func countUDP(packets []packet) (n int) {
	for _, p := range packets {
		if p.udpPort == 4789 {
			n++
		}
	}
	return n
}

func countBareICMP(packets []packet) (n int) {
	for _, p := range packets {
		if p.icmp {
			n++
		}
	}
	return n
}

// newRouted is two hosts with a container network each, and no routes yet.
func newRouted(ctx SpecContext) overlay {
	t := NewTopology(ctx)
	o := overlay{h1: t.Host("host1"), h2: t.Host("host2")}
	t.Wire(o.h1, "under0", o.h2, "under0")
	o.c1, o.c2 = t.Container(o.h1, "container1"), t.Container(o.h2, "container2")
	for _, s := range []struct {
		h, c                     *Host
		underlay, bridge, inside string
	}{{o.h1, o.c1, "192.0.2.1/24", "10.0.1.1/24", "10.0.1.11/24"}, {o.h2, o.c2, "192.0.2.2/24", "10.0.2.1/24", "10.0.2.12/24"}} {
		s.h.Address("under0", s.underlay)
		t.Wire(s.h, "veth0", s.c, "eth0")
		s.c.Address("eth0", s.inside)
		t.Bridge(s.h, "br0", "veth0")
		s.h.Address("br0", s.bridge)
		gateway, _, _ := strings.Cut(s.bridge, "/")
		s.c.Route("", gateway)
		harness.Must(s.h.WriteFile("/proc/sys/net/ipv4/ip_forward", "1"))
	}
	return o
}

// toAll is the broadcast address.
const toAll = "ff:ff:ff:ff:ff:ff"

// frame is a frame of an ethertype that nothing speaks, that carries a mark.
func frame(src, dst, mark string) []byte {
	f := append(append([]byte{}, mac(dst)...), mac(src)...)
	return append(append(append(f, 0x88, 0xb5), mark...), make([]byte, 60)...)
}

// broadcast is a frame from a machine's eth0 to all, that carries a mark.
func broadcast(from *Host, mark string) []byte { return frame(from.Link("eth0").MAC, toAll, mark) }

// transmit sends a frame on a machine's eth0.
func (h *Host) transmit(f []byte) { h.transmitOn("eth0", f) }

// transmitOn sends a frame on a link; one that is never taken fails the spec.
func (h *Host) transmitOn(link string, f []byte) {
	send := func() error {
		_, err := probe.SendFrame.Try(h.Agent, probe.Frame{Link: link, Data: f})
		return err
	}
	err := send()
	// A busy machine's queues may be full for a moment; each try waits until what
	// was in them is through.
	for end := time.Now().Add(linkTime); errors.Is(err, unix.ENOBUFS) && time.Now().Before(end); {
		err = send()
	}
	if errors.Is(err, unix.ENOBUFS) {
		Fail(fmt.Sprintf("%s of %s takes no frame for %s: %v", link, h.Name, net.HardwareAddr(f[:6]), err))
	}
	if err != nil {
		harness.Broken("%v", err)
	}
}

// copies counts the captured frames with a mark on a machine's eth0.
func copies(at *Host, mark string) int { return copiesOn(at, "eth0", mark) }

func copiesOn(at *Host, link, mark string) int {
	return marked(probe.Frames.In(at.Agent, link), mark)
}

func marked(frames [][]byte, mark string) (n int) {
	for _, f := range frames {
		if bytes.Contains(f, []byte("\x88\xb5"+mark)) {
			n++
		}
	}
	return n
}
