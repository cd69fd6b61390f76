package network

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-spans-routed-underlay",
	Text:     "The two endpoints may be in different IP subnets with a router between, and the overlay is still one Ethernet segment.",
	Source:   claim.Sources{claim.Article2("What's VXLAN"), claim.Doc("RFC 7348", "")},
	Needs:    claim.Needs{claim.Wired, vxlanNeed},
	Contrast: "no reply when the router stops forwarding",
	Core:     true,
	Try:      "for n in h1 r h2; do ip netns add $n; done; for i in 1 2; do ip link add name u$i netns r type veth peer name eth0 netns h$i; ip -n r addr add 192.0.$i.1/24 dev u$i; ip -n r link set u$i up; ip -n h$i addr add 192.0.$i.2/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i route add default via 192.0.$i.1; ip -n h$i link add vxlan0 type vxlan id 100 local 192.0.$i.2 remote 192.0.$((3 - i)).2 dstport 4789; ip -n h$i addr add 10.0.0.$i/24 dev vxlan0; ip -n h$i link set vxlan0 up; done; for f in 1 0; do ip netns exec r sh -c \"echo $f > /proc/sys/net/ipv4/ip_forward\"; ip netns exec h1 ping -c 1 -W 1 10.0.0.2 | grep -o -e 'ttl=64' -e '[01] received'; done",
	Shows:    "ttl=64\n1 received\n0 received",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	router := t.Host("router")
	hosts := []*Host{t.Host("host1"), t.Host("host2")}
	underlay := []string{"192.0.2.", "198.51.100."}
	for i, h := range hosts {
		port := fmt.Sprintf("port%d", i+1)
		t.Wire(router, port, h, "under0")
		router.Address(port, underlay[i]+"1/24")
		h.Address("under0", underlay[i]+"2/24")
		h.Route("", underlay[i]+"1")
		probe.AddLink.In(h.Agent, probe.Link{Kind: "vxlan", Name: "vxlan0", ID: 100, Local: underlay[i] + "2", Remote: underlay[1-i] + "2", Port: 4789})
		h.Address("vxlan0", fmt.Sprintf("10.0.0.%d/24", i+1))
		probe.Raise.In(h.Agent, "vxlan0")
	}
	harness.Must(router.WriteFile(ipForward, "1"))
	there := probe.Ping.In(hosts[0].Agent, probe.Echo{Dst: "10.0.0.2", Within: replyTime})
	back := probe.Ping.In(hosts[1].Agent, probe.Echo{Dst: "10.0.0.1", Within: replyTime})
	under := probe.Ping.In(hosts[0].Agent, probe.Echo{Dst: "198.51.100.2", Within: replyTime})
	harness.Must(router.WriteFile(ipForward, "0"))
	stopped := hosts[0].silent("10.0.0.2")
	claim.Evidence("host1 to host2 over the overlay: %q, TTL %d; back: %q, TTL %d; on the underlay: TTL %d; with the router not forwarding: silence %v", there.From, there.TTL, back.From, back.TTL, under.TTL, stopped)
	Expect(there.From).To(Equal("10.0.0.2"), "host1 -> vxlan0 -> router -> vxlan0 -> host2: the reply to the ping")
	Expect(back.From).To(Equal("10.0.0.1"), "host2 -> vxlan0 -> router -> vxlan0 -> host1: the reply to the ping")
	Expect([]int{there.TTL, back.TTL}).To(HaveEach(64), "TTL of replies over the overlay, which is one Ethernet segment")
	Expect(under.TTL).To(Equal(63), "contrast: TTL of a reply on the underlay, past the router")
	Expect(stopped).To(BeTrue(), "contrast: no reply over the overlay when the router stops forwarding")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-learns-endpoints",
	Text:     "A VXLAN device learns from what it receives behind which endpoint a MAC is, and sends there and not to its default.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "VXLAN"), claim.Article2("Overview")},
	Needs:    claim.Needs{claim.Wired, vxlanNeed},
	Contrast: "no reply with learning off",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; done; for l in learning nolearning; do for i in 1 2; do ip -n h$i link add vxlan0 type vxlan id 100 local 192.0.2.$i remote 192.0.2.$((5 - 2 * i)) dstport 4789 $l; ip -n h$i addr add 10.0.0.$i/24 dev vxlan0; ip -n h$i link set vxlan0 up; done; ip netns exec h2 ping -qc 1 -W 1 10.0.0.1 | grep -o '[01] received'; for i in 1 2; do ip -n h$i link del vxlan0; done; done",
	Shows:    "1 received\n0 received",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	h1, h2 := t.Host("host1"), t.Host("host2")
	t.Wire(h1, "under0", h2, "under0")
	h1.Address("under0", "192.0.2.1/24")
	h2.Address("under0", "192.0.2.2/24")
	// Nobody is at host1's default endpoint: only what it learned from host2's
	// request leads its reply back.
	tunnel := func(name, subnet string, id int, nolearning bool) {
		probe.AddLink.In(h1.Agent, probe.Link{Kind: "vxlan", Name: name, ID: id, Local: "192.0.2.1", Remote: "192.0.2.3", Port: 4789, NoLearning: nolearning})
		probe.AddLink.In(h2.Agent, probe.Link{Kind: "vxlan", Name: name, ID: id, Local: "192.0.2.2", Remote: "192.0.2.1", Port: 4789})
		h1.Address(name, subnet+".1/24")
		h2.Address(name, subnet+".2/24")
		probe.Raise.In(h1.Agent, name)
		probe.Raise.In(h2.Agent, name)
	}
	tunnel("learns0", "10.0.0", 100, false)
	tunnel("static0", "10.0.1", 101, true)
	off := h2.silent("10.0.1.1")
	on := h2.reaches("10.0.0.1")
	claim.Evidence("host1's default endpoint being nobody's, host2 pings host1: reply %v; with learning off on host1: silence %v", on, off)
	Expect(on).To(BeTrue(), "host1 -> vxlan -> host2: the reply, to the endpoint that the request came from")
	Expect(off).To(BeTrue(), "contrast: no reply with learning off")
})

var _ = claim.It(claim.Claim{
	ID:       "network/vxlan-static-fdb-without-learning",
	Text:     "With learning off, static forwarding and neighbour entries alone carry traffic to the right endpoint.",
	Source:   claim.Sources{claim.Man("bridge(8)", "fdb"), claim.Article2("Overview")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, vxlanNeed},
	Contrast: "no reply with an empty table",
	Try:      "for i in 1 2; do ip netns add h$i; done; ip link add eth0 netns h1 type veth peer name eth0 netns h2; for i in 1 2; do ip -n h$i addr add 192.0.2.$i/24 dev eth0; ip -n h$i link set eth0 up; ip -n h$i link add vxlan0 address 02:00:00:00:00:0$i type vxlan id 100 local 192.0.2.$i dstport 4789 nolearning; ip -n h$i addr add 10.0.0.$i/24 dev vxlan0; ip -n h$i link set vxlan0 up; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'; for i in 1 2; do j=$((3 - i)); ip -n h$i neigh replace 10.0.0.$j lladdr 02:00:00:00:00:0$j dev vxlan0; bridge -n h$i fdb append 02:00:00:00:00:0$j dev vxlan0 dst 192.0.2.$j; done; ip netns exec h1 ping -qc 1 -W 1 10.0.0.2 | grep -o '[01] received'",
	Shows:    "0 received\n1 received",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	network := t.Host("switch")
	hosts := []*Host{t.Host("host1"), t.Host("host2"), t.Host("host3")}
	var ports []string
	for i, h := range hosts {
		ports = append(ports, fmt.Sprintf("port%d", i+1))
		t.Wire(network, ports[i], h, "under0")
		h.Address("under0", fmt.Sprintf("192.0.2.%d/24", i+1))
		probe.AddLink.In(h.Agent, probe.Link{Kind: "vxlan", Name: "vxlan0", ID: 100, Local: fmt.Sprintf("192.0.2.%d", i+1), Port: 4789, NoLearning: true})
		h.Address("vxlan0", fmt.Sprintf("10.0.0.%d/24", i+1))
		probe.Raise.In(h.Agent, "vxlan0")
	}
	t.Bridge(network, "br0", ports...)
	var macs []string
	for _, h := range hosts {
		macs = append(macs, h.Link("vxlan0").MAC)
	}
	neighbour := func(h *Host, of int) {
		probe.AddNeighbour.In(h.Agent, probe.Neighbour{Link: "vxlan0", IP: fmt.Sprintf("10.0.0.%d", of+1), MAC: macs[of]})
	}
	forward := func(h *Host, of int) {
		probe.AddNeighbour.In(h.Agent, probe.Neighbour{Link: "vxlan0", MAC: macs[of], Via: fmt.Sprintf("192.0.2.%d", of+1)})
	}
	for i, h := range hosts {
		for j := range hosts {
			if i != j {
				neighbour(h, j)
			}
		}
	}
	// The way back is there: with learning off it may not teach the way there.
	forward(hosts[1], 0)
	forward(hosts[2], 0)
	unlearned := hosts[1].silent("10.0.0.1")
	empty := hosts[0].silent("10.0.0.2")
	forward(hosts[0], 1)
	forward(hosts[0], 2)
	for _, h := range hosts[1:] {
		probe.Capture.In(h.Agent, "under0")
	}
	reply := hosts[0].reaches("10.0.0.2")
	right, wrong := 0, 0
	for _, f := range probe.Frames.In(hosts[1].Agent, "under0") {
		right += countUDP([]packet{decode(f)})
	}
	for _, f := range probe.Frames.In(hosts[2].Agent, "under0") {
		wrong += countUDP([]packet{decode(f)})
	}
	third := hosts[0].reaches("10.0.0.3")
	claim.Evidence("no forwarding entries on host1: host1 to host2 silence %v, host2 to host1 silence %v; with entries: host2 %v, host3 %v; VXLAN packets on the underlay of host2 %d, of host3 %d", empty, unlearned, reply, third, right, wrong)
	Expect(empty).To(BeTrue(), "contrast: no reply: host1 -> vxlan0 with an empty forwarding table")
	Expect(unlearned).To(BeTrue(), "contrast: no reply: host2 -> vxlan0 -> underlay -> host1, whose vxlan0 with learning off has no entry for the way back")
	Expect(reply).To(BeTrue(), "host1 -> vxlan0, a forwarding entry for 192.0.2.2 -> underlay -> host2: reply")
	Expect(third).To(BeTrue(), "host1 -> vxlan0, a forwarding entry for 192.0.2.3 -> underlay -> host3: reply")
	Expect(right).NotTo(BeZero(), "VXLAN packets at the endpoint that the entry names")
	Expect(wrong).To(BeZero(), "VXLAN packets for host2 at another endpoint, host3")
})
