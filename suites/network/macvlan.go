package network

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// siblings is macvlan children in a mode, who know each other's and far's MACs:
// macvlan hands broadcasts out in work that it queues, and unicast at once.
func siblings(ctx SpecContext, mode string) children {
	m := newChildren(ctx, "macvlan", mode)
	all := map[string]*Host{"192.0.2.11": m.a, "192.0.2.12": m.b, "192.0.2.2": m.far}
	for from, h := range all {
		for to, other := range all {
			if from != to {
				probe.AddNeighbour.In(h.Agent, probe.Neighbour{Link: "eth0", IP: to, MAC: other.Link("eth0").MAC})
			}
		}
	}
	probe.Capture.In(m.far.Agent, "eth0")
	return m
}

var _ = claim.It(claim.Claim{
	ID:       "network/macvlan-private-mode-separates-siblings",
	Text:     "macvlan children in private mode reach the outside and not each other.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "MACVLAN")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, macvlanNeed},
	Contrast: "reply in bridge mode",
	Try:      "for n in far a b; do ip netns add $n; done; ip link add under0 type veth peer name eth0 netns far; ip link set under0 up; ip -n far addr add 192.0.2.2/24 dev eth0; ip -n far link set eth0 up; for n in a b; do ip link add eth0 netns $n link under0 type macvlan mode private; ip -n $n link set eth0 up; done; ip -n a addr add 192.0.2.11/24 dev eth0; ip -n b addr add 192.0.2.12/24 dev eth0; for i in 12 2; do ip netns exec a ping -qc 1 -W 1 192.0.2.$i | grep -o '[01] received'; done",
	Shows:    "0 received\n1 received",
}, func(ctx SpecContext) {
	private := siblings(ctx, "private")
	sibling, back := private.a.silent("192.0.2.12"), private.b.silent("192.0.2.11")
	out, in := private.a.reaches("192.0.2.2"), private.far.reaches("192.0.2.12")
	bridge := siblings(ctx, "bridge").a.reaches("192.0.2.12")
	claim.Evidence("private: sibling silence %v, back %v; outside %v, from outside %v; bridge mode: reply %v", sibling, back, out, in, bridge)
	Expect(sibling).To(BeTrue(), "no reply: macvlan child a -> its sibling b, in private mode")
	Expect(back).To(BeTrue(), "no reply: macvlan child b -> its sibling a, in private mode")
	Expect(out).To(BeTrue(), "macvlan child a -> parent interface -> far: reply")
	Expect(in).To(BeTrue(), "far -> parent interface -> macvlan child b: reply")
	Expect(bridge).To(BeTrue(), "contrast: macvlan child a -> its sibling b in bridge mode: reply")
})

var _ = claim.It(claim.Claim{
	ID:       "network/macvlan-vepa-mode-sends-siblings-frames-to-the-wire",
	Text:     "In vepa mode a macvlan child's frames for its sibling leave by the parent interface, for a switch there to send back.",
	Source:   claim.Sources{claim.Man("ip-link(8)", "MACVLAN"), claim.Doc("IEEE 802.1Qbg", "")},
	Needs:    claim.Needs{claim.Inet, claim.Wired, macvlanNeed},
	Contrast: "in bridge mode they do not leave",
	Try:      "for n in far a b; do ip netns add $n; done; ip link add under0 type veth peer name eth0 netns far; ip link set under0 up; ip -n far link set eth0 up; for n in a b; do ip link add eth0 netns $n link under0 type macvlan mode vepa; ip -n $n link set eth0 up; done; ip -n a addr add 192.0.2.11/24 dev eth0; ip -n b addr add 192.0.2.12/24 dev eth0; ip netns exec a ping -qc 1 -W 1 192.0.2.12 | grep -o '[01] received'; ip netns exec a ip -br link show eth0",
	Shows:    "0 received\neth0@if<index> UP …",
}, func(ctx SpecContext) {
	vepa := siblings(ctx, "vepa")
	silent := vepa.a.silent("192.0.2.12")
	wire := echoSources(vepa.far)
	out := vepa.a.reaches("192.0.2.2")
	bridge := siblings(ctx, "bridge")
	reply := bridge.a.reaches("192.0.2.12")
	inside := echoSources(bridge.far)
	claim.Evidence("vepa: echo requests on the wire from %v, silence of the sibling %v, outside %v; bridge mode: from %v, reply %v", wire, silent, out, inside, reply)
	Expect(wire).To(Equal([]string{"192.0.2.11"}), "sources of the echo requests on the wire, sent by macvlan child a to its sibling in vepa mode")
	Expect(silent).To(BeTrue(), "no reply of the sibling, nothing on the wire sending the frames back")
	Expect(out).To(BeTrue(), "macvlan child a -> parent interface -> far: reply")
	Expect(inside).To(BeEmpty(), "contrast: echo requests on the wire in bridge mode")
	Expect(reply).To(BeTrue(), "contrast: macvlan child a -> its sibling b in bridge mode: reply")
})
