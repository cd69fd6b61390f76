package network

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var vlanFilteringNeed = claim.Feature("bridge VLAN filtering", "", []string{"CONFIG_NET_NS", "CONFIG_BRIDGE", "CONFIG_BRIDGE_VLAN_FILTERING"}, func(ctx context.Context) error {
	sb, err := tryNetwork(ctx)
	if err != nil {
		return err
	}
	agent := sb.Agent(ctx)
	for _, l := range []probe.Link{{Kind: "bridge", Name: "need0", VLANFiltering: true}, {Kind: "veth", Name: "need1", Peer: "need2"}} {
		if _, err := probe.AddLink.Try(agent, l); err != nil {
			return err
		}
	}
	probe.SetMaster.In(agent, probe.Attach{Name: "need1", Master: "need0"})
	_, err = probe.SetPortVLAN.Try(agent, probe.PortVLAN{Name: "need1", VID: 10})
	return err
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-isolated-ports-do-not-talk",
	Text:     "Isolated ports of a bridge exchange nothing with each other, and everything with its other ports.",
	Source:   claim.Sources{claim.Man("bridge(8)", "isolated")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "reply before, and from a port that is not isolated",
	Since:    "4.18",
	Try:      "ip link add br0 type bridge; ip link set br0 up; for i in 1 2 3; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip link set v$i master br0 up; ip -n c$i addr add 10.0.0.1$i/24 dev eth0; ip -n c$i link set eth0 up; done; for i in 1 2; do bridge link set dev v$i isolated on; done; for i in 2 3; do ip netns exec c1 ping -qc 1 -W 1 10.0.0.1$i | grep -o '[01] received'; done",
	Shows:    "0 received\n1 received",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 3)
	before := c[0].reaches("10.0.0.12")
	for _, port := range []string{"veth1", "veth2"} {
		probe.SetLink.In(host.Agent, probe.Change{Name: port, Isolated: "on"})
	}
	there, back := c[0].silent("10.0.0.12"), c[1].silent("10.0.0.11")
	for _, h := range c[1:] {
		probe.Capture.In(h.Agent, "eth0")
	}
	c[0].transmit(broadcast(c[0], "all"))
	isolated, open := copies(c[1], "all"), copies(c[2], "all")
	other := []bool{c[0].reaches("10.0.0.13"), c[1].reaches("10.0.0.13"), c[2].reaches("10.0.0.11")}
	claim.Evidence("before: reply %v; isolated: silence %v, back %v; a broadcast frame: %d copies at the isolated port, %d at the other; with the other port: %v", before, there, back, isolated, open, other)
	Expect(before).To(BeTrue(), "contrast: container1 -> br0 -> container2 before: reply")
	Expect(there).To(BeTrue(), "no reply: container1 -> veth1, isolated -> br0 -> veth2, isolated -> container2")
	Expect(back).To(BeTrue(), "no reply: container2 -> veth2, isolated -> br0 -> veth1, isolated -> container1")
	Expect(isolated).To(BeZero(), "copies of a broadcast frame of container1's, whose port is isolated, at container2, whose port is too")
	Expect(open).To(Equal(1), "contrast: copies of that frame at container3, whose port is not isolated")
	Expect(other).To(HaveEach(true), "contrast: replies between an isolated port and one that is not")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-vlan-filtering-separates-ports",
	Text:     "A bridge with VLAN filtering forwards only between ports of one VLAN.",
	Source:   claim.Sources{claim.Man("bridge(8)", "vlan"), claim.Man("ip-link(8)", "vlan_filtering")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge, vlanFilteringNeed},
	Contrast: "reply within a VLAN, and once moved to it",
	Try:      "ip link add br0 type bridge vlan_filtering 1; ip link set br0 up; for i in 1 2 3; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip link set v$i master br0 up; ip -n c$i addr add 10.0.0.1$i/24 dev eth0; ip -n c$i link set eth0 up; done; bridge vlan add dev v3 vid 20 pvid untagged; for i in 2 3; do ip netns exec c1 ping -qc 1 -W 1 10.0.0.1$i | grep -o '[01] received'; done",
	Shows:    "1 received\n0 received",
}, func(ctx SpecContext) {
	_, host, c := bridgedBy(ctx, 3, probe.Link{Kind: "bridge", Name: "br0", VLANFiltering: true})
	for i, vid := range []int{10, 10, 20} {
		probe.SetPortVLAN.In(host.Agent, probe.PortVLAN{Name: fmt.Sprintf("veth%d", i+1), VID: vid})
		probe.Capture.In(c[i].Agent, "eth0")
	}
	within, across := c[0].reaches("10.0.0.12"), c[0].silent("10.0.0.13")
	c[0].transmit(broadcast(c[0], "vlan10"))
	same, other := copies(c[1], "vlan10"), copies(c[2], "vlan10")
	_, host2, c2 := bridgedBy(ctx, 2, probe.Link{Kind: "bridge", Name: "br0", VLANFiltering: true})
	for _, port := range []string{"veth1", "veth2"} {
		probe.SetPortVLAN.In(host2.Agent, probe.PortVLAN{Name: port, VID: 20})
	}
	moved := c2[0].reaches("10.0.0.12")
	claim.Evidence("VLAN 10 to 10: reply %v; 10 to 20: silence %v; a broadcast frame in VLAN 10: %d copies there, %d in VLAN 20; 20 to 20: reply %v", within, across, same, other, moved)
	Expect(across).To(BeTrue(), "no reply: container1 -> veth1, VLAN 10 -> br0 -> veth3, VLAN 20 -> container3")
	Expect(other).To(BeZero(), "copies of a broadcast frame of VLAN 10 at a port of VLAN 20")
	Expect(same).To(Equal(1), "contrast: copies of that frame at the other port of VLAN 10")
	Expect(within).To(BeTrue(), "contrast: container1 -> veth1, VLAN 10 -> br0 -> veth2, VLAN 10 -> container2: reply")
	Expect(moved).To(BeTrue(), "contrast: container1 -> veth1, VLAN 20 -> br0 -> veth2, VLAN 20 -> container2: reply")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-relearns-a-moved-mac",
	Text:     "When a MAC address speaks at another port a bridge sends what is for it there, and no longer to the old one.",
	Source:   claim.Sources{claim.Man("bridge(8)", "fdb"), claim.Doc("IEEE 802.1D", "7.8")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "to the old port before it moves",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 3)
	const station = "02:00:00:00:00:77"
	for _, h := range c[1:] {
		probe.Capture.In(h.Agent, "eth0")
	}
	// to says at which of container2 and container3 a frame for the station arrives.
	to := func(mark string) []int {
		c[0].transmit(frame(c[0].Link("eth0").MAC, station, mark))
		return []int{copies(c[1], mark), copies(c[2], mark)}
	}
	unknown := to("unknown")
	c[1].transmit(frame(station, toAll, "here"))
	here, learned := to("at-2"), probe.Learned.In(host.Agent, "br0")
	c[2].transmit(frame(station, toAll, "moved"))
	moved, relearned := to("at-3"), probe.Learned.In(host.Agent, "br0")
	claim.Evidence("copies of a frame for %s at container2 and container3: %v before it spoke; %v after it spoke at veth2; %v after it spoke at veth3", station, unknown, here, moved)
	Expect(unknown).To(Equal([]int{1, 1}), "contrast: copies of a frame for an unknown MAC at container2 and container3")
	Expect(here).To(Equal([]int{1, 0}), "contrast: copies at container2 and container3 after the MAC spoke behind veth2")
	Expect(learned).To(ContainElement(station+" veth2"), "forwarding table of br0")
	Expect(moved).To(Equal([]int{0, 1}), "copies at container2 and container3 after the MAC moved behind veth3")
	Expect(relearned).To(And(ContainElement(station+" veth3"), Not(ContainElement(station+" veth2"))), "forwarding table of br0 after the move")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-floods-broadcast-and-multicast",
	Text:     "A bridge sends broadcast and link-local-scope multicast frames out of every other port, once.",
	Source:   claim.Sources{claim.Article("Bridge Networking"), claim.Doc("RFC 4541", "2.1.2")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, claim.Bridge},
	Contrast: "a frame for the MAC of one port goes to that one only",
}, func(ctx SpecContext) {
	_, _, c := bridged(ctx, 3)
	for _, h := range c {
		probe.Capture.In(h.Agent, "eth0")
	}
	at := func(mark string) []int { return []int{copies(c[0], mark), copies(c[1], mark), copies(c[2], mark)} }
	from, to := c[0].Link("eth0").MAC, c[1].Link("eth0").MAC
	// container2 speaks, so that its MAC is known.
	c[1].transmit(broadcast(c[1], "hello"))
	learned := at("hello")
	c[0].transmit(frame(from, toAll, "broadcast"))
	all := at("broadcast")
	// The group of all hosts of a link, of which no member needs to be known.
	c[0].transmit(frame(from, "01:00:5e:00:00:01", "multicast"))
	group := at("multicast")
	c[0].transmit(frame(from, to, "unicast"))
	one := at("unicast")
	claim.Evidence("copies at container1, 2 and 3 of container2's broadcast: %v; of container1's broadcast: %v, multicast: %v, unicast to container2: %v", learned, all, group, one)
	Expect(all).To(Equal([]int{1, 1, 1}), "copies of a broadcast frame at its sender, container1, and at container2 and container3")
	Expect(learned).To(Equal([]int{1, 1, 1}), "copies of a broadcast frame at container1, at its sender, container2, and at container3")
	Expect(group).To(Equal([]int{1, 1, 1}), "copies of a multicast frame to 01:00:5e:00:00:01 at its sender, container1, and at container2 and container3")
	Expect(one).To(Equal([]int{1, 1, 0}), "contrast: copies of a frame for container2")
})
