package namespaces

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// nftNeed is the possibility to add a rule of nf_tables.
var nftNeed = claim.Feature("nf_tables", "3.13", []string{"CONFIG_NET_NS", "CONFIG_NF_TABLES", "CONFIG_NF_TABLES_IPV4"}, func(ctx context.Context) error {
	sb, err := harness.TryStart(ctx, harness.New(namespace.Network))
	if err != nil {
		return err
	}
	_, err = probe.DropOutput.Try(sb.Agent(ctx), "need")
	return err
})

// sendUDP sends a datagram to 127.0.0.1, where nobody needs to listen: a
// packet that a filter drops on its way out is EPERM to the sender.
func sendUDP(sb *harness.Sandbox) error {
	fd := harness.Got(sb.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	defer func() { harness.Must(sb.Close(fd)) }()
	address := inet4(127, 0, 0, 1, 9)
	_, err := sb.Syscall("sendto 127.0.0.1", unix.SYS_SENDTO, fd, []byte("x"), 1, 0, address, len(address))
	return err
}

var _ = claim.It(claim.Claim{
	ID:       "net/firewall-rules-isolated",
	Text:     "Firewall rules belong to one network namespace.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{netNeed, nftNeed},
	Contrast: "traffic passed before, and passes in other namespaces, which list no such rule",
	Try: "unshare --net sh -c 'ip link set lo up; ping -qc 1 127.0.0.1 | grep -o \"1 received\"; nft add table ip t; " +
		"nft add chain ip t out \"{ type filter hook output priority 0; policy drop; }\"; ping -qc 1 -W 1 127.0.0.1; nft list tables; " +
		"unshare --net sh -c \"ip link set lo up; nft list tables; ping -qc 1 127.0.0.1\" | grep -o \"1 received\"'",
	Shows: "1 received\n…\n1 packets transmitted, 0 received, 100% packet loss, time …\ntable ip t\n1 received",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network))
	third := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network))
	all := []*harness.Sandbox{host, inside, third}
	agents := map[*harness.Sandbox]*harness.Agent{}
	for _, sb := range all {
		agents[sb] = sb.Agent(ctx)
		probe.Raise.In(agents[sb], "lo")
		Expect(sendUDP(sb)).To(Succeed(), "contrast: a packet before there is a rule")
	}
	probe.DropOutput.In(agents[inside], "bulkhead")
	dropped := sendUDP(inside)
	Expect(dropped).To(harness.FailWith(unix.EPERM), "a packet where an nf_tables rule drops it")
	Expect(probe.FilterTables.In(agents[inside], probe.None{})).To(Equal([]string{"bulkhead"}), "nf_tables tables where one was made")
	for name, sb := range map[string]*harness.Sandbox{"the creator's namespace": host, "a third namespace": third} {
		passed := sendUDP(sb)
		tables := probe.FilterTables.In(agents[sb], probe.None{})
		claim.Evidence("%s: packet %v, nf_tables tables %v; where the rule is: %v", name, passed, tables, dropped)
		Expect(passed).NotTo(HaveOccurred(), "a packet in %s, whose nf_tables rule is in another", name)
		Expect(tables).To(BeEmpty(), "nf_tables tables in %s", name)
	}
	// The older interface, where the kernel has it.
	legacy := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network))
	agent := legacy.Agent(ctx)
	probe.Raise.In(agent, "lo")
	if _, err := probe.DropOutputPolicy.Try(agent, probe.None{}); err != nil {
		claim.Evidence("ip_tables is not there: %v", err)
		return
	}
	byPolicy := sendUDP(legacy)
	claim.Evidence("ip_tables policy DROP: %v; in the creator's namespace: %v", byPolicy, sendUDP(host))
	Expect(byPolicy).To(harness.FailWith(unix.EPERM), "a packet where the policy of ip_tables' OUTPUT chain drops it")
	Expect(sendUDP(host)).To(Succeed(), "a packet in the creator's namespace, the ip_tables policy being another's")
})

var _ = claim.It(claim.Claim{
	ID:       "net/firewall-needs-cap-net-admin",
	Text:     "Firewall rules can be changed only with CAP_NET_ADMIN in the user namespace owning the network namespace (EPERM).",
	Source:   claim.Sources{claim.Man("capabilities(7)", "CAP_NET_ADMIN"), claim.Man("user_namespaces(7)", "Effect of capabilities within a user namespace")},
	Needs:    claim.Needs{netNeed, nftNeed, claim.Namespace(namespace.User)},
	Contrast: "works in an own user and network namespace",
	Try:      "unshare --user --map-root-user nft add table ip x; unshare --user --map-root-user --net sh -c 'nft add table ip x; nft list tables'",
	Shows:    "Error: …\n…\ntable ip x",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	foreign := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	_, refused := probe.DropOutput.Try(foreign.Agent(ctx), "refused")
	owner := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Network))
	_, allowed := probe.DropOutput.Try(owner.Agent(ctx), "allowed")
	tables := probe.FilterTables.In(host.Agent(ctx), probe.None{})
	claim.Evidence("root of a user namespace in the host's network namespace: %v, tables there then: %v; in its own: %v", refused, tables, allowed)
	Expect(refused).To(harness.FailWith(unix.EPERM), "root of a user namespace adding a rule to the host's network namespace")
	Expect(tables).To(BeEmpty(), "tables of the host's network namespace after the refused rule")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: in an own user and network namespace")
})
