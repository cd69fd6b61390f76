package namespaces

import (
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
	"bulkhead/suites/rootfs"
)

var mountNeed = claim.Namespace(namespace.Mount)

var _ = claim.It(claim.Claim{
	ID:       "mount/private-mount-invisible-outside",
	Text:     "A mount made in a private mount namespace is not seen outside it.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("mount_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a mount in the same namespace is seen",
	Core:     true,
	Try:      `unshare --mount sh -c 'mount -t tmpfs private /mnt; grep -c " private " /proc/self/mountinfo'; grep -c ' private ' /proc/self/mountinfo`,
	Shows:    "1\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir, same := host.MkdirTemp(), host.MkdirTemp()
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	Expect(inside.Mount("x", dir, "tmpfs", 0, "")).To(Succeed(), "mounting tmpfs in a new mount namespace")
	harness.Must(host.Fork(ctx).Mount("x", same, "tmpfs", 0, ""))
	claim.Evidence("inside: %q; outside: %q", mountLine(inside, dir), mountLine(host, dir))
	Expect(mountLine(inside, dir)).NotTo(BeEmpty(), "the mount in its own namespace's mountinfo")
	Expect(mountLine(host, dir)).To(BeEmpty(), "the mount of a private mount namespace in the host's mountinfo")
	Expect(mountLine(host, same)).NotTo(BeEmpty(), "contrast: a mount made in the same namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/outside-mount-invisible-inside-when-private",
	Text:     "A mount made outside later does not appear in a private copy.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("mount_namespaces(7)", "")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "outside has it",
	Try:      "unshare --mount sleep 99 & until p=$(pgrep -x -n sleep); do :; done; mount -t tmpfs late /mnt; grep -c ' late ' /proc/$p/mountinfo; grep -c ' late ' /proc/self/mountinfo",
	Shows:    "0\n1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	harness.Must(host.Mount("x", dir, "tmpfs", 0, ""))
	claim.Evidence("inside: %q; outside: %q", mountLine(inside, dir), mountLine(host, dir))
	Expect(mountLine(inside, dir)).To(BeEmpty(), "a mount made outside later, in a private copy's mountinfo")
	Expect(mountLine(host, dir)).NotTo(BeEmpty(), "contrast: outside")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/own-root-filesystem",
	Text:     "With its own mount namespace a process can have a root filesystem of its own while the host's stays.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("pivot_root(2)", "")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "/ outside still has etc",
	Try:      "unshare --mount sh -c 'mount --bind /tmp/tiny-linux /tmp/tiny-linux; cd /tmp/tiny-linux; pivot_root . .; umount -l .; ls /'; ls /",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	before := harness.Got(host.Stat("/"))
	for _, root := range rootfs.Each(ctx) {
		inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
		Expect(inside.PivotInto(root.Dir)).To(Succeed(), "pivot_root(2) to %s", root.Name)
		names := harness.Got(inside.ReadDir("/"))
		claim.Evidence("%s: / inside lists %v", root.Name, names)
		Expect(inside.ReadFile("/etc/os-release")).To(ContainSubstring("\nID="+root.ID+"\n"), "os-release below the own root")
		Expect(names).To(ContainElement("bin"), "names in the own root")
		_, old := inside.Stat(root.Dir + "/bin")
		Expect(old).To(harness.FailWith(unix.ENOENT), "the old root's tree, seen inside")
		shown := harness.Got(inside.Run(ctx, "/bin/ls", "/"))
		Expect(strings.Fields(shown.Stdout)).To(ConsistOf(names), "%s: ls / inside: %s", root.Name, shown.Stderr)
	}
	after := harness.Got(host.Stat("/"))
	Expect(after.SameAs(before)).To(BeTrue(), "contrast: / of the host stays")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/shared-propagates-both-ways",
	Text:     "Mounts and unmounts directly under a shared mount appear in all peers, both directions.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "SHARED SUBTREES")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "under a private mount they do not",
	Try:      "mkdir /mnt/in /mnt/out; mount --make-shared /mnt; unshare --mount --propagation unchanged sh -c 'mount -t tmpfs inner /mnt/in; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; mount -t tmpfs outer /mnt/out; grep -c ' inner ' /proc/self/mountinfo; grep -c ' outer ' /proc/$p/mountinfo",
	Shows:    "1\n1",
}, func(ctx SpecContext) {
	events := func(kind string, flag uintptr) (down, up, gone bool) {
		host := harness.Start(ctx, harness.New(namespace.Mount))
		dir := host.MkdirTemp()
		harness.Must(host.Mount("x", dir, "tmpfs", 0, ""))
		harness.Must(host.Mkdir(dir + "/a"))
		harness.Must(host.Mkdir(dir + "/b"))
		harness.Must(host.Propagation(dir, flag))
		inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
		harness.Must(host.Mount("x", dir+"/a", "tmpfs", 0, ""))
		harness.Must(inside.Mount("x", dir+"/b", "tmpfs", 0, ""))
		down, up = mountLine(inside, dir+"/a") != "", mountLine(host, dir+"/b") != ""
		Expect(host.Umount(dir+"/a", 0)).To(Succeed(), "unmounting what was mounted under a %s mount", kind)
		return down, up, mountLine(inside, dir+"/a") == ""
	}
	down, up, gone := events("shared", unix.MS_SHARED)
	privateDown, privateUp, _ := events("private", unix.MS_PRIVATE)
	claim.Evidence("shared: down %v, up %v, umount %v; private: down %v, up %v", down, up, gone, privateDown, privateUp)
	Expect(down).To(BeTrue(), "a mount under a shared mount, in the peer's namespace")
	Expect(up).To(BeTrue(), "a mount made by the peer, outside")
	Expect(gone).To(BeTrue(), "an umount under a shared mount, in the peer's namespace")
	Expect(privateDown || privateUp).To(BeFalse(), "contrast: under a private mount")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/slave-receives-but-does-not-send",
	Text:     "A slave mount receives events from its master group and sends none.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "MS_SLAVE")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a mount made inside does not arrive outside",
	Core:     true,
	Try:      "mkdir /mnt/in /mnt/out; mount --make-shared /mnt; unshare --mount --propagation slave sh -c 'mount -t tmpfs inner /mnt/in; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; mount -t tmpfs outer /mnt/out; grep -c ' inner ' /proc/self/mountinfo; grep -c ' outer ' /proc/$p/mountinfo",
	Shows:    "0\n1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	harness.Must(host.Mount("x", dir, "tmpfs", 0, ""))
	harness.Must(host.Mkdir(dir + "/a"))
	harness.Must(host.Mkdir(dir + "/b"))
	harness.Must(host.Propagation(dir, unix.MS_SHARED))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	Expect(inside.Propagation(dir, unix.MS_SLAVE)).To(Succeed(), "changing the mount's propagation to MS_SLAVE")
	harness.Must(host.Mount("x", dir+"/a", "tmpfs", 0, ""))
	harness.Must(inside.Mount("x", dir+"/b", "tmpfs", 0, ""))
	received, sent := mountLine(inside, dir+"/a"), mountLine(host, dir+"/b")
	claim.Evidence("received: %q; sent: %q; the slave: %q", received, sent, mountLine(inside, dir))
	Expect(received).NotTo(BeEmpty(), "a host mount, inside the slave")
	Expect(mountLine(inside, dir)).To(ContainSubstring(" master:"), "mountinfo of the slave")
	Expect(sent).To(BeEmpty(), "contrast: a mount made inside the slave, outside")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/bind-shows-same-directory-twice",
	Text:     "A bind mount makes the same directory visible at a second place; changes show on both sides.",
	Source:   claim.Sources{claim.Man("mount(2)", "Creating a bind mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "ENOENT before",
	Core:     true,
	Try:      "mkdir /tmp/a /tmp/b; mount --bind /tmp/a /tmp/b; touch /tmp/a/x /tmp/b/y; ls /tmp/a; ls /tmp/b",
	Shows:    "x\ny\nx\ny",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	a, b := sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.CreateFile(a+"/x", "content"))
	_, before := sb.Stat(b + "/x")
	Expect(sb.Bind(a, b, 0)).To(Succeed(), "a bind mount of a directory")
	harness.Must(sb.CreateFile(b+"/y", "back"))
	content, err := sb.ReadFile(b + "/x")
	_, across := sb.Stat(a + "/y")
	same := harness.Got(sb.Stat(a)).SameAs(harness.Got(sb.Stat(b)))
	root := strings.Fields(mountLine(sb, b))[3]
	claim.Evidence("before: %v; after: %q; same directory: %v; mountinfo root %s", before, content, same, root)
	Expect(err).NotTo(HaveOccurred(), "a file of the source through the bind mount")
	Expect(across).NotTo(HaveOccurred(), "a file made through the bind mount, in the source")
	Expect(same).To(BeTrue(), "device and inode of both")
	Expect(strings.HasSuffix(a, root)).To(BeTrue(), "root field %s of the bind mount names the subtree %s", root, a)
	Expect(before).To(harness.FailWith(unix.ENOENT), "contrast: before")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/readonly-bind-affects-one-mount",
	Text:     "Making one bind mount read-only leaves the same directory writable elsewhere.",
	Source:   claim.Sources{claim.Man("mount(2)", "Remounting an existing mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "write succeeds through the other",
	Core:     true,
	Try:      "mkdir /tmp/a /tmp/b; mount --bind /tmp/a /tmp/b; mount -o remount,bind,ro /tmp/b; touch /tmp/b/x; touch /tmp/a/x && ls /tmp/b",
	Shows:    "touch: cannot touch '/tmp/b/x': Read-only file system\nx",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	a, b := sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.Bind(a, b, 0))
	Expect(sb.Bind("none", b, unix.MS_REMOUNT|unix.MS_RDONLY)).To(Succeed(), "a remount of the bind mount with MS_RDONLY")
	ro, rw := sb.CreateFile(b+"/x", ""), sb.CreateFile(a+"/x", "")
	claim.Evidence("through the read-only bind: %v; through the other path: %v", ro, rw)
	Expect(ro).To(harness.FailWith(unix.EROFS), "writing through the read-only bind mount")
	Expect(rw).To(Succeed(), "contrast: writing to the same directory elsewhere")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/unshare-command-makes-all-private",
	Text:     "What unshare --mount does, unshare(2) and MS_REC|MS_PRIVATE on /, turns every mount private, so nothing spreads to the host.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "NOTES"), claim.Man("unshare(1)", "")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "--propagation unchanged keeps them",
	Try:      "mount --make-shared /mnt; grep -c shared: /proc/self/mountinfo; unshare --mount grep -c -E 'shared:|master:' /proc/self/mountinfo",
	Shows:    "1\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	harness.Must(host.Mount("x", dir, "tmpfs", 0, ""))
	harness.Must(host.Mkdir(dir + "/d"))
	harness.Must(host.Propagation("/", unix.MS_REC|unix.MS_SHARED))
	kept := host.Fork(ctx)
	harness.Must(kept.Unshare(unix.CLONE_NEWNS))
	private := host.Fork(ctx)
	harness.Must(private.Unshare(unix.CLONE_NEWNS))
	Expect(private.Propagation("/", unix.MS_REC|unix.MS_PRIVATE)).To(Succeed(), "changing / and all below to MS_PRIVATE")
	info := harness.Got(private.ReadFile("/proc/self/mountinfo"))
	tags := strings.Count(info, " shared:") + strings.Count(info, " master:")
	harness.Must(private.Mount("x", dir+"/d", "tmpfs", 0, ""))
	unchanged := strings.Count(harness.Got(kept.ReadFile("/proc/self/mountinfo")), " shared:")
	claim.Evidence("shared or master tags after MS_REC|MS_PRIVATE: %d; with unchanged propagation: %d; a mount inside seen outside: %q", tags, unchanged, mountLine(host, dir+"/d"))
	Expect(tags).To(BeZero(), "shared: and master: tags inside")
	Expect(mountLine(host, dir+"/d")).To(BeEmpty(), "a mount made inside, in the host's mountinfo")
	Expect(unchanged).NotTo(BeZero(), "contrast: shared: tags with unchanged propagation")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-old-root-can-be-dropped",
	Text:     "After pivot_root and a detach of put_old the old root is unreachable and absent from mountinfo.",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "NOTES")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "reachable before the umount",
	Core:     true,
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	harness.Must(sb.Bind(dir, dir, 0))
	harness.Must(sb.Mount("proc", dir+"/proc", "proc", 0, ""))
	harness.Must(sb.Chdir(dir))
	Expect(sb.PivotRoot(".", "sub")).To(Succeed(), "pivot_root(\".\", \"sub\") into a mount of its own")
	harness.Must(sb.Chdir("/"))
	_, before := sb.Stat("/sub" + dir)
	Expect(sb.Umount("/sub", unix.MNT_DETACH)).To(Succeed(), "detaching the old root with MNT_DETACH")
	_, after := sb.Stat("/sub" + dir)
	lines := strings.Count(harness.Got(sb.ReadFile("/proc/self/mountinfo")), "\n")
	claim.Evidence("old root before the umount: %v; after: %v; %d mounts left", before, after, lines)
	Expect(after).To(harness.FailWith(unix.ENOENT), "the old root after its detach")
	Expect(lines).To(Equal(2), "lines of mountinfo: the new root and proc")
	Expect(before).NotTo(HaveOccurred(), "contrast: the old root before the umount")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-dot-dot-form",
	Text:     `chdir(new), pivot_root(".","."), umount2(".",MNT_DETACH) swaps the root without any put_old directory.`,
	Source:   claim.Sources{claim.Man("pivot_root(2)", "pivot_root")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "without the umount mountinfo still lists the old tree",
	Core:     true,
	Try:      "cd /tmp/tiny-linux && pivot_root . . && umount -l .",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	harness.Must(sb.Bind(dir, dir, 0))
	harness.Must(sb.Mount("proc", dir+"/proc", "proc", 0, ""))
	harness.Must(sb.Chdir(dir))
	Expect(sb.PivotRoot(".", ".")).To(Succeed(), "pivot_root(\".\", \".\") into a mount of its own")
	before := strings.Count(harness.Got(sb.ReadFile("/proc/self/mountinfo")), "\n")
	Expect(sb.Umount(".", unix.MNT_DETACH)).To(Succeed(), "detaching the old root, stacked on the new one")
	harness.Must(sb.Chdir("/"))
	after := strings.Count(harness.Got(sb.ReadFile("/proc/self/mountinfo")), "\n")
	marker, err := sb.ReadFile("/marker")
	claim.Evidence("mounts before the umount: %d; after: %d; /marker: %q", before, after, marker)
	Expect(err).NotTo(HaveOccurred(), "/marker of the new root")
	Expect(after).To(Equal(2), "mounts left: the new root and proc")
	Expect(before).To(BeNumerically(">", 2), "contrast: without the umount the old tree is still listed")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-needs-mount-point",
	Text:     "new_root must be a mount point (EINVAL), and a self bind mount makes it one.",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "works after binding it onto itself",
	Try:      "unshare --mount sh -c 'mkdir -p /tmp/a/b; pivot_root /tmp/a /tmp/a/b; mount --bind /tmp/a /tmp/a; pivot_root /tmp/a /tmp/a/b && echo pivoted'",
	Shows:    "pivot_root: failed to change root from `/tmp/a' to `/tmp/a/b': Invalid argument\npivoted",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	plain := sb.PivotRoot(dir, dir+"/sub")
	Expect(plain).To(harness.FailWith(unix.EINVAL), "pivot_root(2) to a directory that is no mount point")
	harness.Must(sb.Bind(dir, dir, 0))
	bound := sb.PivotRoot(dir, dir+"/sub")
	claim.Evidence("a plain directory: %v; bound onto itself: %v", plain, bound)
	Expect(bound).To(Succeed(), "contrast: bound onto itself")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-rejects-shared-parent",
	Text:     "pivot_root(2) fails with EINVAL when new_root's parent mount is shared.",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "works once private",
	Try:      "unshare --mount sh -c 'mkdir -p /tmp/a; mount --bind /tmp/a /tmp/a; mkdir /tmp/a/b; mount --make-shared /tmp; pivot_root /tmp/a /tmp/a/b; mount --make-private /tmp; pivot_root /tmp/a /tmp/a/b && echo pivoted'",
	Shows:    "pivot_root: failed to change root from `/tmp/a' to `/tmp/a/b': Invalid argument\npivoted",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	parent := sb.Scratch()
	harness.Must(sb.Propagation(parent, unix.MS_SHARED))
	harness.Must(sb.Bind(dir, dir, 0))
	harness.Must(sb.Propagation(dir, unix.MS_PRIVATE))
	shared := sb.PivotRoot(dir, dir+"/sub")
	Expect(shared).To(harness.FailWith(unix.EINVAL), "pivot_root(2) to a mount whose parent mount is shared")
	harness.Must(sb.Propagation(parent, unix.MS_PRIVATE))
	private := sb.PivotRoot(dir, dir+"/sub")
	claim.Evidence("parent mount shared: %v; private: %v", shared, private)
	Expect(private).To(Succeed(), "contrast: once it is private")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/noexec-blocks-exec",
	Text:     "On a noexec mount executing a program fails with EACCES.",
	Source:   claim.Sources{claim.Man("mount(2)", "MS_NOEXEC")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "runs without the flag",
	Try:      "cp /bin/echo /mnt; /mnt/echo runs; mount -o remount,noexec /mnt; /mnt/echo runs",
	Shows:    "runs\nsh: …: Permission denied",
}, func(ctx SpecContext) {
	tiny := rootfs.Tiny(ctx)
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := sb.MkdirTemp()
	harness.Must(sb.Bind(tiny.Dir, dir, 0))
	plain := harness.Got(sb.Run(ctx, dir+"/bin/true"))
	harness.Must(sb.Bind("none", dir, unix.MS_REMOUNT|unix.MS_NOEXEC))
	_, err := sb.Run(ctx, dir+"/bin/true")
	fresh := sb.MkdirTemp()
	harness.Must(sb.Mount("x", fresh, "tmpfs", unix.MS_NOEXEC, ""))
	harness.Must(sb.CreateFile(fresh+"/script", "#!"+tiny.Dir+"/bin/true\n"))
	harness.Must(sb.Chmod(fresh+"/script", 0o755))
	_, script := sb.Run(ctx, fresh+"/script")
	harness.Must(sb.Bind("none", fresh, unix.MS_REMOUNT))
	runs := harness.Got(sb.Run(ctx, fresh+"/script"))
	claim.Evidence("a bind mount remounted noexec: %v; a script on a new noexec mount: %v; without: status %d and %d", err, script, plain.Status.ExitStatus(), runs.Status.ExitStatus())
	Expect(err).To(harness.FailWith(unix.EACCES), "executing a program on a bind mount remounted noexec")
	Expect(script).To(harness.FailWith(unix.EACCES), "executing a script on a new noexec mount")
	Expect(plain.Status.ExitStatus()).To(Equal(0), "contrast: without the flag")
	Expect(runs.Status.ExitStatus()).To(Equal(0), "contrast: the script without the flag")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/nodev-blocks-device-nodes",
	Text:     "On a nodev mount opening a device node fails with EACCES.",
	Source:   claim.Sources{claim.Man("mount(2)", "MS_NODEV")},
	Needs:    claim.Needs{mountNeed, claim.Root},
	Contrast: "opens without the flag",
	Try:      "mknod /mnt/null c 1 3; cat /mnt/null; mount -o remount,nodev /mnt; cat /mnt/null",
	Shows:    "cat: /mnt/null: Permission denied",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	mounted := func(flags uintptr) string {
		dir := sb.MkdirTemp()
		harness.Must(sb.Mount("x", dir, "tmpfs", flags, ""))
		harness.Must(sb.Mknod(dir+"/null", unix.S_IFCHR|0o666, unix.Mkdev(1, 3)))
		return dir
	}
	open := func(dir string) error {
		_, err := sb.Open(dir+"/null", unix.O_RDWR, 0)
		return err
	}
	device := mounted(0)
	// As runtimes make a volume nodev: a bind mount, remounted.
	volume := sb.MkdirTemp()
	harness.Must(sb.Bind(device, volume, 0))
	harness.Must(sb.Bind("none", volume, unix.MS_REMOUNT|unix.MS_NODEV))
	nodev, bound, plain := open(mounted(unix.MS_NODEV)), open(volume), open(device)
	claim.Evidence("a new nodev mount: %v; a bind mount remounted nodev: %v; without: %v", nodev, bound, plain)
	Expect(nodev).To(harness.FailWith(unix.EACCES), "opening a device node on a nodev mount")
	Expect(bound).To(harness.FailWith(unix.EACCES), "opening a device node on a bind mount remounted nodev")
	Expect(plain).NotTo(HaveOccurred(), "contrast: without the flag")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/unbindable-refuses-bind",
	Text:     "Bind mounting an unbindable mount fails with EINVAL.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "MS_UNBINDABLE"), claim.Man("mount(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "the same bind works before",
	Try:      "mkdir /tmp/b; mount --bind /mnt /tmp/b && echo bound; umount /tmp/b; mount --make-unbindable /mnt; mount --bind /mnt /tmp/b",
	Shows:    "bound\nmount: /tmp/b: wrong fs type, …\n…",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	a, b := sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.Mount("x", a, "tmpfs", 0, ""))
	before := sb.Bind(a, b, 0)
	harness.Must(sb.Umount(b, 0))
	Expect(sb.Propagation(a, unix.MS_UNBINDABLE)).To(Succeed(), "mount(MS_UNBINDABLE)")
	err := sb.Bind(a, b, 0)
	claim.Evidence("bindable: %v; unbindable: %v, %s", before, err, mountLine(sb, a))
	Expect(err).To(harness.FailWith(unix.EINVAL), "bind mounting an unbindable mount")
	Expect(mountLine(sb, a)).To(ContainSubstring(" unbindable "), "mountinfo of the mount")
	Expect(before).To(Succeed(), "contrast: the same bind before")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/lazy-umount-keeps-open-files",
	Text:     "MNT_DETACH removes the mount from the tree at once while open descriptors keep working.",
	Source:   claim.Sources{claim.Man("umount(2)", "MNT_DETACH")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a plain umount of the busy mount gives EBUSY",
	Try:      "echo open > /mnt/file; exec 9< /mnt/file; umount /mnt; umount --lazy /mnt; ls /mnt/file; cat <&9",
	Shows:    "umount: /mnt: target is busy.\nls: cannot access '/mnt/file': No such file or directory\nopen",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := sb.MkdirTemp()
	harness.Must(sb.Mount("x", dir, "tmpfs", 0, ""))
	harness.Must(sb.CreateFile(dir+"/x", "content"))
	fd := harness.Got(sb.Open(dir+"/x", unix.O_RDONLY, 0))
	busy := sb.Umount(dir, 0)
	Expect(sb.Umount(dir, unix.MNT_DETACH)).To(Succeed(), "umount2(MNT_DETACH) of a busy mount")
	_, path := sb.Stat(dir + "/x")
	content, read := sb.Read(fd, 100)
	claim.Evidence("umount: %v; after MNT_DETACH: by path %v, through the descriptor %q", busy, path, content)
	Expect(path).To(harness.FailWith(unix.ENOENT), "the path after MNT_DETACH")
	Expect(read).NotTo(HaveOccurred(), "reading through the open descriptor")
	Expect(string(content)).To(Equal("content"), "what the open descriptor reads after MNT_DETACH")
	Expect(busy).To(harness.FailWith(unix.EBUSY), "contrast: a plain umount of the busy mount")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/less-privileged-copy-turns-shared-into-slave",
	Text:     "A mount namespace owned by another user namespace gets shared mounts as slaves.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "Restrictions [2]")},
	Needs:    claim.Needs{mountNeed, claim.Namespace(namespace.User)},
	Contrast: "a same-userns copy keeps shared:N",
	Try:      "mount --make-shared /mnt; unshare --mount --propagation unchanged grep -o ' /mnt rw,relatime shared' /proc/self/mountinfo; unshare --user --map-root-user --mount --propagation unchanged grep -o ' /mnt rw,relatime master' /proc/self/mountinfo",
	Shows:    "/mnt rw,relatime shared\n/mnt rw,relatime master",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	harness.Must(host.Mount("x", dir, "tmpfs", 0, ""))
	harness.Must(host.Mkdir(dir + "/d"))
	harness.Must(host.Propagation(dir, unix.MS_SHARED))
	less := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount, namespace.User))
	same := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	harness.Must(less.Mount("x", dir+"/d", "tmpfs", 0, ""))
	claim.Evidence("less privileged: %s; same user namespace: %s", mountLine(less, dir), mountLine(same, dir))
	Expect(mountLine(less, dir)).To(ContainSubstring(" master:"), "a shared mount in a less privileged mount namespace")
	Expect(mountLine(less, dir)).NotTo(ContainSubstring(" shared:"), "a shared mount in a less privileged mount namespace is no longer shared")
	Expect(mountLine(host, dir+"/d")).To(BeEmpty(), "a mount made in the less privileged namespace, outside")
	Expect(mountLine(same, dir)).To(ContainSubstring(" shared:"), "contrast: a copy in the same user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/inherited-mounts-locked-in-userns",
	Text:     "Mounts inherited by a less privileged mount namespace cannot be unmounted one by one (EINVAL), so what they cover stays covered.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "Restrictions [3]"), claim.Man("umount(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed, claim.Namespace(namespace.User)},
	Contrast: "umount works in a same-userns copy",
	Try:      "echo under > /mnt/file; mount -t tmpfs x /mnt; unshare --user --map-root-user --mount sh -c 'umount /mnt; cat /mnt/file'; unshare --mount sh -c 'umount /mnt; cat /mnt/file'",
	Shows:    "umount: /mnt: not mounted.\ncat: /mnt/file: No such file or directory\nunder",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	harness.Must(host.CreateFile(dir+"/secret", "covered"))
	harness.Must(host.Mount("x", dir, "tmpfs", 0, ""))
	locked := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount, namespace.User)).Umount(dir, 0)
	same := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount)).Umount(dir, 0)
	claim.Evidence("umount of an inherited mount in a user namespace: %v; in a same-userns copy: %v", locked, same)
	Expect(locked).To(harness.FailWith(unix.EINVAL), "unmounting an inherited mount in a less privileged mount namespace")
	Expect(same).To(Succeed(), "contrast: in a copy of the same user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/setattr-sets-and-clears-flags",
	Text:     "mount_setattr(2) sets and clears read-only, noexec and the like on one mount.",
	Source:   claim.Sources{claim.Man("mount_setattr(2)", "DESCRIPTION")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "writable after clearing",
	Since:    "5.12",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := sb.MkdirTemp()
	harness.Must(sb.Mount("x", dir, "tmpfs", 0, ""))
	setattr := func(set, clear uint64) error {
		attr := make([]byte, 32)
		copy(attr, fmt64(set))
		copy(attr[8:], fmt64(clear))
		_, err := sb.Syscall("mount_setattr", unix.SYS_MOUNT_SETATTR, unix.AT_FDCWD, dir, 0, attr, len(attr))
		return err
	}
	Expect(setattr(unix.MOUNT_ATTR_RDONLY, 0)).To(Succeed(), "mount_setattr(MOUNT_ATTR_RDONLY)")
	ro := sb.CreateFile(dir+"/x", "")
	Expect(setattr(0, unix.MOUNT_ATTR_RDONLY)).To(Succeed(), "mount_setattr(MOUNT_ATTR_RDONLY)")
	rw := sb.CreateFile(dir+"/x", "")
	claim.Evidence("read-only: %v; cleared: %v", ro, rw)
	Expect(ro).To(harness.FailWith(unix.EROFS), "writing after MOUNT_ATTR_RDONLY was set")
	Expect(rw).To(Succeed(), "contrast: writing after it was cleared")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/overlay-leaves-lower-untouched",
	Text:     "Writing through overlayfs changes only the upper layer; a deleted lower file becomes a 0:0 whiteout there.",
	Source:   claim.Sources{claim.Doc("kernel overlayfs.rst", ""), claim.Man("user_namespaces(7)", "mentions the type")},
	Needs:    claim.Needs{mountNeed, overlayNeed},
	Contrast: "a plain bind writes through to the source",
	Core:     true,
	Try:      "cd /tmp; mkdir l u w m; echo lower > l/file; echo x > l/gone; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m; echo new > m/file; rm m/gone; cat l/file u/file l/gone; stat -c '%F' u/gone",
	Shows:    "lower\nnew\nx\ncharacter special file",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	base := overlayDirs(sb)
	harness.Must(sb.CreateFile(base+"/lower/file", "lower"))
	harness.Must(sb.CreateFile(base+"/lower/gone", "lower"))
	Expect(sb.Mount("overlay", base+"/merged", "overlay", 0, overlayOptions(base))).To(Succeed(), "mounting overlay")
	Expect(sb.CreateFile(base+"/merged/file", "changed")).To(Succeed(), "writing to a file of the lower layer through the overlay")
	Expect(sb.Unlink(base+"/merged/gone")).To(Succeed(), "deleting a file of the lower layer through the overlay")
	lower, upper := harness.Got(sb.ReadFile(base+"/lower/file")), harness.Got(sb.ReadFile(base+"/upper/file"))
	whiteout := harness.Got(sb.Lstat(base + "/upper/gone"))
	harness.Must(sb.Mkdir(base + "/bind"))
	harness.Must(sb.Bind(base+"/lower", base+"/bind", 0))
	harness.Must(sb.CreateFile(base+"/bind/file", "through"))
	claim.Evidence("lower: %q; upper: %q; whiteout: mode %o device %d:%d", lower, upper, whiteout.Mode, whiteout.RdevMajor, whiteout.RdevMinor)
	Expect(lower).To(Equal("lower"), "the lower file after a write through the overlay")
	Expect(upper).To(Equal("changed"), "its copy in the upper layer")
	Expect(whiteout.Mode&unix.S_IFMT).To(Equal(uint16(unix.S_IFCHR)), "the whiteout is a character device")
	Expect([]uint32{whiteout.RdevMajor, whiteout.RdevMinor}).To(Equal([]uint32{0, 0}), "the whiteout's device number")
	Expect(sb.ReadFile(base+"/lower/file")).To(Equal("through"), "contrast: a plain bind writes through")
})

var _ = claim.It(claim.Claim{
	ID:       "user/root-inside-unprivileged-outside",
	Text:     "A process can have UID 0 in its user namespace while outside it is an ordinary user.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("user_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.OrdinaryUser, userNeed, unprivileged},
	Contrast: "without the namespace getuid() is the ordinary user's",
	Core:     true,
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user sh -c 'id -u; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; grep Uid /proc/$p/status",
	Shows:    "0\nUid: 1000 1000 1000 1000",
}, func(ctx SpecContext) {
	host := harness.Outermost(ctx)
	sb := harness.Nobody(ctx)
	plain := sb.Getuid()
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	harness.Must(sb.WriteFile("/proc/self/uid_map", oneID(0, plain)))
	inside := sb.Getuid()
	outside := strings.Fields(statusField(host, sb.PID(), "Uid"))[0]
	claim.Evidence("getuid() before: %d; inside: %d; Uid read from outside: %s", plain, inside, outside)
	Expect(plain).NotTo(BeZero(), "contrast: getuid() without the namespace")
	Expect(inside).To(Equal(0), "getuid() inside the user namespace")
	Expect(outside).To(Equal(strconv.Itoa(plain)), "Uid of the process read from outside")
})
