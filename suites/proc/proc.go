// Package proc holds the claims on proc mounts and what they show, and on the
// kernel that containers share. It knows nothing of how a run is carried out
// or reported.
package proc

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
	"bulkhead/suites/rootfs"
)

var _ = claim.It(claim.Claim{
	ID:       "proc/mount-shows-processes",
	Text:     "Mounting the proc type on an empty directory makes a numbered subdirectory per process appear in it.",
	Source:   claim.Sources{claim.Article("Using the Chroot User-space Tool"), claim.Man("proc(5)", "DESCRIPTION")},
	Needs:    claim.Needs{procfs},
	Contrast: "the directory is empty before the mount",
	Core:     true,
	Try:      "ls /mnt; mount -t proc proc /mnt; ls -d /mnt/1 /mnt/$$",
	Shows:    "/mnt/1\n/mnt/<pid>",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := sb.MkdirTemp()
	before := harness.Got(sb.ReadDir(dir))
	Expect(before).To(BeEmpty(), "contrast: the directory before the mount")
	Expect(sb.Mount("proc", dir, "proc", 0, "")).To(Succeed(), "mounting proc")
	pids := harness.Got(sb.PIDs(dir))
	claim.Evidence("before: %d entries; after: %d processes", len(before), len(pids))
	Expect(pids).To(ContainElements(1, sb.Getpid()), "numbered directories of the new proc mount")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/ps-needs-proc",
	Text:     "Process tools show no process while /proc is not mounted: tiny-linux's ps fails and says so, busybox ps prints only its header.",
	Source:   claim.Sources{claim.Article("Using the Chroot User-space Tool")},
	Needs:    claim.Needs{procfs, claim.Namespace(namespace.PID)},
	Contrast: "after mounting proc the same command lists processes",
	Try:      "chroot /tmp/tiny-linux ps aux; mount -t proc proc /tmp/tiny-linux/proc; chroot /tmp/tiny-linux ps aux",
	Shows:    "… no files found in \"/proc\"; check if proc is mounted\nPID …\n1 …\n…",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		sb := harness.Start(ctx, harness.New(namespace.PID, namespace.Mount), harness.WithChroot(root.Dir))
		without := harness.Got(sb.Run(ctx, "/bin/ps", "aux"))
		harness.Must(sb.Mount("proc", "/proc", "proc", 0, ""))
		with := harness.Got(sb.Run(ctx, "/bin/ps", "aux"))
		claim.Evidence("%s without /proc: status %d, %d rows, says %q; with: %d rows", root.Name,
			without.Status.ExitStatus(), rows(without.Stdout), strings.TrimSpace(without.Stderr), rows(with.Stdout))
		Expect(rows(without.Stdout)).To(Equal(0), "%s: rows of ps without /proc:\n%s", root.Name, without.Stdout)
		if root.Name == "tiny-linux" {
			Expect(without.Status.ExitStatus()).NotTo(Equal(0), "status of ps without /proc")
			Expect(without.Stderr).To(MatchRegexp(`no files found in "?/proc"?; check if proc is mounted`), "what ps says without /proc")
		}
		Expect(with.Status.ExitStatus()).To(Equal(0), "%s, contrast: ps with /proc mounted: %s", root.Name, with.Stderr)
		Expect(rows(with.Stdout)).To(Equal(2), "%s, contrast: PID 1 and ps itself:\n%s", root.Name, with.Stdout)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "proc/no-backing-device",
	Text:     "procfs sits on no block device: anonymous st_dev, zero blocks, listed as nodev in /proc/filesystems.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("proc(5)", "/proc/filesystems")},
	Needs:    claim.Needs{procfs},
	Contrast: "tmpfs, which has no device either, has blocks; a filesystem on a device has no nodev mark",
	Try:      "stat -f -c %b /proc; grep -w proc /proc/filesystems",
	Shows:    "0\nnodev proc",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	file := harness.Got(sb.Stat("/proc/version"))
	blocks := func(path string) uint64 {
		buf := make([]byte, 120)
		harness.Got(sb.Syscall("statfs "+path, unix.SYS_STATFS, path, buf))
		return le64(buf[16:])
	}
	filesystems := harness.Got(sb.ReadFile("/proc/filesystems"))
	claim.Evidence("/proc/version on device %d:%d; proc has %d blocks, %s has %d", file.DevMajor, file.DevMinor, blocks("/proc"), sb.Scratch(), blocks(sb.Scratch()))
	Expect(file.DevMajor).To(BeZero(), "major device number of a proc file")
	Expect(blocks("/proc")).To(BeZero(), "f_blocks of /proc")
	Expect(filesystems).To(ContainSubstring("nodev\tproc\n"), "/proc/filesystems")
	Expect(blocks(sb.Scratch())).NotTo(BeZero(), "contrast: f_blocks of a tmpfs")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/mount-source-string-arbitrary",
	Text:     "The source string of a proc mount is free text that only shows up in the mount table.",
	Source:   claim.Sources{claim.Article("Using the Chroot User-space Tool")},
	Needs:    claim.Needs{procfs},
	Contrast: "a bind mount with that source fails with ENOENT",
	Try:      "mount -t proc whatever /mnt; grep -o 'proc whatever' /proc/self/mountinfo; umount /mnt; mount -t ext4 whatever /mnt",
	Shows:    "proc whatever\nmount: /mnt: special device whatever does not exist.\n…",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := sb.MkdirTemp()
	bind := sb.Bind("whatever", dir, 0)
	Expect(bind).To(harness.FailWith(unix.ENOENT), "contrast: a bind mount needs a source")
	Expect(sb.Mount("whatever", dir, "proc", 0, "")).To(Succeed(), "mounting proc with another source")
	line := mountLine(sb, dir)
	claim.Evidence("mountinfo: %s; bind: %v", line, bind)
	Expect(line).To(ContainSubstring(" - proc whatever "), "the source in mountinfo")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/files-generated-on-read",
	Text:     "proc files report size 0 yet have content, and change between reads without any write.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem")},
	Needs:    claim.Needs{procfs},
	Contrast: "a regular file has its size and stays equal",
	Try:      "stat -c %s /proc/uptime; cat /proc/uptime; sleep 0.1; cat /proc/uptime",
	Shows:    "0\n<then> …\n<later> …",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	size := harness.Got(sb.Stat("/proc/uptime")).Size
	first := harness.Got(sb.ReadFile("/proc/uptime"))
	var second string
	// The kernel counts uptime in hundredths of a second.
	Eventually(func() string { second = harness.Got(sb.ReadFile("/proc/uptime")); return second }).
		WithPolling(pollTime).Should(Not(Equal(first)), "a second read of /proc/uptime")
	plain := sb.MkdirTemp() + "/file"
	harness.Must(sb.CreateFile(plain, first))
	claim.Evidence("size %d, read %q and then %q", size, strings.TrimSpace(first), strings.TrimSpace(second))
	Expect(size).To(BeZero(), "st_size of /proc/uptime")
	Expect(first).NotTo(BeEmpty(), "content of /proc/uptime")
	Expect(harness.Got(sb.Stat(plain)).Size).To(Equal(uint64(len(first))), "contrast: the size of a regular file")
	Expect(sb.ReadFile(plain)).To(Equal(first), "contrast: a regular file stays as it is")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/pid-dir-follows-process-lifetime",
	Text:     "/proc/PID exists while the process exists and disappears once it has been reaped.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("proc(5)", "/proc/pid")},
	Needs:    claim.Needs{procfs},
	Contrast: "absent after wait",
	Try:      "sleep 99 & ls -d /proc/$!; kill $!; wait $! ; ls -d /proc/$!",
	Shows:    "/proc/<pid>\n…\nls: cannot access '/proc/<pid>': No such file or directory",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx)
	child := parent.Fork(ctx)
	dir := fmt.Sprintf("/proc/%d", child.PID())
	_, alive := parent.Stat(dir)
	child.Exit(0)
	_, zombie := parent.Stat(dir)
	harness.Got(parent.Wait(child))
	_, gone := parent.Stat(dir)
	claim.Evidence("alive: %v; exited, not reaped: %v; reaped: %v", alive, zombie, gone)
	Expect(alive).NotTo(HaveOccurred(), "contrast: %s while the process lives", dir)
	Expect(zombie).NotTo(HaveOccurred(), "%s of a process that has exited and not been reaped", dir)
	Expect(gone).To(harness.FailWith(unix.ENOENT), "%s after the process was reaped", dir)
})

var _ = claim.It(claim.Claim{
	ID:       "proc/cpuinfo-lists-online-cpus",
	Text:     "/proc/cpuinfo has one processor entry per online CPU.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("proc(5)", "/proc/cpuinfo")},
	Needs:    claim.Needs{procfs, claim.File("/sys/devices/system/cpu/online")},
	Contrast: "a process pinned to one CPU reads the same count, so it is not the affinity",
	Try:      "grep -c ^processor /proc/cpuinfo; taskset 1 grep -c ^processor /proc/cpuinfo; getconf _NPROCESSORS_ONLN",
	Shows:    "<cpus>\n<cpus>\n<cpus>",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	count := func() int { return strings.Count("\n"+harness.Got(sb.ReadFile("/proc/cpuinfo")), "\nprocessor") }
	online := countRanges(harness.Got(sb.ReadFile("/sys/devices/system/cpu/online")))
	listed := count()
	// The first of those that the suite may run on.
	one := make([]byte, 128)
	harness.Got(sb.Syscall("sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, 0, len(one), one))
	first := slices.IndexFunc(one, func(b byte) bool { return b != 0 })
	one[first] &= -one[first]
	clear(one[first+1:])
	harness.Got(sb.Syscall("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, 0, len(one), one))
	pinned := count()
	claim.Evidence("online: %d; in cpuinfo: %d; pinned to one CPU: %d", online, listed, pinned)
	Expect(listed).To(Equal(online), "processor entries of /proc/cpuinfo")
	Expect(pinned).To(Equal(online), "contrast: pinned to one CPU, so that it is not the affinity")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/meminfo-matches-sysinfo",
	Text:     "MemTotal in /proc/meminfo equals what sysinfo(2) reports.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("proc(5)", "/proc/meminfo")},
	Needs:    claim.Needs{procfs},
	Contrast: "MemFree is another number",
	Try:      "grep MemTotal /proc/meminfo; free -k | head -2",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	buf := make([]byte, 128)
	harness.Got(sb.Syscall("sysinfo", unix.SYS_SYSINFO, buf))
	total := le64(buf[32:]) * uint64(max(1, le32(buf[104:])))
	meminfo := harness.Got(sb.ReadFile("/proc/meminfo"))
	memTotal, memFree := kilobytes(meminfo, "MemTotal")*1024, kilobytes(meminfo, "MemFree")*1024
	claim.Evidence("MemTotal: %d bytes; sysinfo totalram: %d; MemFree: %d", memTotal, total, memFree)
	Expect(memTotal).To(Equal(total), "MemTotal of /proc/meminfo and totalram of sysinfo(2)")
	Expect(memFree).NotTo(Equal(total), "contrast: MemFree")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/version-matches-uname",
	Text:     "/proc/version contains the running release and version strings.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("proc(5)", "/proc/version")},
	Needs:    claim.Needs{procfs},
	Contrast: "a made-up release is not",
	Try:      `uname -r; cut -d' ' -f3 /proc/version; grep -c -F "$(uname -v)" /proc/version`,
	Shows:    "<release>\n<release>\n1",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	version, u := harness.Got(sb.ReadFile("/proc/version")), sb.Uname()
	claim.Evidence("/proc/version: %s; uname: %s, %s", strings.TrimSpace(version), u.Release, u.Version)
	Expect(version).To(ContainSubstring(" "+u.Release+" "), "uname's release in /proc/version")
	Expect(version).To(ContainSubstring(u.Version), "uname's version in /proc/version")
	Expect(version).NotTo(ContainSubstring(" "+u.Release+"-bulkhead "), "contrast: a release that is not running")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/config-gz-exposes-kconfig",
	Text:     "/proc/config.gz tells the options the running kernel was built with.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("proc(5)", "/proc/config.gz")},
	Needs:    claim.Needs{claim.File("/proc/config.gz", "CONFIG_IKCONFIG_PROC")},
	Contrast: "every option that is not set is really missing",
	Try:      "zcat /proc/config.gz | grep ^CONFIG_PID_NS; ls /proc/self/ns | grep ^pid$",
	Shows:    "CONFIG_PID_NS=y\npid",
}, func(ctx SpecContext) {
	config, err := kernel.ReadConfig("/proc/config.gz")
	Expect(err).NotTo(HaveOccurred(), "read /proc/config.gz")
	links := harness.Got(harness.Start(ctx).ReadDir("/proc/self/ns"))
	var agree []string
	for option, link := range map[string]string{
		"CONFIG_PID_NS": "pid", "CONFIG_NET_NS": "net", "CONFIG_UTS_NS": "uts", "CONFIG_IPC_NS": "ipc",
		"CONFIG_USER_NS": "user", "CONFIG_TIME_NS": "time", "CONFIG_CGROUPS": "cgroup",
	} {
		value, _ := config.Option(option)
		if value == "y" {
			Expect(links).To(ContainElement(link), "%s=y, and /proc/self/ns/%s", option, link)
		} else {
			Expect(links).NotTo(ContainElement(link), "contrast: %s is not set, and /proc/self/ns/%s", option, link)
		}
		agree = append(agree, option+"="+value)
	}
	value, _ := config.Option("CONFIG_PROC_FS")
	Expect(value).To(Equal("y"), "CONFIG_PROC_FS, in a proc file")
	value, _ = config.Option("CONFIG_NO_SUCH_OPTION_OF_BULKHEAD")
	Expect(value).To(BeEmpty(), "contrast: an option that does not exist")
	claim.Evidence("%v", agree)
})

var _ = claim.It(claim.Claim{
	ID:       "proc/sysctl-write-changes-kernel",
	Text:     "Writing a file under /proc/sys changes the kernel parameter at once.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("proc(5)", "/proc/sys")},
	Needs:    claim.Needs{claim.Sysctls, claim.Root, procfs, claim.Namespace(namespace.UTS)},
	Contrast: "it had the old value just before",
	Try:      "unshare --uts sh -c 'uname -n; echo changed > /proc/sys/kernel/hostname; uname -n'",
	Shows:    "<before>\nchanged",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.UTS))
	before := sb.Uname().Nodename
	Expect(sb.WriteFile("/proc/sys/kernel/hostname", "by-sysctl")).To(Succeed(), "writing /proc/sys/kernel/hostname in a new UTS namespace")
	after := sb.Uname().Nodename
	claim.Evidence("uname before: %q, after writing the sysctl: %q", before, after)
	Expect(before).NotTo(Equal("by-sysctl"), "contrast: the host name just before")
	Expect(after).To(Equal("by-sysctl"), "uname(2) after writing /proc/sys/kernel/hostname")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/readonly-file-rejects-write",
	Text:     "Most proc files cannot be written, whoever asks: root gets EIO on /proc/version, others EACCES.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("proc(5)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.Sysctls, procfs, claim.Root, claim.Namespace(namespace.UTS)},
	Contrast: "kernel/hostname accepts a write in an own UTS namespace",
	Try:      "/bin/echo x > /proc/version; setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'echo x > /proc/version'; unshare --uts sh -c 'echo x > /proc/sys/kernel/hostname; hostname'",
	Shows:    "/bin/echo: write error: Input/output error\nsh: …: Permission denied\nx",
}, func(ctx SpecContext) {
	root := harness.Start(ctx, harness.New(namespace.UTS))
	asRoot := root.WriteFile("/proc/version", "x")
	asNobody := harness.Start(ctx, harness.As(65534, 65534)).WriteFile("/proc/version", "x")
	claim.Evidence("root: %v; nobody: %v", asRoot, asNobody)
	Expect(asRoot).To(harness.FailWith(unix.EIO), "root writing to /proc/version")
	Expect(asNobody).To(harness.FailWith(unix.EACCES), "nobody writing to /proc/version")
	Expect(root.WriteFile("/proc/sys/kernel/hostname", "x")).To(Succeed(), "contrast: a writable sysctl")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/self-is-the-reader",
	Text:     "/proc/self leads each process to its own PID directory.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/self")},
	Needs:    claim.Needs{procfs},
	Contrast: "another process reads another value",
	Try:      "readlink /proc/self; readlink /proc/self",
	Shows:    "<first>\n<second>",
}, func(ctx SpecContext) {
	a, b := harness.Start(ctx), harness.Start(ctx)
	first, second := harness.Got(a.Readlink("/proc/self")), harness.Got(b.Readlink("/proc/self"))
	claim.Evidence("process %d reads %s, process %d reads %s", a.Getpid(), first, b.Getpid(), second)
	Expect(first).To(Equal(fmt.Sprint(a.Getpid())), "/proc/self")
	Expect(second).To(Equal(fmt.Sprint(b.Getpid())), "/proc/self of another process")
	Expect(first).NotTo(Equal(second), "contrast: two readers")
	Expect(a.Readlink("/proc/thread-self")).To(Equal(fmt.Sprintf("%d/task/%d", a.Getpid(), a.Getpid())), "/proc/thread-self of a single-threaded process")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/self-gives-pid-in-the-mounts-ns",
	Text:     "/proc/self yields the caller's PID as seen from the PID namespace of that proc mount, not from the caller's own.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "/proc and PID namespaces")},
	Needs:    claim.Needs{procfs, claim.Namespace(namespace.PID)},
	Contrast: "it reads 1 from a proc mounted inside",
	Try:      "unshare --pid --fork sh -c 'mount -t proc proc /mnt; exec readlink /proc/self /mnt/self'",
	Shows:    "<outer>\n1",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.PID, namespace.Mount))
	old := harness.Got(sb.Readlink("/proc/self"))
	dir := sb.MkdirTemp()
	harness.Must(sb.Mount("proc", dir, "proc", 0, ""))
	own := harness.Got(sb.Readlink(dir + "/self"))
	claim.Evidence("PID %d reads %s in the outer proc, %s in its own", sb.Getpid(), old, own)
	Expect(old).To(Equal(fmt.Sprint(sb.PID())), "/proc/self of the outer proc, read by PID 1 of a new namespace")
	Expect(old).NotTo(Equal("1"), "/proc/self of the outer proc is not the number in the new namespace")
	Expect(own).To(Equal("1"), "contrast: self of a proc mounted inside")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/instance-bound-to-mounters-pid-ns",
	Text:     "A proc mount shows the processes of the mounting process's PID namespace, whoever looks at it.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "/proc and PID namespaces")},
	Needs:    claim.Needs{procfs, claim.Namespace(namespace.PID)},
	Contrast: "the host's /proc lists many",
	Core:     true,
	Try:      "unshare --pid --fork --mount sh -c 'mount -t proc proc /mnt; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; ls /proc/$p/root/mnt | grep -E '^[0-9]'; ls /proc | grep -c -E '^[0-9]' | grep -v ^1$ > /dev/null && echo more here",
	Shows:    "1\nmore here",
}, func(ctx SpecContext) {
	outside := harness.Start(ctx, harness.New(namespace.Mount))
	dir := outside.MkdirTemp()
	inside := harness.Start(ctx, harness.Under(outside), harness.New(namespace.PID))
	Expect(inside.Mount("proc", dir, "proc", 0, "")).To(Succeed(), "mounting proc in a new PID namespace")
	seen := harness.Got(outside.PIDs(dir))
	own := harness.Got(outside.PIDs("/proc"))
	claim.Evidence("an outside reader finds %v in the proc mounted inside, %d processes in its own", seen, len(own))
	Expect(seen).To(Equal([]int{1}), "processes in a proc mounted inside the PID namespace, read from outside")
	// By name, too: a lookup is another way than a listing. 2 is kthreadd's number
	// on the machine.
	for _, pid := range []int{2, outside.PID()} {
		_, err := outside.Stat(fmt.Sprintf("%s/%d", dir, pid))
		Expect(err).To(harness.FailWith(unix.ENOENT), "looking up the outer PID %d in a proc mounted inside the PID namespace, whose only process is 1", pid)
	}
	// A mounter whose children will be in a new PID namespace is still in its own.
	mounter, dir := outside.Fork(ctx), outside.MkdirTemp()
	harness.Must(mounter.Unshare(unix.CLONE_NEWPID))
	Expect(mounter.Mount("proc", dir, "proc", 0, "")).To(Succeed(), "mounting proc after unshare(CLONE_NEWPID)")
	mounters := harness.Got(outside.PIDs(dir))
	claim.Evidence("in the proc mounted after unshare(CLONE_NEWPID): %d processes", len(mounters))
	Expect(mounters).To(ContainElement(outside.PID()), "the outer PID in a proc mounted after unshare(CLONE_NEWPID), by a process in the outer PID namespace still")
	Expect(own).To(ContainElement(outside.PID()), "contrast: the reader's own PID in the outer proc")
	Expect(len(own)).To(BeNumerically(">", 1), "contrast: the outer proc")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/new-pidns-with-old-proc-shows-host",
	Text:     "Without a new proc mount, a process in a new PID namespace still sees the host's PIDs in /proc.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "/proc and PID namespaces"), claim.Article("Using the Chroot User-space Tool")},
	Needs:    claim.Needs{procfs, claim.Namespace(namespace.PID)},
	Contrast: "after mounting proc the list is just 1",
	Try:      `sleep 99 & unshare --pid --fork sh -c "echo \$\$; ls -d /proc/$!; mount -t proc proc /mnt; ls -d /mnt/$!"`,
	Shows:    "1\n/proc/<pid>\nls: cannot access '/mnt/<pid>': No such file or directory",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.PID, namespace.Mount))
	outer := harness.Got(sb.PIDs("/proc"))
	harness.Must(sb.Mount("proc", "/proc", "proc", 0, ""))
	own := harness.Got(sb.PIDs("/proc"))
	claim.Evidence("getpid() is %d; inherited proc lists %d processes, a new one %v", sb.Getpid(), len(outer), own)
	Expect(sb.Getpid()).To(Equal(1), "getpid() of the first process of a new PID namespace")
	Expect(outer).To(ContainElement(sb.PID()), "the inherited proc lists the outer PIDs")
	Expect(own).To(Equal([]int{1}), "contrast: after mounting proc")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/net-follows-reader-netns",
	Text:     "/proc/net is a link to self/net and so shows the reader's network namespace.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/net"), claim.Man("network_namespaces(7)", "")},
	Needs:    claim.Needs{procfs, claim.Namespace(namespace.Network), claim.Veth},
	Contrast: "outside it lists more devices",
	Try:      "ip link add br9 type bridge; grep -c br9 /proc/net/dev; unshare --net grep -c br9 /proc/net/dev",
	Shows:    "1\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	addVeth(ctx, host)
	link := harness.Got(host.Readlink("/proc/net"))
	outside := interfaces(host, "/proc/net/dev")
	inside := interfaces(harness.Start(ctx, harness.Under(host), harness.New(namespace.Network)), "/proc/net/dev")
	claim.Evidence("/proc/net -> %s; outside: %v; inside, same proc mount: %v", link, outside, inside)
	Expect(link).To(Equal("self/net"), "where the link /proc/net leads")
	Expect(inside).NotTo(ContainElement("veth0"), "/proc/net/dev read in a new network namespace")
	Expect(inside).To(ContainElement("lo"), "/proc/net/dev read in a new network namespace")
	Expect(outside).To(ContainElements("lo", "veth0"), "contrast: read outside")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/mounts-follows-reader-mount-ns",
	Text:     "/proc/mounts is a link to self/mounts and so shows the reader's mount namespace.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/mounts"), claim.Man("mount_namespaces(7)", "")},
	Needs:    claim.Needs{procfs, claim.Namespace(namespace.Mount)},
	Contrast: "and not listed outside",
	Try:      "unshare --mount sh -c 'mount -t tmpfs mine /mnt; grep -c ^mine /proc/mounts'; grep -c ^mine /proc/mounts",
	Shows:    "1\n0",
}, func(ctx SpecContext) {
	outside := harness.Start(ctx, harness.New(namespace.Mount))
	inside := harness.Start(ctx, harness.Under(outside), harness.New(namespace.Mount))
	dir := inside.MkdirTemp()
	harness.Must(inside.Mount("x", dir, "tmpfs", 0, ""))
	has := func(sb *harness.Sandbox) bool {
		return strings.Contains(harness.Got(sb.ReadFile("/proc/mounts")), " "+dir+" ")
	}
	link := harness.Got(inside.Readlink("/proc/mounts"))
	claim.Evidence("/proc/mounts -> %s; inside listed: %v; outside: %v", link, has(inside), has(outside))
	Expect(link).To(Equal("self/mounts"), "where the link /proc/mounts leads")
	Expect(has(inside)).To(BeTrue(), "a mount made inside, in the insider's /proc/mounts")
	Expect(has(outside)).To(BeFalse(), "contrast: in the outsider's /proc/mounts, on the same proc mount")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/hidepid1-hides-contents",
	Text:     "With hidepid=1 a user still sees other users' PID directories but may not read what is in them.",
	Source:   claim.Sources{claim.Man("proc(5)", "Mount options")},
	Needs:    claim.Needs{procfs, claim.Root},
	Contrast: "both work on a proc without the option",
	Try:      "mount -t proc -o hidepid=1 proc /mnt; setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'ls -d /mnt/1; cat /mnt/1/comm; cat /proc/1/comm'",
	Shows:    "/mnt/1\ncat: /mnt/1/comm: Operation not permitted\n<name>",
}, func(ctx SpecContext) {
	see := func(options string) (error, error) {
		sb := harness.Start(ctx, harness.New(namespace.Mount, namespace.PID))
		dir := sb.MkdirTemp()
		harness.Must(sb.Mount("proc", dir, "proc", 0, options))
		nobody := harness.Start(ctx, harness.Under(sb), harness.As(65534, 65534))
		_, stat := nobody.Stat(dir + "/1")
		_, read := nobody.ReadFile(dir + "/1/status")
		return stat, read
	}
	stat, read := see("hidepid=1")
	plainStat, plainRead := see("hidepid=0")
	claim.Evidence("hidepid=1: stat %v, read %v; without: stat %v, read %v", stat, read, plainStat, plainRead)
	Expect(stat).NotTo(HaveOccurred(), "nobody looking at root's /proc/1 with hidepid=1")
	Expect(read).To(harness.FailWith(unix.EPERM), "nobody reading /proc/1/status with hidepid=1")
	Expect(plainStat).NotTo(HaveOccurred(), "contrast: without hidepid")
	Expect(plainRead).NotTo(HaveOccurred(), "contrast: without hidepid")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/hidepid2-hides-directories",
	Text:     "With hidepid=2 other users' PID directories vanish from listing and lookup, though kill(pid,0) still tells they exist.",
	Source:   claim.Sources{claim.Man("proc(5)", "Mount options")},
	Needs:    claim.Needs{procfs, claim.Root},
	Contrast: "root and an unrestricted mount still list them",
	Try:      "mount -t proc -o hidepid=2 proc /mnt; setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'ls -d /mnt/1; kill -0 1; ls -d /proc/1'",
	Shows:    "ls: cannot access '/mnt/1': No such file or directory\nsh: …: Operation not permitted\n/proc/1",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount, namespace.PID))
	hidden, plain, granted := sb.MkdirTemp(), sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.Mount("proc", hidden, "proc", 0, "hidepid=2"))
	harness.Must(sb.Mount("proc", plain, "proc", 0, "hidepid=0"))
	harness.Must(sb.Mount("proc", granted, "proc", 0, "hidepid=2,gid=4711"))
	nobody := harness.Start(ctx, harness.Under(sb), harness.As(65534, 65534))
	member := harness.Start(ctx, harness.Under(sb), harness.As(65533, 4711))
	listed := harness.Got(nobody.PIDs(hidden))
	_, stat := nobody.Stat(hidden + "/1")
	kill := nobody.Signal(1, 0)
	claim.Evidence("nobody (PID %d) lists %v, stat of /proc/1: %v, kill(1, 0): %v; without hidepid %v; in the group of gid= %v",
		nobody.Getpid(), listed, stat, kill, harness.Got(nobody.PIDs(plain)), harness.Got(member.PIDs(granted)))
	Expect(listed).To(Equal([]int{nobody.Getpid()}), "what nobody lists with hidepid=2")
	Expect(stat).To(harness.FailWith(unix.ENOENT), "/proc/1 looked up by nobody with hidepid=2")
	Expect(kill).To(harness.FailWith(unix.EPERM), "kill(1, 0), which tells that it exists")
	Expect(nobody.PIDs(plain)).To(ContainElement(1), "contrast: a mount without hidepid")
	Expect(sb.PIDs(hidden)).To(ContainElement(1), "contrast: root with hidepid=2")
	Expect(member.PIDs(granted)).To(ContainElement(1), "contrast: a member of the group of gid=")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/subset-pid-hides-the-rest",
	Text:     "With subset=pid a proc mount contains only PID directories, self and thread-self.",
	Source:   claim.Sources{claim.Doc("kernel Documentation/filesystems/proc.rst", ""), claim.Doc("kselftest proc-subset-pid (proc(5) 6.03 is silent)", "")},
	Needs:    claim.Needs{procfs},
	Contrast: "a full proc has meminfo",
	Since:    "5.8",
	Try:      "mount -t proc -o subset=pid proc /mnt; ls /mnt | grep -v -E '^[0-9]'; ls /mnt/meminfo /proc/meminfo",
	Shows:    "self\nthread-self\nls: cannot access '/mnt/meminfo': No such file or directory\n/proc/meminfo",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount, namespace.PID))
	dir, full := sb.MkdirTemp(), sb.MkdirTemp()
	Expect(sb.Mount("proc", dir, "proc", 0, "subset=pid")).To(Succeed(), "mounting proc with subset=pid")
	harness.Must(sb.Mount("proc", full, "proc", 0, ""))
	_, err := sb.ReadFile(dir + "/meminfo")
	names := harness.Got(sb.ReadDir(dir))
	claim.Evidence("subset=pid lists %v, meminfo: %v", names, err)
	Expect(names).To(ConsistOf("1", "self", "thread-self"), "names in a proc mounted with subset=pid")
	Expect(err).To(harness.FailWith(unix.ENOENT), "meminfo of that mount")
	_, err = sb.ReadFile(full + "/meminfo")
	Expect(err).NotTo(HaveOccurred(), "contrast: meminfo of a full proc")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/pid-root-gives-targets-view",
	Text:     "Paths below /proc/PID/root resolve in the target's mount namespace and root.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/pid/root")},
	Needs:    claim.Needs{procfs, claim.Namespace(namespace.Mount)},
	Contrast: "the plain path gives ENOENT",
	Core:     true,
	Try:      "unshare --mount sh -c 'mount -t tmpfs x /mnt; touch /mnt/private; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; ls /proc/$p/root/mnt; ls /mnt",
	Shows:    "private",
}, func(ctx SpecContext) {
	outside := harness.Start(ctx)
	target := harness.Start(ctx, harness.Under(outside), harness.New(namespace.Mount))
	dir := target.MkdirTemp()
	harness.Must(target.Mount("x", dir, "tmpfs", 0, ""))
	harness.Must(target.CreateFile(dir+"/private", "seen"))
	through, err := outside.ReadFile(fmt.Sprintf("/proc/%d/root%s/private", target.PID(), dir))
	_, plain := outside.ReadFile(dir + "/private")
	claim.Evidence("through /proc/PID/root: %q %v; by the plain path: %v", through, err, plain)
	Expect(err).NotTo(HaveOccurred(), "a file on the target's private tmpfs, through /proc/PID/root")
	Expect(through).To(Equal("seen"), "what a file on the target's private tmpfs reads through /proc/PID/root")
	Expect(plain).To(harness.FailWith(unix.ENOENT), "contrast: the plain path")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/oom-score-adj-below-floor-needs-cap",
	Text:     "oom_score_adj is inherited by children and may be raised by anyone, but going below the floor set by a privileged writer (0 by default) needs CAP_SYS_RESOURCE.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/pid/oom_score_adj")},
	Needs:    claim.Needs{claim.OrdinaryUser, procfs, oomFloor},
	Contrast: "coming back down to the first value is allowed",
	Try:      "setpriv --reuid 65534 sh -c 'cd /proc/self; /bin/echo 500 > oom_score_adj; cat oom_score_adj; /bin/echo -100 > oom_score_adj; /bin/echo 100 > oom_score_adj; cat oom_score_adj'",
	Shows:    "500\n/bin/echo: write error: Permission denied\n100",
}, func(ctx SpecContext) {
	nobody := harness.Nobody(ctx)
	if kernel.IsRoot() {
		// Root sets the floor; an ordinary user has the one given at log-in.
		harness.Must(harness.Host(ctx).WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", nobody.PID()), "0"))
	}
	first := strings.TrimSpace(harness.Got(nobody.ReadFile(oomScoreAdj)))
	raise := nobody.WriteFile(oomScoreAdj, "1000")
	inherited := strings.TrimSpace(harness.Got(nobody.Fork(ctx).ReadFile(oomScoreAdj)))
	lower := nobody.WriteFile(oomScoreAdj, first)
	below := nobody.WriteFile(oomScoreAdj, "-1000")
	beyond := nobody.WriteFile(oomScoreAdj, "1001")
	claim.Evidence("1000: %v, inherited as %s; back to %s: %v; -1000: %v; 1001: %v", raise, inherited, first, lower, below, beyond)
	Expect(raise).To(Succeed(), "an ordinary user raising oom_score_adj to 1000")
	Expect(inherited).To(Equal("1000"), "oom_score_adj of a child")
	Expect(below).To(harness.FailWith(unix.EACCES), "an ordinary user going below the floor")
	Expect(beyond).To(harness.FailWith(unix.EINVAL), "a value over 1000")
	Expect(lower).To(Succeed(), "contrast: coming back down to %s", first)
})
