package network

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "network/veth-created-in-pairs",
	Text:     "Creating a veth makes two connected interfaces at once.",
	Source:   claim.Sources{claim.Article("Virtual Ethernet"), claim.Man("veth(4)", "")},
	Needs:    claim.Needs{claim.Veth},
	Contrast: "another type adds one",
	Try:      "ip link add veth0 type veth peer name veth1; ip -br link show type veth; ip link del veth0",
	Shows:    "veth1@veth0 …\nveth0@veth1 …",
}, func(ctx SpecContext) {
	host := NewTopology(ctx).Host("host")
	count := func() int { return len(probe.Links.In(host.Agent, probe.None{})) }
	before := count()
	_, err := probe.AddLink.Try(host.Agent, probe.Link{Kind: "veth", Name: "veth0", Peer: "veth1"})
	Expect(err).NotTo(HaveOccurred(), "making a veth")
	after := count()
	probe.AddLink.In(host.Agent, probe.Link{Kind: "bridge", Name: "br0"})
	a, b := host.Link("veth0"), host.Link("veth1")
	claim.Evidence("interfaces before: %d; with a veth: %d; with a bridge: %d; veth0 has index %d and peer %d", before, after, count(), a.Index, a.ParentIndex)
	Expect(after-before).To(Equal(2), "interfaces that one veth adds")
	Expect([]int{a.ParentIndex, b.ParentIndex}).To(Equal([]int{b.Index, a.Index}), "each end names the other as its peer")
	Expect(count()-after).To(Equal(1), "contrast: interfaces that a bridge adds")
})

var _ = claim.It(claim.Claim{
	ID:       "network/veth-carries-packets-both-ways",
	Text:     "What is sent into one end comes out of the other, in both directions.",
	Source:   claim.Sources{claim.Article("Virtual Ethernet"), claim.Man("veth(4)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "no reply when the peer is down",
	Core:     true,
	Try:      "unshare --net sleep 99 & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1; ip link set v1 netns $p; ip addr add 10.0.0.1/24 dev v0; ip link set v0 up; nsenter --net --target $p sh -c 'ip addr add 10.0.0.2/24 dev v1; ip link set v1 up; ping -qc 1 10.0.0.1' | grep -o '1 received'; ping -qc 1 10.0.0.2 | grep -o '1 received'",
	Shows:    "1 received\n1 received",
}, func(ctx SpecContext) {
	_, host, container := pair(ctx)
	there := probe.Ping.In(host.Agent, probe.Echo{Dst: "10.0.0.2", Size: 1000, Within: replyTime})
	Expect(there.From).To(Equal("10.0.0.2"), "veth0 to eth0: the reply to the host's ping")
	back := probe.Ping.In(container.Agent, probe.Echo{Dst: "10.0.0.1", Size: 1000, Within: replyTime})
	claim.Evidence("host to container: reply from %q, payload intact: %v; back: %q, %v", there.From, there.Intact, back.From, back.Intact)
	Expect(back.From).To(Equal("10.0.0.1"), "eth0 to veth0: the reply to the container's ping")
	Expect(there.Intact && back.Intact).To(BeTrue(), "1000 bytes of payload come back as they went")
	large := probe.Ping.In(host.Agent, probe.Echo{Dst: "10.0.0.2", Size: 9000, Within: replyTime})
	Expect(large.From != "" && large.Intact).To(BeTrue(), "a ping of 9000 bytes, in fragments, over the veth pair")
	probe.Lower.In(container.Agent, "eth0")
	Expect(host.silent("10.0.0.2")).To(BeTrue(), "contrast: no reply when the peer is down")
})

var _ = claim.It(claim.Claim{
	ID:       "network/veth-deleting-one-end-removes-both",
	Text:     "Deleting one end of a veth removes the other, also from another namespace.",
	Source:   claim.Sources{claim.Man("veth(4)", ""), claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "found otherwise",
	Try:      "unshare --net sleep 99 & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1; ip link set v1 netns $p; nsenter --net --target $p ip link del v1; ip link show v0",
	Shows:    `Device "v0" does not exist.`,
}, func(ctx SpecContext) {
	_, host, container := pair(ctx)
	has := func(h *Host, name string) bool {
		_, ok := probe.Find(probe.Links.In(h.Agent, probe.None{}), name)
		return ok
	}
	Expect(has(host, "veth0") && has(container, "eth0")).To(BeTrue(), "contrast: both ends are there before")
	probe.DeleteLink.In(container.Agent, "eth0")
	claim.Evidence("after eth0 was deleted in the container the host's end is there: %v", has(host, "veth0"))
	Expect(has(host, "veth0")).To(BeFalse(), "the host's end after the container's was deleted")
})

var _ = claim.It(claim.Claim{
	ID:       "network/veth-down-end-means-no-carrier",
	Text:     "A veth has carrier only while both ends are up.",
	Source:   claim.Sources{claim.Article("(A)"), claim.Man("veth(4)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "LOWER_UP with both up",
	Try:      "ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip link show veth0 | grep -o NO-CARRIER; ip link set veth1 up; ip link show veth0 | grep -o LOWER_UP",
	Shows:    "NO-CARRIER\nLOWER_UP",
}, func(ctx SpecContext) {
	_, host, container := pair(ctx)
	// The carrier follows in the kernel's link watch work.
	carrier := func() bool { return host.Link("veth0").Carrier }
	Eventually(carrier).WithTimeout(linkTime).WithPolling(pollTime).Should(BeTrue(), "contrast: carrier of veth0 with both ends up")
	probe.Lower.In(container.Agent, "eth0")
	Eventually(carrier).WithTimeout(linkTime).WithPolling(pollTime).Should(BeFalse(), "carrier of veth0 with its peer down")
	probe.Lower.In(host.Agent, "veth0")
	probe.Raise.In(host.Agent, "veth0")
	Expect(carrier()).To(BeFalse(), "carrier of veth0, raised with its peer down")
	probe.Raise.In(container.Agent, "eth0")
	Eventually(carrier).WithTimeout(linkTime).WithPolling(pollTime).Should(BeTrue(), "carrier of veth0 with its peer up again")
	claim.Evidence("carrier with both ends up, none with the peer down, and again")
})

var _ = claim.It(claim.Claim{
	ID:       "network/veth-shows-peer-index-and-nsid",
	Text:     "A veth whose peer is elsewhere is listed as NAME@ifN with the peer's index and a link-netnsid.",
	Source:   claim.Sources{claim.Article("(A)")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "in one namespace the peer's name is shown",
	Try:      "unshare --net sleep 99 & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1; ip link set v1 netns $p; ip link show v0 | grep -o -E 'v0@if[0-9]+|link-netnsid [0-9]+'",
	Shows:    "v0@if<index>\nlink-netnsid <id>",
}, func(ctx SpecContext) {
	_, host, container := pair(ctx)
	near, far := host.Link("veth0"), container.Link("eth0")
	probe.AddLink.In(host.Agent, probe.Link{Kind: "veth", Name: "both0", Peer: "both1"})
	both := host.Link("both0")
	claim.Evidence("veth0@if%d link-netnsid %d, eth0 has index %d; in one namespace: netnsid %d", near.ParentIndex, near.NetNSID, far.Index, both.NetNSID)
	Expect(near.ParentIndex).To(Equal(far.Index), "the peer index of veth0 is the index of eth0 in the container")
	Expect(near.NetNSID).To(BeNumerically(">=", 0), "link-netnsid of a veth whose peer is elsewhere")
	Expect(both.NetNSID).To(BeNumerically("<", 0), "contrast: link-netnsid with both ends in one namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "network/veth-moves-by-container-pid",
	Text:     "ip link set DEV netns PID moves an end into the network namespace of that process.",
	Source:   claim.Sources{claim.Article("(A) Alpine Linux Container"), claim.Man("veth(4)", "")},
	Needs:    claim.Needs{claim.Veth},
	Contrast: "the other end stays",
	Core:     true,
	Try:      "unshare --net sleep 99 & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1; ip link set v1 netns $p; ip link show v1; nsenter --net --target $p ip -br link show v1",
	Shows:    "Device \"v1\" does not exist.\nv1@if<index> …",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	container := t.Container(host, "container")
	probe.AddLink.In(host.Agent, probe.Link{Kind: "veth", Name: "veth0", Peer: "veth1"})
	_, err := probe.MoveLink.Try(host.Agent, probe.Move{Name: "veth1", PID: container.PID()})
	Expect(err).NotTo(HaveOccurred(), "moving veth1 to the network namespace of PID %d", container.PID())
	has := func(h *Host, name string) bool {
		_, ok := probe.Find(probe.Links.In(h.Agent, probe.None{}), name)
		return ok
	}
	claim.Evidence("veth1 inside: %v, outside: %v; veth0 outside: %v", has(container, "veth1"), has(host, "veth1"), has(host, "veth0"))
	Expect(has(container, "veth1")).To(BeTrue(), "veth1 in the container")
	Expect(has(host, "veth1")).To(BeFalse(), "veth1 on the host after the move")
	Expect(has(host, "veth0")).To(BeTrue(), "contrast: the other end stays")
})

var _ = claim.It(claim.Claim{
	ID:       "network/veth-mtu-1500-and-noqueue",
	Text:     "A new veth has MTU 1500 and the noqueue discipline.",
	Source:   claim.Sources{claim.Article("(A)")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "lo has MTU 65536",
	Try:      "ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip link show veth0 | grep -o 'mtu.*qdisc [a-z]*'; ip link show lo | grep -o 'mtu.*qdisc'",
	Shows:    "mtu 1500 qdisc noqueue\nmtu 65536 qdisc",
}, func(ctx SpecContext) {
	_, host, _ := pair(ctx)
	veth, lo := host.Link("veth0"), host.Link("lo")
	claim.Evidence("veth0: mtu %d qdisc %s; lo: mtu %d", veth.MTU, veth.Qdisc, lo.MTU)
	Expect(veth.MTU).To(Equal(1500), "MTU of a new veth")
	Expect(veth.Qdisc).To(Equal("noqueue"), "queueing discipline of a new veth")
	Expect(lo.MTU).To(Equal(65536), "contrast: MTU of lo")
})

var _ = claim.It(claim.Claim{
	ID:       "network/veth-gets-ipv6-link-local-from-mac",
	Text:     "A raised veth gets an fe80::/64 address derived from its MAC.",
	Source:   claim.Sources{claim.Article("(A)")},
	Needs:    claim.Needs{claim.Wired, ipv6Need},
	Contrast: "a down link has none",
	Try:      "ip link add veth0 address 02:00:00:00:00:01 type veth peer name veth1; ip link set veth0 up; ip link set veth1 up; ip -6 -br addr show veth0",
	Shows:    "veth0@veth1 … fe80::ff:fe00:1/64",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	container := t.Container(host, "container")
	probe.AddLink.In(host.Agent, probe.Link{Kind: "veth", Name: "down0", Peer: "down1"})
	harness.Must(host.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "0"))
	t.Wire(host, "veth0", container, "eth0")
	want := eui64(host.Link("veth0").MAC) + "/64"
	// The address is added when the carrier comes, in link watch work.
	Eventually(func() []string { return host.Link("veth0").Addresses }).WithTimeout(linkTime).WithPolling(pollTime).
		Should(ContainElement(want), "the link-local address of veth0, from its MAC %s", host.Link("veth0").MAC)
	claim.Evidence("veth0 with MAC %s has %v; a down link has %v", host.Link("veth0").MAC, host.Link("veth0").Addresses, host.Link("down0").Addresses)
	Expect(host.Link("down0").Addresses).To(BeEmpty(), "contrast: a link that is down")
})

var _ = claim.It(claim.Claim{
	ID:       "network/veth-up-alone-has-no-connectivity",
	Text:     "Two containers with a veth each to the host cannot reach each other until the host ends are bridged or routed.",
	Source:   claim.Sources{claim.Article("(B) Tiny Linux Container")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "reply after adding br0",
	Try:      "ip link add br0 type bridge; ip link set br0 up; for i in 1 2; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip link set v$i up; ip -n c$i addr add 10.0.0.1$i/24 dev eth0; ip -n c$i link set eth0 up; done; ip netns exec c1 ping -qc 1 -W 1 10.0.0.12 | grep -o '[01] received'; ip link set v1 master br0; ip link set v2 master br0; until ip netns exec c1 ping -qc 1 -W 1 10.0.0.12 > /dev/null; do :; done; echo reached",
	Shows:    "0 received\nreached",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	a, b := t.Container(host, "container1"), t.Container(host, "container2")
	t.Wire(host, "veth1", a, "eth0")
	t.Wire(host, "veth2", b, "eth0")
	a.Address("eth0", "10.0.0.11/24")
	b.Address("eth0", "10.0.0.12/24")
	before := a.silent("10.0.0.12")
	t.Bridge(host, "br0", "veth1", "veth2")
	after := a.reaches("10.0.0.12")
	claim.Evidence("without a bridge: silence %v; with br0: reply %v", before, after)
	Expect(before).To(BeTrue(), "no reply between two containers whose host ends are not joined")
	Expect(after).To(BeTrue(), "contrast: reply after their host ends joined br0")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-connects-containers",
	Text:     "Containers whose host ends are ports of one bridge reach each other.",
	Source:   claim.Sources{claim.Article("Setting Up Bridge Network")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "no reply with one port detached",
	Core:     true,
	Try:      "ip link add br0 type bridge; ip link set br0 up; for i in 1 2; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip link set v$i master br0 up; ip -n c$i addr add 10.0.0.1$i/24 dev eth0; ip -n c$i link set eth0 up; done; ip netns exec c1 ping -qc 1 -W 1 10.0.0.12 | grep -o '[01] received'; ip link set v2 nomaster; ip netns exec c1 ping -qc 1 -W 1 10.0.0.12 | grep -o '[01] received'",
	Shows:    "1 received\n0 received",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 3)
	there, back := c[0].reaches("10.0.0.12"), c[1].reaches("10.0.0.11")
	third := c[2].reaches("10.0.0.11")
	probe.SetMaster.In(host.Agent, probe.Attach{Name: "veth2"})
	detached := c[0].silent("10.0.0.12")
	claim.Evidence("container1 to 2: %v, back: %v, 3 to 1: %v; with veth2 detached silence: %v", there, back, third, detached)
	Expect(there).To(BeTrue(), "container1 -> veth1 -> br0 -> veth2 -> container2: reply")
	Expect(back).To(BeTrue(), "container2 -> veth2 -> br0 -> veth1 -> container1: reply")
	Expect(third).To(BeTrue(), "container3 -> veth3 -> br0 -> veth1 -> container1: reply")
	Expect(detached).To(BeTrue(), "contrast: no reply with veth2 detached from br0")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-forwards-any-ethertype",
	Text:     "A bridge works on Ethernet frames: it forwards a non-IP ethertype with no IP configured anywhere.",
	Source:   claim.Sources{claim.Article("Bridge Networking")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "not when the port is detached",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 2)
	probe.Capture.In(c[1].Agent, "eth0")
	arrives := func(mark string) bool {
		c[0].transmit(broadcast(c[0], mark))
		return copies(c[1], mark) > 0
	}
	attached := arrives("attached")
	probe.SetMaster.In(host.Agent, probe.Attach{Name: "veth2"})
	detached := arrives("detached")
	claim.Evidence("a frame of ethertype 0x88b5 arrived through the bridge: %v; with the port detached: %v", attached, detached)
	Expect(attached).To(BeTrue(), "container1 -> veth1 -> br0 -> veth2 -> container2: a frame of ethertype 0x88b5")
	Expect(detached).To(BeFalse(), "contrast: not when the port is detached")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-learns-macs",
	Text:     "A bridge learns which port a source MAC is behind.",
	Source:   claim.Sources{claim.Article("Bridge Networking"), claim.Man("bridge(8)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "the entry is gone once deleted and before new traffic",
	Try:      "bridge fdb show br br0",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 2)
	entry := func(i int) string { return c[i].Link("eth0").MAC + fmt.Sprintf(" veth%d", i+1) }
	// Nothing was sent on purpose, but IPv6 may have spoken: move the cards.
	for i := range c {
		probe.Lower.In(c[i].Agent, "eth0")
		probe.SetLink.In(c[i].Agent, probe.Change{Name: "eth0", MAC: fmt.Sprintf("02:00:00:00:00:%02x", 0x11+i)})
	}
	before := probe.Learned.In(host.Agent, "br0")
	for i := range c {
		probe.Raise.In(c[i].Agent, "eth0")
	}
	Expect(c[0].reaches("10.0.0.12")).To(BeTrue(), "traffic to learn from: container1 -> br0 -> container2")
	after := probe.Learned.In(host.Agent, "br0")
	claim.Evidence("before traffic: %v; after: %v", before, after)
	Expect(after).To(ContainElements(entry(0), entry(1)), "learned entries of br0 after traffic: each MAC behind its port")
	Expect(before).NotTo(ContainElement(entry(0)), "contrast: before new traffic")
	Expect(before).NotTo(ContainElement(entry(1)), "contrast: before new traffic")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-sends-known-unicast-to-one-port",
	Text:     "Unicast to a learned MAC goes to its port only; unknown destinations and broadcasts go to all.",
	Source:   claim.Sources{claim.Article("Bridge Networking")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "with learning off it sees the ICMP",
	Try:      "nsenter --net --target PID3 tcpdump -i eth0 icmp & nsenter --net --target PID1 ping -c 3 10.0.0.12",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 3)
	Expect(c[0].reaches("10.0.0.12")).To(BeTrue(), "traffic to learn from: container1 -> br0 -> container2")
	probe.Capture.In(c[2].Agent, "eth0")
	overheard := func() (icmp, arp int) {
		for _, f := range probe.Frames.In(c[2].Agent, "eth0") {
			switch {
			case len(f) > 23 && f[12] == 0x08 && f[13] == 0x00 && f[23] == unix.IPPROTO_ICMP:
				icmp++
			case len(f) > 13 && f[12] == 0x08 && f[13] == 0x06:
				arp++
			}
		}
		return icmp, arp
	}
	for range 5 {
		Expect(c[0].reaches("10.0.0.12")).To(BeTrue(), "container1 -> br0 -> container2")
	}
	// A broadcast sent afterwards marks the end of what can be overheard.
	c[0].silent("10.0.0.99")
	icmp, arp := overheard()
	for _, port := range []string{"veth1", "veth2"} {
		probe.SetLink.In(host.Agent, probe.Change{Name: port, Learning: "off"})
		probe.Lower.In(host.Agent, port)
		probe.Raise.In(host.Agent, port)
	}
	Expect(c[0].reaches("10.0.0.12")).To(BeTrue(), "container1 -> br0 -> container2 with learning off")
	flooded, _ := overheard()
	claim.Evidence("the third port saw %d ICMP frames and %d ARP requests; with learning off %d ICMP frames", icmp, arp, flooded)
	Expect(icmp).To(BeZero(), "ICMP frames of container1 and container2 seen on the third port, their MACs being learned")
	Expect(arp).NotTo(BeZero(), "ARP requests, which are broadcast, seen on the third port")
	Expect(flooded).NotTo(BeZero(), "contrast: ICMP frames seen on the third port with learning off")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-address-reaches-containers",
	Text:     "With an address on the bridge itself the host and the containers reach each other.",
	Source:   claim.Sources{claim.Article("Setting Up Bridge Network"), claim.Article2("Testing Network Connectivity")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "no reply before the address is set",
	Try:      "ip link add br0 type bridge; ip link set br0 up; for i in 1 2; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip link set v$i master br0 up; ip -n c$i addr add 10.0.0.1$i/24 dev eth0; ip -n c$i link set eth0 up; done; ping -c 1 10.0.0.11; ip addr add 10.0.0.1/24 dev br0; ping -qc 1 10.0.0.11 | grep -o '1 received'",
	Shows:    "ping: connect: Network is unreachable\n1 received",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 2)
	before := c[0].silent("10.0.0.1")
	host.Address("br0", "10.0.0.1/24")
	out, in, in2 := host.reaches("10.0.0.11"), c[0].reaches("10.0.0.1"), c[1].reaches("10.0.0.1")
	claim.Evidence("before the address: silence %v; host to container: %v; containers to host: %v, %v", before, out, in, in2)
	Expect(before).To(BeTrue(), "contrast: no reply before br0 has the address")
	Expect(out).To(BeTrue(), "host -> br0 -> veth1 -> container1: reply")
	Expect(in).To(BeTrue(), "container1 -> veth1 -> br0: reply from the host")
	Expect(in2).To(BeTrue(), "container2 -> veth2 -> br0: reply from the host")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-mac-is-lowest-port-mac",
	Text:     "A bridge without a MAC of its own takes the lowest MAC among its ports.",
	Source:   claim.Sources{claim.Article("Setting Up Bridge Network")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge},
	Contrast: "an explicitly set MAC stays",
	Try:      "ip link add br0 type bridge; for i in 3 2; do ip link add v$i address 02:00:00:00:00:0$i type veth peer name p$i; ip link set v$i master br0; ip link show br0 | grep -o 'ether [0-9:]*'; done",
	Shows:    "ether 02:00:00:00:00:03\nether 02:00:00:00:00:02",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	t.Bridge(host, "br0")
	t.Bridge(host, "br1")
	probe.SetLink.In(host.Agent, probe.Change{Name: "br1", MAC: "02:00:00:00:00:77"})
	macs := []string{"02:00:00:00:00:30", "02:00:00:00:00:20", "02:00:00:00:00:10"}
	var seen []string
	for i, m := range macs {
		for _, br := range []string{"br0", "br1"} {
			name := fmt.Sprintf("%sp%d", br, i)
			probe.AddLink.In(host.Agent, probe.Link{Kind: "veth", Name: name, Peer: name + "x"})
			probe.SetLink.In(host.Agent, probe.Change{Name: name, MAC: m})
			probe.SetMaster.In(host.Agent, probe.Attach{Name: name, Master: br})
		}
		seen = append(seen, host.Link("br0").MAC)
	}
	claim.Evidence("ports added: %v; MAC of the bridge: %v; set by hand: %s", macs, seen, host.Link("br1").MAC)
	Expect(seen).To(Equal(macs), "the MAC of br0 as ports with lower MACs are added")
	Expect(host.Link("br1").MAC).To(Equal("02:00:00:00:00:77"), "contrast: a MAC that was set stays")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-stp-off-forwards-at-once",
	Text:     "A new bridge has STP off and its ports forward immediately.",
	Source:   claim.Sources{claim.Article2("On Host")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "with STP on a raised port must first listen and learn",
	Try:      "ip link add br0 type bridge; ip -d link show br0 | grep -o 'stp_state [01]'; ip link add v0 master br0 type veth peer name v1; ip link set v1 up; ip link set v0 up; ip link set br0 up; bridge link show dev v0 | grep -o 'state forwarding'",
	Shows:    "stp_state 0\nstate forwarding",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 2)
	at := sysClassNet(ctx, host)
	stp, port := at("br0/bridge/stp_state"), at("veth1/brport/state")
	reply := c[0].reaches("10.0.0.12")
	probe.AddLink.In(host.Agent, probe.Link{Kind: "bridge", Name: "br1"})
	probe.AddLink.In(host.Agent, probe.Link{Kind: "veth", Name: "stp0", Peer: "stp1"})
	harness.Must(host.WriteFile(sysPath(ctx, host)+"br1/bridge/stp_state", "1"))
	probe.SetMaster.In(host.Agent, probe.Attach{Name: "stp0", Master: "br1"})
	for _, l := range []string{"br1", "stp1", "stp0"} {
		probe.Raise.In(host.Agent, l)
	}
	// The port listens once its carrier is there.
	var with string
	Eventually(func() string { with = at("stp0/brport/state"); return with }).WithTimeout(linkTime).WithPolling(pollTime).
		Should(Or(Equal("1"), Equal("2")), "contrast: with STP on a raised port first listens (1) and learns (2)")
	claim.Evidence("stp_state %s, port state %s, ping answered: %v; with STP on the port state is %s", stp, port, reply, with)
	Expect(stp).To(Equal("0"), "stp_state of a new bridge")
	Expect(port).To(Equal("3"), "state of a port of a new bridge: forwarding")
	Expect(reply).To(BeTrue(), "container1 -> br0 -> container2")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-hairpin-needed-for-return-to-same-port",
	Text:     "A bridge does not send a frame back out of the port it came in by, unless hairpin is on for that port.",
	Source:   claim.Sources{claim.Man("bridge(8)", "hairpin")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "none with it off",
	Try:      "bridge link set dev veth1 hairpin on",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 1)
	probe.Capture.In(c[0].Agent, "eth0")
	seen := func(mark string) int {
		c[0].transmit(broadcast(c[0], mark))
		return copies(c[0], mark)
	}
	off := seen("hairpin-off")
	probe.SetLink.In(host.Agent, probe.Change{Name: "veth1", Hairpin: "on"})
	on := seen("hairpin-on")
	claim.Evidence("copies seen at the sender: %d with hairpin off, %d with it on", off, on)
	Expect(off).To(Equal(1), "copies of a frame seen at its sender with hairpin off: its own")
	Expect(on).To(Equal(2), "contrast: copies seen with hairpin on: its own and the one that came back")
})

var _ = claim.It(claim.Claim{
	ID:       "network/route-default-gateway-with-forwarding",
	Text:     "A container reaches outside through its bridge gateway only while the host has ip_forward=1.",
	Source:   claim.Sources{claim.Article("Bridge Networking"), claim.Man("ip(7)", "ip_forward")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "reply at 1",
	Core:     true,
	Try:      "ip route add default via 10.0.0.1 (in the container); sysctl net.ipv4.ip_forward=1",
}, func(ctx SpecContext) {
	t, host, c := bridged(ctx, 1)
	host.Address("br0", "10.0.0.1/24")
	far := t.Host("far")
	t.Wire(host, "uplink", far, "eth0")
	host.Address("uplink", "192.0.2.1/24")
	far.Address("eth0", "192.0.2.2/24")
	far.Route("10.0.0.0/24", "192.0.2.1")
	c[0].Route("", "10.0.0.1")
	harness.Must(host.WriteFile("/proc/sys/net/ipv4/ip_forward", "0"))
	Expect(c[0].reaches("10.0.0.1")).To(BeTrue(), "container1 -> br0: the gateway")
	off := c[0].silent("192.0.2.2")
	harness.Must(host.WriteFile("/proc/sys/net/ipv4/ip_forward", "1"))
	on := c[0].reaches("192.0.2.2")
	back := far.reaches("10.0.0.11")
	claim.Evidence("ip_forward 0: silence %v; 1: reply %v, and from outside %v", off, on, back)
	Expect(on).To(BeTrue(), "container1 -> br0 -> host -> uplink -> far with ip_forward 1: reply")
	Expect(back).To(BeTrue(), "far -> uplink -> host -> br0 -> container1 with ip_forward 1: reply")
	Expect(off).To(BeTrue(), "contrast: no reply with ip_forward 0")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-connects-containers-on-two-hosts",
	Text:     "With a VXLAN device in each host's bridge, containers and hosts on both sides share one subnet and reach each other.",
	Source:   claim.Sources{claim.Article2("On Host"), claim.Article2("Testing Network Connectivity")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "no reply with the tunnel down",
	Core:     true,
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add vxlan0 type vxlan id 100 local 192.0.2.$i remote 192.0.2.$((3 - i)) dstport 4789; ip -n h$i addr add 10.0.0.$i/24 dev vxlan0; ip -n h$i link set vxlan0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'; ip -n h2 link set vxlan0 down; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "1 received\n0 received",
}, func(ctx SpecContext) {
	o := newOverlay(ctx, overlayOptions{})
	there, back := o.c1.reaches("10.0.0.12"), o.c2.reaches("10.0.0.11")
	cross := o.h1.reaches("10.0.0.12")
	probe.Lower.In(o.h1.Agent, "vxlan0")
	down := o.c1.silent("10.0.0.12")
	claim.Evidence("container to container: %v, back: %v; host to far container: %v; with the tunnel down silence: %v", there, back, cross, down)
	Expect(there).To(BeTrue(), "container1 -> br0 -> vxlan0 -> underlay -> vxlan0 -> br0 -> container2: reply")
	Expect(back).To(BeTrue(), "container2 to container1: reply")
	Expect(cross).To(BeTrue(), "host1 to container2: reply")
	Expect(down).To(BeTrue(), "contrast: no reply with vxlan0 down")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-vni-must-match",
	Text:     "Endpoints with different VNIs do not exchange traffic.",
	Source:   claim.Sources{claim.Article2("Configuring VXLAN")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "reply for 100 and 100",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add vxlan0 type vxlan id 10$i local 192.0.2.$i remote 192.0.2.$((3 - i)) dstport 4789; ip -n h$i addr add 10.0.0.$i/24 dev vxlan0; ip -n h$i link set vxlan0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "0 received",
}, func(ctx SpecContext) {
	other := newOverlay(ctx, overlayOptions{vni2: 101}).c1.silent("10.0.0.12")
	same := newOverlay(ctx, overlayOptions{}).c1.reaches("10.0.0.12")
	claim.Evidence("VNI 100 and 101: silence %v; 100 and 100: reply %v", other, same)
	Expect(other).To(BeTrue(), "no reply between endpoints with the VNIs 100 and 101")
	Expect(same).To(BeTrue(), "contrast: reply with 100 and 100")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-port-must-match",
	Text:     "Endpoints with different UDP ports do not exchange traffic.",
	Source:   claim.Sources{claim.Article2("How VXLAN Works")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "reply when equal",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add vxlan0 type vxlan id 100 local 192.0.2.$i remote 192.0.2.$((3 - i)) dstport 478$i; ip -n h$i addr add 10.0.0.$i/24 dev vxlan0; ip -n h$i link set vxlan0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "0 received",
}, func(ctx SpecContext) {
	other := newOverlay(ctx, overlayOptions{port2: 4790}).c1.silent("10.0.0.12")
	same := newOverlay(ctx, overlayOptions{}).c1.reaches("10.0.0.12")
	claim.Evidence("UDP ports 4789 and 4790: silence %v; equal: reply %v", other, same)
	Expect(other).To(BeTrue(), "no reply between endpoints with the UDP ports 4789 and 4790")
	Expect(same).To(BeTrue(), "contrast: reply with equal ports")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-needs-the-bridge",
	Text:     "Containers reach the tunnel only when the VXLAN device is a port of their bridge.",
	Source:   claim.Sources{claim.Article2("Configuring VXLAN")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "reply once attached",
	Try:      "ip link set vxlan0 nomaster",
}, func(ctx SpecContext) {
	o := newOverlay(ctx, overlayOptions{})
	probe.SetMaster.In(o.h1.Agent, probe.Attach{Name: "vxlan0"})
	unattached := o.c1.silent("10.0.0.12")
	probe.SetMaster.In(o.h1.Agent, probe.Attach{Name: "vxlan0", Master: "br0"})
	attached := o.c1.reaches("10.0.0.12")
	claim.Evidence("vxlan0 not a port of br0: silence %v; attached: reply %v", unattached, attached)
	Expect(unattached).To(BeTrue(), "no reply while vxlan0 is no port of the containers' bridge")
	Expect(attached).To(BeTrue(), "contrast: reply once attached")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-default-port-is-8472",
	Text:     "Without dstport Linux uses UDP 8472, not the assigned 4789.",
	Source:   claim.Sources{claim.Article2("How VXLAN Works says the default is 4789"), claim.Man("ip-link(8)", "")},
	Needs:    claim.Needs{vxlanNeed},
	Contrast: "dstport 4789 when given",
	Try:      "ip link add vxlan0 type vxlan id 100 remote 192.0.2.2 2>/dev/null; ip -d link show vxlan0 | grep -o 'dstport [0-9]*'; ip link add vxlan1 type vxlan id 101 remote 192.0.2.2 dstport 4789; ip -d link show vxlan1 | grep -o 'dstport [0-9]*'",
	Shows:    "dstport 8472\ndstport 4789",
}, func(ctx SpecContext) {
	host := NewTopology(ctx).Host("host")
	probe.AddLink.In(host.Agent, probe.Link{Kind: "vxlan", Name: "default0", ID: 100, Remote: "192.0.2.2"})
	probe.AddLink.In(host.Agent, probe.Link{Kind: "vxlan", Name: "given0", ID: 101, Remote: "192.0.2.2", Port: 4789})
	claim.Evidence("without a port: %d; with 4789: %d", host.Link("default0").Port, host.Link("given0").Port)
	Expect(host.Link("default0").Port).To(Equal(8472), "UDP port of a VXLAN device made without one")
	Expect(host.Link("given0").Port).To(Equal(4789), "contrast: UDP port of one made with 4789")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-wraps-frames-in-udp",
	Text:     "Overlay traffic crosses the underlay only inside UDP datagrams to the configured port.",
	Source:   claim.Sources{claim.Article2("How VXLAN Works")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "no bare ICMP on the underlay",
	Try:      "tcpdump -ni eth0 udp port 4789",
}, func(ctx SpecContext) {
	o := newOverlay(ctx, overlayOptions{})
	packets := o.captured(ctx)
	claim.Evidence("%d packets on the underlay, %d of them UDP to 4789, %d bare ICMP", len(packets), countUDP(packets), countBareICMP(packets))
	Expect(countUDP(packets)).NotTo(BeZero(), "UDP datagrams to port 4789 on the underlay")
	Expect(countBareICMP(packets)).To(BeZero(), "contrast: bare ICMP of the containers on the underlay")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-outer-addresses-are-the-endpoints",
	Text:     "The outer source and destination are the two tunnel endpoints' addresses.",
	Source:   claim.Sources{claim.Article2("How VXLAN Works")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "inner packet has the container addresses",
	Try:      "tcpdump -ni eth0 udp port 4789",
}, func(ctx SpecContext) {
	o := newOverlay(ctx, overlayOptions{})
	outer, inner := o.echoRequest(ctx)
	claim.Evidence("outer %s -> %s; inner %s -> %s", outer.src, outer.dst, inner.src, inner.dst)
	Expect([]string{outer.src, outer.dst}).To(Equal([]string{"192.0.2.1", "192.0.2.2"}), "outer addresses are the tunnel endpoints'")
	Expect([]string{inner.src, inner.dst}).To(Equal([]string{"10.0.0.11", "10.0.0.12"}), "contrast: the inner packet has the containers' addresses")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-header-carries-24-bit-vni",
	Text:     "The VXLAN header carries the configured VNI in 24 bits with the I flag set.",
	Source:   claim.Sources{claim.Article2("VXLAN Components")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "id 2^24 is refused at creation",
	Try:      "ip link add vxlan0 type vxlan id 11259375 remote 192.0.2.2 dstport 4789",
}, func(ctx SpecContext) {
	o := newOverlay(ctx, overlayOptions{vni1: 0xABCDEF, vni2: 0xABCDEF})
	outer, _ := o.echoRequest(ctx)
	_, beyond := probe.AddLink.Try(o.h1.Agent, probe.Link{Kind: "vxlan", Name: "beyond0", ID: 1 << 24, Remote: "192.0.2.2", Port: 4790})
	claim.Evidence("VNI %#x, I flag %v; id 2^24: %v", outer.vni, outer.valid, beyond)
	Expect(outer.vni).To(Equal(uint32(0xABCDEF)), "the VNI in the VXLAN header")
	Expect(outer.valid).To(BeTrue(), "the I flag of the VXLAN header")
	Expect(beyond).To(Or(harness.FailWith(unix.ERANGE), harness.FailWith(unix.EINVAL)), "contrast: a VNI of 2^24 is refused")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-inner-frame-preserved",
	Text:     "The original Ethernet frame, MAC addresses included, is the payload, and comes out byte by byte as it went in.",
	Source:   claim.Sources{claim.Article2("How VXLAN Works")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "outer MACs are the hosts'",
	Try:      "tcpdump -eni eth0 udp port 4789",
}, func(ctx SpecContext) {
	o := newOverlay(ctx, overlayOptions{})
	outer, inner := o.echoRequest(ctx)
	// A full frame, every byte another than its neighbours, from container to
	// container.
	sent := frame(o.c1.Link("eth0").MAC, o.c2.Link("eth0").MAC, "overlay")
	for len(sent) < 1400 {
		sent = append(sent, byte(len(sent)%251))
	}
	probe.Capture.In(o.c2.Agent, "eth0")
	o.c1.transmit(sent)
	var received [][]byte
	for _, f := range probe.Frames.In(o.c2.Agent, "eth0") {
		if marked([][]byte{f}, "overlay") > 0 {
			received = append(received, f)
		}
	}
	claim.Evidence("inner MACs %s -> %s; outer %s -> %s; frames of %d bytes arrived: %d", inner.srcMAC, inner.dstMAC, outer.srcMAC, outer.dstMAC, len(sent), len(received))
	Expect(received).To(HaveLen(1), "container1 -> overlay -> container2: copies of a frame of %d bytes", len(sent))
	Expect(bytes.Equal(received[0], sent)).To(BeTrue(), "a frame of %d bytes, of which %d arrived, is the same after the overlay", len(sent), len(received[0]))
	Expect([]string{inner.srcMAC, inner.dstMAC}).To(Equal([]string{o.c1.Link("eth0").MAC, o.c2.Link("eth0").MAC}), "inner MACs are the containers'")
	Expect([]string{outer.srcMAC, outer.dstMAC}).To(Equal([]string{o.h1.Link("under0").MAC, o.h2.Link("under0").MAC}), "contrast: outer MACs are the hosts'")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-mtu-is-50-less",
	Text:     "A VXLAN device over a 1500-byte link has MTU 1450 and the bridge follows, so full-size frames of an unadjusted container are lost.",
	Source:   claim.Sources{claim.Article2("How VXLAN Works"), claim.Doc("not stated there", "")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "1400-byte ping answered",
	Try:      "ip link add veth0 type veth peer name veth1; ip link add vxlan0 type vxlan id 100 dev veth0 remote 192.0.2.2 dstport 4789; ip link show veth0 | grep -o 'mtu [0-9]*'; ip link show vxlan0 | grep -o 'mtu [0-9]*'",
	Shows:    "mtu 1500\nmtu 1450",
}, func(ctx SpecContext) {
	o := newOverlay(ctx, overlayOptions{})
	mtu, bridge := o.h1.Link("vxlan0").MTU, o.h1.Link("br0").MTU
	Expect(o.c1.reaches("10.0.0.12")).To(BeTrue(), "container1 -> overlay -> container2")
	fits := probe.Ping.In(o.c1.Agent, probe.Echo{Dst: "10.0.0.12", Size: 1400, Within: replyTime, DontFragment: true}).From != ""
	full := probe.Outrun.In(o.c1.Agent, probe.Echo{Dst: "10.0.0.12", Size: 1450, DontFragment: true}).From != ""
	claim.Evidence("MTU of vxlan0 %d, of br0 %d; 1400 bytes answered: %v; 1450 bytes: %v", mtu, bridge, fits, full)
	Expect(mtu).To(Equal(1450), "MTU of a VXLAN device over a link of 1500")
	Expect(bridge).To(Equal(1450), "MTU of its bridge")
	Expect(full).To(BeFalse(), "a ping of 1450 bytes, 1478 on the wire, that may not be fragmented")
	Expect(fits).To(BeTrue(), "contrast: a ping of 1400 bytes")
})

var _ = claim.It(claim.Claim{
	ID:       "network/macvlan-bridge-mode-connects-siblings",
	Text:     "macvlan children in bridge mode, each with its own MAC, reach each other and the outside.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "MACVLAN")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, macvlanNeed},
	Contrast: "no reply with the sibling down",
	Try:      "ip link add mv0 link eth0 type macvlan mode bridge",
}, func(ctx SpecContext) {
	o := newChildren(ctx, "macvlan", "bridge")
	sibling, out := o.a.reaches("192.0.2.12"), o.a.reaches("192.0.2.2")
	macs := []string{o.a.Link("eth0").MAC, o.b.Link("eth0").MAC, o.host.Link("under0").MAC}
	probe.Lower.In(o.b.Agent, "eth0")
	down := o.a.silent("192.0.2.12")
	claim.Evidence("sibling: %v; outside host: %v; MACs %v; with the sibling down silence: %v", sibling, out, macs, down)
	Expect(sibling).To(BeTrue(), "macvlan child to its sibling: reply")
	Expect(out).To(BeTrue(), "macvlan child -> parent interface -> outside host: reply")
	Expect(macs[0] != macs[1] && macs[1] != macs[2] && macs[0] != macs[2]).To(BeTrue(), "three different MACs")
	Expect(down).To(BeTrue(), "contrast: no reply with the sibling down")
})

var _ = claim.It(claim.Claim{
	ID:       "network/macvlan-parent-host-is-unreachable",
	Text:     "A macvlan child and its parent interface's own address cannot reach each other.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "MACVLAN")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, macvlanNeed},
	Contrast: "a macvlan added on the host is reachable",
	Try:      "ip link add mv0 link eth0 type macvlan mode bridge; ping -c 1 (the child's address)",
}, func(ctx SpecContext) {
	o := newChildren(ctx, "macvlan", "bridge")
	out, in := o.host.silent("192.0.2.11"), o.a.silent("192.0.2.1")
	probe.AddLink.In(o.host.Agent, probe.Link{Kind: "macvlan", Name: "own0", Parent: "under0", Mode: "bridge"})
	o.host.Address("own0", "198.51.100.1/24")
	probe.Raise.In(o.host.Agent, "own0")
	o.a.Address("eth0", "198.51.100.11/24")
	own := o.a.reaches("198.51.100.1")
	claim.Evidence("host to child: silence %v; child to host: silence %v; a macvlan on the host: reply %v", out, in, own)
	Expect(out).To(BeTrue(), "no reply from the parent's address to a macvlan child")
	Expect(in).To(BeTrue(), "no reply from a macvlan child to the parent's address")
	Expect(own).To(BeTrue(), "contrast: a macvlan added on the host is reachable")
})

var _ = claim.It(claim.Claim{
	ID:       "network/route-direct-routing-between-hosts",
	Text:     "With plain routes on two hosts containers reach each other without encapsulation, the underlay carrying their own addresses.",
	Source:   claim.Sources{claim.Article2("Overview")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "no reply without the routes",
	Try:      "ip route add 10.0.2.0/24 via 192.0.2.2; tcpdump -ni eth0 icmp",
}, func(ctx SpecContext) {
	o := newRouted(ctx)
	before := o.c1.silent("10.0.2.12")
	o.h1.Route("10.0.2.0/24", "192.0.2.2")
	o.h2.Route("10.0.1.0/24", "192.0.2.1")
	probe.Capture.In(o.h2.Agent, "under0")
	after := o.c1.reaches("10.0.2.12")
	bare := 0
	for _, f := range probe.Frames.In(o.h2.Agent, "under0") {
		if p := decode(f); p.src == "10.0.1.11" && p.icmp {
			bare++
		}
	}
	claim.Evidence("without routes: silence %v; with routes: reply %v, %d bare ICMP packets of the container on the underlay", before, after, bare)
	Expect(before).To(BeTrue(), "contrast: no reply without routes")
	Expect(after).To(BeTrue(), "container1 -> host1 -> underlay -> host2 -> container2: reply")
	Expect(bare).NotTo(BeZero(), "ICMP with the container's own source on the underlay")
})

var _ = claim.It(claim.Claim{
	ID:       "network/ipv6-bridge-connects-containers",
	Text:     "The bridged set-up works for IPv6 as it does for IPv4.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", ""), claim.Man("ipv6(7)", "")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, ipv6Need},
	Contrast: "no reply with the port detached",
	Try:      "ip link add br0 type bridge; ip link set br0 up; for i in 1 2; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip link set v$i master br0 up; ip -n c$i addr add 10.0.0.1$i/24 dev eth0; ip -n c$i link set eth0 up; done; for i in 1 2; do ip -n c$i addr add fd00::1$i/64 dev eth0 nodad; done; ip netns exec c1 ping -6 -qc 1 fd00::12 | grep -o '1 received'",
	Shows:    "1 received",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 2)
	for i, h := range c {
		h.Address("eth0", fmt.Sprintf("fd00::%d/64", 11+i))
	}
	reply := c[0].reaches("fd00::12")
	probe.SetMaster.In(host.Agent, probe.Attach{Name: "veth2"})
	detached := c[0].silent("fd00::12")
	claim.Evidence("reply: %v; with veth2 detached silence: %v", reply, detached)
	Expect(reply).To(BeTrue(), "container1 -> br0 -> container2 over IPv6: reply")
	Expect(detached).To(BeTrue(), "contrast: no reply with the port detached")
})

var _ = claim.It(claim.Claim{
	ID:       "network/ipv6-forwarding-is-separate-and-per-namespace",
	Text:     "IPv6 forwarding has its own switch: ip_forward does not enable it, and each network namespace has one.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", ""), claim.Doc("kernel ip-sysctl", "")},
	Needs:    claim.Needs{claim.Wired, ipv6Need},
	Contrast: "reply with conf.all.forwarding=1; other namespaces stay 0",
	Try:      "cd /proc/sys/net; echo 1 > ipv4/ip_forward; cat ipv6/conf/all/forwarding; unshare --net sh -c 'echo 1 > ipv6/conf/all/forwarding; cat ipv6/conf/all/forwarding'; cat ipv6/conf/all/forwarding",
	Shows:    "0\n1\n0",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	router := t.Host("router")
	a, b := t.Container(router, "a"), t.Container(router, "b")
	t.Wire(router, "a0", a, "eth0")
	t.Wire(router, "b0", b, "eth0")
	for _, x := range []struct {
		h          *Host
		link, cidr string
	}{{router, "a0", "fd00:a::1/64"}, {router, "b0", "fd00:b::1/64"}, {a, "eth0", "fd00:a::2/64"}, {b, "eth0", "fd00:b::2/64"}} {
		x.h.Address(x.link, x.cidr)
	}
	a.Route("fd00:b::/64", "fd00:a::1")
	b.Route("fd00:a::/64", "fd00:b::1")
	const v6 = "/proc/sys/net/ipv6/conf/all/forwarding"
	harness.Must(router.WriteFile(v6, "0"))
	harness.Must(router.WriteFile("/proc/sys/net/ipv4/ip_forward", "1"))
	Expect(a.reaches("fd00:a::1")).To(BeTrue(), "a -> router over IPv6")
	off := a.silent("fd00:b::2")
	harness.Must(router.WriteFile(v6, "1"))
	on := a.reaches("fd00:b::2")
	other := strings.TrimSpace(harness.Got(a.ReadFile(v6)))
	claim.Evidence("ip_forward alone: silence %v; conf.all.forwarding: reply %v; in another namespace it is %s", off, on, other)
	Expect(off).To(BeTrue(), "no IPv6 forwarding with ip_forward alone")
	Expect(on).To(BeTrue(), "contrast: a -> router -> b with conf.all.forwarding 1: reply")
	Expect(other).To(Equal("0"), "conf.all.forwarding of another namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "network/ipv6-disable-sysctl-removes-addresses",
	Text:     "disable_ipv6=1 removes all IPv6 addresses of that namespace and refuses new ones.",
	Source:   claim.Sources{claim.Doc("kernel ip-sysctl disable_ipv6", "")},
	Needs:    claim.Needs{claim.Wired, ipv6Need},
	Contrast: "present before; other namespaces unaffected",
	Try:      "ip -6 -br addr show lo; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip -6 -br addr show lo",
	Shows:    "lo UNKNOWN ::1/128",
}, func(ctx SpecContext) {
	_, host, container := pair(ctx)
	host.Address("veth0", "fd00::1/64")
	container.Address("eth0", "fd00::2/64")
	v6 := func(h *Host) (n int) {
		for _, l := range probe.Links.In(h.Agent, probe.None{}) {
			for _, a := range l.Addresses {
				if ip, _, _ := net.ParseCIDR(a); ip.To4() == nil {
					n++
				}
			}
		}
		return n
	}
	before := v6(host)
	Expect(host.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")).To(Succeed(), "turning IPv6 off in a network namespace")
	after := v6(host)
	_, refused := probe.AddAddress.Try(host.Agent, probe.Address{Link: "veth0", CIDR: "fd00::9/64"})
	claim.Evidence("IPv6 addresses before: %d, after: %d; adding one: %v; in the other namespace: %d", before, after, refused, v6(container))
	Expect(after).To(BeZero(), "IPv6 addresses with disable_ipv6=1")
	Expect(refused).To(harness.FailWith(unix.EACCES), "adding an IPv6 address with disable_ipv6=1")
	Expect(before).NotTo(BeZero(), "contrast: before")
	Expect(v6(container)).NotTo(BeZero(), "contrast: another namespace")
})
