package namespaces

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

const devptsOptions = "newinstance,ptmxmode=0666"

var devptsNeed = claim.Feature("devpts", "", []string{"CONFIG_UNIX98_PTYS"}, func(ctx context.Context) error {
	sb, err := harness.TryStart(ctx, harness.New(namespace.Mount))
	if err != nil {
		return err
	}
	return sb.Mount("devpts", sb.MkdirTemp(), "devpts", 0, devptsOptions)
})

var _ = claim.It(claim.Claim{
	ID:       "mount/devpts-instances-independent",
	Text:     "Every devpts mount is its own instance with its own numbering.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities within a user namespace"), claim.Man("pts(4)", "")},
	Needs:    claim.Needs{mountNeed, devptsNeed},
	Contrast: "a bind of the first shows it",
	Core:     true,
	Since:    "4.7",
	Try:      "mkdir /tmp/a /tmp/b; mount -t devpts -o newinstance,ptmxmode=0666 x /tmp/a; mount -t devpts -o newinstance,ptmxmode=0666 x /tmp/b; exec 9<> /tmp/a/ptmx; ls /tmp/a /tmp/b",
	Shows:    "/tmp/a:\n0\nptmx\n/tmp/b:\nptmx",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	first, second, bound := sb.MkdirTemp(), sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.Mount("devpts", first, "devpts", 0, devptsOptions))
	harness.Must(sb.Mount("devpts", second, "devpts", 0, devptsOptions))
	harness.Must(sb.Bind(first, bound, 0))
	open := func(dir string) int {
		fd := harness.Got(sb.Open(dir+"/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0))
		number := make([]byte, 8)
		harness.Got(sb.Ioctl(fd, unix.TIOCGPTN, number))
		return int(binary.NativeEndian.Uint32(number))
	}
	number := open(first)
	_, there := sb.Stat(fmt.Sprint(first, "/", number))
	_, other := sb.Stat(fmt.Sprint(second, "/", number))
	_, same := sb.Stat(fmt.Sprint(bound, "/", number))
	next, own := open(first), open(second)
	claim.Evidence("the first pty of one instance is %d: %v there, %v in another instance, %v in a bind mount; the second is %d, the first of the other instance %d", number, there, other, same, next, own)
	Expect(number).To(Equal(0), "number of the first pseudoterminal of a new devpts instance")
	Expect(there).NotTo(HaveOccurred(), "the pseudoterminal in its own instance")
	Expect(other).To(harness.FailWith(unix.ENOENT), "the pseudoterminal of one devpts instance, in another")
	Expect(own).To(Equal(0), "number of the first pseudoterminal of another instance")
	Expect(next).To(Equal(1), "contrast: number of the second pseudoterminal of the same instance")
	Expect(same).NotTo(HaveOccurred(), "contrast: the pseudoterminal in a bind mount of its instance")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/nosymfollow-refuses-symlinks",
	Text:     "On a nosymfollow mount symbolic links are not followed (ELOOP) but can be made and read.",
	Source:   claim.Sources{claim.Man("mount(2)", "MS_NOSYMFOLLOW")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "followed without the flag",
	Since:    "5.10",
}, func(ctx SpecContext) {
	const nosymfollow = 256
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir, flagged := mountTmpfs(sb, 0), sb.MkdirTemp()
	harness.Must(sb.CreateFile(dir+"/file", "content"))
	harness.Must(sb.Bind(dir, flagged, 0))
	harness.Must(sb.Bind("none", flagged, unix.MS_REMOUNT|nosymfollow))
	harness.Must(sb.Mkdir(dir + "/d"))
	harness.Must(sb.CreateFile(dir+"/d/file", ""))
	harness.Must(sb.Symlink("d", dir+"/along"))
	made := sb.Symlink("file", flagged+"/link")
	harness.Must(made)
	_, refused := sb.ReadFile(flagged + "/link")
	_, along := sb.Stat(flagged + "/along/file")
	target, read := sb.Readlink(flagged + "/link")
	_, file := sb.ReadFile(flagged + "/file")
	_, followed := sb.ReadFile(dir + "/link")
	claim.Evidence("nosymfollow: opening a link %v, a path through a link %v, readlink %q; without: %v", refused, along, target, followed)
	Expect(refused).To(harness.FailWith(unix.ELOOP), "opening a symbolic link on a nosymfollow mount")
	Expect(along).To(harness.FailWith(unix.ELOOP), "a path with a symbolic link in the middle on a nosymfollow mount")
	Expect(read).NotTo(HaveOccurred(), "readlink(2) on a nosymfollow mount")
	Expect(target).To(Equal("file"), "what readlink(2) says on a nosymfollow mount")
	Expect(file).NotTo(HaveOccurred(), "opening a file on a nosymfollow mount")
	Expect(followed).NotTo(HaveOccurred(), "contrast: opening the link on a mount without the flag")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/noexec-refuses-executable-mapping",
	Text:     "A file on a noexec mount cannot be mapped executable (EPERM).",
	Source:   claim.Sources{claim.Man("mmap(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "readable it can, and executable without the flag",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir, noexec := mountTmpfs(sb, 0), sb.MkdirTemp()
	harness.Must(sb.CreateFile(dir+"/file", "content"))
	harness.Must(sb.Bind(dir, noexec, 0))
	harness.Must(sb.Bind("none", noexec, unix.MS_REMOUNT|unix.MS_NOEXEC))
	mapped := func(dir string, prot int) error {
		fd := harness.Got(sb.Open(dir+"/file", unix.O_RDONLY, 0))
		_, err := sb.Syscall("mmap "+dir+"/file", unix.SYS_MMAP, 0, 4096, prot, unix.MAP_PRIVATE, fd, 0)
		return err
	}
	refused := mapped(noexec, unix.PROT_READ|unix.PROT_EXEC)
	readable, plain := mapped(noexec, unix.PROT_READ), mapped(dir, unix.PROT_READ|unix.PROT_EXEC)
	claim.Evidence("noexec: executable %v, readable %v; without: executable %v", refused, readable, plain)
	Expect(refused).To(harness.FailWith(unix.EPERM), "mmap(PROT_EXEC) of a file on a noexec mount")
	Expect(readable).NotTo(HaveOccurred(), "contrast: mmap(PROT_READ) of it")
	Expect(plain).NotTo(HaveOccurred(), "contrast: mmap(PROT_EXEC) without the flag")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/atime-flags-decide-updates",
	Text:     "Reading a file sets its access time on a strictatime mount, on a relatime mount only when it is not newer than the last change, on a noatime mount never; nodiratime exempts directories.",
	Source:   claim.Sources{claim.Man("mount(2)", "MS_NOATIME"), claim.Man("mount(2)", "MS_RELATIME"), claim.Man("mount(2)", "MS_NODIRATIME")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "strictatime sets it always",
	Try:      "echo content > /mnt/file; touch -d '1 hour ago' /mnt/file; mount -o remount,noatime /mnt; cat /mnt/file; find /mnt/file -amin -5; mount -o remount,strictatime /mnt; cat /mnt/file; find /mnt/file -amin -5",
	Shows:    "content\ncontent\n/mnt/file",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	harness.Must(sb.CreateFile(dir+"/file", "content"))
	harness.Must(sb.Mkdir(dir + "/dir"))
	now := time.Now().Unix()
	// updated says whether reading sets the access time of a file, given the ages
	// in seconds of its access and modification.
	updated := func(flags uintptr, name string, accessed, modified int64) bool {
		harness.Must(sb.Bind("none", dir, unix.MS_REMOUNT|flags))
		path := dir + "/" + name
		var times []byte
		for _, v := range []int64{now - accessed, 0, now - modified, 0} {
			times = append(times, fmt64(uint64(v))...)
		}
		harness.Got(sb.Syscall("utimensat "+path, unix.SYS_UTIMENSAT, unix.AT_FDCWD, path, times, 0))
		if name == "dir" {
			harness.Got(sb.ReadDir(path))
		} else {
			harness.Got(sb.ReadFile(path))
		}
		return accessTime(sb, path) != now-accessed
	}
	type look struct {
		flags              uintptr
		name               string
		accessed, modified int64
		want               bool
		what               string
	}
	for _, l := range []look{
		{unix.MS_STRICTATIME, "file", 100, 200, true, "contrast: a file read since it was modified, on a strictatime mount"},
		{unix.MS_STRICTATIME, "dir", 100, 200, true, "contrast: a directory, on a strictatime mount"},
		// A change of times is a change too, so that only a time to come is newer.
		{unix.MS_STRICTATIME, "file", -1000, 200, true, "contrast: a file with an access time newer than its changes, on a strictatime mount"},
		{unix.MS_RELATIME, "file", -1000, 200, false, "a file with an access time newer than its changes, on a relatime mount"},
		{unix.MS_RELATIME, "file", 200, 100, true, "a file modified since it was read, on a relatime mount"},
		{unix.MS_NOATIME, "file", 200, 100, false, "a file modified since it was read, on a noatime mount"},
		{unix.MS_NOATIME, "dir", 200, 100, false, "a directory, on a noatime mount"},
		{unix.MS_STRICTATIME | unix.MS_NODIRATIME, "dir", 200, 100, false, "a directory, on a nodiratime mount"},
		{unix.MS_STRICTATIME | unix.MS_NODIRATIME, "file", 200, 100, true, "contrast: a file, on a nodiratime mount"},
	} {
		got := updated(l.flags, l.name, l.accessed, l.modified)
		claim.Evidence("%s: access time set by reading: %v", l.what, got)
		Expect(got).To(Equal(l.want), "whether reading sets the access time: %s", l.what)
	}
})

// accessTime is statx(2)'s stx_atime, in seconds.
func accessTime(sb *harness.Sandbox, path string) int64 {
	buf := make([]byte, 256)
	harness.Got(sb.Syscall("stat "+path, unix.SYS_STATX, unix.AT_FDCWD, path, 0, unix.STATX_ATIME, buf))
	return int64(binary.NativeEndian.Uint64(buf[64:]))
}

var _ = claim.It(claim.Claim{
	ID:       "mount/open-tree-clone-is-detached",
	Text:     "open_tree(2) with OPEN_TREE_CLONE makes a copy of a mount that is nowhere in the mount tree until move_mount(2) attaches it; AT_RECURSIVE copies its submounts.",
	Source:   claim.Sources{claim.Man("open_tree(2)", "DESCRIPTION"), claim.Man("move_mount(2)", "DESCRIPTION")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "attached it is in mountinfo",
	Since:    "5.2",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir, at, tree := mountTmpfs(sb, 0), sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.CreateFile(dir+"/file", "content"))
	harness.Must(sb.CreateFile(subMount(sb, dir, "sub")+"/below", ""))
	lines := func() int { return len(mountLines(sb)) }
	before := lines()
	fd, err := openTree(sb, dir, unix.OPEN_TREE_CLONE)
	Expect(err).NotTo(HaveOccurred(), "open_tree(OPEN_TREE_CLONE)")
	recursive, err := openTree(sb, dir, unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)
	Expect(err).NotTo(HaveOccurred(), "open_tree(OPEN_TREE_CLONE|AT_RECURSIVE)")
	detached := lines()
	_, through := sb.OpenAt(fd, "file", unix.O_RDONLY, 0)
	_, sub := sb.OpenAt(fd, "sub/below", unix.O_RDONLY, 0)
	_, subRecursive := sb.OpenAt(recursive, "sub/below", unix.O_RDONLY, 0)
	Expect(attach(sb, fd, at)).To(Succeed(), "move_mount(2) of a detached copy")
	Expect(attach(sb, recursive, tree)).To(Succeed(), "move_mount(2) of a detached copy of a tree")
	dropped := harness.Start(ctx, harness.Under(sb), harness.WithoutCapability(unix.CAP_SYS_ADMIN))
	_, without := openTree(dropped, dir, unix.OPEN_TREE_CLONE)
	_, path := openTree(dropped, dir, 0)
	claim.Evidence("mounts before: %d, with two detached copies: %d, attached: %d; a file through the descriptor: %v; of a submount: %v, with AT_RECURSIVE: %v; without CAP_SYS_ADMIN: %v, without OPEN_TREE_CLONE: %v",
		before, detached, lines(), through, sub, subRecursive, without, path)
	Expect(detached).To(Equal(before), "lines of mountinfo with two detached copies")
	Expect(through).NotTo(HaveOccurred(), "a file through the descriptor of a detached copy")
	Expect(sub).To(harness.FailWith(unix.ENOENT), "a file of a submount through a copy without AT_RECURSIVE")
	Expect(subRecursive).NotTo(HaveOccurred(), "a file of a submount through a copy with AT_RECURSIVE")
	Expect(without).To(harness.FailWith(unix.EPERM), "open_tree(OPEN_TREE_CLONE) without CAP_SYS_ADMIN")
	Expect(path).NotTo(HaveOccurred(), "contrast: open_tree(2) without OPEN_TREE_CLONE needs no capability")
	Expect(lines()).To(Equal(before+3), "contrast: lines of mountinfo with both attached")
	Expect(mountLine(sb, tree+"/sub")).NotTo(BeEmpty(), "contrast: the copied submount in mountinfo")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/fsmount-makes-detached-filesystem",
	Text:     "fsopen(2), fsconfig(2), fsmount(2) and move_mount(2) mount a new filesystem with its options and attributes; out of order they are refused.",
	Source:   claim.Sources{claim.Man("fsopen(2)", ""), claim.Man("fsconfig(2)", ""), claim.Man("fsmount(2)", "")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "an unknown filesystem is ENODEV, an unknown option EINVAL",
	Since:    "5.2",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	at := sb.MkdirTemp()
	open := func(sb *harness.Sandbox, fs string) (int, error) {
		fd, err := sb.Syscall("fsopen "+fs, unix.SYS_FSOPEN, fs, unix.FSOPEN_CLOEXEC)
		return int(fd), err
	}
	set := func(fd int, key, value string) error {
		_, err := sb.Syscall("fsconfig "+key, unix.SYS_FSCONFIG, fd, unix.FSCONFIG_SET_STRING, key, value, 0)
		return err
	}
	mount := func(fd int) (int, error) {
		mnt, err := sb.Syscall("fsmount", unix.SYS_FSMOUNT, fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOEXEC)
		return int(mnt), err
	}
	_, unknown := open(sb, "bulkheadfs")
	fd, err := open(sb, "tmpfs")
	Expect(err).NotTo(HaveOccurred(), "fsopen(tmpfs)")
	_, early := mount(fd)
	option := set(fd, "bulkhead", "1")
	Expect(set(fd, "size", "1m")).To(Succeed(), "fsconfig(FSCONFIG_SET_STRING, size)")
	_, err = sb.Syscall("fsconfig(FSCONFIG_CMD_CREATE)", unix.SYS_FSCONFIG, fd, unix.FSCONFIG_CMD_CREATE, nil, nil, 0)
	Expect(err).NotTo(HaveOccurred(), "fsconfig(FSCONFIG_CMD_CREATE)")
	before := len(mountLines(sb))
	mnt, err := mount(fd)
	Expect(err).NotTo(HaveOccurred(), "fsmount(MOUNT_ATTR_NOEXEC)")
	detached := len(mountLines(sb))
	Expect(attach(sb, mnt, at)).To(Succeed(), "move_mount(2) of a new filesystem")
	dropped := harness.Start(ctx, harness.Under(sb), harness.WithoutCapability(unix.CAP_SYS_ADMIN))
	_, without := open(dropped, "tmpfs")
	line := mountLine(sb, at)
	claim.Evidence("mounted: %q; unknown filesystem: %v; fsmount before creation: %v; unknown option: %v; without CAP_SYS_ADMIN: %v", line, unknown, early, option, without)
	Expect(detached).To(Equal(before), "lines of mountinfo after fsmount(2), before move_mount(2)")
	Expect(line).To(And(ContainSubstring("noexec"), ContainSubstring("size=1024k")), "mountinfo of a tmpfs made with size=1m and MOUNT_ATTR_NOEXEC")
	Expect(early).To(harness.FailWith(unix.EINVAL), "fsmount(2) before FSCONFIG_CMD_CREATE")
	Expect(without).To(harness.FailWith(unix.EPERM), "fsopen(2) without CAP_SYS_ADMIN")
	Expect(unknown).To(harness.FailWith(unix.ENODEV), "contrast: fsopen(2) of an unknown filesystem")
	Expect(option).To(harness.FailWith(unix.EINVAL), "contrast: fsconfig(2) of an option that tmpfs does not know")
})
