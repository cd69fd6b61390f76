package network

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "network/route-forwarding-lowers-ttl-and-reports-mtu",
	Text:     "A forwarding host lowers the TTL by one, and tells the sender of a packet that may not be fragmented and is too big for the next link (fragmentation needed).",
	Source:   claim.Sources{claim.Doc("RFC 1812", "5.3.1"), claim.Doc("RFC 1191", "4"), claim.Man("ip(7)", "IP_MTU_DISCOVER")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "the host itself answers with the whole TTL; a smaller packet, or one that may be fragmented, passes",
	Try:      "ip netns add r; ip netns add c; ip netns add f; ip link add c netns r type veth peer name eth0 netns c; ip link add f netns r mtu 1000 type veth peer name eth0 netns f mtu 1000; ip -n r addr add 10.0.0.1/24 dev c; ip -n r addr add 192.0.2.1/24 dev f; ip -n c addr add 10.0.0.2/24 dev eth0; ip -n f addr add 192.0.2.2/24 dev eth0; for l in c f; do ip -n r link set $l up; ip -n $l link set eth0 up; done; ip -n c route add default via 10.0.0.1; ip -n f route add default via 192.0.2.1; ip netns exec r sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'; for a in 10.0.0.1 192.0.2.2; do ip netns exec c ping -c 1 -W 1 $a | grep -o 'ttl=[0-9]*'; done; ip netns exec c ping -M do -s 1200 -c 1 -W 1 192.0.2.2 | grep -o 'mtu = [0-9]*'",
	Shows:    "ttl=64\nttl=63\nmtu = 1000",
}, func(ctx SpecContext) {
	t, host, container := pair(ctx)
	far := t.Host("far")
	t.Wire(host, "uplink", far, "eth0")
	host.Address("uplink", "192.0.2.1/24")
	far.Address("eth0", "192.0.2.2/24")
	far.Route("", "192.0.2.1")
	container.Route("", "10.0.0.1")
	probe.SetLink.In(host.Agent, probe.Change{Name: "uplink", MTU: 1000})
	probe.SetLink.In(far.Agent, probe.Change{Name: "eth0", MTU: 1000})
	harness.Must(host.WriteFile(ipForward, "1"))
	ping := func(e probe.Echo) probe.Reply { return probe.Ping.In(container.Agent, e) }
	near := ping(probe.Echo{Dst: "10.0.0.1", Within: replyTime})
	beyond := ping(probe.Echo{Dst: "192.0.2.2", Within: replyTime})
	// The word of the host comes after the packet it is about: a later one is
	// then refused at once.
	var big probe.Reply
	for deadline := time.Now().Add(time.Duration(replyTime) * time.Millisecond); big.Problem == "" && big.From == "" && time.Now().Before(deadline); {
		big = ping(probe.Echo{Dst: "192.0.2.2", Size: 1200, DontFragment: true, Within: 100})
	}
	split := ping(probe.Echo{Dst: "192.0.2.2", Size: 1200, Within: replyTime})
	claim.Evidence("TTL of the host's reply %d, of one from beyond %d; 1200 bytes unfragmented over a link of 1000: %q; fragmented: reply %v",
		near.TTL, beyond.TTL, big.Problem, split.From != "")
	Expect(beyond.From).To(Equal("192.0.2.2"), "container -> host -> far: the reply to a small ping")
	Expect(beyond.TTL).To(Equal(63), "TTL of a reply that one host has forwarded")
	Expect(big.From).To(BeEmpty(), "a reply to 1200 bytes that may not be fragmented over a link with MTU 1000")
	Expect(big.Problem).To(Equal(unix.EMSGSIZE.Error()), "what the sender is told of a packet that is too big for a link behind the host: without it a connection hangs")
	Expect(near.TTL).To(Equal(64), "contrast: TTL of the host's own reply")
	Expect(split.From).To(Equal("192.0.2.2"), "contrast: the reply to 1200 bytes that may be fragmented")
})
