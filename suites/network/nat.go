package network

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// rules needs nf_tables with what the ruleset uses.
func rules(name string, options []string, chain probe.Chain) *claim.Need {
	return claim.Feature(name, "", append([]string{"CONFIG_NET_NS", "CONFIG_NF_TABLES", "CONFIG_NF_TABLES_IPV4"}, options...), func(ctx context.Context) error {
		sb, err := tryNetwork(ctx)
		if err != nil {
			return err
		}
		_, err = probe.AddRules.Try(sb.Agent(ctx), probe.Ruleset{Table: "need", Chains: []probe.Chain{chain}})
		return err
	})
}

// iptables needs the table nat of x_tables with what the chain uses.
func iptables(name, option string, chain probe.Chain) *claim.Need {
	return claim.Feature(name, "", []string{"CONFIG_NET_NS", "CONFIG_IP_NF_IPTABLES", option}, func(ctx context.Context) error {
		sb, err := tryNetwork(ctx)
		if err != nil {
			return err
		}
		_, err = probe.Iptables.Try(sb.Agent(ctx), probe.Ruleset{Table: "nat", Chains: []probe.Chain{chain}})
		return err
	})
}

var (
	filterNeed = rules("nf_tables", nil, probe.Chain{Hook: "forward", Rules: []probe.Rule{{In: "a", Out: "b", Drop: true}}})
	masqNeed   = rules("nf_tables masquerade", []string{"CONFIG_NF_NAT", "CONFIG_NFT_NAT", "CONFIG_NFT_MASQ"},
		probe.Chain{Hook: "postrouting", NAT: true, Rules: []probe.Rule{{Out: "a", Masquerade: true}}})
	dnatNeed = rules("nf_tables dnat", []string{"CONFIG_NF_NAT", "CONFIG_NFT_NAT"},
		probe.Chain{Hook: "prerouting", NAT: true, Rules: []probe.Rule{{In: "a", Port: 1, DNAT: "127.0.0.1:1"}}})
	iptablesNeed     = iptables("nat of x_tables", "CONFIG_IP_NF_NAT", probe.Chain{Hook: "postrouting"})
	iptablesMasqNeed = iptables("MASQUERADE of x_tables", "CONFIG_NETFILTER_XT_TARGET_MASQUERADE", probe.Chain{Hook: "postrouting", Rules: []probe.Rule{{Out: "a", Masquerade: true}}})
	iptablesDNATNeed = iptables("DNAT of x_tables", "CONFIG_NETFILTER_XT_NAT", probe.Chain{Hook: "prerouting", Rules: []probe.Rule{{In: "a", Port: 1, DNAT: "127.0.0.1:1"}}})
	bridgeFilterNeed = claim.Feature("bridge netfilter", "", []string{"CONFIG_NET_NS", "CONFIG_BRIDGE_NETFILTER"}, func(ctx context.Context) error {
		sb, err := tryNetwork(ctx)
		if err != nil {
			return err
		}
		return sb.WriteFile(callIptables, "1")
	})
)

const (
	ipForward    = "/proc/sys/net/ipv4/ip_forward"
	callIptables = "/proc/sys/net/bridge/bridge-nf-call-iptables"
)

// published is a Docker host: container1 behind br0, and another host on its
// uplink, which knows no way to the containers.
type published struct{ host, container, far *Host }

func newPublished(ctx SpecContext) published {
	t, host, c := bridged(ctx, 1)
	host.Address("br0", "10.0.0.1/24")
	far := t.Host("far")
	t.Wire(host, "uplink", far, "eth0")
	host.Address("uplink", "192.0.2.1/24")
	far.Address("eth0", "192.0.2.2/24")
	c[0].Route("", "10.0.0.1")
	harness.Must(host.WriteFile(ipForward, "1"))
	return published{host, c[0], far}
}

// echoSources are the sources of the echo requests captured on a machine's
// eth0, each once.
func echoSources(at *Host) []string {
	list := []string{}
	seen := map[string]bool{}
	for _, f := range probe.Frames.In(at.Agent, "eth0") {
		if p := decode(f); p.echo && !seen[p.src] {
			seen[p.src] = true
			list = append(list, p.src)
		}
	}
	return list
}

// addRules is probe.AddRules.In or probe.Iptables.In.
type addRules func(probe.Target, probe.Ruleset) probe.None

// masqueraded shows a container behind masquerade, by either interface to NAT.
func masqueraded(ctx SpecContext, add addRules) {
	p := newPublished(ctx)
	probe.Capture.In(p.far.Agent, "eth0")
	without := p.container.silent("192.0.2.2")
	bare := echoSources(p.far)
	add(p.host.Agent, probe.Ruleset{Table: "nat", Chains: []probe.Chain{
		{Hook: "postrouting", NAT: true, Rules: []probe.Rule{{Out: "uplink", Masquerade: true}}}}})
	with := p.container.reaches("192.0.2.2")
	sources := echoSources(p.far)
	probe.Serve.In(p.far.Agent, probe.Server{Name: "far", Address: "192.0.2.2:80"})
	heard, err := probe.Connect.Try(p.container.Agent, probe.Dial{Address: "192.0.2.2:80", Send: "hello", Within: replyTime})
	claim.Evidence("without: echo requests from %v on far's eth0, silence %v; with masquerade: from %v, reply %v; TCP: %q, %v", bare, without, sources, with, heard.Reply, err)
	Expect(bare).To(Equal([]string{"10.0.0.11"}), "contrast: sources of the container's echo requests on far's eth0 without masquerade")
	Expect(without).To(BeTrue(), "contrast: no answer without masquerade, far having no route to the container")
	Expect(sources).To(Equal([]string{"192.0.2.1"}), "sources of the container's echo requests on far's eth0 with masquerade: the uplink's address")
	Expect(with).To(BeTrue(), "container1 -> br0 -> host -> uplink, masqueraded -> far: reply")
	Expect(err).NotTo(HaveOccurred(), "container1 -> br0 -> host -> uplink, masqueraded -> far: a TCP connection")
	Expect(heard.Reply).To(HavePrefix("far heard hello from 192.0.2.1:"), "what far's server says of its client")
}

// publishes shows a container's port behind DNAT, by either interface to NAT.
func publishes(ctx SpecContext, add addRules) {
	p := newPublished(ctx)
	probe.Serve.In(p.container.Agent, probe.Server{Name: "container1", Address: "10.0.0.11:80"})
	before := probe.Knock.In(p.far.Agent, "192.0.2.1:8080")
	add(p.host.Agent, probe.Ruleset{Table: "nat", Chains: []probe.Chain{
		{Hook: "prerouting", NAT: true, Rules: []probe.Rule{{In: "uplink", Port: 8080, DNAT: "10.0.0.11:80"}}}}})
	heard, err := probe.Connect.Try(p.far.Agent, probe.Dial{Address: "192.0.2.1:8080", Send: "hello", Within: replyTime})
	other := probe.Knock.In(p.far.Agent, "192.0.2.1:8081")
	claim.Evidence("far to 192.0.2.1:8080 before: %s; with the rule: %q, %v; to port 8081: %s", before, heard.Reply, err, other)
	Expect(before).To(Equal(probe.Refused), "contrast: far -> uplink: a connection to port 8080 of the host before there is a DNAT rule")
	Expect(err).NotTo(HaveOccurred(), "far -> uplink, DNAT to 10.0.0.11:80 -> br0 -> container1: a TCP connection to the published port")
	Expect(heard.Reply).To(HavePrefix("container1 heard hello from 192.0.2.2:"), "what the container's server says of its client")
	Expect(other).To(Equal(probe.Refused), "contrast: a port of the host that is not published")
}

var _ = claim.It(claim.Claim{
	ID:       "network/nat-masquerade-rewrites-source",
	Text:     "With MASQUERADE the outside sees the host's address instead of the container's.",
	Source:   claim.Sources{claim.Man("iptables-extensions(8)", "MASQUERADE"), claim.Man("nft(8)", "NAT STATEMENTS")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, masqNeed},
	Contrast: "no answer without it, the outside having no route back",
	Core:     true,
	Try:      "for n in c far; do ip netns add $n; done; ip link add v0 type veth peer name eth0 netns c; ip link add up0 type veth peer name eth0 netns far; ip addr add 10.0.0.1/24 dev v0; ip addr add 192.0.2.1/24 dev up0; ip link set v0 up; ip link set up0 up; ip -n c addr add 10.0.0.11/24 dev eth0; ip -n far addr add 192.0.2.2/24 dev eth0; ip -n c link set eth0 up; ip -n far link set eth0 up; ip -n c route add default via 10.0.0.1; echo 1 > /proc/sys/net/ipv4/ip_forward; ip netns exec c ping -qc 1 -W 1 192.0.2.2 | grep -o '[01] received'; nft 'add table ip t; add chain ip t post { type nat hook postrouting priority 100; }; add rule ip t post oif up0 masquerade'; ip netns exec c ping -qc 1 -W 1 192.0.2.2 | grep -o '[01] received'",
	Shows:    "0 received\n1 received",
}, func(ctx SpecContext) { masqueraded(ctx, probe.AddRules.In) })

var _ = claim.It(claim.Claim{
	ID:       "network/nat-dnat-publishes-a-port",
	Text:     "A DNAT rule makes a container's port reachable at a port of the host's address, with the client address preserved.",
	Source:   claim.Sources{claim.Man("iptables-extensions(8)", "DNAT"), claim.Man("nft(8)", "NAT STATEMENTS")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, dnatNeed},
	Contrast: "ECONNREFUSED before, and at other ports",
	Core:     true,
	Try:      "for n in c far; do ip netns add $n; done; ip link add v0 type veth peer name eth0 netns c; ip link add up0 type veth peer name eth0 netns far; ip addr add 10.0.0.1/24 dev v0; ip addr add 192.0.2.1/24 dev up0; ip link set v0 up; ip link set up0 up; ip -n c addr add 10.0.0.11/24 dev eth0; ip -n far addr add 192.0.2.2/24 dev eth0; ip -n c link set eth0 up; ip -n far link set eth0 up; ip -n c route add default via 10.0.0.1; echo 1 > /proc/sys/net/ipv4/ip_forward; ip netns exec c socat TCP-LISTEN:80 SYSTEM:'echo $SOCAT_PEERADDR' & until ip netns exec c grep -q :0050 /proc/net/tcp; do :; done; ip netns exec far socat -u TCP:192.0.2.1:8080 - 2>&1 | grep -o 'Connection refused'; nft 'add table ip t; add chain ip t pre { type nat hook prerouting priority -100; }; add rule ip t pre tcp dport 8080 dnat to 10.0.0.11:80'; ip netns exec far socat -u TCP:192.0.2.1:8080 -",
	Shows:    "Connection refused\n192.0.2.2",
}, func(ctx SpecContext) { publishes(ctx, probe.AddRules.In) })

var _ = claim.It(claim.Claim{
	ID:       "network/iptables-masquerade-rewrites-source",
	Text:     "With MASQUERADE set by the interface of iptables, past nf_tables, the outside sees the host's address instead of the container's.",
	Source:   claim.Sources{claim.Man("iptables-extensions(8)", "MASQUERADE")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, iptablesNeed, iptablesMasqNeed},
	Contrast: "no answer without it, the outside having no route back",
	Try:      "for n in c far; do ip netns add $n; done; ip link add v0 type veth peer name eth0 netns c; ip link add up0 type veth peer name eth0 netns far; ip addr add 10.0.0.1/24 dev v0; ip addr add 192.0.2.1/24 dev up0; ip link set v0 up; ip link set up0 up; ip -n c addr add 10.0.0.11/24 dev eth0; ip -n far addr add 192.0.2.2/24 dev eth0; ip -n c link set eth0 up; ip -n far link set eth0 up; ip -n c route add default via 10.0.0.1; echo 1 > /proc/sys/net/ipv4/ip_forward; ip netns exec c ping -qc 1 -W 1 192.0.2.2 | grep -o '[01] received'; iptables-legacy -t nat -A POSTROUTING -o up0 -j MASQUERADE; ip netns exec c ping -qc 1 -W 1 192.0.2.2 | grep -o '[01] received'",
	Shows:    "0 received\n1 received",
}, func(ctx SpecContext) { masqueraded(ctx, probe.Iptables.In) })

var _ = claim.It(claim.Claim{
	ID:       "network/iptables-dnat-publishes-a-port",
	Text:     "A DNAT rule set by the interface of iptables, past nf_tables, makes a container's port reachable at a port of the host's address.",
	Source:   claim.Sources{claim.Man("iptables-extensions(8)", "DNAT")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, iptablesNeed, iptablesDNATNeed},
	Contrast: "ECONNREFUSED before, and at other ports",
	Try:      "for n in c far; do ip netns add $n; done; ip link add v0 type veth peer name eth0 netns c; ip link add up0 type veth peer name eth0 netns far; ip addr add 10.0.0.1/24 dev v0; ip addr add 192.0.2.1/24 dev up0; ip link set v0 up; ip link set up0 up; ip -n c addr add 10.0.0.11/24 dev eth0; ip -n far addr add 192.0.2.2/24 dev eth0; ip -n c link set eth0 up; ip -n far link set eth0 up; ip -n c route add default via 10.0.0.1; echo 1 > /proc/sys/net/ipv4/ip_forward; ip netns exec c socat TCP-LISTEN:80 SYSTEM:'echo $SOCAT_PEERADDR' & until ip netns exec c grep -q :0050 /proc/net/tcp; do :; done; ip netns exec far socat -u TCP:192.0.2.1:8080 - 2>&1 | grep -o 'Connection refused'; iptables-legacy -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to 10.0.0.11:80; ip netns exec far socat -u TCP:192.0.2.1:8080 -",
	Shows:    "Connection refused\n192.0.2.2",
}, func(ctx SpecContext) { publishes(ctx, probe.Iptables.In) })

var _ = claim.It(claim.Claim{
	ID:       "network/nat-localhost-publish-needs-output-rule-and-route-localnet",
	Text:     "A published port answers on the host's 127.0.0.1 only with a DNAT rule in OUTPUT and route_localnet on the bridge.",
	Source:   claim.Sources{claim.Doc("kernel ip-sysctl route_localnet", ""), claim.Man("iptables-extensions(8)", "DNAT")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, dnatNeed, masqNeed},
	Contrast: "refused with PREROUTING alone, no answer without route_localnet",
	Try:      "ip netns add c; ip link add v0 type veth peer name eth0 netns c; ip addr add 10.0.0.1/24 dev v0; ip link set v0 up; ip -n c addr add 10.0.0.11/24 dev eth0; ip -n c link set eth0 up; ip netns exec c socat TCP-LISTEN:80 SYSTEM:'echo $SOCAT_PEERADDR' & until ip netns exec c grep -q :0050 /proc/net/tcp; do :; done; nft 'add table ip t; add chain ip t pre { type nat hook prerouting priority -100; }; add rule ip t pre tcp dport 8080 dnat to 10.0.0.11:80; add chain ip t post { type nat hook postrouting priority 100; }; add rule ip t post oif v0 masquerade'; socat -u TCP:127.0.0.1:8080 - 2>&1 | grep -o 'Connection refused'; nft 'add chain ip t out { type nat hook output priority -100; }; add rule ip t out tcp dport 8080 dnat to 10.0.0.11:80'; socat -u TCP:127.0.0.1:8080,connect-timeout=0.3 - 2>&1 | grep -o 'Connection timed out'; echo 1 > /proc/sys/net/ipv4/conf/v0/route_localnet; socat -u TCP:127.0.0.1:8080 -",
	Shows:    "Connection refused\nConnection timed out\n10.0.0.1",
}, func(ctx SpecContext) {
	p := newPublished(ctx)
	probe.Serve.In(p.container.Agent, probe.Server{Name: "container1", Address: "10.0.0.11:80"})
	dnat := probe.Rule{Port: 8080, DNAT: "10.0.0.11:80"}
	probe.AddRules.In(p.host.Agent, probe.Ruleset{Table: "published", Chains: []probe.Chain{
		{Hook: "prerouting", NAT: true, Rules: []probe.Rule{dnat}},
		// The container cannot answer to 127.0.0.1, which is its own.
		{Hook: "postrouting", NAT: true, Rules: []probe.Rule{{Out: "br0", Masquerade: true}}}}})
	far := probe.Knock.In(p.far.Agent, "192.0.2.1:8080")
	prerouting := probe.Knock.In(p.host.Agent, "127.0.0.1:8080")
	probe.AddRules.In(p.host.Agent, probe.Ruleset{Table: "localhost", Chains: []probe.Chain{{Hook: "output", NAT: true, Rules: []probe.Rule{dnat}}}})
	output := probe.Knock.In(p.host.Agent, "127.0.0.1:8080")
	harness.Must(p.host.WriteFile("/proc/sys/net/ipv4/conf/br0/route_localnet", "1"))
	heard, err := probe.Connect.Try(p.host.Agent, probe.Dial{Address: "127.0.0.1:8080", Send: "hello", Within: replyTime})
	claim.Evidence("from far: %s; 127.0.0.1:8080 with a rule in prerouting: %s; in output too: %s; and route_localnet: %q, %v", far, prerouting, output, heard.Reply, err)
	Expect(far).To(Equal(probe.Open), "far -> uplink, DNAT -> br0 -> container1: a connection to the published port")
	Expect(prerouting).To(Equal(probe.Refused), "contrast: 127.0.0.1:8080 on the host with a DNAT rule in prerouting alone, which locally made packets do not pass")
	Expect(output).To(Equal(probe.Silence), "contrast: 127.0.0.1:8080 with a DNAT rule in output, without route_localnet on br0")
	Expect(err).NotTo(HaveOccurred(), "127.0.0.1:8080, DNAT in output -> br0 with route_localnet -> container1: a TCP connection")
	Expect(heard.Reply).To(HavePrefix("container1 heard hello from 10.0.0.1:"), "what the container's server says of its client, masqueraded on br0")
})

var _ = claim.It(claim.Claim{
	ID:       "network/filter-forward-drop-separates-containers",
	Text:     "With FORWARD policy DROP containers on different host links cannot reach each other, while traffic to the host itself still passes.",
	Source:   claim.Sources{claim.Man("iptables(8)", ""), claim.Man("nft(8)", "CHAINS")},
	Needs:    claim.Needs{claim.Wired, filterNeed},
	Contrast: "reply before; host still answers",
	Try:      "for i in 1 2; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip addr add 10.0.$i.1/24 dev v$i; ip link set v$i up; ip -n c$i addr add 10.0.$i.2/24 dev eth0; ip -n c$i link set eth0 up; ip -n c$i route add default via 10.0.$i.1; done; echo 1 > /proc/sys/net/ipv4/ip_forward; ip netns exec c1 ping -qc 1 10.0.2.2 | grep -o '1 received'; nft 'add table ip t; add chain ip t f { type filter hook forward priority 0; policy drop; }'; for a in 10.0.2.2 10.0.1.1; do ip netns exec c1 ping -qc 1 -W 1 $a | grep -o '[01] received'; done",
	Shows:    "1 received\n0 received\n1 received",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	a, b := t.Container(host, "container1"), t.Container(host, "container2")
	for i, c := range []*Host{a, b} {
		link, net := []string{"veth1", "veth2"}[i], []string{"10.0.1.", "10.0.2."}[i]
		t.Wire(host, link, c, "eth0")
		host.Address(link, net+"1/24")
		c.Address("eth0", net+"2/24")
		c.Route("", net+"1")
	}
	harness.Must(host.WriteFile(ipForward, "1"))
	before := a.reaches("10.0.2.2")
	probe.AddRules.In(host.Agent, probe.Ruleset{Table: "bulkhead", Chains: []probe.Chain{{Hook: "forward", Drop: true}}})
	dropped, back := a.silent("10.0.2.2"), b.silent("10.0.1.2")
	still := a.reaches("10.0.1.1")
	probe.DeleteTable.In(host.Agent, "bulkhead")
	after := a.reaches("10.0.2.2")
	claim.Evidence("before: reply %v; policy drop: silence %v, back %v; the host answers: %v; with the table deleted: reply %v", before, dropped, back, still, after)
	Expect(before).To(BeTrue(), "contrast: container1 -> host -> container2 before: reply")
	Expect(dropped).To(BeTrue(), "no reply: container1 -> veth1 -> host, policy drop at the forward hook -> container2")
	Expect(back).To(BeTrue(), "no reply: container2 -> veth2 -> host, policy drop at the forward hook -> container1")
	Expect(still).To(BeTrue(), "container1 -> veth1 -> the host itself, which is no forwarding: reply")
	Expect(after).To(BeTrue(), "contrast: container1 -> host -> container2 with the table deleted: reply")
})

var _ = claim.It(claim.Claim{
	ID:       "network/bridge-netfilter-sysctl-subjects-frames-to-iptables",
	Text:     "Bridged IP frames pass iptables FORWARD only while bridge-nf-call-iptables is 1.",
	Source:   claim.Sources{claim.Doc("kernel ip-sysctl bridge-nf-call-iptables", ""), claim.Doc("Kubernetes, container runtimes", "")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, filterNeed, bridgeFilterNeed},
	Contrast: "ping passes at 0",
	Core:     true,
	Since:    "5.3",
	Try:      "ip link add br0 type bridge; ip link set br0 up; for i in 1 2; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip link set v$i master br0 up; ip -n c$i addr add 10.0.0.1$i/24 dev eth0; ip -n c$i link set eth0 up; done; nft 'add table ip t; add chain ip t f { type filter hook forward priority 0; policy drop; }'; for v in 1 0; do echo $v > /proc/sys/net/bridge/bridge-nf-call-iptables; ip netns exec c1 ping -qc 1 -W 1 10.0.0.12 | grep -o '[01] received'; done",
	Shows:    "0 received\n1 received",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 2)
	harness.Must(host.WriteFile(callIptables, "0"))
	probe.AddRules.In(host.Agent, probe.Ruleset{Table: "bulkhead", Chains: []probe.Chain{{Hook: "forward", Drop: true}}})
	off := c[0].reaches("10.0.0.12")
	harness.Must(host.WriteFile(callIptables, "1"))
	on := c[0].silent("10.0.0.12")
	harness.Must(host.WriteFile(callIptables, "0"))
	again := c[0].reaches("10.0.0.12")
	claim.Evidence("policy drop at the forward hook; bridge-nf-call-iptables 0: reply %v; 1: silence %v; 0 again: reply %v", off, on, again)
	Expect(off).To(BeTrue(), "contrast: container1 -> br0 -> container2 past a forward hook that drops, bridge-nf-call-iptables being 0: reply")
	Expect(on).To(BeTrue(), "no reply: container1 -> br0, whose frames pass the forward hook with bridge-nf-call-iptables 1 -> container2")
	Expect(again).To(BeTrue(), "contrast: container1 -> br0 -> container2 with bridge-nf-call-iptables 0 again: reply")
})

var _ = claim.It(claim.Claim{
	ID:       "network/filter-bridge-to-bridge-rule-keeps-containers-apart",
	Text:     "With bridge netfilter a rule that drops what comes from and goes to one bridge keeps its containers apart, and leaves their way out open.",
	Source:   claim.Sources{claim.Doc("Docker, com.docker.network.bridge.enable_icc", "")},
	Needs:    claim.Needs{claim.Wired, claim.Bridge, filterNeed, bridgeFilterNeed},
	Contrast: "reply between the containers without the rule; reply from the gateway with it",
	Since:    "5.3",
	Try:      "ip link add br0 type bridge; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up; for i in 1 2; do ip netns add c$i; ip link add v$i type veth peer name eth0 netns c$i; ip link set v$i master br0 up; ip -n c$i addr add 10.0.0.1$i/24 dev eth0; ip -n c$i link set eth0 up; done; echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; nft 'add table ip t; add chain ip t f { type filter hook forward priority 0; }; add rule ip t f iifname br0 oifname br0 drop'; for a in 10.0.0.12 10.0.0.1; do ip netns exec c1 ping -qc 1 -W 1 $a | grep -o '[01] received'; done",
	Shows:    "0 received\n1 received",
}, func(ctx SpecContext) {
	_, host, c := bridged(ctx, 2)
	host.Address("br0", "10.0.0.1/24")
	harness.Must(host.WriteFile(callIptables, "1"))
	before := c[0].reaches("10.0.0.12")
	probe.AddRules.In(host.Agent, probe.Ruleset{Table: "bulkhead", Chains: []probe.Chain{{Hook: "forward", Rules: []probe.Rule{{In: "br0", Out: "br0", Drop: true}}}}})
	apart := c[0].silent("10.0.0.12")
	gateway := c[0].reaches("10.0.0.1")
	claim.Evidence("without the rule: reply %v; with it: silence %v; the gateway answers: %v", before, apart, gateway)
	Expect(before).To(BeTrue(), "contrast: container1 -> br0 -> container2 without the rule: reply")
	Expect(apart).To(BeTrue(), "no reply: container1 -> br0, a rule that drops from br0 to br0 -> container2")
	Expect(gateway).To(BeTrue(), "contrast: container1 -> br0, the gateway itself: reply")
})

var _ = claim.It(claim.Claim{
	ID:       "network/conntrack-is-per-namespace",
	Text:     "Each network namespace tracks its own connections: the same addresses and ports are another connection in another.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", "DESCRIPTION"), claim.Doc("kernel nf_conntrack-sysctl", "")},
	Needs:    claim.Needs{masqNeed, trackedNeed},
	Contrast: "listed in the namespace it is made in",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	container := t.Container(host, "container")
	for _, h := range []*Host{host, container} {
		// A chain of the nat type turns connection tracking on.
		probe.AddRules.In(h.Agent, probe.Ruleset{Table: "bulkhead", Chains: []probe.Chain{{Hook: "postrouting", NAT: true, Rules: []probe.Rule{{Out: "none0", Masquerade: true}}}}})
	}
	address := probe.Serve.In(container.Agent, probe.Server{Name: "container", Address: "127.0.0.1:80"})
	talk := probe.Connect.In(container.Agent, probe.Dial{Address: address, Send: "hello", Within: replyTime})
	flow := "6 " + talk.Local + " -> " + address
	there, here := probe.Tracked.In(container.Agent, probe.None{}), probe.Tracked.In(host.Agent, probe.None{})
	claim.Evidence("tracked in the container: %v; on the host: %v", there, here)
	Expect(there).To(ContainElement(flow), "contrast: a connection in the table of the namespace that it is in")
	Expect(here).NotTo(ContainElement(flow), "a container's connection over its own lo in the host's table")
	Expect(strings.Join(here, "\n")).NotTo(ContainSubstring("127.0.0.1:80"), "a container's connection in the host's table")
})

var trackedNeed = claim.Feature("listing tracked connections", "", []string{"CONFIG_NET_NS", "CONFIG_NF_CONNTRACK", "CONFIG_NF_CT_NETLINK"}, func(ctx context.Context) error {
	sb, err := tryNetwork(ctx)
	if err != nil {
		return err
	}
	_, err = probe.Tracked.Try(sb.Agent(ctx), probe.None{})
	return err
})
