package namespaces

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "mount/bind-ignores-ro-until-remount",
	Text:     "MS_RDONLY given with MS_BIND is ignored; a second MS_REMOUNT+MS_BIND call makes the bind mount read-only.",
	Source:   claim.Sources{claim.Man("mount(2)", "Creating a bind mount"), claim.Man("mount(2)", "Remounting an existing mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "EROFS after the second call",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	a, b := sb.MkdirTemp(), sb.MkdirTemp()
	Expect(sb.Bind(a, b, unix.MS_RDONLY)).To(Succeed(), "mount(2) with MS_BIND|MS_RDONLY")
	flags := mountFlags(sb, b)
	first := sb.CreateFile(b+"/x", "")
	Expect(sb.Bind("none", b, unix.MS_REMOUNT|unix.MS_RDONLY)).To(Succeed(), "mount(2) with MS_REMOUNT|MS_BIND|MS_RDONLY")
	second := sb.CreateFile(b+"/y", "")
	claim.Evidence("after MS_BIND|MS_RDONLY: %s, writing: %v; after MS_REMOUNT|MS_BIND|MS_RDONLY: %s, writing: %v", flags, first, mountFlags(sb, b), second)
	Expect(first).NotTo(HaveOccurred(), "writing through a bind mount made with MS_BIND|MS_RDONLY, whose MS_RDONLY mount(2) ignores")
	Expect(flags).To(HavePrefix("rw"), "mountinfo of a bind mount made with MS_BIND|MS_RDONLY")
	Expect(second).To(harness.FailWith(unix.EROFS), "contrast: writing after MS_REMOUNT|MS_BIND|MS_RDONLY")
	Expect(mountFlags(sb, b)).To(HavePrefix("ro"), "contrast: mountinfo after MS_REMOUNT|MS_BIND|MS_RDONLY")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/bind-not-recursive-by-default",
	Text:     "Without MS_REC a bind mount leaves out the source's submounts.",
	Source:   claim.Sources{claim.Man("mount(2)", "Creating a bind mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "present with MS_REC",
	Try:      "mkdir /mnt/sub /tmp/b /tmp/r; mount -t tmpfs s /mnt/sub; touch /mnt/top /mnt/sub/file; mount --bind /mnt /tmp/b; mount --rbind /mnt /tmp/r; ls /tmp/b /tmp/b/sub /tmp/r/sub",
	Shows:    "/tmp/b:\nsub\ntop\n/tmp/b/sub:\n/tmp/r/sub:\nfile",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	src, plain, recursive := mountTmpfs(sb, 0), sb.MkdirTemp(), sb.MkdirTemp()
	sub := subMount(sb, src, "sub")
	harness.Must(sb.CreateFile(src+"/top", "top"))
	harness.Must(sb.CreateFile(sub+"/file", "below"))
	Expect(sb.Bind(src, plain, 0)).To(Succeed(), "a bind mount")
	Expect(sb.Bind(src, recursive, unix.MS_REC)).To(Succeed(), "a bind mount with MS_REC")
	_, top := sb.Stat(plain + "/top")
	_, without := sb.Stat(plain + "/sub/file")
	with, err := sb.ReadFile(recursive + "/sub/file")
	claim.Evidence("bind: %v, %q; recursive bind: %v, %q", without, mountLine(sb, plain+"/sub"), err, mountLine(sb, recursive+"/sub"))
	Expect(top).NotTo(HaveOccurred(), "a file of the source itself through the bind mount")
	Expect(without).To(harness.FailWith(unix.ENOENT), "a file of the source's submount through a bind mount without MS_REC")
	Expect(mountLine(sb, plain+"/sub")).To(BeEmpty(), "a copy of the submount in mountinfo below a bind mount without MS_REC")
	Expect(err).NotTo(HaveOccurred(), "contrast: the same file through a bind mount with MS_REC")
	Expect(with).To(Equal("below"), "contrast: its content with MS_REC")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/bind-single-file",
	Text:     "A file can be bind mounted over a file, but not over a directory, nor a directory over a file (ENOTDIR).",
	Source:   claim.Sources{claim.Man("mount(2)", "Creating a bind mount"), claim.Man("mount(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "own content returns after umount",
	Core:     true,
	Try:      "mkdir /tmp/d; echo one > /tmp/a; echo two > /tmp/b; mount --bind /tmp/a /tmp/b; cat /tmp/b; umount /tmp/b; cat /tmp/b; mount --bind /tmp/a /tmp/d",
	Shows:    "one\ntwo\nmount: /tmp/d: …\n…",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := sb.MkdirTemp()
	a, b, d := dir+"/a", dir+"/b", dir+"/d"
	harness.Must(sb.CreateFile(a, "source"))
	harness.Must(sb.CreateFile(b, "target"))
	harness.Must(sb.Mkdir(d))
	Expect(sb.Bind(a, b, 0)).To(Succeed(), "bind mounting a file over a file")
	covered := harness.Got(sb.ReadFile(b))
	harness.Must(sb.WriteFile(b, "SOURCE"))
	through := harness.Got(sb.ReadFile(a))
	removed := sb.Unlink(b)
	harness.Must(sb.Umount(b, 0))
	own := harness.Got(sb.ReadFile(b))
	fileOnDir, dirOnFile := sb.Bind(a, d, 0), sb.Bind(d, b, 0)
	claim.Evidence("bound: %q, written through: %q, unlink: %v; after umount: %q; a file on a directory: %v; a directory on a file: %v", covered, through, removed, own, fileOnDir, dirOnFile)
	Expect(covered).To(Equal("source"), "what the target of a file's bind mount reads as")
	Expect(through).To(Equal("SOURCE"), "the source after a write to the target")
	Expect(removed).To(harness.FailWith(unix.EBUSY), "unlinking a file that is a mount point here")
	Expect(fileOnDir).To(harness.FailWith(unix.ENOTDIR), "bind mounting a file over a directory")
	Expect(dirOnFile).To(harness.FailWith(unix.ENOTDIR), "bind mounting a directory over a file")
	Expect(own).To(Equal("target"), "contrast: the target's own content after umount")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/unbindable-pruned-from-rbind",
	Text:     "A recursive bind leaves out unbindable submounts, with all that is below them.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "MS_UNBINDABLE"), claim.Man("mount(2)", "Creating a bind mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "its bindable sibling is there",
	Try:      "mkdir /mnt/u /mnt/s /tmp/b; mount -t tmpfs x /mnt/u; mount -t tmpfs x /mnt/s; touch /mnt/u/in-u /mnt/s/in-s; mount --make-unbindable /mnt/u; mount --rbind /mnt /tmp/b; ls /tmp/b/u /tmp/b/s",
	Shows:    "/tmp/b/s:\nin-s\n/tmp/b/u:",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	src, copied := mountTmpfs(sb, 0), sb.MkdirTemp()
	unbindable, sibling := subMount(sb, src, "unbindable"), subMount(sb, src, "sibling")
	subMount(sb, unbindable, "below")
	subMount(sb, sibling, "below")
	Expect(sb.Propagation(unbindable, unix.MS_UNBINDABLE)).To(Succeed(), "making a mount unbindable")
	Expect(sb.Bind(src, copied, unix.MS_REC)).To(Succeed(), "a recursive bind of a tree with an unbindable submount")
	there := mountLine(sb, copied+"/unbindable")
	below := mountLine(sb, copied+"/unbindable/below")
	beside := mountLine(sb, copied+"/sibling/below")
	claim.Evidence("copies of the unbindable submount: %q, of the one below it: %q, of the one below its sibling: %q", there, below, beside)
	Expect(there).To(BeEmpty(), "a copy of an unbindable submount after MS_BIND|MS_REC")
	Expect(below).To(BeEmpty(), "a copy of a mount below an unbindable submount after MS_BIND|MS_REC")
	Expect(mountLine(sb, copied+"/sibling")).NotTo(BeEmpty(), "contrast: a copy of its bindable sibling")
	Expect(beside).NotTo(BeEmpty(), "contrast: a copy of what is below the sibling")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/move-relocates-atomically",
	Text:     "MS_MOVE takes an existing mount, contents, submounts and mount ID included, to another place.",
	Source:   claim.Sources{claim.Man("mount(2)", "Moving a mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "moving a plain directory gives EINVAL",
	Try:      "mkdir /tmp/b; touch /mnt/file; mount --move /mnt /tmp/b; ls /mnt/file; ls /tmp/b; mkdir /tmp/d; mount --move /tmp/d /mnt",
	Shows:    "ls: cannot access '/mnt/file': No such file or directory\nfile\nmount: /mnt: …\n…",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	// MS_MOVE wants a parent mount that is not shared.
	from, to, plain := mountTmpfs(sb, 0), sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.CreateFile(from+"/file", "content"))
	sub := subMount(sb, from, "sub")
	id, subID := mountID(sb, from), mountID(sb, sub)
	fd := harness.Got(sb.Open(from+"/file", unix.O_RDONLY, 0))
	Expect(sb.Mount(from, to, "", unix.MS_MOVE, "")).To(Succeed(), "mount(2) with MS_MOVE")
	_, old := sb.Stat(from + "/file")
	content, err := sb.ReadFile(to + "/file")
	open, read := sb.Read(fd, 100)
	names := harness.Got(sb.ReadDir(from))
	directory := sb.Mount(plain, from, "", unix.MS_MOVE, "")
	claim.Evidence("mount ID before: %s, after: %s; the submount: %s, %s; the old path holds %v; %q through an open descriptor; moving a directory: %v",
		id, mountID(sb, to), subID, mountID(sb, to+"/sub"), names, open, directory)
	Expect(err).NotTo(HaveOccurred(), "a file at the new place")
	Expect(content).To(Equal("content"), "what the file reads at the new place")
	Expect(old).To(harness.FailWith(unix.ENOENT), "the file at the place that the mount was moved from")
	Expect(names).To(BeEmpty(), "names at the place that the mount was moved from")
	Expect(mountLine(sb, from)).To(BeEmpty(), "mountinfo of the place that the mount was moved from")
	Expect(mountID(sb, to)).To(Equal(id), "the mount ID after MS_MOVE")
	Expect(mountID(sb, to+"/sub")).To(Equal(subID), "the mount ID of a submount after MS_MOVE")
	Expect(read).NotTo(HaveOccurred(), "reading a descriptor that was opened before MS_MOVE")
	Expect(string(open)).To(Equal("content"), "what a descriptor reads that was opened before MS_MOVE")
	Expect(directory).To(harness.FailWith(unix.EINVAL), "contrast: MS_MOVE of a directory that is no mount point")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/move-refused-places",
	Text:     "MS_MOVE refuses a mount whose parent mount is shared (EINVAL) and a destination inside the mount itself (ELOOP).",
	Source:   claim.Sources{claim.Man("mount(2)", "ERRORS"), claim.Man("mount(2)", "Moving a mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "with a private parent it moves elsewhere",
	Try:      "mkdir /mnt/in /tmp/b; mount --move /mnt /mnt/in; mount --make-shared /tmp; mkdir /tmp/a; mount -t tmpfs x /tmp/a; mount --move /tmp/a /tmp/b; mount --make-private /tmp; mount --move /tmp/a /tmp/b && echo moved",
	Shows:    "mount: /mnt/in: …\n…\nmount: /tmp/b: …\n…\nmoved",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	parent, to := mountTmpfs(sb, 0), sb.MkdirTemp()
	mount := subMount(sb, parent, "mount")
	harness.Must(sb.Mkdir(mount + "/inside"))
	move := func(to string) error { return sb.Mount(mount, to, "", unix.MS_MOVE, "") }
	inside := move(mount + "/inside")
	harness.Must(sb.Propagation(parent, unix.MS_SHARED))
	shared := move(to)
	harness.Must(sb.Propagation(parent, unix.MS_PRIVATE))
	private := move(to)
	claim.Evidence("into itself: %v; from a shared parent: %v; from a private parent: %v", inside, shared, private)
	Expect(inside).To(harness.FailWith(unix.ELOOP), "MS_MOVE of a mount to a place inside it")
	Expect(shared).To(harness.FailWith(unix.EINVAL), "MS_MOVE of a mount whose parent mount is shared")
	Expect(private).NotTo(HaveOccurred(), "contrast: MS_MOVE once the parent mount is private")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/readonly-fs-rejects-writes",
	Text:     "On a read-only filesystem even root's changes fail with EROFS, through every mount of it.",
	Source:   claim.Sources{claim.Man("mount(2)", "MS_RDONLY")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "works on a read-write mount",
	Core:     true,
	Try:      "touch /mnt/file; mount -o remount,ro /mnt; touch /mnt/new; mkdir /mnt/dir; rm -f /mnt/file; cat /mnt/file; mount -o remount,rw /mnt; touch /mnt/new && echo written",
	Shows:    "touch: cannot touch '/mnt/new': Read-only file system\nmkdir: cannot create directory '/mnt/dir': Read-only file system\nrm: cannot remove '/mnt/file': Read-only file system\nwritten",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir, bind := mountTmpfs(sb, 0), sb.MkdirTemp()
	harness.Must(sb.Bind(dir, bind, 0))
	harness.Must(sb.CreateFile(dir+"/file", "content"))
	harness.Must(sb.CreateFile(dir+"/old", ""))
	harness.Must(sb.Mkdir(dir + "/dir"))
	type change struct {
		what string
		try  func(in string) error
	}
	changes := []change{
		{"creating a file", func(in string) error { return sb.CreateFile(in+"/new", "") }},
		{"opening a file for writing", func(in string) error { return sb.WriteFile(in+"/file", "content") }},
		{"mkdir(2)", func(in string) error { return sb.Mkdir(in + "/newdir") }},
		{"symlink(2)", func(in string) error { return sb.Symlink("file", in+"/link") }},
		{"mknod(2) of a FIFO", func(in string) error { return sb.Mknod(in+"/fifo", unix.S_IFIFO|0o600, 0) }},
		{"chmod(2)", func(in string) error { return sb.Chmod(in+"/file", 0o600) }},
		{"chown(2)", func(in string) error { return sb.Chown(in+"/file", 0, 0) }},
		{"rename(2)", func(in string) error { return sb.Rename(in+"/old", in+"/renamed") }},
		{"unlink(2)", func(in string) error { return sb.Unlink(in + "/file") }},
		{"rmdir(2)", func(in string) error { return sb.Rmdir(in + "/dir") }},
	}
	harness.Must(sb.Mount("x", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, c := range changes {
		for _, in := range []string{dir, bind} {
			err := c.try(in)
			where := map[string]string{dir: "on a read-only filesystem", bind: "on another mount of a read-only filesystem"}[in]
			claim.Evidence("%s %s: %v", c.what, where, err)
			Expect(err).To(harness.FailWith(unix.EROFS), "%s %s", c.what, where)
		}
	}
	Expect(sb.ReadFile(dir+"/file")).To(Equal("content"), "reading on a read-only filesystem")
	harness.Must(sb.Mount("x", dir, "", unix.MS_REMOUNT, ""))
	for _, c := range changes {
		Expect(c.try(dir)).To(Succeed(), "contrast: %s on a read-write mount", c.what)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "mount/readonly-remount-of-written-ebusy",
	Text:     "A filesystem with a file open for writing cannot be made read-only (EBUSY).",
	Source:   claim.Sources{claim.Man("mount(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "once the file is closed it can",
	Try:      "exec 9> /mnt/file; mount -o remount,ro /mnt; exec 9>&-; mount -o remount,ro /mnt && echo read-only",
	Shows:    "mount: /mnt: mount point is busy.\n…\nread-only",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir, bind := mountTmpfs(sb, 0), sb.MkdirTemp()
	harness.Must(sb.Bind(dir, bind, 0))
	fd := harness.Got(sb.Open(bind+"/file", unix.O_WRONLY|unix.O_CREAT, 0o600))
	filesystem := sb.Mount("x", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	mount := sb.Bind("none", bind, unix.MS_REMOUNT|unix.MS_RDONLY)
	other := sb.Bind("none", dir, unix.MS_REMOUNT|unix.MS_RDONLY)
	harness.Must(sb.Close(fd))
	closed := sb.Mount("x", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	claim.Evidence("filesystem with a writer: %v; the writer's mount: %v; another mount of it: %v; filesystem after close: %v", filesystem, mount, other, closed)
	Expect(filesystem).To(harness.FailWith(unix.EBUSY), "making a filesystem read-only while a file is open for writing")
	Expect(mount).To(harness.FailWith(unix.EBUSY), "making the mount read-only through which a file is open for writing")
	Expect(other).NotTo(HaveOccurred(), "contrast: making a mount read-only that no writer came through")
	Expect(closed).NotTo(HaveOccurred(), "contrast: making the filesystem read-only once the file is closed")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/nosuid-ignores-setuid-bit",
	Text:     "On a nosuid mount a set-user-ID program runs with the caller's IDs, and file capabilities give nothing.",
	Source:   claim.Sources{claim.Man("mount(2)", "MS_NOSUID")},
	Needs:    claim.Needs{mountNeed, claim.Root, newPrivileges, fileCapabilities},
	Contrast: "effective UID 0, and the capability, without the flag",
	Core:     true,
	Try:      "cp /bin/cat /mnt/suid; chmod u+s /mnt/suid; setpriv --reuid 1000 --regid 1000 --clear-groups /mnt/suid /proc/self/status | grep Uid; mount -o remount,nosuid /mnt; setpriv --reuid 1000 --regid 1000 --clear-groups /mnt/suid /proc/self/status | grep Uid",
	Shows:    "Uid: 1000 0 0 0\nUid: 1000 1000 1000 1000",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	suid, caps := copyCat(ctx, host), copyCat(ctx, host)
	harness.Must(host.Chmod(suid, 0o4755))
	harness.Must(setFileCapability(host, caps, unix.CAP_NET_RAW))
	nosuid := func(file string) string {
		at := host.MkdirTemp()
		harness.Must(host.Bind(file[:strings.LastIndexByte(file, '/')], at, 0))
		harness.Must(host.Bind("none", at, unix.MS_REMOUNT|unix.MS_NOSUID))
		return at + file[strings.LastIndexByte(file, '/'):]
	}
	nosuidSuid, nosuidCaps := nosuid(suid), nosuid(caps)
	sb := become(harness.Start(ctx, harness.Under(host)), user)
	plainUID, plainCaps := euidAfterExec(ctx, sb, suid), capsAfterExec(ctx, sb, caps)
	uid, none := euidAfterExec(ctx, sb, nosuidSuid), capsAfterExec(ctx, sb, nosuidCaps)
	claim.Evidence("nosuid: effective UID %s, %v; without: effective UID %s, %v", uid, none, plainUID, plainCaps)
	Expect(uid).NotTo(Equal("0"), "effective UID after executing a set-user-ID program of root on a nosuid mount")
	Expect(uid).To(Equal("1000"), "effective UID after executing a set-user-ID program on a nosuid mount")
	Expect(none.eff).To(BeZero(), "CapEff after executing a program with file capabilities on a nosuid mount")
	Expect(plainUID).To(Equal("0"), "contrast: effective UID without nosuid")
	Expect(plainCaps.eff).To(Equal(netRaw), "contrast: CapEff without nosuid")
})
