package network

import (
	"fmt"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// counter reads one of /proc/self/net/snmp or netstat, as ("netstat", "TcpExt",
// "…"): a line of names, and under it one of numbers.
func counter(h *Host, file, group, name string) int {
	var names []string
	for _, line := range strings.Split(harness.Got(h.ReadFile("/proc/self/net/"+file)), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != group+":" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range names {
			if names[i] == name {
				return harness.Got(strconv.Atoi(f[i]))
			}
		}
	}
	harness.Broken("%s: no counter %s of %s", file, name, group)
	return 0
}

var _ = claim.It(claim.Claim{
	ID:       "network/route-reverse-path-filter-drops-spoofed-sources",
	Text:     "With rp_filter=1 a host drops what comes in by another interface than the one that leads back to its source.",
	Source:   claim.Sources{claim.Man("ip(7)", "rp_filter"), claim.Doc("kernel ip-sysctl rp_filter", ""), claim.Doc("RFC 3704", "2.2")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "it comes in with rp_filter=0",
}, func(ctx SpecContext) {
	t := NewTopology(ctx)
	host := t.Host("host")
	a, b := t.Container(host, "container1"), t.Container(host, "container2")
	for i, c := range []*Host{a, b} {
		link, net := fmt.Sprintf("veth%d", i+1), fmt.Sprintf("10.0.%d.", i+1)
		t.Wire(host, link, c, "eth0")
		host.Address(link, net+"1/24")
		c.Address("eth0", net+"2/24")
		c.Route("", net+"1")
		harness.Must(host.WriteFile("/proc/sys/net/ipv4/conf/"+link+"/rp_filter", "0"))
	}
	const all = "/proc/sys/net/ipv4/conf/all/rp_filter"
	// Container2 has an address of container1's network.
	b.Address("lo", "10.0.1.99/32")
	// came is how many spoofed echo requests the host took in.
	came := func() int {
		before := counter(host, "snmp", "Icmp", "InEchos")
		probe.Outrun.In(b.Agent, probe.Echo{Dst: "10.0.2.1", Source: "10.0.1.99"})
		return counter(host, "snmp", "Icmp", "InEchos") - before
	}
	harness.Must(host.WriteFile(all, "0"))
	honest := b.reaches("10.0.2.1")
	off := came()
	harness.Must(host.WriteFile(all, "1"))
	dropped := counter(host, "netstat", "TcpExt", "IPReversePathFilter")
	on := came()
	dropped = counter(host, "netstat", "TcpExt", "IPReversePathFilter") - dropped
	still := b.reaches("10.0.2.1")
	claim.Evidence("echo requests from 10.0.1.99 that came in by veth2: %d with rp_filter 0; %d with rp_filter 1, which dropped %d; container2's own address: reply %v, %v", off, on, dropped, honest, still)
	Expect(off).To(Equal(3), "contrast: echo requests of container2 with a source of container1's network, taken in by the host with rp_filter 0")
	Expect(on).To(BeZero(), "container2, with a source of container1's network -> veth2: echo requests taken in by the host with rp_filter 1")
	Expect(dropped).To(Equal(3), "IPReversePathFilter, the host's counter of what it dropped")
	Expect(honest && still).To(BeTrue(), "contrast: container2 with its own source -> veth2 -> host: reply with rp_filter 0 and 1")
})
