package proc

import (
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
	ID:       "combined/part1-container-sees-only-itself",
	Text:     "unshare --pid --mount --net -f chroot with proc mounted sees only its own processes and one down loopback.",
	Source:   claim.Sources{claim.Article("Using the unshare User-space Tool")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.Network)},
	Contrast: "a plain chroot lists the host's",
	Try:      `unshare --pid --mount --net -f sh -c 'mount -t proc proc /tmp/tiny-linux/proc; chroot /tmp/tiny-linux ls /proc | grep -E "^[0-9]"; chroot /tmp/tiny-linux ip addr show'`,
	Shows:    "1\n<ls>\n<grep>\n…lo: …LOOPBACK…\n…",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		host := harness.Start(ctx)
		in := container(ctx, host, root)
		ps := harness.Got(in.Run(ctx, "/bin/ps", "aux"))
		ip := harness.Got(in.Run(ctx, map[bool]string{true: "/sbin/ip", false: "/bin/ip"}[root.Name == "alpine-linux"], "addr", "show"))
		plain := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount), harness.WithMount("proc", root.Dir+"/proc", "proc", 0, ""), harness.WithChroot(root.Dir))
		all := harness.Got(plain.Run(ctx, "/bin/ps", "aux"))
		claim.Evidence("%s: PID %d, ps aux shows %d processes, a plain chroot %d", root.Name, in.Getpid(), rows(ps.Stdout), rows(all.Stdout))
		Expect(in.Getpid()).To(Equal(1), "the container's first process")
		Expect(rows(ps.Stdout)).To(Equal(2), "rows of ps aux in %s:\n%s%s", root.Name, ps.Stdout, ps.Stderr)
		Expect(ip.Stdout).To(ContainSubstring("lo: <LOOPBACK"), "ip addr show in %s: %s", root.Name, ip.Stderr)
		Expect(ip.Stdout).NotTo(ContainSubstring("UP"), "ip addr show in %s: lo is down:\n%s", root.Name, ip.Stdout)
		Expect(rows(all.Stdout)).To(BeNumerically(">", 2), "contrast: a plain chroot:\n%s", all.Stdout)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "combined/part1-hostname-variable-is-not-the-hostname",
	Text:     "HOSTNAME=alpine-linux in the container's environment does not change its host name, no UTS namespace having been made.",
	Source:   claim.Sources{claim.Article("(A) Alpine Linux Container")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.UTS)},
	Contrast: "with --uts it can be changed without effect outside",
	Try:      `env HOSTNAME=alpine-linux unshare --pid --mount --net -f chroot /tmp/tiny-linux hostname; unshare --uts sh -c "hostname alpine-linux; hostname"; hostname`,
	Shows:    "<host>\nalpine-linux\n<host>",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		host := harness.Start(ctx)
		in := container(ctx, host, root, harness.WithEnv("PATH=/bin:/sbin", "HOSTNAME=alpine-linux"))
		shown := harness.Got(in.Run(ctx, "/bin/hostname"))
		uts := container(ctx, host, root, harness.New(namespace.UTS))
		harness.Must(uts.Sethostname("alpine-linux"))
		claim.Evidence("%s with HOSTNAME=alpine-linux: hostname prints %q; with a UTS namespace: %q", root.Name, strings.TrimSpace(shown.Stdout), uts.Uname().Nodename)
		Expect(strings.TrimSpace(shown.Stdout)).To(Equal(host.Uname().Nodename), "hostname in %s with HOSTNAME=alpine-linux: %s", root.Name, shown.Stderr)
		Expect(uts.Uname().Nodename).To(Equal("alpine-linux"), "contrast: with a UTS namespace")
		Expect(host.Uname().Nodename).NotTo(Equal("alpine-linux"), "the host's name")
	}
})

var _ = claim.It(claim.Claim{
	ID:       "combined/part1-command-leaves-other-namespaces-shared",
	Text:     "The article's container, called fully isolated there, still shares cgroup, ipc, time, user and uts namespaces with the host.",
	Source:   claim.Sources{claim.Article("Using the unshare User-space Tool")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.Network), claim.Namespace(namespace.IPC), claim.Namespace(namespace.User)},
	Contrast: "mnt, net and pid differ",
	Try:      "for t in uts ipc user net pid mnt; do readlink /proc/self/ns/$t; done; unshare --pid --mount --net -f sh -c 'for t in uts ipc user net pid mnt; do readlink /proc/self/ns/$t; done'",
	Shows:    "uts:[<uts>]\nipc:[<ipc>]\nuser:[<user>]\nnet:[<net>]\npid:[<pid>]\nmnt:[<mnt>]\nuts:[<uts>]\nipc:[<ipc>]\nuser:[<user>]\nnet:[<own net>]\npid:[<own pid>]\nmnt:[<own mnt>]",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	in := container(ctx, host, rootfs.Tiny(ctx))
	var shared, own []string
	for _, name := range harness.Got(host.ReadDir("/proc/self/ns")) {
		if strings.HasSuffix(name, "_for_children") {
			continue
		}
		if harness.Got(in.Stat("/proc/self/ns/" + name)).SameAs(harness.Got(host.Stat("/proc/self/ns/" + name))) {
			shared = append(shared, name)
		} else {
			own = append(own, name)
		}
	}
	claim.Evidence("shared with the host: %v; own: %v", shared, own)
	Expect(shared).To(ContainElements("ipc", "uts", "user"), "namespaces that the article's container shares with the host")
	Expect(own).To(ConsistOf("mnt", "net", "pid"), "contrast: namespaces of its own")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/container-root-is-host-root-without-userns",
	Text:     "Without a user namespace, root in the container is the host's root on every file it reaches.",
	Source:   claim.Sources{claim.Article("Introduction to Chroot"), claim.Man("user_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Root, claim.Namespace(namespace.User)},
	Contrast: "with a user namespace by 65534",
	Try:      "chmod 777 /tmp; unshare --pid --mount --net -f touch /tmp/x; setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user touch /tmp/y; stat -c %u /tmp/x /tmp/y",
	Shows:    "0\n1000",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	dir := host.MkdirTemp()
	harness.Must(host.Chmod(dir, 0o777))
	in := harness.Start(ctx, harness.Under(host), harness.New(containerNeeds...))
	harness.Must(in.CreateFile(dir+"/plain", ""))
	user := harness.Start(ctx, harness.Under(host), harness.New(append([]namespace.Type{namespace.User}, containerNeeds...)...),
		harness.WithIDs([]harness.Mapping{{Inside: 0, Outside: 65534, Size: 1}}, []harness.Mapping{{Inside: 0, Outside: 65534, Size: 1}}))
	harness.Must(user.Setresuid(0, 0, 0))
	harness.Must(user.CreateFile(dir+"/user", ""))
	plain, mapped := harness.Got(host.Stat(dir+"/plain")).UID, harness.Got(host.Stat(dir+"/user")).UID
	claim.Evidence("owner outside of a file made inside: %d; with a user namespace: %d", plain, mapped)
	Expect(plain).To(Equal(uint32(0)), "owner of a file made by a container's root without a user namespace")
	Expect(mapped).To(Equal(uint32(65534)), "contrast: with a user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/host-finds-container-pid",
	Text:     "The host lists the container's shell by name, and that PID leads to its root and namespaces.",
	Source:   claim.Sources{claim.Article("(A)"), claim.Article2("")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.Network)},
	Contrast: "its net link differs from the host's",
	Try:      "unshare --pid --mount --net -f --kill-child chroot /tmp/tiny-linux sleep 99 & until p=$(pgrep -x -n bb) || p=$(pgrep -x -n sleep); do :; done; readlink /proc/$p/root /proc/$p/ns/net /proc/self/ns/net",
	Shows:    "/tmp/tiny-linux\nnet:[<inside>]\nnet:[<outside>]",
}, func(ctx SpecContext) {
	host, tiny := harness.Start(ctx), rootfs.Tiny(ctx)
	in := container(ctx, host, tiny)
	harness.Got(in.Prctl(unix.PR_SET_NAME, "container-sh"))
	var found []int
	for _, pid := range harness.Got(host.PIDs("/proc")) {
		if comm, err := host.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.TrimSpace(comm) == "container-sh" {
			found = append(found, pid)
		}
	}
	Expect(found).To(Equal([]int{in.PID()}), "PIDs by which the host lists the container's first process, by name")
	root := harness.Got(host.Readlink(fmt.Sprintf("/proc/%d/root", found[0])))
	net := harness.Got(host.Stat(fmt.Sprintf("/proc/%d/ns/net", found[0])))
	own := harness.Got(host.Stat("/proc/self/ns/net"))
	claim.Evidence("PID %d outside, 1 inside; root %s; net %v, host's %v", found[0], root, net, own)
	Expect(root).To(Equal(tiny.Dir), "/proc/PID/root of the container")
	Expect(net.SameAs(own)).To(BeFalse(), "contrast: its net link differs from the host's")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/two-containers-reuse-every-name",
	Text:     "Two containers can have the same PID, host name, address and port at the same time.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("namespaces(7)", "")},
	Needs:    claim.Needs{claim.Inet, claim.Namespace(namespace.PID), claim.Namespace(namespace.Network), claim.Namespace(namespace.UTS), claim.Bridge},
	Contrast: "without namespaces the port gives EADDRINUSE",
	Try:      "for i in 1 2; do unshare --pid --fork --uts --net sh -c 'hostname same; ip link set lo up; echo $$ $(hostname) $(ip -br -4 addr show lo)'; done",
	Shows:    "1 same lo UNKNOWN 127.0.0.1/8\n1 same lo UNKNOWN 127.0.0.1/8",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	var seen []string
	for range 2 {
		sb := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.UTS, namespace.Network), harness.Held())
		harness.Must(sb.Sethostname("same"))
		agent := sb.Agent(ctx)
		probe.Raise.In(agent, "lo")
		probe.AddLink.In(agent, probe.Link{Kind: "bridge", Name: "br0"})
		probe.AddAddress.In(agent, probe.Address{Link: "br0", CIDR: "10.0.0.5/24"})
		address, err := probe.Serve.Try(agent, probe.Server{Name: "same", Address: "127.0.0.1:80"})
		Expect(err).NotTo(HaveOccurred(), "listening on port 80 in each of two containers")
		br, _ := probe.Find(probe.Links.In(agent, probe.None{}), "br0")
		seen = append(seen, fmt.Sprintf("PID %d, %s, %v, %s", sb.Getpid(), sb.Uname().Nodename, br.Addresses, address))
		if len(seen) == 2 {
			_, again := probe.Serve.Try(sb.Agent(ctx), probe.Server{Name: "again", Address: "127.0.0.1:80"})
			Expect(again).To(harness.FailWith(unix.EADDRINUSE), "contrast: the port a second time in one container")
		}
	}
	claim.Evidence("%s; %s", seen[0], seen[1])
	Expect(seen[0]).To(Equal(seen[1]), "PID, host name, address and port of two containers at the same time")
	Expect(seen[0]).To(HavePrefix("PID 1, same, [10.0.0.5/24], "), "PID, host name, address and port of each of two containers")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/many-containers-start-and-stop",
	Text:     "Ten containers can be started at once, each with its own PID 1, and all vanish when stopped.",
	Source:   claim.Sources{claim.Article("Introduction to Containers")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.Network)},
	Contrast: "no PID left after stop",
	Try:      "for i in $(seq 10); do unshare --pid --fork sleep 99 & done; until test $(pgrep -c -x sleep) = 10; do :; done; for p in $(pgrep -x sleep); do readlink /proc/$p/ns/pid; done | sort -u | wc -l; pkill -9 -x sleep; wait; pgrep -c -x sleep",
	Shows:    "10\n…\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	links := map[string]bool{}
	for _, t := range containerNeeds {
		links[t.Name+" "+harness.Got(host.Namespace(t)).String()] = true
	}
	var all []*harness.Sandbox
	for range 10 {
		sb := harness.Start(ctx, harness.Under(host), harness.New(containerNeeds...))
		all = append(all, sb)
		Expect(sb.Getpid()).To(Equal(1), "PID of a container's first process")
		for _, t := range containerNeeds {
			links[t.Name+" "+harness.Got(host.Stat(fmt.Sprintf("/proc/%d/ns/%s", sb.PID(), t.Name))).String()] = true
		}
	}
	Expect(len(links)).To(Equal(11*len(containerNeeds)), "different namespaces of ten containers and the host, with %v new in each container", containerNeeds)
	alive := func() (n int) {
		for _, sb := range all {
			if _, err := host.Stat(fmt.Sprintf("/proc/%d", sb.PID())); err == nil {
				n++
			}
		}
		return n
	}
	before := alive()
	for _, sb := range all {
		harness.Must(sb.Kill(unix.SIGKILL))
		harness.Got(host.Wait(sb))
	}
	claim.Evidence("%d different namespaces; alive before the stop: %d, after: %d", len(links), before, alive())
	Expect(alive()).To(BeZero(), "containers left after all were stopped")
	Expect(before).To(Equal(10), "contrast: before")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/rootfs-runs-from-any-path",
	Text:     "A rootfs copied to another directory behaves the same.",
	Source:   claim.Sources{claim.Article("Introduction to Containers")},
	Contrast: "removing its busybox breaks it, so nothing of the host is used",
	Try:      "cp -a /tmp/tiny-linux /tmp/elsewhere; chroot /tmp/elsewhere cat /etc/hostname; rm /tmp/elsewhere/bin/bb; chroot /tmp/elsewhere cat /etc/hostname",
	Shows:    "tiny-linux\nchroot: failed to run command 'cat': No such file or directory",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		host := harness.Start(ctx, harness.New(namespace.Mount))
		other := host.MkdirTemp()
		// The same tree under another path.
		harness.Must(host.Bind(root.Dir, other, 0))
		run := func(dir string) harness.Output {
			sb := harness.Start(ctx, harness.Under(host), harness.WithChroot(dir))
			out, err := sb.Run(ctx, "/bin/sh", "-c", "ls /; uname -r; cat /etc/os-release")
			harness.Must(err)
			return out
		}
		first, second := run(root.Dir), run(other)
		harness.Must(host.Mount("x", other+"/bin", "tmpfs", 0, ""))
		_, without := harness.Start(ctx, harness.Under(host), harness.WithChroot(other)).Run(ctx, "/bin/sh", "-c", "true")
		claim.Evidence("%s: equal output of %d bytes from two paths; without its /bin: %v", root.Name, len(first.Stdout), without)
		Expect(first.Status.ExitStatus()).To(Equal(0), "%s: %s", root.Name, first.Stderr)
		Expect(second.Stdout).To(Equal(first.Stdout), "output of %s from another path", root.Name)
		Expect(without).To(harness.FailWith(unix.ENOENT), "contrast: without its own /bin nothing of the host's is used")
	}
})
