package namespaces

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
	"bulkhead/suites/rootfs"
)

var _ = claim.It(claim.Claim{
	ID:       "net/new-ns-has-only-a-down-loopback",
	Text:     "A new network namespace contains exactly one interface, lo, down and without addresses.",
	Source:   claim.Sources{claim.Article("Using the unshare User-space Tool"), claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Inet, netNeed, claim.Bridge},
	Contrast: "the host's lo has 127.0.0.1 and other devices exist",
	Core:     true,
	Try:      "unshare --net ip -br addr show",
	Shows:    "lo DOWN",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network), harness.Held())
	hostAgent := host.Agent(ctx)
	probe.AddLink.In(hostAgent, probe.Link{Kind: "bridge", Name: "br0"})
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network), harness.Held())
	found := physical(probe.Links.In(inside.Agent(ctx), probe.None{}))
	claim.Evidence("inside: %s; outside: %s", describe(found), describe(probe.Links.In(hostAgent, probe.None{})))
	Expect(names(found)).To(Equal([]string{"lo"}), "interfaces of a new network namespace")
	Expect(found[0].Up).To(BeFalse(), "lo of a new network namespace is down")
	Expect(found[0].Addresses).To(BeEmpty(), "addresses of lo in a new network namespace")
	for _, root := range rootfs.Each(ctx) {
		shown := harness.Got(harness.Start(ctx, harness.Under(host), harness.New(namespace.Network), harness.Held(), harness.WithChroot(root.Dir)).Run(ctx, ipCommand(root), "addr", "show"))
		Expect(shown.Stdout).To(ContainSubstring("lo: <LOOPBACK"), "%s: ip addr show: %s", root.Name, shown.Stderr)
		Expect(shown.Stdout).NotTo(ContainSubstring("UP"), "%s: ip addr show of a new namespace", root.Name)
		Expect(shown.Stdout).NotTo(ContainSubstring("br0"), "%s: ip addr show of a new namespace", root.Name)
	}
	Expect(names(probe.Links.In(hostAgent, probe.None{}))).To(ContainElement("br0"), "contrast: the host has other devices")
	lo, _ := probe.Find(probe.Links.In(harness.Host(ctx).Agent(ctx), probe.None{}), "lo")
	Expect(lo.Addresses).To(ContainElement("127.0.0.1/8"), "contrast: a host's lo, raised")
})

var _ = claim.It(claim.Claim{
	ID:       "net/host-interfaces-invisible",
	Text:     "The host's interfaces cannot be found from a new network namespace.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Veth},
	Contrast: "succeeds outside",
	Try:      "ip link add br9 type bridge; ip -br link show br9; unshare --net ip link show br9",
	Shows:    "br9 …\nDevice \"br9\" does not exist.",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network), harness.Held())
	agent := host.Agent(ctx)
	probe.AddLink.In(agent, probe.Link{Kind: "veth", Name: "veth0", Peer: "veth1"})
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network), harness.Held()).Agent(ctx)
	for _, name := range []string{"veth0", "veth1"} {
		_, err := probe.Raise.Try(inside, name)
		Expect(err).To(harness.FailWith(unix.ENODEV), "%s of the host, from a new network namespace", name)
		claim.Evidence("%s inside: %v", name, err)
		_, err = probe.Raise.Try(agent, name)
		Expect(err).NotTo(HaveOccurred(), "contrast: %s outside", name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "net/same-address-in-two-namespaces",
	Text:     "The same IP address can be configured in two network namespaces.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Bridge},
	Contrast: "a second time on one device it is refused; the host has none",
	Try:      "for i in 1 2; do unshare --net sh -c 'ip addr add 10.77.0.1/24 dev lo; ip addr add 10.77.0.1/24 dev lo; ip -br -4 addr show lo'; done",
	Shows:    "…\nlo DOWN 10.77.0.1/24\n…\nlo DOWN 10.77.0.1/24",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network), harness.Held())
	var agents []*harness.Agent
	for range 2 {
		agent := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network), harness.Held()).Agent(ctx)
		probe.AddLink.In(agent, probe.Link{Kind: "bridge", Name: "br0"})
		_, err := probe.AddAddress.Try(agent, probe.Address{Link: "br0", CIDR: "10.77.0.1/24"})
		Expect(err).NotTo(HaveOccurred(), "10.77.0.1/24 in one of two network namespaces")
		agents = append(agents, agent)
	}
	for _, agent := range agents {
		br, _ := probe.Find(probe.Links.In(agent, probe.None{}), "br0")
		Expect(br.Addresses).To(Equal([]string{"10.77.0.1/24"}), "addresses of br0 in each namespace")
	}
	_, again := probe.AddAddress.Try(agents[0], probe.Address{Link: "br0", CIDR: "10.77.0.1/24"})
	claim.Evidence("both hold 10.77.0.1/24; a second time on one device: %v", again)
	Expect(again).To(harness.FailWith(unix.EEXIST), "contrast: a second time on one device")
	for _, l := range probe.Links.In(host.Agent(ctx), probe.None{}) {
		Expect(l.Addresses).NotTo(ContainElement("10.77.0.1/24"), "contrast: the host")
	}
})

var _ = claim.It(claim.Claim{
	ID:       "net/own-routing-table",
	Text:     "Each network namespace has its own routing table, empty at first.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Bridge},
	Contrast: "the host's table lacks that route",
	Core:     true,
	Try:      "unshare --net sh -c 'ip route | wc -l; ip link set lo up; ip route add 10.9.0.0/16 dev lo; ip route'; ip route | grep -c 10.9",
	Shows:    "0\n10.9.0.0/16 dev lo scope link\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network), harness.Held()).Agent(ctx)
	inside := harness.Start(ctx, harness.New(namespace.Network), harness.Held()).Agent(ctx)
	empty := probe.Routes.In(inside, probe.None{})
	for _, a := range []*harness.Agent{host, inside} {
		probe.AddLink.In(a, probe.Link{Kind: "bridge", Name: "br0"})
		probe.Raise.In(a, "br0")
	}
	probe.AddRoute.In(inside, probe.Route{Dst: "10.9.0.0/16", Link: "br0"})
	own, other := probe.Routes.In(inside, probe.None{}), probe.Routes.In(host, probe.None{})
	claim.Evidence("at first: %v; with a route added: %v; the other namespace: %v", empty, own, other)
	Expect(empty).To(BeEmpty(), "routes of a new network namespace")
	Expect(own).To(Equal([]string{"10.9.0.0/16"}), "routes after one was added")
	Expect(other).NotTo(ContainElement("10.9.0.0/16"), "contrast: the other namespace's routes")
})

var _ = claim.It(claim.Claim{
	ID:       "net/unreachable-without-routes",
	Text:     "Connecting anywhere from a new network namespace fails with ENETUNREACH.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", ""), claim.Man("connect(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Inet, netNeed, claim.Bridge},
	Contrast: "with a route another result",
	Try:      "unshare --net ping -c 1 192.0.2.1",
	Shows:    "ping: connect: Network is unreachable",
}, func(ctx SpecContext) {
	connect := func(sb *harness.Sandbox) error {
		fd := harness.Got(sb.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
		_, err := sb.Syscall("connect to 192.0.2.1", unix.SYS_CONNECT, fd, inet4(192, 0, 2, 1, 9), 16)
		return err
	}
	inside := harness.Start(ctx, harness.New(namespace.Network))
	err := connect(inside)
	routed := harness.Start(ctx, harness.New(namespace.Network))
	agent := routed.Agent(ctx)
	probe.AddLink.In(agent, probe.Link{Kind: "bridge", Name: "br0"})
	probe.Raise.In(agent, "br0")
	probe.AddRoute.In(agent, probe.Route{Dst: "192.0.2.0/24", Link: "br0"})
	with := connect(routed)
	claim.Evidence("without routes: %v; with one: %v", err, with)
	Expect(harness.Got(inside.Namespace(namespace.Network)).String()).NotTo(Equal(harness.Got(routed.Namespace(namespace.Network)).String()),
		"the network namespace of a process cloned with CLONE_NEWNET is another's")
	Expect(err).To(harness.FailWith(unix.ENETUNREACH), "connect(2) from a network namespace without routes")
	Expect(with).NotTo(HaveOccurred(), "contrast: with a route")
})

var _ = claim.It(claim.Claim{
	ID:       "net/same-port-bindable-in-each",
	Text:     "The same address and port can be bound in several network namespaces at once.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Inet, netNeed},
	Contrast: "EADDRINUSE in the same one",
	Core:     true,
	Try:      "for i in 1 2; do unshare --net sh -c 'ip link set lo up; nc -l -p 8080' & done",
}, func(ctx SpecContext) {
	bind := func(sb *harness.Sandbox) error {
		fd := harness.Got(sb.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
		_, err := sb.Syscall("bind to port 8080", unix.SYS_BIND, fd, inet4(0, 0, 0, 0, 8080), 16)
		return err
	}
	a, b := harness.Start(ctx, harness.New(namespace.Network), harness.Held()), harness.Start(ctx, harness.New(namespace.Network), harness.Held())
	first, second, again := bind(a), bind(b), bind(a.Fork(ctx))
	claim.Evidence("first: %v; in another namespace: %v; in the same one: %v", first, second, again)
	Expect(first).To(Succeed(), "bind(2) to a port in one network namespace")
	Expect(second).To(Succeed(), "binding port 8080 in another network namespace")
	Expect(again).To(harness.FailWith(unix.EADDRINUSE), "contrast: in the same one")
})

var _ = claim.It(claim.Claim{
	ID:       "net/listener-unreachable-from-other-ns",
	Text:     "A listener on loopback in one namespace refuses nobody and is reached by nobody in another.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Inet, netNeed},
	Contrast: "connects in the same namespace",
	Try:      "unshare --net sh -c 'ip link set lo up; nc -l -p 8080' & nc 127.0.0.1 8080",
}, func(ctx SpecContext) {
	a := harness.Start(ctx, harness.New(namespace.Network)).Agent(ctx)
	b := harness.Start(ctx, harness.New(namespace.Network)).Agent(ctx)
	for _, agent := range []*harness.Agent{a, b} {
		probe.Raise.In(agent, "lo")
	}
	address := probe.Serve.In(a, probe.Server{Name: "a", Address: "127.0.0.1:8080"})
	talk, err := probe.Connect.Try(a, probe.Dial{Address: address, Send: "x", Within: 2000})
	_, other := probe.Connect.Try(b, probe.Dial{Address: address, Send: "x", Within: 2000})
	claim.Evidence("same namespace: %q; another: %v", talk.Reply, other)
	Expect(other).To(harness.FailWith(unix.ECONNREFUSED), "connecting to another namespace's listener on 127.0.0.1")
	Expect(err).NotTo(HaveOccurred(), "contrast: in the same namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "net/loopback-needs-to-be-raised",
	Text:     "Until lo is raised even 127.0.0.1 is unreachable; raising it assigns 127.0.0.1/8 and ::1/128.",
	Source:   claim.Sources{claim.Article("(A) Alpine Linux Container"), claim.Man("ip-link(8)", "")},
	Needs:    claim.Needs{claim.Inet, netNeed},
	Contrast: "connect works after ip link set lo up",
	Try:      "unshare --net sh -c 'ping -c 1 127.0.0.1; ip link set lo up; ping -qc 1 127.0.0.1 | grep -o 1.received; ip -br addr show lo'",
	Shows:    "ping: connect: Network is unreachable\n1 received\nlo UNKNOWN 127.0.0.1/8 ::1/128",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Network), harness.Held())
	agent := sb.Agent(ctx)
	_, before := probe.Connect.Try(agent, probe.Dial{Address: "127.0.0.1:8080", Send: "x", Within: 1000})
	// A machine may have turned IPv6 off for all interfaces to come.
	err := sb.WriteFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0")
	Expect(err).To(Or(Succeed(), harness.FailWith(unix.ENOENT)), "turning IPv6 on for lo")
	probe.Raise.In(agent, "lo")
	lo, _ := probe.Find(probe.Links.In(agent, probe.None{}), "lo")
	probe.Serve.In(agent, probe.Server{Name: "lo", Address: "127.0.0.1:8080"})
	_, after := probe.Connect.Try(agent, probe.Dial{Address: "127.0.0.1:8080", Send: "x", Within: 2000})
	claim.Evidence("before: %v; addresses after: %v; connect: %v", before, lo.Addresses, after)
	Expect(before).To(harness.FailWith(unix.ENETUNREACH), "127.0.0.1 while lo is down")
	Expect(lo.Addresses).To(ContainElement("127.0.0.1/8"), "addresses of lo once raised")
	if offers("CONFIG_IPV6", "ipv6") && !missing(sb, "/proc/sys/net/ipv6") {
		Expect(lo.Addresses).To(ContainElement("::1/128"), "addresses of lo once raised")
	}
	Expect(after).NotTo(HaveOccurred(), "contrast: connecting once lo is up")
})

var _ = claim.It(claim.Claim{
	ID:       "net/sysfs-follows-the-mounter",
	Text:     "/sys/class/net shows the network namespace in which that sysfs was mounted, so an inherited /sys still shows the host's devices.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", ""), claim.Man("sysfs(5)", "")},
	Needs:    claim.Needs{netNeed, claim.Bridge, netClass},
	Contrast: "the inherited one lists host devices",
	Try:      `unshare --net sh -c 'ip link add br9 type bridge; ls /sys/class/net | grep -c br9; unshare --mount sh -c "mount -t sysfs s /mnt; ls /mnt/class/net | grep -v _"'`,
	Shows:    "0\nbr9\nlo",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network, namespace.Mount))
	probe.AddLink.In(host.Agent(ctx), probe.Link{Kind: "bridge", Name: "br0"})
	dir := host.MkdirTemp()
	harness.Must(host.Mount("sysfs", dir, "sysfs", 0, ""))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network, namespace.Mount))
	inherited := harness.Got(inside.ReadDir(dir + "/class/net"))
	fresh := inside.MkdirTemp()
	harness.Must(inside.Mount("sysfs", fresh, "sysfs", 0, ""))
	own := harness.Got(inside.ReadDir(fresh + "/class/net"))
	claim.Evidence("inherited /sys: %v; a fresh one: %v", inherited, own)
	Expect(own).To(ContainElement("lo"), "class/net of a sysfs mounted in a new network namespace")
	Expect(own).NotTo(ContainElement("br0"), "class/net of a sysfs mounted in a new network namespace")
	Expect(inherited).To(ContainElement("br0"), "contrast: an inherited sysfs still shows the host's devices")
})

var _ = claim.It(claim.Claim{
	ID:       "net/sysctls-per-namespace",
	Text:     "Sysctls under net, such as ip_forward, are separate in each network namespace.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Sysctls, netNeed},
	Contrast: "host keeps its value",
	Core:     true,
	Try:      `f=/proc/sys/net/ipv4/ip_forward; echo 0 > $f; unshare --net sh -c "echo 1 > $f; cat $f"; cat $f`,
	Shows:    "1\n0",
}, func(ctx SpecContext) {
	const path = "/proc/sys/net/ipv4/ip_forward"
	host := harness.Start(ctx, harness.New(namespace.Network))
	harness.Must(host.WriteFile(path, "0"))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network))
	Expect(inside.WriteFile(path, "1")).To(Succeed(), "writing %s in a new network namespace", path)
	own, outside := harness.Got(inside.ReadFile(path)), harness.Got(host.ReadFile(path))
	claim.Evidence("inside: %s; outside: %s", strings.TrimSpace(own), strings.TrimSpace(outside))
	Expect(strings.TrimSpace(own)).To(Equal("1"), "net.ipv4.ip_forward where 1 was written")
	Expect(strings.TrimSpace(outside)).To(Equal("0"), "net.ipv4.ip_forward of the namespace outside")
	harness.Must(host.Fork(ctx).WriteFile(path, "1"))
	Expect(strings.TrimSpace(harness.Got(host.ReadFile(path)))).To(Equal("1"), "contrast: written by a member")
})

var _ = claim.It(claim.Claim{
	ID:       "net/ipv4-sysctls-seeded-from-initial-ns",
	Text:     "A new network namespace takes its IPv4 conf values, ip_forward included, from the initial namespace's present values, not from its creator's.",
	Source:   claim.Sources{claim.Doc("kernel ip-sysctl (net.core.devconf_inherit_init_net = 0)", ""), claim.Man("network_namespaces(7)", "is silent")},
	Needs:    claim.Needs{netNeed, inheritInit},
	Contrast: "its creator had the opposite",
	Try:      "cat /proc/sys/net/ipv4/conf/default/rp_filter; unshare --net cat /proc/sys/net/ipv4/conf/default/rp_filter",
}, func(ctx SpecContext) {
	const path = "/proc/sys/net/ipv4/ip_forward"
	initial := strings.TrimSpace(kernelSysctl("net.ipv4.ip_forward"))
	opposite := map[string]string{"0": "1", "1": "0"}[initial]
	creator := harness.Start(ctx, harness.New(namespace.Network))
	harness.Must(creator.WriteFile(path, opposite))
	created := strings.TrimSpace(harness.Got(harness.Start(ctx, harness.Under(creator), harness.New(namespace.Network)).ReadFile(path)))
	claim.Evidence("initial namespace: %s; creator: %s; created: %s", initial, opposite, created)
	Expect(created).To(Equal(initial), "ip_forward of a new network namespace is the initial namespace's, not its creator's")
	Expect(strings.TrimSpace(harness.Got(creator.ReadFile(path)))).To(Equal(opposite), "contrast: its creator's")
})

var _ = claim.It(claim.Claim{
	ID:       "net/abstract-unix-sockets-isolated",
	Text:     "Abstract UNIX socket names are separate in each network namespace; pathname sockets are not.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{netNeed},
	Contrast: "same namespace connects; a pathname socket is reached from both",
}, func(ctx SpecContext) {
	server := harness.Start(ctx, harness.New(namespace.Network))
	other := harness.Start(ctx, harness.Under(server), harness.New(namespace.Network))
	path := server.MkdirTemp() + "/socket"
	for _, name := range []string{"\x00bulkhead", path} {
		fd := harness.Got(server.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
		harness.Got(server.Syscall("bind", unix.SYS_BIND, fd, sockaddrUn(name), 2+len(name)))
		harness.Got(server.Syscall("listen", unix.SYS_LISTEN, fd, 4))
	}
	connect := func(sb *harness.Sandbox, name string) error {
		fd := harness.Got(sb.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
		_, err := sb.Syscall(fmt.Sprintf("connect to %q", name), unix.SYS_CONNECT, fd, sockaddrUn(name), 2+len(name))
		return err
	}
	abstract, pathname := connect(other, "\x00bulkhead"), connect(other, path)
	same := connect(server.Fork(ctx), "\x00bulkhead")
	claim.Evidence("abstract name from another namespace: %v; from the same: %v; path name from another: %v", abstract, same, pathname)
	Expect(abstract).To(harness.FailWith(unix.ECONNREFUSED), "an abstract socket name of another network namespace")
	Expect(same).To(Succeed(), "contrast: in the same namespace")
	Expect(pathname).To(Succeed(), "contrast: a pathname socket is reached from both")
})

var _ = claim.It(claim.Claim{
	ID:       "net/device-moves-not-copied",
	Text:     "Moving a device to another network namespace removes it from the first.",
	Source:   claim.Sources{claim.Article("(A) Alpine Linux Container"), claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Veth},
	Contrast: "present here before",
	Core:     true,
	Try:      "unshare --net sleep 99 & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1; grep -c v1 /proc/net/dev; ip link set v1 netns $p; grep -c v1 /proc/net/dev; nsenter --net --target $p grep -c v1 /proc/net/dev",
	Shows:    "1\n0\n1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network), harness.Held())
	agent := host.Agent(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network), harness.Held())
	inside := member.Agent(ctx)
	probe.AddLink.In(agent, probe.Link{Kind: "veth", Name: "stays0", Peer: "moves0"})
	before := names(probe.Links.In(agent, probe.None{}))
	_, err := probe.MoveLink.Try(agent, probe.Move{Name: "moves0", PID: member.PID()})
	Expect(err).NotTo(HaveOccurred(), "moving a device to another network namespace")
	here, there := names(probe.Links.In(agent, probe.None{})), names(probe.Links.In(inside, probe.None{}))
	claim.Evidence("before: %v; after: %v here, %v there", before, here, there)
	Expect(before).To(ContainElement("moves0"), "contrast: the first namespace before")
	Expect(here).NotTo(ContainElement("moves0"), "the first namespace after the move")
	Expect(there).To(ContainElement("moves0"), "the second namespace after the move")
})

var _ = claim.It(claim.Claim{
	ID:       "net/move-drops-addresses-and-lowers-link",
	Text:     "A moved device arrives down and without its addresses.",
	Source:   claim.Sources{claim.Article("(A)"), claim.Man("ip-link(8)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Wired},
	Contrast: "both were set before",
	Try:      "unshare --net sleep 99 & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1; ip addr add 10.0.0.1/24 dev v1; ip link set v1 up; ip -br -4 addr show v1; ip link set v1 netns $p; nsenter --net --target $p ip -br -4 addr show v1; nsenter --net --target $p ip -br link show v1 | grep -c UP",
	Shows:    "v1@v0 … 10.0.0.1/24\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network), harness.Held())
	agent := host.Agent(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network), harness.Held())
	probe.AddLink.In(agent, probe.Link{Kind: "veth", Name: "stays0", Peer: "moves0"})
	probe.AddAddress.In(agent, probe.Address{Link: "moves0", CIDR: "10.0.0.1/24"})
	probe.Raise.In(agent, "moves0")
	before, _ := probe.Find(probe.Links.In(agent, probe.None{}), "moves0")
	probe.MoveLink.In(agent, probe.Move{Name: "moves0", PID: member.PID()})
	after, found := probe.Find(probe.Links.In(member.Agent(ctx), probe.None{}), "moves0")
	claim.Evidence("before: up %v, %v; after the move: up %v, %v", before.Up, before.Addresses, after.Up, after.Addresses)
	Expect(found).To(BeTrue(), "the moved device")
	Expect(after.Up).To(BeFalse(), "a moved device arrives down")
	Expect(after.Addresses).To(BeEmpty(), "addresses of a moved device")
	Expect(before.Up && len(before.Addresses) > 0).To(BeTrue(), "contrast: both were set before")
})

var _ = claim.It(claim.Claim{
	ID:       "net/virtual-devices-die-with-namespace",
	Text:     "Freeing a network namespace destroys the virtual devices in it, and with a veth its peer elsewhere.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.Wired},
	Contrast: "stays while a descriptor keeps the namespace",
	Core:     true,
	Try:      "unshare --net sleep 99 & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1; ip link set v1 netns $p; exec 9< /proc/$p/ns/net; kill $p; wait; grep -c v0 /proc/net/dev; exec 9<&-; while grep -q v0 /proc/net/dev; do :; done; ip link show v0",
	Shows:    "…\n1\nDevice \"v0\" does not exist.",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	agent := host.Agent(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network))
	veth(agent, member, "die0", "eth0")
	there := func() bool {
		_, found := probe.Find(probe.Links.In(agent, probe.None{}), "die0")
		return found
	}
	fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/net", member.PID()), unix.O_RDONLY, 0))
	member.Exit(0)
	harness.Got(host.Wait(member))
	Expect(there()).To(BeTrue(), "contrast: while a descriptor keeps the namespace")
	harness.Must(host.Close(fd))
	// The kernel takes network namespaces down in a work queue.
	Eventually(there).WithTimeout(destroyTime).WithPolling(pollTime).Should(BeFalse(), "the peer of a veth whose namespace is gone")
	claim.Evidence("there while a descriptor kept the namespace, gone after it was closed")
})

var _ = claim.It(claim.Claim{
	ID:       "net/socket-stays-in-its-namespace",
	Text:     "A socket keeps working in the namespace where it was created after its owner has moved to another.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", ""), claim.Doc("SO_NETNS_COOKIE", "")},
	Needs:    claim.Needs{claim.Inet, netNeed},
	Contrast: "a socket made after the move gets ENETUNREACH",
}, func(ctx SpecContext) {
	host := harness.Host(ctx)
	home := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network))
	agent := home.Agent(ctx)
	probe.Raise.In(agent, "lo")
	probe.Serve.In(agent, probe.Server{Name: "home", Address: "127.0.0.1:8080"})
	mover := home.Fork(ctx)
	old := harness.Got(mover.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	harness.Must(mover.Unshare(unix.CLONE_NEWNET))
	_, kept := mover.Syscall("connect by the old socket", unix.SYS_CONNECT, old, inet4(127, 0, 0, 1, 8080), 16)
	fresh := harness.Got(mover.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	_, moved := mover.Syscall("connect by a new socket", unix.SYS_CONNECT, fresh, inet4(127, 0, 0, 1, 8080), 16)
	claim.Evidence("socket from before the move: %v; from after: %v", kept, moved)
	for _, of := range []struct {
		sb, from *harness.Sandbox
		how      string
	}{{home, host, "cloned with CLONE_NEWNET"}, {mover, home, "that has called unshare(CLONE_NEWNET)"}} {
		own, former := harness.Got(of.sb.Namespace(namespace.Network)), harness.Got(of.from.Namespace(namespace.Network))
		Expect(own.String()).NotTo(Equal(former.String()), "the network namespace of a process %s is still its parent's", of.how)
	}
	Expect(kept).NotTo(HaveOccurred(), "connecting through a socket made before its owner left the namespace")
	Expect(moved).To(harness.FailWith(unix.ENETUNREACH), "contrast: a socket made after the move")
})

var _ = claim.It(claim.Claim{
	ID:       "net/netlink-reports-only-own-namespace",
	Text:     "Link events on a netlink socket are those of its own network namespace.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", ""), claim.Man("rtnetlink(7)", "")},
	Needs:    claim.Needs{claim.Veth},
	Contrast: "a message for one made here",
	Try:      "ip monitor link & unshare --net ip link add br9 type bridge",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network)).Agent(ctx)
	other := harness.Start(ctx, harness.New(namespace.Network)).Agent(ctx)
	probe.Subscribe.In(host, probe.None{})
	probe.AddLink.In(other, probe.Link{Kind: "bridge", Name: "elsewhere"})
	elsewhere := probe.Told.In(host, "elsewhere")
	probe.AddLink.In(host, probe.Link{Kind: "bridge", Name: "here"})
	here := probe.Told.In(host, "here")
	claim.Evidence("told of a device made elsewhere: %v; here: %v", elsewhere, here)
	Expect(elsewhere).To(BeFalse(), "a link event of another network namespace")
	Expect(here).To(BeTrue(), "contrast: a link event of the own one")
})

var _ = claim.It(claim.Claim{
	ID:       "net/creating-devices-needs-cap-net-admin",
	Text:     "Creating a device, and raising or lowering one, needs CAP_NET_ADMIN in the user namespace owning the network namespace, which an unprivileged user gets by making both.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities"), claim.Man("capabilities(7)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Veth, claim.Namespace(namespace.User)},
	Contrast: "works in an own user+net namespace",
	Try:      "unshare --user --map-root-user ip link add br9 type bridge; unshare --user --map-root-user --net sh -c 'ip link add br9 type bridge; ls /sys/class/net > /dev/null; grep -c br9 /proc/net/dev'",
	Shows:    "RTNETLINK answers: Operation not permitted\n1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	user := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	_, refused := probe.AddLink.Try(user.Agent(ctx), probe.Link{Kind: "bridge", Name: "br9"})
	owner := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Network))
	_, allowed := probe.AddLink.Try(owner.Agent(ctx), probe.Link{Kind: "bridge", Name: "br9"})
	raise := func(sb *harness.Sandbox) error {
		request := make([]byte, 40)
		copy(request, "lo")
		binary.NativeEndian.PutUint16(request[16:], unix.IFF_UP|unix.IFF_RUNNING)
		_, err := sb.Ioctl(harness.Got(sb.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)), unix.SIOCSIFFLAGS, request)
		return err
	}
	raiseRefused, raiseAllowed := raise(user), raise(owner)
	claim.Evidence("root of a user namespace in the host's network namespace: %v, raising lo: %v; in its own: %v, %v", refused, raiseRefused, allowed, raiseAllowed)
	Expect(refused).To(harness.FailWith(unix.EPERM), "root of a user namespace adding a device to the host's network namespace")
	Expect(raiseRefused).To(harness.FailWith(unix.EPERM), "root of a user namespace raising lo of the host's network namespace")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: in an own user and network namespace")
	Expect(raiseAllowed).NotTo(HaveOccurred(), "contrast: raising lo in an own user and network namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "net/configuring-needs-cap-net-admin",
	Text:     "Addresses, routes, neighbours and the settings of devices are changed, and devices removed, with CAP_NET_ADMIN in the user namespace owning the network namespace only (EPERM).",
	Source:   claim.Sources{claim.Man("capabilities(7)", "CAP_NET_ADMIN"), claim.Man("rtnetlink(7)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Veth, claim.Namespace(namespace.User)},
	Contrast: "everybody may list them, and the owner may change them",
	Try:      "unshare --user --map-root-user sh -c 'ip link show lo > /dev/null && ip address add 127.9.9.9/8 dev lo'; unshare --user --map-root-user --net sh -c 'ip address add 127.9.9.9/8 dev lo && echo added'",
	Shows:    "RTNETLINK answers: Operation not permitted\nadded",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	owner := host.Agent(ctx)
	probe.AddLink.In(owner, probe.Link{Kind: "veth", Name: "near0", Peer: "far0"})
	probe.Raise.In(owner, "near0")
	other := harness.Start(ctx, harness.Under(host), harness.New(namespace.User)).Agent(ctx)
	changes := []struct {
		what string
		try  func(*harness.Agent) error
	}{
		{"an address", func(a *harness.Agent) error {
			return tried(probe.AddAddress.Try(a, probe.Address{Link: "near0", CIDR: "10.9.9.1/24"}))
		}},
		{"a route", func(a *harness.Agent) error {
			return tried(probe.AddRoute.Try(a, probe.Route{Dst: "10.9.10.0/24", Link: "near0"}))
		}},
		{"a neighbour", func(a *harness.Agent) error {
			return tried(probe.AddNeighbour.Try(a, probe.Neighbour{Link: "near0", IP: "10.9.9.2", MAC: "02:00:00:00:09:02"}))
		}},
		{"an MTU", func(a *harness.Agent) error {
			return tried(probe.SetLink.Try(a, probe.Change{Name: "near0", MTU: 1400}))
		}},
		{"the removal of a device", func(a *harness.Agent) error { return tried(probe.DeleteLink.Try(a, "near0")) }},
	}
	_, listed := probe.Links.Try(other, probe.None{})
	Expect(listed).NotTo(HaveOccurred(), "contrast: root of another user namespace listing the devices")
	for _, c := range changes {
		refused := c.try(other)
		allowed := c.try(owner)
		claim.Evidence("%s: by root of another user namespace: %v; by the owner: %v", c.what, refused, allowed)
		Expect(refused).To(harness.FailWith(unix.EPERM), "%s, by root of another user namespace", c.what)
		Expect(allowed).NotTo(HaveOccurred(), "contrast: %s, by root of the owning user namespace", c.what)
	}
})

func tried(_ probe.None, err error) error { return err }

var _ = claim.It(claim.Claim{
	ID:       "net/ip-netns-is-a-bind-mounted-handle",
	Text:     "A network namespace made as ip netns add does it, by a bind mount of its handle, is listed as nsfs with its inode and is joinable by name until it is unmounted.",
	Source:   claim.Sources{claim.Man("ip-netns(8)", ""), claim.Man("namespaces(7)", "Namespace lifetime")},
	Needs:    claim.Needs{netNeed, claim.Namespace(namespace.Mount)},
	Contrast: "gone after ip netns del",
	Try:      "ip netns add x; grep -o 'net:.*/run/netns/x' /proc/self/mountinfo; ip netns exec x readlink /proc/self/ns/net; ip netns del x; grep -c netns/x /proc/self/mountinfo",
	Shows:    "net:[<inode>] /run/netns/x\nnet:[<inode>]\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	file := host.MkdirTemp() + "/name"
	harness.Must(host.CreateFile(file, ""))
	maker := host.Fork(ctx)
	harness.Must(maker.Unshare(unix.CLONE_NEWNET))
	Expect(maker.Bind("/proc/self/ns/net", file, 0)).To(Succeed(), "a bind mount of /proc/self/ns/net")
	inode := harness.Got(maker.Namespace(namespace.Network)).Inode
	Expect(inode).NotTo(Equal(harness.Got(host.Namespace(namespace.Network)).Inode), "contrast: inode of the maker's own network namespace")
	maker.Exit(0)
	harness.Got(host.Wait(maker))
	line := mountLine(host, file)
	joiner := host.Fork(ctx)
	fd := harness.Got(joiner.Open(file, unix.O_RDONLY, 0))
	Expect(joiner.Setns(fd, unix.CLONE_NEWNET)).To(Succeed(), "joining by name")
	harness.Must(joiner.Close(fd))
	claim.Evidence("mountinfo: %s", line)
	Expect(line).To(ContainSubstring(fmt.Sprintf(" net:[%d] ", inode)), "root of the bind mount in mountinfo")
	Expect(line).To(ContainSubstring(" - nsfs "), "type of the bind mount in mountinfo")
	Expect(harness.Got(joiner.Namespace(namespace.Network)).Inode).To(Equal(inode), "the network namespace after setns to the bind mount")
	harness.Must(host.Umount(file, unix.MNT_DETACH))
	Expect(mountLine(host, file)).To(BeEmpty(), "contrast: after it was unmounted")
})

var _ = claim.It(claim.Claim{
	ID:       "net/low-ports-need-cap-or-sysctl",
	Text:     "Binding a port below ip_unprivileged_port_start (1024) needs CAP_NET_BIND_SERVICE, and that sysctl is per network namespace.",
	Source:   claim.Sources{claim.Man("capabilities(7)", "CAP_NET_BIND_SERVICE"), claim.Man("ip(7)", "")},
	Needs:    claim.Needs{netNeed, claim.Root, claim.Inet, claim.Sysctls, claim.File("/proc/sys/net/ipv4/ip_unprivileged_port_start")},
	Contrast: "works as root, or after setting 0 inside; host keeps 1024",
	Try:      "setpriv --reuid nobody --clear-groups nc -l -p 80",
}, func(ctx SpecContext) {
	const path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
	host := harness.Start(ctx, harness.New(namespace.Network))
	harness.Must(host.WriteFile(path, "1024"))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network))
	harness.Must(inside.WriteFile(path, "1024"))
	bind := func(sb *harness.Sandbox) error {
		fd := harness.Got(sb.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
		_, err := sb.Syscall("bind to port 80", unix.SYS_BIND, fd, inet4(0, 0, 0, 0, 80), 16)
		return err
	}
	refused := bind(harness.Start(ctx, harness.Under(inside), harness.As(65534, 65534)))
	root := inside.Fork(ctx)
	asRoot := bind(root)
	root.Exit(0)
	harness.Must(inside.WriteFile(path, "0"))
	allowed := bind(harness.Start(ctx, harness.Under(inside), harness.As(65534, 65534)))
	outside := strings.TrimSpace(harness.Got(host.ReadFile(path)))
	claim.Evidence("nobody: %v; root: %v; nobody with the sysctl at 0: %v; outside it is %s", refused, asRoot, allowed, outside)
	Expect(refused).To(harness.FailWith(unix.EACCES), "nobody binding port 80")
	Expect(asRoot).To(Succeed(), "contrast: root binding port 80")
	Expect(allowed).To(Succeed(), "contrast: nobody with ip_unprivileged_port_start at 0")
	Expect(outside).To(Equal("1024"), "ip_unprivileged_port_start of the namespace outside")
})

var _ = claim.It(claim.Claim{
	ID:       "net/raw-sockets-need-cap-net-raw",
	Text:     "Raw ICMP sockets and packet sockets need CAP_NET_RAW; ping_group_range only opens ICMP datagram sockets.",
	Source:   claim.Sources{claim.Man("capabilities(7)", "CAP_NET_RAW"), claim.Man("icmp(7)", "")},
	Needs:    claim.Needs{netNeed, claim.Root, claim.File("/proc/sys/net/ipv4/ping_group_range", "CONFIG_INET", "CONFIG_SYSCTL")},
	Contrast: "after widening the range the datagram socket opens, raw stays EPERM",
	Try:      "setpriv --reuid nobody --clear-groups python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
}, func(ctx SpecContext) {
	const path = "/proc/sys/net/ipv4/ping_group_range"
	host := harness.Start(ctx, harness.New(namespace.Network))
	harness.Must(host.WriteFile(path, "1 0"))
	nobody := harness.Start(ctx, harness.Under(host), harness.As(65534, 65534))
	open := func(sb *harness.Sandbox, typ int) error {
		fd, err := sb.Socket(unix.AF_INET, typ, unix.IPPROTO_ICMP)
		if err == nil {
			harness.Must(sb.Close(fd))
		}
		return err
	}
	raw, datagram := open(nobody, unix.SOCK_RAW), open(nobody, unix.SOCK_DGRAM)
	harness.Must(host.WriteFile(path, "0 2147483647"))
	rawWide, datagramWide := open(nobody, unix.SOCK_RAW), open(nobody, unix.SOCK_DGRAM)
	claim.Evidence("nobody: raw %v, datagram %v; with ping_group_range widened: raw %v, datagram %v", raw, datagram, rawWide, datagramWide)
	Expect(raw).To(harness.FailWith(unix.EPERM), "nobody opening a raw ICMP socket")
	Expect(datagram).To(harness.FailWith(unix.EACCES), "nobody opening an ICMP datagram socket outside of ping_group_range")
	Expect(rawWide).To(harness.FailWith(unix.EPERM), "a raw ICMP socket with the range widened")
	Expect(datagramWide).To(Succeed(), "contrast: an ICMP datagram socket with the range widened")
	Expect(open(host, unix.SOCK_RAW)).To(Succeed(), "contrast: root opening a raw socket")
	_, packet := nobody.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	_, rootPacket := host.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	claim.Evidence("packet socket: nobody %v, root %v", packet, rootPacket)
	// A kernel without CONFIG_PACKET has none for anybody.
	if !errors.Is(rootPacket, unix.EAFNOSUPPORT) {
		Expect(packet).To(harness.FailWith(unix.EPERM), "nobody opening a packet socket")
		Expect(rootPacket).NotTo(HaveOccurred(), "contrast: root opening a packet socket")
	}
})
