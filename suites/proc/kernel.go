package proc

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
	"bulkhead/internal/machine"
	"bulkhead/suites/rootfs"
)

var containerNeeds = []namespace.Type{namespace.PID, namespace.Mount, namespace.Network}

// container starts the article's container: PID, mount and network namespaces,
// proc mounted, chrooted into a root filesystem.
func container(ctx SpecContext, parent *harness.Sandbox, root rootfs.Root, more ...harness.Option) *harness.Sandbox {
	return harness.Start(ctx, append([]harness.Option{
		harness.Under(parent), harness.New(containerNeeds...), harness.Held(),
		harness.WithMount("proc", root.Dir+"/proc", "proc", 0, ""), harness.WithChroot(root.Dir),
	}, more...)...)
}

var _ = claim.It(claim.Claim{
	ID:       "kernel/release-identical-inside-and-out",
	Text:     "uname release and version are the same in a container and on its host.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("uname(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "/etc/os-release differs",
	Try:      "uname -r; chroot /tmp/tiny-linux uname -r",
	Shows:    "<release>\n<release>",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		host := harness.Start(ctx)
		in := container(ctx, host, root)
		inside, outside := in.Uname(), host.Uname()
		shown := harness.Got(in.Run(ctx, "/bin/uname", "-r"))
		claim.Evidence("%s inside: %s %s; outside: %s %s", root.Name, inside.Release, inside.Version, outside.Release, outside.Version)
		Expect(inside.Release+" "+inside.Version).To(Equal(outside.Release+" "+outside.Version), "release and version in %s", root.Name)
		Expect(strings.TrimSpace(shown.Stdout)).To(Equal(outside.Release), "uname -r in %s: %s", root.Name, shown.Stderr)
		own, err := host.ReadFile("/etc/os-release")
		Expect(harness.Got(in.ReadFile("/etc/os-release"))).NotTo(Equal(own), "contrast: os-release (host's: %v)", err)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/proc-version-identical",
	Text:     "/proc/version read in a container is the host's.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.UTS)},
	Contrast: "the node name can differ",
	Try:      `cut -d" " -f1-3 /proc/version; unshare --pid --mount --fork --mount-proc cut -d" " -f1-3 /proc/version`,
	Shows:    "Linux version <release>\nLinux version <release>",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	in := container(ctx, host, rootfs.Tiny(ctx), harness.New(namespace.UTS))
	harness.Must(in.Sethostname("container"))
	inside, outside := harness.Got(in.ReadFile("/proc/version")), harness.Got(host.ReadFile("/proc/version"))
	claim.Evidence("inside: %s", strings.TrimSpace(inside))
	Expect(inside).To(Equal(outside), "/proc/version in a container and on its host")
	Expect(in.Uname().Nodename).NotTo(Equal(host.Uname().Nodename), "contrast: the node name can differ")
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/cpuinfo-shows-host-cpus",
	Text:     "/proc/cpuinfo in a container shows the host's CPUs.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "nothing readable without proc mounted",
	Try:      "grep -c ^processor /proc/cpuinfo; unshare --pid --mount --net --fork --mount-proc grep -c ^processor /proc/cpuinfo",
	Shows:    "<cpus>\n<cpus>",
}, func(ctx SpecContext) {
	host, tiny := harness.Start(ctx), rootfs.Tiny(ctx)
	lines := func(sb *harness.Sandbox) (found []string) {
		for _, line := range strings.Split(harness.Got(sb.ReadFile("/proc/cpuinfo")), "\n") {
			if strings.HasPrefix(line, "processor") || strings.HasPrefix(line, "model") || strings.HasPrefix(line, "isa") {
				found = append(found, line)
			}
		}
		return found
	}
	inside, outside := lines(container(ctx, host, tiny)), lines(host)
	_, without := harness.Start(ctx, harness.New(namespace.Mount), harness.WithChroot(tiny.Dir)).ReadFile("/proc/cpuinfo")
	claim.Evidence("%d lines equal; without proc mounted: %v", len(inside), without)
	Expect(inside).NotTo(BeEmpty(), "processor lines of /proc/cpuinfo in a container")
	Expect(inside).To(Equal(outside), "processor lines of /proc/cpuinfo in a container")
	Expect(without).To(harness.FailWith(unix.ENOENT), "contrast: without proc mounted")
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/memtotal-shows-host-memory",
	Text:     "MemTotal in a container is the host's.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "nothing readable without proc mounted",
	Try:      "grep MemTotal /proc/meminfo; unshare --pid --mount --fork --mount-proc grep MemTotal /proc/meminfo",
	Shows:    "MemTotal: <memory> kB\nMemTotal: <memory> kB",
}, func(ctx SpecContext) {
	host, tiny := harness.Start(ctx), rootfs.Tiny(ctx)
	inside := kilobytes(harness.Got(container(ctx, host, tiny).ReadFile("/proc/meminfo")), "MemTotal")
	outside := kilobytes(harness.Got(host.ReadFile("/proc/meminfo")), "MemTotal")
	_, without := harness.Start(ctx, harness.New(namespace.Mount), harness.WithChroot(tiny.Dir)).ReadFile("/proc/meminfo")
	claim.Evidence("inside: %d kB; outside: %d kB; without proc mounted: %v", inside, outside, without)
	Expect(inside).To(Equal(outside), "MemTotal in a container")
	Expect(without).To(harness.FailWith(unix.ENOENT), "contrast: without proc mounted")
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/load-and-uptime-shared",
	Text:     "Load averages and uptime in a container are the host's.",
	Source:   claim.Sources{claim.Article("Introduction to Containers"), claim.Man("proc(5)", "/proc/loadavg, /proc/uptime")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.Time)},
	Contrast: "a time namespace changes uptime",
	Try:      "cut -d. -f1 /proc/uptime | tee /tmp/1; unshare --pid --mount --net --fork --mount-proc cut -d. -f1 /proc/uptime | tee /tmp/2; test $(cat /tmp/2) -ge $(cat /tmp/1) && echo no younger",
	Shows:    "…\n…\nno younger",
}, func(ctx SpecContext) {
	host, tiny := harness.Start(ctx), rootfs.Tiny(ctx)
	in := container(ctx, host, tiny)
	loads := func(sb *harness.Sandbox) []string {
		return strings.Fields(harness.Got(sb.ReadFile("/proc/loadavg")))[:3]
	}
	uptime := func(sb *harness.Sandbox) (up float64) {
		_, err := fmt.Sscan(harness.Got(sb.ReadFile("/proc/uptime")), &up)
		harness.Must(err)
		return up
	}
	// The load is computed anew every five seconds: both may fall on either
	// side of that moment once, not three times.
	var inside, outside []string
	for range 3 {
		if inside, outside = loads(in), loads(host); strings.Join(inside, " ") == strings.Join(outside, " ") {
			break
		}
	}
	first, second, third := uptime(host), uptime(in), uptime(host)
	shifted := harness.Start(ctx)
	harness.Must(shifted.Unshare(unix.CLONE_NEWTIME))
	harness.Must(shifted.WriteFile("/proc/self/timens_offsets", "boottime 500000 0\n"))
	other := uptime(shifted.Fork(ctx))
	claim.Evidence("load inside %v, outside %v; uptime outside %.2f, inside %.2f, outside %.2f; in a time namespace %.0f", inside, outside, first, second, third, other)
	Expect(inside).To(Equal(outside), "load averages in a container")
	Expect(first <= second && second <= third).To(BeTrue(), "uptime in a container is the host's")
	Expect(other-third).To(BeNumerically(">", 400000), "contrast: a time namespace changes uptime")
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/global-sysctls-shared",
	Text:     "A sysctl that belongs to no namespace is one for all: a container's global root changes the host's, a user-namespace root may not.",
	Source:   claim.Sources{claim.Article("Introduction to Containers"), claim.Man("proc(5)", "/proc/sys")},
	Needs:    claim.Needs{claim.Root, claim.Namespace(namespace.UTS), claim.Namespace(namespace.User), claim.Sysctls, claim.File("/proc/sys/vm/swappiness")},
	Contrast: "kernel.hostname stays inside",
	Try:      `s=/proc/sys/vm/swappiness; unshare --mount --pid --fork sh -c "cat $s | tee $s > /dev/null && echo written"; setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user sh -c "cat $s | tee $s > /dev/null"`,
	Shows:    "written\ntee: /proc/sys/vm/swappiness: Permission denied",
}, func(ctx SpecContext) {
	const path = "/proc/sys/vm/swappiness"
	// Another run must not take for the machine's what this one writes.
	release := harness.Got(machine.Lock())
	DeferCleanup(release)
	host := harness.Start(ctx)
	before := strings.TrimSpace(harness.Got(host.ReadFile(path)))
	DeferCleanup(func(ctx SpecContext) {
		// By the suite itself, which depends on no sandbox, where its /proc/sys
		// can be written.
		if os.WriteFile(path, []byte(before), 0) != nil {
			harness.Must(harness.Host(ctx).WriteFile(path, before))
		}
	})
	in := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount, namespace.PID, namespace.Network, namespace.UTS))
	changed := map[bool]string{true: "61", false: "62"}[before != "61"]
	Expect(in.WriteFile(path, changed)).To(Succeed(), "vm.swappiness written by a container's root")
	after := strings.TrimSpace(harness.Got(host.ReadFile(path)))
	harness.Must(host.WriteFile(path, before))
	nobody := []harness.Mapping{{Inside: 0, Outside: 65534, Size: 1}}
	user := harness.Start(ctx, harness.New(namespace.User), harness.WithIDs(nobody, nobody))
	harness.Must(user.SetIDs(0, 0))
	refused := user.WriteFile(path, changed)
	harness.Must(in.WriteFile("/proc/sys/kernel/hostname", "inside"))
	claim.Evidence("host before: %s, after a container wrote %s: %s; root of a user namespace: %v", before, changed, after, refused)
	Expect(after).To(Equal(changed), "vm.swappiness of the host after a container's root wrote it")
	Expect(refused).To(Or(harness.FailWith(unix.EACCES), harness.FailWith(unix.EPERM)), "root of a user namespace writing vm.swappiness")
	Expect(host.Uname().Nodename).NotTo(Equal("inside"), "contrast: kernel.hostname stays inside")
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/kernel-log-shared",
	Text:     "There is one kernel log: a container with the privilege reads messages written outside.",
	Source:   claim.Sources{claim.Article("Introduction to Containers"), claim.Man("syslog(2)", "")},
	Needs:    claim.Needs{claim.Root, claim.Namespace(namespace.IPC), kernelLog},
	Contrast: "nobody cannot open it",
	Try:      "echo tag > /dev/kmsg; unshare --pid --mount --net --fork dmesg | tail -1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	tag := fmt.Sprintf("bulkhead looks at the kernel log %d", time.Now().UnixNano())
	in := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.Mount, namespace.Network, namespace.UTS, namespace.IPC))
	kmsg := newKmsg(ctx)
	fd := harness.Got(in.Open(kmsg, unix.O_RDONLY|unix.O_NONBLOCK, 0))
	harness.Got(in.Syscall("lseek to the end", unix.SYS_LSEEK, fd, 0, unix.SEEK_END))
	harness.Must(host.WriteFile(kmsg, tag+"\n"))
	found := false
	for !found {
		record, err := in.Read(fd, 8192)
		if err != nil {
			Expect(err).To(harness.FailWith(unix.EPIPE), "a record %q, written outside, read inside", tag)
			continue
		}
		found = strings.Contains(string(record), tag)
	}
	_, nobody := harness.Start(ctx, harness.As(65534, 65534)).Open(kmsg, unix.O_WRONLY, 0)
	claim.Evidence("read inside: %q; nobody opening it: %v", tag, nobody)
	Expect(found).To(BeTrue(), "a line written to /dev/kmsg in a container is in the kernel's log")
	Expect(nobody).To(harness.FailWith(unix.EACCES), "contrast: nobody opening /dev/kmsg")
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/foreign-userland-runs",
	Text:     "Another distribution's userland runs unmodified on the host's kernel.",
	Source:   claim.Sources{claim.Article("Introduction to Containers"), claim.Article("The /proc Virtual Filesystem")},
	Contrast: "the host's libraries are absent from it",
	Try:      "chroot /tmp/tiny-linux cat /etc/hostname; chroot /tmp/tiny-linux uname; test -e /bin/gosh || echo the host has no gosh",
	Shows:    "tiny-linux\nLinux\nthe host has no gosh",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		sb := harness.Start(ctx, harness.New(namespace.Mount), harness.WithChroot(root.Dir))
		shell := harness.Got(sb.Run(ctx, "/bin/sh", "-c", "echo from the shell; cat /etc/os-release"))
		_, host := sb.Stat("/lib/x86_64-linux-gnu")
		claim.Evidence("%s: status %d, %q", root.Name, shell.Status.ExitStatus(), strings.SplitN(shell.Stdout, "\n", 2)[0])
		Expect(shell.Status.ExitStatus()).To(Equal(0), "the shell of %s: %s", root.Name, shell.Stderr)
		Expect(shell.Stdout).To(HavePrefix("from the shell\n"), "the shell of %s", root.Name)
		Expect(shell.Stdout).To(ContainSubstring("\nID="+root.ID+"\n"), "os-release of %s", root.Name)
		Expect(host).To(harness.FailWith(unix.ENOENT), "contrast: a host's library folder in %s", root.Name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/two-userlands-at-once",
	Text:     "Two different userlands run at the same time on one kernel.",
	Source:   claim.Sources{claim.Article("Introduction to Containers")},
	Contrast: "one rootfs started twice reports one ID=",
	Try:      "chroot /tmp/tiny-linux sleep 99 & sleep 99 & until p=$(pgrep -x -n bb) || p=$(pgrep -x -o sleep); do :; done; grep ^ID /tmp/tiny-linux/etc/os-release; uname -r; chroot /tmp/tiny-linux uname -r",
	Shows:    "ID=tiny-linux\n<release>\n<release>",
}, func(ctx SpecContext) {
	jail := rootfs.Root{Name: "jail", ID: "jail", Dir: rootfs.Jail(ctx)}
	roots := append(rootfs.Each(ctx), jail)
	host := harness.Start(ctx)
	var ids, releases []string
	var running []*harness.Sandbox
	for _, root := range roots[len(roots)-2:] {
		sb := container(ctx, host, root)
		running = append(running, sb)
		raw := harness.Got(sb.ReadFile("/etc/os-release"))
		for _, line := range strings.Split(raw, "\n") {
			if strings.HasPrefix(line, "ID=") {
				ids = append(ids, line)
			}
		}
		releases = append(releases, sb.Uname().Release)
	}
	again := container(ctx, host, roots[0])
	claim.Evidence("%v at once on %s; the first root again: %v", ids, releases[0], again.Getpid())
	Expect(ids[0]).NotTo(Equal(ids[1]), "os-release of two userlands")
	Expect(releases[0]).To(Equal(releases[1]), "release of the kernel under two userlands")
	Expect([]int{running[0].Getpid(), running[1].Getpid()}).To(Equal([]int{1, 1}), "both answer at the same time")
	Expect(again.ReadFile("/etc/os-release")).To(ContainSubstring("ID="+roots[0].ID+"\n"), "contrast: one root filesystem started twice reports one ID")
})

var _ = claim.It(claim.Claim{
	ID:       "kernel/no-boot-and-fast-start",
	Text:     "Starting a process in six new namespaces takes well under a quarter of a second, with no boot.",
	Source:   claim.Sources{claim.Article("Introduction to Containers")},
	Needs:    claim.Needs{claim.Sysctls, claim.Namespace(namespace.PID), claim.Namespace(namespace.IPC), claim.Namespace(namespace.Cgroup)},
	Contrast: "a VM boot takes seconds and has another boot_id",
	Try:      "cat /proc/sys/kernel/random/boot_id; unshare --pid --fork --mount --net --uts --ipc --cgroup cat /proc/sys/kernel/random/boot_id",
	Shows:    "<boot>\n<boot>",
}, func(ctx SpecContext) {
	const bootID = "/proc/sys/kernel/random/boot_id"
	host := harness.Start(ctx)
	types := []namespace.Type{namespace.PID, namespace.Mount, namespace.Network, namespace.UTS, namespace.IPC, namespace.Cgroup}
	program := rootfs.Tiny(ctx).Dir + "/bin/true"
	started := func(types ...namespace.Type) (*harness.Sandbox, time.Duration) {
		start := time.Now()
		sb := harness.Start(ctx, harness.Under(host), harness.New(types...))
		ended := harness.Got(sb.Run(ctx, program))
		took := time.Since(start)
		Expect(ended.Status.ExitStatus()).To(Equal(0), "status of /bin/true in new namespaces %v", types)
		return sb, took
	}
	var times, plain []time.Duration
	var inside string
	for range 5 {
		_, without := started()
		sb, took := started(types...)
		plain, times = append(plain, without), append(times, took)
		for _, t := range types {
			own := harness.Got(host.Stat(fmt.Sprintf("/proc/%d/ns/%s", sb.PID(), t.Name)))
			Expect(own.String()).NotTo(Equal(harness.Got(host.Namespace(t)).String()), "the %s namespace of a process cloned with %s is its parent's", t.Name, t.Const)
		}
		inside = harness.Got(sb.ReadFile(bootID))
	}
	// The fastest, for on a busy machine the others wait for a processor. Where
	// all wait, as in an emulated guest of a busy machine, so does a start without
	// namespaces.
	fastest, fastestPlain := slices.Min(times), slices.Min(plain)
	limit := max(harness.Scaled(250*time.Millisecond), 10*fastestPlain)
	outside := harness.Got(host.ReadFile(bootID))
	random := harness.Got(host.ReadFile("/proc/sys/kernel/random/uuid"))
	claim.Evidence("fastest of five: %v, without new namespaces %v; boot_id %s inside and %s outside", fastest.Round(time.Millisecond), fastestPlain.Round(time.Millisecond), strings.TrimSpace(inside), strings.TrimSpace(outside))
	Expect(inside).To(Equal(outside), "boot_id inside and outside: no kernel was booted")
	Expect(fastest).To(BeNumerically("<", limit), "the fastest of five starts of a program in six new namespaces")
	Expect(random).NotTo(Equal(outside), "contrast: an identifier made anew")
})
