package network

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// streamBytes is what a stream carries each way: many times what is under way at once.
const streamBytes = 1 << 20

var _ = claim.It(claim.Claim{
	ID:       "network/veth-carries-streams-and-full-frames-unchanged",
	Text:     "A veth carries TCP streams and frames of its full MTU unchanged, and refuses what is longer.",
	Source:   claim.Sources{claim.Man("veth(4)", ""), claim.Man("ip(7)", "IP_MTU_DISCOVER")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "EMSGSIZE for a byte more than the MTU has room for",
	Core:     true,
	Try:      "ip netns add c; ip link add v0 type veth peer name eth0 netns c; ip addr add 10.0.0.1/24 dev v0; ip link set v0 up; ip -n c addr add 10.0.0.2/24 dev eth0; ip -n c link set eth0 up; for s in 1472 1473; do ping -M do -s $s -c 1 -W 1 10.0.0.2 2>&1 | grep -o -m1 -e '1 received' -e 'too long'; done; ip link set v0 mtu 9000; ip -n c link set eth0 mtu 9000; ping -M do -s 8972 -qc 1 -W 1 10.0.0.2 | grep -o '1 received'",
	Shows:    "1 received\ntoo long\n1 received",
}, func(ctx SpecContext) {
	_, host, container := pair(ctx)
	echo := func(size int) probe.Reply {
		return probe.Ping.In(host.Agent, probe.Echo{Dst: "10.0.0.2", Size: size, DontFragment: true, Within: replyTime})
	}
	full := echo(1472)
	Expect(full.From).To(Equal("10.0.0.2"), "veth0 -> eth0: the reply to a packet of 1500 bytes, the MTU, that may not be fragmented")
	Expect(full.Intact).To(BeTrue(), "the payload of a packet of 1500 bytes comes back as it went")
	beyond := probe.Outrun.In(host.Agent, probe.Echo{Dst: "10.0.0.2", Size: 1473, DontFragment: true})
	Expect(beyond.From).To(BeEmpty(), "contrast: a reply to a packet of 1501 bytes that may not be fragmented")
	Expect(beyond.Problem).To(ContainSubstring("message too long"), "contrast: sending a packet of 1501 bytes that may not be fragmented")
	address := probe.ServeEcho.In(container.Agent, "10.0.0.2:80")
	stream := probe.Pour.In(host.Agent, probe.Stream{Address: address, Bytes: streamBytes, Within: replyTime})
	Expect(stream).To(Equal(probe.Streamed{Returned: streamBytes, Differs: -1}), "veth0 -> eth0 -> veth0: a TCP stream comes back whole, and no byte differs")
	probe.SetLink.In(host.Agent, probe.Change{Name: "veth0", MTU: 9000})
	probe.SetLink.In(container.Agent, probe.Change{Name: "eth0", MTU: 9000})
	jumbo := echo(8972)
	Expect(jumbo.From).To(Equal("10.0.0.2"), "veth0 -> eth0: the reply to a packet of 9000 bytes, both ends having that MTU")
	Expect(jumbo.Intact).To(BeTrue(), "the payload of a packet of 9000 bytes comes back as it went")
	again := probe.Pour.In(host.Agent, probe.Stream{Address: address, Bytes: streamBytes, Within: replyTime})
	Expect(again).To(Equal(probe.Streamed{Returned: streamBytes, Differs: -1}), "a TCP stream at MTU 9000 comes back whole, and no byte differs")
	claim.Evidence("a packet of 1500 bytes: %q; of 1501: %q; a stream of %d bytes there and back: %+v; a packet of 9000 bytes at MTU 9000: %q; a stream: %+v",
		full.From, beyond.Problem, streamBytes, stream, jumbo.From, again)
})

// manyPairs is as many containers as a small host has.
const manyPairs = 12

var _ = claim.It(claim.Claim{
	ID:       "network/veth-many-pairs-do-not-mix",
	Text:     "Many veth pairs between two namespaces are as many wires: what goes into one comes out of its own peer only.",
	Source:   claim.Sources{claim.Man("veth(4)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "a deleted pair takes its own traffic only",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	container := t.Container(host, "container")
	name := func(side string, i int) string { return fmt.Sprintf("%s%d", side, i) }
	for i := range manyPairs {
		t.Wire(host, name("veth", i), container, name("eth", i))
	}
	probe.Capture.In(container.Agent, probe.Anywhere)
	macs := map[string]bool{}
	// wrong are the pairs whose frame did not arrive once, and there only.
	wrong := func() (list []string) {
		for i := range manyPairs {
			host.transmitOn(name("veth", i), frame("02:00:00:00:00:01", toAll, fmt.Sprintf("pair-%02d.", i)))
		}
		frames := probe.FramesByLink.In(container.Agent, probe.None{})
		for at := range manyPairs {
			for sent := range manyPairs {
				want := 0
				if at == sent {
					want = 1
				}
				if got := marked(frames[name("eth", at)], fmt.Sprintf("pair-%02d.", sent)); got != want {
					list = append(list, fmt.Sprintf("veth%d's frame at eth%d: %d copies", sent, at, got))
				}
			}
		}
		return list
	}
	for _, l := range probe.Links.In(host.Agent, probe.None{}) {
		if l.Kind == "veth" {
			macs[l.MAC] = true
		}
	}
	astray := wrong()
	claim.Evidence("%d pairs with %d different MACs on the host's side; frames that went astray: %v", manyPairs, len(macs), astray)
	Expect(astray).To(BeEmpty(), "frames into vethN that did not come out of ethN, once, and of no other")
	Expect(macs).To(HaveLen(manyPairs), "different MACs among the host's ends")
	probe.DeleteLink.In(host.Agent, name("veth", 0))
	links := probe.Links.In(container.Agent, probe.None{})
	_, gone := probe.Find(links, name("eth", 0))
	_, stays := probe.Find(links, name("eth", 1))
	claim.Evidence("after veth0 was deleted eth0 is there: %v, eth1: %v", gone, stays)
	Expect(gone).To(BeFalse(), "contrast: eth0 in the container after veth0 was deleted")
	Expect(stays).To(BeTrue(), "contrast: eth1 in the container after veth0 was deleted")
})

var _ = claim.It(claim.Claim{
	ID:       "network/packet-socket-sees-only-its-namespace",
	Text:     "A packet socket on all interfaces sees the frames of its own network namespace and of no other.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", "DESCRIPTION"), claim.Man("packet(7)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "one in the sender's and one in the receiver's namespace see them",
	Core:     true,
	Try:      "for n in a b c; do ip netns add $n; done; ip link add eth0 netns a type veth peer name eth0 netns b; for n in a b c; do ip -n $n link set lo up; done; for n in a b; do ip -n $n link set eth0 up; done; ip -n a addr add 10.0.0.1/24 dev eth0; ip -n b addr add 10.0.0.2/24 dev eth0; for n in b c; do ip netns exec $n timeout 3 tcpdump -U -ni any -w $n.pcap icmp 2> $n.log & until grep -q listening $n.log 2> /dev/null; do :; done; done; ip netns exec a ping -qc 1 10.0.0.2 > /dev/null; wait; for n in b c; do tcpdump -r $n.pcap 2> /dev/null | grep -q 'echo request' && echo seen in $n || echo nothing in $n; done",
	Shows:    "seen in b\nnothing in c",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	a, b, third := t.Container(host, "a"), t.Container(host, "b"), t.Container(host, "third")
	t.Wire(a, "eth0", b, "eth0")
	all := []*Host{a, b, host, third}
	for _, h := range all {
		probe.Capture.In(h.Agent, probe.Anywhere)
	}
	a.transmit(broadcast(a, "private"))
	var seen []int
	for _, h := range all {
		seen = append(seen, copiesOn(h, probe.Anywhere, "private"))
	}
	claim.Evidence("copies of a frame from a to b seen in a: %d, in b: %d, in the namespace that made them: %d, in a third: %d", seen[0], seen[1], seen[2], seen[3])
	Expect(seen[2]).To(BeZero(), "frames between a and b seen by a packet socket in the namespace of their creator")
	Expect(seen[3]).To(BeZero(), "frames between a and b seen by a packet socket in a third namespace")
	Expect(seen[:2]).To(Equal([]int{1, 1}), "contrast: frames seen by packet sockets of a, which sends, and b, which receives")
})
