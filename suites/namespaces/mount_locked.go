package namespaces

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "mount/needs-cap-in-owning-userns",
	Text:     "Mounting, remounting, changing propagation and unmounting are refused with EPERM unless the caller has CAP_SYS_ADMIN over the mount namespace, that is, in its owning user namespace.",
	Source:   claim.Sources{claim.Man("mount(2)", "ERRORS"), claim.Man("user_namespaces(7)", "Effect of capabilities within a user namespace")},
	Needs:    claim.Needs{mountNeed, userNeed},
	Contrast: "works with an own mount namespace too",
	Core:     true,
	Try:      "unshare --user --map-root-user mount -t tmpfs x /mnt; unshare --user --map-root-user --mount mount -t tmpfs x /mnt && echo mounted",
	Shows:    "mount: /mnt: permission denied.\n…\nmounted",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	there := mountTmpfs(host, 0)
	calls := []struct {
		what string
		try  func(*harness.Sandbox) error
	}{
		{"mounting a tmpfs", func(sb *harness.Sandbox) error { return sb.Mount("x", there, "tmpfs", 0, "") }},
		{"unmounting", func(sb *harness.Sandbox) error { return sb.Umount(there, 0) }},
		{"a bind mount", func(sb *harness.Sandbox) error { return sb.Bind(there, there, 0) }},
		{"a remount", func(sb *harness.Sandbox) error { return sb.Bind("none", there, unix.MS_REMOUNT|unix.MS_NOEXEC) }},
		{"changing propagation", func(sb *harness.Sandbox) error { return sb.Propagation(there, unix.MS_SHARED) }},
		{"moving a mount", func(sb *harness.Sandbox) error { return sb.Mount(there, there+"/..", "", unix.MS_MOVE, "") }},
	}
	dropped := harness.Start(ctx, harness.Under(host), harness.WithoutCapability(unix.CAP_SYS_ADMIN))
	foreign := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	own := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Mount))
	for _, c := range calls {
		without, root := c.try(dropped), c.try(foreign)
		claim.Evidence("%s without CAP_SYS_ADMIN: %v; as root of a user namespace that does not own the mount namespace: %v", c.what, without, root)
		Expect(without).To(harness.FailWith(unix.EPERM), "%s without CAP_SYS_ADMIN", c.what)
		Expect(root).To(harness.FailWith(unix.EPERM), "%s as root of a user namespace that does not own the mount namespace", c.what)
	}
	for _, c := range calls[:len(calls)-1] {
		Expect(c.try(own)).To(Succeed(), "contrast: %s with an own mount namespace", c.what)
	}
})

// lockedFlags are the mount flags that a less privileged mount namespace may not
// change, and the flags of mount(2) that would.
var lockedFlags = []struct {
	name                  string
	set, change, stricter uintptr
}{
	{"read-only", unix.MS_RDONLY, 0, unix.MS_RDONLY | unix.MS_NOEXEC},
	{"nosuid", unix.MS_NOSUID, 0, unix.MS_NOSUID | unix.MS_RDONLY},
	{"nodev", unix.MS_NODEV, 0, unix.MS_NODEV | unix.MS_RDONLY},
	{"noexec", unix.MS_NOEXEC, 0, unix.MS_NOEXEC | unix.MS_RDONLY},
	{"noatime", unix.MS_NOATIME, unix.MS_STRICTATIME, unix.MS_NOATIME | unix.MS_RDONLY},
	{"relatime", unix.MS_RELATIME, unix.MS_NOATIME, unix.MS_RELATIME | unix.MS_RDONLY},
	{"strictatime", unix.MS_STRICTATIME, unix.MS_NOATIME, unix.MS_STRICTATIME | unix.MS_RDONLY},
	{"nodiratime", unix.MS_NODIRATIME | unix.MS_RELATIME, unix.MS_RELATIME, unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_RDONLY},
}

// remountNeed is that a mount can be given each of the flags by itself.
var remountNeed = claim.Feature("settings of one mount", "2.6.26", nil, func(ctx context.Context) error {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	for _, f := range lockedFlags {
		if err := sb.Bind("none", mountTmpfs(sb, 0), unix.MS_REMOUNT|f.set); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
})

var _ = claim.It(claim.Claim{
	ID:       "mount/ro-flag-locked-in-userns",
	Text:     "The read-only, nosuid, nodev, noexec and atime settings of inherited mounts cannot be changed in a less privileged namespace (EPERM), nor those of their bind mounts.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "Restrictions [5]"), claim.Man("mount(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed, userNeed, remountNeed},
	Contrast: "keeping them with a stricter setting, or a same-userns copy, succeeds",
	Core:     true,
	Try:      "mount -o remount,ro /mnt; unshare --user --map-root-user --mount mount -o remount,bind,rw /mnt; unshare --mount mount -o remount,bind,rw /mnt && echo changed",
	Shows:    "mount: /mnt: permission denied.\n…\nchanged",
}, func(ctx SpecContext) {
	// The mounts are the stage's own: inherited ones might be locked already.
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dirs := map[string]string{}
	for _, f := range lockedFlags {
		dirs[f.name] = mountTmpfs(host, 0)
		harness.Must(host.Bind("none", dirs[f.name], unix.MS_REMOUNT|f.set))
	}
	less := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Mount))
	same := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	for _, f := range lockedFlags {
		dir, bound := dirs[f.name], less.MkdirTemp()
		remount := func(sb *harness.Sandbox, at string, flags uintptr) error {
			return sb.Bind("none", at, unix.MS_REMOUNT|flags)
		}
		harness.Must(less.Bind(dir, bound, 0))
		changed, copied := remount(less, dir, f.change), remount(less, bound, f.change)
		flags := mountFlags(less, dir)
		kept, privileged := remount(less, dir, f.stricter), remount(same, dir, f.change)
		claim.Evidence("%s (%s): changing it %v, on a bind mount of it %v; keeping it: %v; in a same-userns copy: %v", f.name, flags, changed, copied, kept, privileged)
		Expect(changed).To(harness.FailWith(unix.EPERM), "changing the %s setting of an inherited mount in a less privileged mount namespace", f.name)
		Expect(copied).To(harness.FailWith(unix.EPERM), "changing the %s setting of a bind mount of an inherited mount in a less privileged mount namespace", f.name)
		Expect(kept).NotTo(HaveOccurred(), "contrast: a stricter setting that keeps %s", f.name)
		Expect(privileged).NotTo(HaveOccurred(), "contrast: changing the %s setting in a copy of the same user namespace", f.name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "mount/setattr-cannot-change-locked-flags",
	Text:     "mount_setattr(2) cannot clear the locked settings of inherited mounts in a less privileged namespace either (EPERM).",
	Source:   claim.Sources{claim.Man("mount_setattr(2)", "ERRORS"), claim.Man("mount_namespaces(7)", "Restrictions [5]")},
	Needs:    claim.Needs{mountNeed, userNeed},
	Contrast: "in a same-userns copy it can",
	Since:    "5.12",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(host, 0)
	const all = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	harness.Must(setattr(host, unix.AT_FDCWD, dir, 0, mountAttr{Set: all}))
	less := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Mount))
	same := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	for name, attr := range map[string]mountAttr{
		"read-only": {Clear: unix.MOUNT_ATTR_RDONLY}, "nosuid": {Clear: unix.MOUNT_ATTR_NOSUID},
		"nodev": {Clear: unix.MOUNT_ATTR_NODEV}, "noexec": {Clear: unix.MOUNT_ATTR_NOEXEC},
		"atime": {Set: unix.MOUNT_ATTR_NOATIME, Clear: unix.MOUNT_ATTR__ATIME},
	} {
		refused, allowed := setattr(less, unix.AT_FDCWD, dir, 0, attr), setattr(same, unix.AT_FDCWD, dir, 0, attr)
		claim.Evidence("%s: %v; in a same-userns copy: %v", name, refused, allowed)
		Expect(refused).To(harness.FailWith(unix.EPERM), "mount_setattr(2) changing the %s setting of an inherited mount in a less privileged mount namespace", name)
		Expect(allowed).NotTo(HaveOccurred(), "contrast: mount_setattr(2) changing the %s setting in a copy of the same user namespace", name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "mount/remount-needs-cap-over-filesystem",
	Text:     "Remounting a filesystem, not only one mount of it, is EPERM for root of a user namespace that did not mount it.",
	Source:   claim.Sources{claim.Man("mount(2)", "ERRORS"), claim.Man("user_namespaces(7)", "Effect of capabilities within a user namespace")},
	Needs:    claim.Needs{mountNeed, userNeed},
	Contrast: "a filesystem that it mounted itself can be remounted",
	Try:      "unshare --user --map-root-user --mount sh -c 'mount -o remount,size=1m /mnt; mount -t tmpfs own /mnt; mount -o remount,size=1m /mnt && echo remounted'",
	Shows:    "mount: /mnt: permission denied.\n…\nremounted",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(host, 0)
	less := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Mount))
	own := mountTmpfs(less, 0)
	refused := less.Mount("x", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	writable := host.CreateFile(dir+"/file", "")
	allowed := less.Mount("x", own, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	claim.Evidence("the host's filesystem: %v; its own: %v", refused, allowed)
	Expect(refused).To(harness.FailWith(unix.EPERM), "MS_REMOUNT of a filesystem by root of a user namespace that did not mount it")
	Expect(writable).NotTo(HaveOccurred(), "writing to that filesystem on the host afterwards")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: MS_REMOUNT of a filesystem that the user namespace's root mounted")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/propagated-subtree-leaves-as-a-whole",
	Text:     "Of a mount tree that propagated in from a more privileged namespace only the whole can be unmounted, not a part.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "Restrictions [4]")},
	Needs:    claim.Needs{mountNeed, userNeed},
	Contrast: "in a same-userns copy a part can be unmounted",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	shared, tree := mountTmpfs(host, 0), mountTmpfs(host, 0)
	subMount(host, tree, "sub")
	harness.Must(host.Mkdir(shared + "/top"))
	harness.Must(host.Propagation(shared, unix.MS_SHARED))
	less := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Mount))
	same := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	// Its unmounts are to stay its own.
	harness.Must(same.Propagation(shared, unix.MS_SLAVE))
	top := shared + "/top"
	harness.Must(host.Bind(tree, top, unix.MS_REC))
	arrived := mountLine(less, top+"/sub")
	part, alone := less.Umount(top+"/sub", unix.MNT_DETACH), same.Umount(top+"/sub", 0)
	whole := less.Umount(top, unix.MNT_DETACH)
	claim.Evidence("arrived: %q; a part: %v, in a same-userns copy: %v; the whole: %v", arrived, part, alone, whole)
	Expect(part).To(harness.FailWith(unix.EINVAL), "unmounting a part of a mount tree that propagated into a less privileged mount namespace")
	Expect(whole).NotTo(HaveOccurred(), "unmounting that tree as a whole with MNT_DETACH")
	Expect(mountLine(less, top+"/sub")).To(BeEmpty(), "the submount after its tree was unmounted")
	Expect(arrived).NotTo(BeEmpty(), "contrast: the submount before, in the less privileged namespace")
	Expect(alone).NotTo(HaveOccurred(), "contrast: unmounting the part in a copy of the same user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/nonrecursive-bind-that-reveals-einval",
	Text:     "In a less privileged namespace a non-recursive bind that would uncover files under an inherited submount is EINVAL.",
	Source:   claim.Sources{claim.Man("mount(2)", "ERRORS"), claim.Man("mount_namespaces(7)", "Restrictions [3]")},
	Needs:    claim.Needs{mountNeed, userNeed},
	Contrast: "a recursive bind, or one in a privileged namespace, works",
	Core:     true,
	Try:      "mkdir /mnt/d /tmp/b; echo secret > /mnt/d/file; mount -t tmpfs x /mnt/d; unshare --user --map-root-user --mount sh -c 'mount --bind /mnt /tmp/b; cat /tmp/b/d/file'; unshare --mount sh -c 'mount --bind /mnt /tmp/b; cat /tmp/b/d/file'",
	Shows:    "mount: /tmp/b: wrong fs type, …\n…\ncat: /tmp/b/d/file: No such file or directory\nsecret",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(host, 0)
	harness.Must(host.Mkdir(dir + "/d"))
	harness.Must(host.CreateFile(dir+"/d/secret", "covered"))
	harness.Must(host.Mount("x", dir+"/d", "tmpfs", 0, ""))
	to := host.MkdirTemp()
	less := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Mount))
	same := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	reveals := less.Bind(dir, to, 0)
	_, secret := less.Stat(to + "/d/secret")
	recursive := less.Bind(dir, to, unix.MS_REC)
	_, below := less.Stat(to + "/d/secret")
	part := less.Umount(to+"/d", unix.MNT_DETACH)
	privileged := same.Bind(dir, to, 0)
	_, shown := same.Stat(to + "/d/secret")
	claim.Evidence("bind: %v; recursive: %v, unmounting the submount of that: %v; in a same-userns copy: %v, the covered file: %v", reveals, recursive, part, privileged, shown)
	Expect(reveals).To(harness.FailWith(unix.EINVAL), "a non-recursive bind of a tree with an inherited submount in a less privileged mount namespace")
	Expect(secret).To(harness.FailWith(unix.ENOENT), "the file under the inherited submount, through the bind mount")
	Expect(below).To(harness.FailWith(unix.ENOENT), "the file under the inherited submount, through a recursive bind mount")
	Expect(part).To(harness.FailWith(unix.EINVAL), "unmounting the copy of an inherited submount below a recursive bind mount")
	Expect(recursive).NotTo(HaveOccurred(), "contrast: a recursive bind")
	Expect(privileged).NotTo(HaveOccurred(), "contrast: a non-recursive bind in a copy of the same user namespace")
	Expect(shown).NotTo(HaveOccurred(), "contrast: the covered file through it")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/locked-mount-cannot-be-moved",
	Text:     "In a less privileged namespace an inherited mount cannot be moved away from what it covers (EINVAL).",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "Restrictions [3]"), claim.Man("mount(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed, userNeed},
	Contrast: "in a same-userns copy it can",
	Try:      "mkdir /tmp/b; unshare --user --map-root-user --mount mount --move /mnt /tmp/b; unshare --mount mount --move /mnt /tmp/b && echo moved",
	Shows:    "mount: /tmp/b: …\n…\nmoved",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir, to := host.MkdirTemp(), host.MkdirTemp()
	harness.Must(host.CreateFile(dir+"/secret", "covered"))
	harness.Must(host.Mount("x", dir, "tmpfs", 0, ""))
	move := func(sb *harness.Sandbox, from string) error { return sb.Mount(from, to, "", unix.MS_MOVE, "") }
	less := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Mount))
	same := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	locked := move(less, dir)
	_, secret := less.Stat(dir + "/secret")
	own, privileged := move(less, mountTmpfs(less, 0)), move(same, dir)
	claim.Evidence("an inherited mount: %v; its own: %v; in a same-userns copy: %v", locked, own, privileged)
	Expect(locked).To(harness.FailWith(unix.EINVAL), "MS_MOVE of an inherited mount in a less privileged mount namespace")
	Expect(secret).To(harness.FailWith(unix.ENOENT), "the file that the inherited mount covers")
	Expect(own).NotTo(HaveOccurred(), "contrast: MS_MOVE of a mount of its own")
	Expect(privileged).NotTo(HaveOccurred(), "contrast: MS_MOVE in a copy of the same user namespace")
})
