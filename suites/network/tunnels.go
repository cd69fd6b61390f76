package network

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var (
	vlanNeed   = device("vlan", "CONFIG_VLAN_8021Q", probe.Link{Kind: "vlan", Name: "need0", Parent: "lower0", ID: 10})
	geneveNeed = device("geneve", "CONFIG_GENEVE", probe.Link{Kind: "geneve", Name: "need0", ID: 100, Remote: "192.0.2.2"})
	greNeed    = device("gretap", "CONFIG_NET_IPGRE", probe.Link{Kind: "gretap", Name: "need0", ID: 100, Local: "192.0.2.1", Remote: "192.0.2.2"})
	bondNeed   = device("bond", "CONFIG_BONDING", probe.Link{Kind: "bond", Name: "need0"})
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

var _ = overlaid(claim.Claim{
	ID:       "network/gre-connects-hosts-of-one-key",
	Text:     "GRE tap devices on two hosts are one Ethernet segment when their keys are equal, and not else.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "GRETAP"), claim.Doc("RFC 2890", "")},
	Needs:    claim.Needs{vethNeed, greNeed},
	Contrast: "no reply with another key, or with the device down",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add tap0 type gretap key 100 local 192.0.2.$i remote 192.0.2.$((3 - i)); ip -n h$i addr add 10.0.0.$i/24 dev tap0; ip -n h$i link set tap0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "1 received",
}, "gretap", "key")

var _ = claim.It(claim.Claim{
	ID:       "network/bond-goes-on-with-its-other-veth",
	Text:     "A bond in active-backup mode goes on with its other veth when the active one loses its carrier.",
	Source:   claim.Sources{claim.Doc("kernel bonding", "active-backup")},
	Needs:    claim.Needs{vethNeed, bridgeNeed, bondNeed},
	Contrast: "no reply with both down",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	container := t.Container(host, "container")
	t.Bridge(host, "br0")
	host.Address("br0", "10.0.0.1/24")
	probe.AddLink.In(container.Agent, probe.Link{Kind: "bond", Name: "bond0"})
	names := []string{"eth0", "eth1"}
	for i, name := range names {
		port := fmt.Sprintf("veth%d", i)
		t.Wire(host, port, container, name)
		probe.SetMaster.In(host.Agent, probe.Attach{Name: port, Master: "br0"})
		probe.Lower.In(container.Agent, name)
		probe.SetMaster.In(container.Agent, probe.Attach{Name: name, Master: "bond0"})
	}
	probe.Raise.In(container.Agent, "bond0")
	container.Address("bond0", "10.0.0.2/24")
	both := container.reaches("10.0.0.1")
	var one []bool
	for i := range names {
		probe.Lower.In(host.Agent, fmt.Sprintf("veth%d", i))
		// The bond finds out when it next looks.
		one = append(one, container.reaches("10.0.0.1"))
		probe.Raise.In(host.Agent, fmt.Sprintf("veth%d", i))
		Eventually(func() bool { return container.Link(names[i]).Carrier }).WithTimeout(linkTime).WithPolling(pollTime).Should(BeTrue(), "carrier of %s again", names[i])
		one = append(one, container.reaches("10.0.0.1"))
	}
	for i := range names {
		probe.Lower.In(host.Agent, fmt.Sprintf("veth%d", i))
	}
	none := container.silent("10.0.0.1")
	claim.Evidence("both up: reply %v; without the one, with it again, without the other, with it again: %v; both down: silence %v", both, one, none)
	Expect(both).To(BeTrue(), "container -> bond0 -> br0: reply with both veths up")
	Expect(one).To(HaveEach(true), "container -> bond0 -> br0: reply with one veth down, and up again")
	Expect(none).To(BeTrue(), "contrast: no reply with both veths down")
})
