package network

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// bonding, dummy and ip_gre make an interface of their own in the machine's first
// namespace when they are loaded: they are tried where they are there already.
var (
	bondNeed      = claim.Device("bond", "CONFIG_BONDING", probe.Link{Kind: "bond", Name: "need0", Mode: "active-backup"})
	dummyNeed     = claim.Device("dummy", "CONFIG_DUMMY", probe.Link{Kind: "dummy", Name: "need0"})
	greNeed       = claim.Device("gretap", "CONFIG_NET_IPGRE", probe.Link{Kind: "gretap", Name: "need0", ID: 100, Local: "192.0.2.1", Remote: "192.0.2.2"})
	wireguardNeed = claim.Device("wireguard", "CONFIG_WIREGUARD", probe.Link{Kind: "wireguard", Name: "need0"})
	vlanNeed      = claim.Device("vlan", "CONFIG_VLAN_8021Q", probe.Link{Kind: "vlan", Name: "need0", Parent: "lower0", ID: 10})
	geneveNeed    = claim.Device("geneve", "CONFIG_GENEVE", probe.Link{Kind: "geneve", Name: "need0", ID: 100, Remote: "192.0.2.2"})
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
	Needs:    claim.Needs{claim.Inet, claim.Wired, vlanNeed},
	Contrast: "no reply with another ID, or with the VLAN interface down",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i link set eth0 up; for v in 10 $((19 + i)); do ip -n h$i link add eth0.$v link eth0 type vlan id $v; ip -n h$i addr add 10.0.${v%[0-9]}.$i/24 dev eth0.$v; ip -n h$i link set eth0.$v up; done; done; for v in 1 2; do ip netns exec h1 ping -qc 1 -W 1 10.0.$v.2 | grep -o '[01] received'; done",
	Shows:    "1 received\n0 received",
}, "vlan", "VLAN ID")

var _ = overlaid(claim.Claim{
	ID:       "network/geneve-connects-hosts-of-one-vni",
	Text:     "Geneve devices on two hosts are one Ethernet segment when their VNIs are equal, and not else.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "GENEVE"), claim.Doc("RFC 8926", "")},
	Needs:    claim.Needs{claim.Wired, geneveNeed},
	Contrast: "no reply with another VNI, or with the device down",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add gnv0 type geneve id 100 remote 192.0.2.$((3 - i)); ip -n h$i addr add 10.0.0.$i/24 dev gnv0; ip -n h$i link set gnv0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "1 received",
}, "geneve", "VNI")

var _ = overlaid(claim.Claim{
	ID:       "network/gretap-connects-hosts-of-one-key",
	Text:     "GRE taps on two hosts are one Ethernet segment when their keys are equal, and not else.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "GRETAP"), claim.Doc("RFC 2890", "")},
	Needs:    claim.Needs{claim.Wired, claim.Loaded("CONFIG_NET_IPGRE"), greNeed},
	Contrast: "no reply with another key, or with the device down",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add tap0 type gretap key 100 local 192.0.2.$i remote 192.0.2.$((3 - i)); ip -n h$i addr add 10.0.0.$i/24 dev tap0; ip -n h$i link set tap0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "1 received",
}, "gretap", "key")

const wireguardPort = 51820

// wireguards is two hosts on one wire, each with a WireGuard interface that
// believes the other's key to be of a word.
func wireguards(ctx SpecContext, believed ...string) (hosts [2]*Host) {
	t := NewTopology(ctx)
	hosts = [2]*Host{t.Host("host1"), t.Host("host2")}
	t.Wire(hosts[0], "under0", hosts[1], "under0")
	for i, h := range hosts {
		h.Address("under0", fmt.Sprintf("192.0.2.%d/24", i+1))
		probe.AddLink.In(h.Agent, probe.Link{Kind: "wireguard", Name: "wg0"})
		probe.SetWireGuard.In(h.Agent, probe.WireGuard{
			Link: "wg0", Key: h.Name, Port: wireguardPort,
			Peer: believed[i], Endpoint: fmt.Sprintf("192.0.2.%d:%d", 2-i, wireguardPort), Allowed: "10.0.0.0/24",
		})
		h.Address("wg0", fmt.Sprintf("10.0.0.%d/24", i+1))
		probe.Raise.In(h.Agent, "wg0")
	}
	return hosts
}

var _ = claim.It(claim.Claim{
	ID:       "network/wireguard-connects-peers-that-know-their-keys",
	Text:     "WireGuard interfaces carry packets between peers that know each other's keys, encrypted, and none to a peer of another key.",
	Source:   claim.Sources{claim.Man("wg(8)", ""), claim.Doc("Flannel, wireguard backend", "")},
	Needs:    claim.Needs{claim.Wired, wireguardNeed},
	Contrast: "no reply when the other's key is not the one believed, though the wire itself carries packets",
	Since:    "5.6",
	Try:      "for i in 1 2; do ip netns add h$i; wg genkey > key$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add wg0 type wireguard; ip netns exec h$i wg set wg0 private-key key$i listen-port 51820 peer $(wg pubkey < key$((3 - i))) endpoint 192.0.2.$((3 - i)):51820 allowed-ips 10.0.0.0/24; ip -n h$i addr add 10.0.0.$i/24 dev wg0; ip -n h$i link set wg0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "1 received",
}, func(ctx SpecContext) {
	known := wireguards(ctx, "host2", "host1")
	probe.Capture.In(known[1].Agent, "under0")
	reply := probe.Ping.In(known[0].Agent, probe.Echo{Dst: "10.0.0.2", Size: 1000, Within: replyTime})
	bare, wrapped := 0, 0
	for _, f := range probe.Frames.In(known[1].Agent, "under0") {
		switch p := decode(f); {
		case p.icmp:
			bare++
		case p.udpPort == wireguardPort:
			wrapped++
		}
	}
	strangers := wireguards(ctx, "nobody", "host1")
	apart, under := strangers[0].silent("10.0.0.2"), strangers[0].reaches("192.0.2.2")
	claim.Evidence("keys known: reply from %q intact %v, on the wire %d UDP packets to port %d and %d ICMP packets; host1 believing another key: silence %v, on the wire itself reply %v", reply.From, reply.Intact, wrapped, wireguardPort, bare, apart, under)
	Expect(reply.From).To(Equal("10.0.0.2"), "host1 -> wg0 -> wire -> wg0 -> host2: the reply")
	Expect(reply.Intact).To(BeTrue(), "1000 bytes of payload come back through WireGuard as they went")
	Expect(wrapped).To(BeNumerically(">=", 4), "UDP packets to WireGuard's port on the wire: the two of the handshake, a request and a reply at least")
	Expect(bare).To(BeZero(), "ICMP packets in clear on the wire below WireGuard")
	Expect(apart).To(BeTrue(), "no reply: host1 -> wg0 that believes host2 to have another key")
	Expect(under).To(BeTrue(), "contrast: host1 -> wire -> host2 beside it: reply")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bond-active-backup-survives-a-dead-link",
	Text:     "An active-backup bond sends by one link, and by the other when the first loses its carrier.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "BOND"), claim.Doc("kernel bonding", "active-backup")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, claim.Loaded("CONFIG_BONDING"), bondNeed},
	Contrast: "no reply when both links are down",
	Try:      "ip netns add h; for i in 1 2; do ip link add v$i type veth peer name eth$i netns h; done; ip link add br0 type bridge; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up; ip -n h link add bond0 type bond mode active-backup miimon 5; for i in 1 2; do ip link set v$i master br0 up; ip -n h link set eth$i master bond0; done; ip -n h addr add 10.0.0.2/24 dev bond0; ip -n h link set bond0 up; for i in 1 2; do ip netns exec h ping -qc 4 -i 0.3 10.0.0.1 | grep -oE '[1-4] received' | tr 1234 +; ip link set v$i down; done; ip netns exec h ping -qc 1 -W 1 10.0.0.1 | grep -o '[01] received'",
	Shows:    "+ received\n+ received\n0 received",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	bonded := t.Container(host, "bonded")
	probe.AddLink.In(bonded.Agent, probe.Link{Kind: "bond", Name: "bond0", Mode: "active-backup"})
	for _, n := range []string{"1", "2"} {
		t.Wire(host, "veth"+n, bonded, "eth"+n)
		// A bond takes only links that are down, and raises them itself.
		probe.Lower.In(bonded.Agent, "eth"+n)
		probe.SetMaster.In(bonded.Agent, probe.Attach{Name: "eth" + n, Master: "bond0"})
	}
	t.Bridge(host, "br0", "veth1", "veth2")
	host.Address("br0", "10.0.0.1/24")
	bonded.Address("bond0", "10.0.0.2/24")
	probe.Raise.In(bonded.Agent, "bond0")
	active := sysClassNet(ctx, bonded)

	first := bonded.reaches("10.0.0.1")
	one := active("bond0/bonding/active_slave")
	probe.Lower.In(host.Agent, "veth1")
	second := bonded.reaches("10.0.0.1")
	other := active("bond0/bonding/active_slave")
	probe.Lower.In(host.Agent, "veth2")
	dead := bonded.silent("10.0.0.1")
	claim.Evidence("both links up: reply %v by %s; veth1 lowered: reply %v by %s; both lowered: silence %v", first, one, second, other, dead)
	Expect(first).To(BeTrue(), "bonded -> bond0 -> eth1 -> br0 of the host: reply")
	Expect(one).To(Equal("eth1"), "the link that a bond sends by: the first one")
	Expect(second).To(BeTrue(), "bonded -> bond0 -> eth2 -> br0 of the host, eth1 having lost its carrier: reply")
	Expect(other).To(Equal("eth2"), "the link that a bond sends by when the first has lost its carrier")
	Expect(dead).To(BeTrue(), "contrast: no reply when both links have lost their carrier")
})

var _ = claim.It(claim.Claim{
	ID:       "network/dummy-swallows-what-it-is-given",
	Text:     "A dummy interface takes every packet and delivers none; its own address answers.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "dummy"), claim.Doc("CNI plugins, dummy", "")},
	Needs:    claim.Needs{claim.Inet, claim.Loaded("CONFIG_DUMMY"), dummyNeed},
	Contrast: "the interface's own address answers",
	Try:      "ip netns add h; ip -n h link set lo up; ip -n h link add d0 type dummy; ip -n h addr add 10.0.0.1/24 dev d0; ip -n h link set d0 up; for a in 10.0.0.1 10.0.0.2; do ip netns exec h ping -qc 1 -W 1 $a | grep -o '[01] received'; done",
	Shows:    "1 received\n0 received",
}, func(ctx SpecContext) {
	host := NewTopology(ctx).Host("host")
	probe.AddLink.In(host.Agent, probe.Link{Kind: "dummy", Name: "dummy0"})
	host.Address("dummy0", "10.0.0.1/24")
	probe.Raise.In(host.Agent, "dummy0")
	probe.Capture.In(host.Agent, "dummy0")
	own, silent := host.reaches("10.0.0.1"), host.silent("10.0.0.2")
	var given []string
	for _, f := range probe.Frames.In(host.Agent, "dummy0") {
		if p := decode(f); p.echo {
			given = append(given, p.src+" to "+p.dst)
		}
	}
	claim.Evidence("its own address: reply %v; another of its network: silence %v; echo requests given to it: %v", own, silent, given)
	Expect(own).To(BeTrue(), "contrast: host -> its own address on dummy0: reply")
	Expect(silent).To(BeTrue(), "no reply: host -> dummy0, behind which nobody is")
	Expect(given).To(ContainElement("10.0.0.1 to 10.0.0.2"), "echo requests that dummy0 was given, with source and destination")
})
