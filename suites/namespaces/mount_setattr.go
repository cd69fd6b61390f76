package namespaces

import (
	"context"
	"errors"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

// mountAttr is mount_setattr(2)'s struct mount_attr.
type mountAttr struct {
	Set, Clear, Propagation uint64
	// UserNS is a descriptor, for MOUNT_ATTR_IDMAP.
	UserNS int
}

// setattr is mount_setattr(2).
func setattr(sb *harness.Sandbox, dir int, path string, flags int, a mountAttr) error {
	var raw []byte
	for _, v := range []uint64{a.Set, a.Clear, a.Propagation, uint64(a.UserNS)} {
		raw = append(raw, fmt64(v)...)
	}
	_, err := sb.Syscall("mount_setattr "+path, unix.SYS_MOUNT_SETATTR, dir, path, flags, raw, len(raw))
	return err
}

// openTree is open_tree(2), with OPEN_TREE_CLOEXEC.
func openTree(sb *harness.Sandbox, path string, flags int) (int, error) {
	fd, err := sb.Syscall("open_tree "+path, unix.SYS_OPEN_TREE, unix.AT_FDCWD, path, flags|unix.OPEN_TREE_CLOEXEC)
	return int(fd), err
}

// attach is move_mount(2) of a mount that a descriptor names.
func attach(sb *harness.Sandbox, fd int, to string) error {
	_, err := sb.Syscall("move_mount to "+to, unix.SYS_MOVE_MOUNT, fd, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH)
	return err
}

var _ = claim.It(claim.Claim{
	ID:       "mount/setattr-recursive",
	Text:     "With AT_RECURSIVE mount_setattr(2) changes the whole mount tree in one call, or nothing of it.",
	Source:   claim.Sources{claim.Man("mount_setattr(2)", "DESCRIPTION"), claim.Man("mount_setattr(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "without the flag the submount stays writable",
	Since:    "5.12",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	sub := subMount(sb, dir, "sub")
	deep := subMount(sb, sub, "deep")
	set := func(flags int) error {
		return setattr(sb, unix.AT_FDCWD, dir, flags, mountAttr{Set: unix.MOUNT_ATTR_RDONLY})
	}
	fd := harness.Got(sb.Open(deep+"/written", unix.O_WRONLY|unix.O_CREAT, 0o600))
	busy, untouched := set(unix.AT_RECURSIVE), sb.CreateFile(dir+"/a", "")
	harness.Must(sb.Close(fd))
	Expect(set(0)).To(Succeed(), "mount_setattr(MOUNT_ATTR_RDONLY)")
	top, without := sb.CreateFile(dir+"/b", ""), sb.CreateFile(sub+"/b", "")
	Expect(set(unix.AT_RECURSIVE)).To(Succeed(), "mount_setattr(AT_RECURSIVE, MOUNT_ATTR_RDONLY)")
	with, below := sb.CreateFile(sub+"/c", ""), sb.CreateFile(deep+"/c", "")
	claim.Evidence("with a writer two submounts below: %v, the top then: %v; without AT_RECURSIVE: top %v, submount %v; with it: submount %v, below that %v", busy, untouched, top, without, with, below)
	Expect(with).To(harness.FailWith(unix.EROFS), "writing to a submount after mount_setattr(AT_RECURSIVE, MOUNT_ATTR_RDONLY)")
	Expect(below).To(harness.FailWith(unix.EROFS), "writing to a submount of the submount after mount_setattr(AT_RECURSIVE, MOUNT_ATTR_RDONLY)")
	Expect(busy).To(harness.FailWith(unix.EBUSY), "mount_setattr(AT_RECURSIVE, MOUNT_ATTR_RDONLY) with a file of a submount open for writing")
	Expect(untouched).NotTo(HaveOccurred(), "writing to the top mount after mount_setattr(AT_RECURSIVE) was refused")
	Expect(top).To(harness.FailWith(unix.EROFS), "writing to the mount itself after mount_setattr(MOUNT_ATTR_RDONLY)")
	Expect(without).NotTo(HaveOccurred(), "contrast: writing to a submount after mount_setattr(2) without AT_RECURSIVE")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/setattr-changes-propagation",
	Text:     "mount_setattr(2) makes a mount shared, slave, private or unbindable, one of them a call (EINVAL otherwise).",
	Source:   claim.Sources{claim.Man("mount_setattr(2)", "DESCRIPTION"), claim.Man("mount_setattr(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "no tag before and after MS_PRIVATE",
	Since:    "5.12",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir, peer := mountTmpfs(sb, 0), sb.MkdirTemp()
	become := func(propagation uint64) (string, error) {
		err := setattr(sb, unix.AT_FDCWD, dir, 0, mountAttr{Propagation: propagation})
		return mountLine(sb, dir), err
	}
	before := mountLine(sb, dir)
	shared, err := become(unix.MS_SHARED)
	Expect(err).NotTo(HaveOccurred(), "mount_setattr(MS_SHARED)")
	harness.Must(sb.Bind(dir, peer, 0))
	slave, err := become(unix.MS_SLAVE)
	Expect(err).NotTo(HaveOccurred(), "mount_setattr(MS_SLAVE)")
	private, err := become(unix.MS_PRIVATE)
	Expect(err).NotTo(HaveOccurred(), "mount_setattr(MS_PRIVATE)")
	unbindable, err := become(unix.MS_UNBINDABLE)
	Expect(err).NotTo(HaveOccurred(), "mount_setattr(MS_UNBINDABLE)")
	_, two := become(unix.MS_SHARED | unix.MS_PRIVATE)
	claim.Evidence("before: %q; shared: %q; slave: %q; private: %q; unbindable: %q; two at once: %v", before, shared, slave, private, unbindable, two)
	Expect(tag(shared, "shared")).NotTo(BeEmpty(), "the shared: tag after mount_setattr(MS_SHARED)")
	Expect(tag(slave, "master")).To(Equal(tag(shared, "shared")), "the master: tag after mount_setattr(MS_SLAVE)")
	Expect(unbindable).To(ContainSubstring(" unbindable "), "mountinfo after mount_setattr(MS_UNBINDABLE)")
	Expect(two).To(harness.FailWith(unix.EINVAL), "mount_setattr(MS_SHARED|MS_PRIVATE)")
	for when, line := range map[string]string{"before": before, "after mount_setattr(MS_PRIVATE)": private} {
		Expect(tag(line, "shared")+tag(line, "master")).To(BeEmpty(), "contrast: propagation tags %s", when)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "mount/setattr-refused-arguments",
	Text:     "mount_setattr(2) is EINVAL for unknown attributes, for an access-time setting without clearing the old one, and for a path that is no mount point; EPERM without CAP_SYS_ADMIN.",
	Source:   claim.Sources{claim.Man("mount_setattr(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a setting that clears MOUNT_ATTR__ATIME is accepted",
	Since:    "5.12",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	harness.Must(sb.Mkdir(dir + "/plain"))
	noatime := mountAttr{Set: unix.MOUNT_ATTR_NOATIME, Clear: unix.MOUNT_ATTR__ATIME}
	try := func(path string, a mountAttr) error { return setattr(sb, unix.AT_FDCWD, path, 0, a) }
	unknown := try(dir, mountAttr{Set: 1 << 40})
	kept := try(dir, mountAttr{Set: unix.MOUNT_ATTR_NOATIME})
	partly := try(dir, mountAttr{Clear: unix.MOUNT_ATTR_NOATIME})
	plain := try(dir+"/plain", noatime)
	dropped := setattr(harness.Start(ctx, harness.Under(sb), harness.WithoutCapability(unix.CAP_SYS_ADMIN)), unix.AT_FDCWD, dir, 0, noatime)
	before := mountFlags(sb, dir)
	allowed := try(dir, noatime)
	claim.Evidence("unknown attribute: %v; noatime without clearing: %v; clearing a part of the access-time setting: %v; no mount point: %v; without CAP_SYS_ADMIN: %v; noatime: %v, %s, before %s",
		unknown, kept, partly, plain, dropped, allowed, mountFlags(sb, dir), before)
	Expect(unknown).To(harness.FailWith(unix.EINVAL), "mount_setattr(2) with an unknown attribute")
	Expect(kept).To(harness.FailWith(unix.EINVAL), "mount_setattr(MOUNT_ATTR_NOATIME) without clearing MOUNT_ATTR__ATIME")
	Expect(partly).To(harness.FailWith(unix.EINVAL), "mount_setattr(2) clearing only a part of MOUNT_ATTR__ATIME")
	Expect(plain).To(harness.FailWith(unix.EINVAL), "mount_setattr(2) of a directory that is no mount point")
	Expect(dropped).To(harness.FailWith(unix.EPERM), "mount_setattr(2) without CAP_SYS_ADMIN")
	Expect(before).NotTo(ContainSubstring("noatime"), "mountinfo after what was refused")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: mount_setattr(MOUNT_ATTR_NOATIME) that clears MOUNT_ATTR__ATIME")
	Expect(mountFlags(sb, dir)).To(ContainSubstring("noatime"), "contrast: mountinfo after it")
})

// idmapped mounts a detached copy of dir, ID-mapped by a user namespace with
// these maps, and returns its descriptor.
func idmapped(ctx context.Context, sb *harness.Sandbox, dir string, maps ...harness.Mapping) (int, error) {
	fd, err := openTree(sb, dir, unix.OPEN_TREE_CLONE)
	if err != nil {
		return 0, err
	}
	return fd, setattr(sb, fd, "", unix.AT_EMPTY_PATH, mountAttr{Set: unix.MOUNT_ATTR_IDMAP, UserNS: userNamespace(ctx, sb, maps)})
}

// userNamespace is a descriptor in sb of a new user namespace with these maps.
func userNamespace(ctx context.Context, sb *harness.Sandbox, maps []harness.Mapping) int {
	mapper := harness.Start(ctx, harness.Under(sb), harness.New(namespace.User), harness.WithIDs(maps, maps))
	return harness.Got(sb.Open(procNamespace(mapper, "user"), unix.O_RDONLY, 0))
}

// idmapNeed is that a tmpfs can be ID-mapped.
var idmapNeed = &claim.Need{
	Name:  "ID-mapped tmpfs",
	Since: "6.3",
	Try: func(ctx context.Context) error {
		sb, err := harness.TryStart(ctx, harness.New(namespace.Mount))
		if err == nil {
			_, err = idmapped(ctx, sb, mountTmpfs(sb, 0), harness.Mapping{Inside: 0, Outside: 0, Size: 1})
		}
		// A kernel without ID-mapped mounts has the call or the attribute not.
		if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("a tmpfs cannot be ID-mapped: %w", err)
		}
		return err
	},
}

var _ = claim.It(claim.Claim{
	ID:       "mount/idmapped-mount-shifts-owners",
	Text:     "An ID-mapped mount shows and stores shifted owners through that mount only; unmapped owners read as the overflow ID and cannot be written into.",
	Source:   claim.Sources{claim.Man("mount_setattr(2)", "ID-mapped mounts")},
	Needs:    claim.Needs{claim.Sysctls, claim.Root, mountNeed, userNeed, idmapNeed},
	Contrast: "the original mount shows 1000",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir, at := mountTmpfs(sb, 0), sb.MkdirTemp()
	harness.Must(sb.CreateFile(dir+"/file", ""))
	harness.Must(sb.CreateFile(dir+"/root", ""))
	harness.Must(sb.Mkdir(dir + "/unmapped"))
	harness.Must(sb.Chown(dir+"/file", 1000, 1000))
	harness.Must(sb.Chown(dir, 1000, 1000))
	harness.Must(sb.Chmod(dir, 0o755))
	fd, err := idmapped(ctx, sb, dir, harness.Mapping{Inside: 1000, Outside: 2000, Size: 1})
	Expect(err).NotTo(HaveOccurred(), "mount_setattr(MOUNT_ATTR_IDMAP)")
	harness.Must(attach(sb, fd, at))
	owner := func(path string) []uint32 {
		f := harness.Got(sb.Stat(path))
		return []uint32{f.UID, f.GID}
	}
	shifted, original, foreign := owner(at+"/file"), owner(dir+"/file"), owner(at+"/root")
	shiftedUser := harness.Start(ctx, harness.Under(sb), harness.As(2000, 2000))
	made := shiftedUser.CreateFile(at+"/new", "")
	harness.Must(made)
	stored := owner(dir + "/new")
	elsewhere := shiftedUser.CreateFile(dir+"/other", "")
	into := sb.CreateFile(at+"/unmapped/file", "")
	_, asRoot := sb.Open(at+"/rootmade", unix.O_WRONLY|unix.O_CREAT, 0o600)
	claim.Evidence("owner 1000 shows as %v, through the original mount as %v; owner 0, not mapped, as %v; what 2000 makes is stored as %v; 2000 through the original mount: %v; into a directory of an unmapped owner: %v; by root, who is not mapped: %v",
		shifted, original, foreign, stored, elsewhere, into, asRoot)
	Expect(shifted).To(Equal([]uint32{2000, 2000}), "the owner of a file of 1000 through a mount that maps 1000 to 2000")
	Expect(stored).To(Equal([]uint32{1000, 1000}), "the stored owner of a file that 2000 made through that mount")
	overflow := uint32(sysctlNumber("kernel.overflowuid"))
	Expect(foreign[0]).To(Equal(overflow), "the owner of a file whose owner is not mapped, through the mount")
	Expect(into).To(harness.FailWith(unix.EOVERFLOW), "making a file as root, whose ID the mount does not map, in a directory of an unmapped owner")
	Expect(asRoot).To(harness.FailWith(unix.EOVERFLOW), "making a file as root, whose ID the mount does not map")
	Expect(elsewhere).To(harness.FailWith(unix.EACCES), "contrast: 2000 writing into the directory of 1000 through the original mount")
	Expect(original).To(Equal([]uint32{1000, 1000}), "contrast: the owner through the original mount")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/idmap-needs-detached-mount",
	Text:     "Only a detached mount (from open_tree) can be ID-mapped, and once; an attached one gives EINVAL.",
	Source:   claim.Sources{claim.Man("mount_setattr(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed, userNeed, unprivileged, idmapNeed},
	Contrast: "the detached copy is accepted",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	maps := []harness.Mapping{{Inside: 0, Outside: 0, Size: 1}}
	userns := userNamespace(ctx, sb, maps)
	idmap := mountAttr{Set: unix.MOUNT_ATTR_IDMAP, UserNS: userns}
	attached := setattr(sb, unix.AT_FDCWD, dir, 0, idmap)
	fd := harness.Got(openTree(sb, dir, unix.OPEN_TREE_CLONE))
	detached := setattr(sb, fd, "", unix.AT_EMPTY_PATH, idmap)
	again := setattr(sb, fd, "", unix.AT_EMPTY_PATH, idmap)
	foreign := harness.Start(ctx, harness.Under(sb), harness.New(namespace.User, namespace.Mount))
	copied := harness.Got(openTree(foreign, dir, unix.OPEN_TREE_CLONE))
	theirs := setattr(foreign, copied, "", unix.AT_EMPTY_PATH, mountAttr{Set: unix.MOUNT_ATTR_IDMAP, UserNS: userNamespace(ctx, foreign, maps)})
	claim.Evidence("an attached mount: %v; a detached one: %v, again: %v; by root of a user namespace that does not own the filesystem: %v", attached, detached, again, theirs)
	Expect(attached).To(harness.FailWith(unix.EINVAL), "mount_setattr(MOUNT_ATTR_IDMAP) of an attached mount")
	Expect(again).To(harness.FailWith(unix.EPERM), "mount_setattr(MOUNT_ATTR_IDMAP) of a mount that is ID-mapped already")
	Expect(theirs).To(harness.FailWith(unix.EPERM), "mount_setattr(MOUNT_ATTR_IDMAP) by root of a user namespace that does not own the filesystem")
	Expect(detached).NotTo(HaveOccurred(), "contrast: mount_setattr(MOUNT_ATTR_IDMAP) of a detached copy")
})
