package network

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// Devices whose modules make an interface of their own in the machine's first
// namespace when they are loaded, as bonding's and ip_gre's do, are not tried.
var (
	vlanNeed   = device("vlan", "CONFIG_VLAN_8021Q", probe.Link{Kind: "vlan", Name: "need0", Parent: "lower0", ID: 10})
	geneveNeed = device("geneve", "CONFIG_GENEVE", probe.Link{Kind: "geneve", Name: "need0", ID: 100, Remote: "192.0.2.2"})
)

// twoHosts is host1 and host2 on one wire, each with an interface over0 over it,
// of the numbers given for one and the other, and 10.0.0.1 and 10.0.0.2 on it.
func twoHosts(ctx SpecContext, over probe.Link, ids ...int) (hosts [2]*Host) {
	t := NewTopology(ctx)
	hosts = [2]*Host{t.Host("host1"), t.Host("host2")}
	t.Wire(hosts[0], "under0", hosts[1], "under0")
	for i, h := range hosts {
		local, remote := fmt.Sprintf("192.0.2.%d", i+1), fmt.Sprintf("192.0.2.%d", 2-i)
		h.Address("under0", local+"/24")
		link := over
		link.Name, link.ID = "over0", ids[i]
		if link.Kind == "vlan" {
			link.Parent = "under0"
		} else {
			link.Local, link.Remote = local, remote
		}
		probe.AddLink.In(h.Agent, link)
		h.Address("over0", fmt.Sprintf("10.0.0.%d/24", i+1))
		probe.Raise.In(h.Agent, "over0")
	}
	return hosts
}

// overlaid is a claim that two interfaces of a kind over one wire are connected
// when their numbers are equal, and not else.
func overlaid(c claim.Claim, kind, number string) bool {
	return claim.It(c, func(ctx SpecContext) {
		same := twoHosts(ctx, probe.Link{Kind: kind}, 100, 100)
		there := probe.Ping.In(same[0].Agent, probe.Echo{Dst: "10.0.0.2", Size: 3000, Within: replyTime})
		back := probe.Ping.In(same[1].Agent, probe.Echo{Dst: "10.0.0.1", Size: 3000, Within: replyTime})
		probe.Lower.In(same[1].Agent, "over0")
		down := same[0].silent("10.0.0.2")
		other := twoHosts(ctx, probe.Link{Kind: kind}, 100, 101)
		apart, under := other[0].silent("10.0.0.2"), other[0].reaches("192.0.2.2")
		claim.Evidence("%s 100 and 100: %q intact %v, back %q intact %v, with it down silence %v; 100 and 101: silence %v, on the wire itself reply %v", number, there.From, there.Intact, back.From, back.Intact, down, apart, under)
		Expect(there.From).To(Equal("10.0.0.2"), "host1 -> %s 100 -> wire -> %s 100 -> host2: the reply", kind, kind)
		Expect(back.From).To(Equal("10.0.0.1"), "host2 -> %s 100 -> wire -> %s 100 -> host1: the reply", kind, kind)
		Expect(there.Intact && back.Intact).To(BeTrue(), "3000 bytes of payload, in fragments over %s, come back as they went", kind)
		Expect(apart).To(BeTrue(), "no reply: host1 -> %s with %s 100 -> wire -> %s with %s 101 -> host2", kind, number, kind, number)
		Expect(down).To(BeTrue(), "contrast: no reply: host1 -> %s -> wire -> %s, which is down", kind, kind)
		Expect(under).To(BeTrue(), "contrast: host1 -> wire -> host2 beside it: reply")
	})
}

var _ = overlaid(claim.Claim{
	ID:       "network/vlan-on-veth-separates-by-id",
	Text:     "VLAN interfaces over a veth are connected when their VLAN IDs are equal, and not else.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "VLAN"), claim.Doc("IEEE 802.1Q", "")},
	Needs:    claim.Needs{vethNeed, vlanNeed},
	Contrast: "no reply with another ID, or with the VLAN interface down",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i link set eth0 up; for v in 10 $((19 + i)); do ip -n h$i link add eth0.$v link eth0 type vlan id $v; ip -n h$i addr add 10.0.${v%[0-9]}.$i/24 dev eth0.$v; ip -n h$i link set eth0.$v up; done; done; for v in 1 2; do ip netns exec h1 ping -qc 1 -W 1 10.0.$v.2 | grep -o '[01] received'; done",
	Shows:    "1 received\n0 received",
}, "vlan", "VLAN ID")

var _ = overlaid(claim.Claim{
	ID:       "network/geneve-connects-hosts-of-one-vni",
	Text:     "Geneve devices on two hosts are one Ethernet segment when their VNIs are equal, and not else.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "GENEVE"), claim.Doc("RFC 8926", "")},
	Needs:    claim.Needs{vethNeed, geneveNeed},
	Contrast: "no reply with another VNI, or with the device down",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add gnv0 type geneve id 100 remote 192.0.2.$((3 - i)); ip -n h$i addr add 10.0.0.$i/24 dev gnv0; ip -n h$i link set gnv0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "1 received",
}, "geneve", "VNI")
