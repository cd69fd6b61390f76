package namespaces

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
	"bulkhead/suites/rootfs"
)

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-swaps-root-mount",
	Text:     "pivot_root(2) makes new_root the namespace's root mount and puts the old one at put_old.",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "DESCRIPTION")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "ENOENT before",
	Core:     true,
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	jail := rootfs.Jail(ctx)
	sb := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	harness.Must(sb.Bind(jail, jail, 0))
	harness.Must(sb.Mount("proc", jail+"/proc", "proc", 0, ""))
	oldRoot, id := harness.Got(sb.Stat("/")), mountID(sb, jail)
	oldID := mountID(sb, "/")
	_, before := sb.Stat("/marker")
	Expect(sb.PivotRoot(jail, jail+"/sub")).To(Succeed(), "pivot_root(2) to a bind mount")
	marker, err := sb.ReadFile("/marker")
	old := harness.Got(sb.Stat("/sub"))
	cwd := harness.Got(sb.Getcwd())
	entered := harness.Start(ctx, harness.Under(host))
	fd := harness.Got(entered.Open(procNamespace(sb, "mnt"), unix.O_RDONLY, 0))
	harness.Must(entered.Setns(fd, unix.CLONE_NEWNS))
	_, joined := entered.Stat("/marker")
	_, outside := host.Stat("/marker")
	claim.Evidence("before: %v; after: /marker %q, / is mount %s (was %s at %s), /sub is mount %s (was /), cwd %s; who joins: %v; another namespace: %v",
		before, marker, mountID(sb, "/"), id, jail, mountID(sb, "/sub"), cwd, joined, outside)
	Expect(err).NotTo(HaveOccurred(), "a file of the new root after pivot_root(2)")
	Expect(mountID(sb, "/")).To(Equal(id), "the ID of the mount at / after pivot_root(2), which is new_root's")
	Expect(old.SameAs(oldRoot)).To(BeTrue(), "put_old after pivot_root(2): %v, the old root: %v", old, oldRoot)
	Expect(mountID(sb, "/sub")).To(Equal(oldID), "the ID of the mount at put_old, which was the root's")
	Expect(joined).NotTo(HaveOccurred(), "a file of the new root for a process that joins the namespace")
	Expect(outside).To(harness.FailWith(unix.ENOENT), "a file of the new root at / of another mount namespace")
	Expect(before).To(harness.FailWith(unix.ENOENT), "contrast: before")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-moves-other-processes",
	Text:     "Processes of the namespace whose root or working directory was the old root are moved to the new one; other roots and working directories stay.",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "DESCRIPTION")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a process with another working directory, and one in a chroot, keep them",
}, func(ctx SpecContext) {
	jail, other := rootfs.Jail(ctx), rootfs.Jail(ctx)
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	harness.Must(sb.CreateFile(other+"/other", ""))
	harness.Must(sb.Bind(jail, jail, 0))
	atRoot := harness.Start(ctx, harness.Under(sb), harness.WithDir("/"))
	elsewhere := harness.Start(ctx, harness.Under(sb), harness.WithDir(other+"/tmp"))
	chrooted := harness.Start(ctx, harness.Under(sb), harness.WithChroot(other))
	stay := harness.Got(elsewhere.Stat("."))
	harness.Must(sb.PivotRoot(jail, jail+"/sub"))
	_, root := atRoot.Stat("/marker")
	cwd, err := atRoot.Stat(".")
	harness.Must(err)
	newRoot := harness.Got(sb.Stat("/"))
	_, elsewhereRoot := elsewhere.Stat("/sub" + other)
	kept := harness.Got(elsewhere.Stat("."))
	_, jailed := chrooted.Stat("/other")
	claim.Evidence("a process at the old root: /marker %v, cwd %v, the new root %v; with cwd elsewhere: %v (was %v), the old root below put_old: %v; in a chroot: %v",
		root, cwd, newRoot, kept, stay, elsewhereRoot, jailed)
	Expect(root).NotTo(HaveOccurred(), "a file of the new root at / of another process of the mount namespace after pivot_root(2)")
	Expect(cwd.SameAs(newRoot)).To(BeTrue(), "the working directory of another process, which was the old root")
	Expect(elsewhereRoot).NotTo(HaveOccurred(), "put_old at / of a process with its working directory elsewhere")
	Expect(kept.SameAs(stay)).To(BeTrue(), "contrast: a working directory that was not the old root")
	Expect(jailed).NotTo(HaveOccurred(), "contrast: the root of a process in a chroot")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-refused-inside-chroot",
	Text:     "pivot_root(2) fails with EINVAL when the caller's root is not a mount point.",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "works in a chroot on a mount point",
	Core:     true,
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	pivot := func(jail string) error {
		harness.Must(sb.Mount("x", jail+"/tmp", "tmpfs", 0, ""))
		harness.Must(sb.Mkdir(jail + "/tmp/old"))
		return harness.Start(ctx, harness.Under(sb), harness.WithChroot(jail)).PivotRoot("/tmp", "/tmp/old")
	}
	plain, bound := rootfs.Jail(ctx), rootfs.Jail(ctx)
	harness.Must(sb.Bind(bound, bound, 0))
	refused := pivot(plain)
	Expect(refused).To(harness.FailWith(unix.EINVAL), "pivot_root(2) in a chroot on a directory that is no mount point")
	allowed := pivot(bound)
	claim.Evidence("in a chroot on a plain directory: %v; on a mount point: %v", refused, allowed)
	Expect(allowed).NotTo(HaveOccurred(), "contrast: pivot_root(2) in a chroot on a mount point")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-refused-arguments",
	Text:     "pivot_root(2) refuses a new_root or put_old on the current root mount (EBUSY), a put_old that is not below new_root (EINVAL) and files (ENOTDIR).",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "with put_old below new_root it succeeds",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	jail, other := rootfs.Jail(ctx), rootfs.Jail(ctx)
	harness.Must(sb.Bind(jail, jail, 0))
	harness.Must(sb.Bind(other, other, 0))
	old := sb.PivotRoot(jail, "/")
	apart := sb.PivotRoot(jail, other+"/sub")
	file := sb.PivotRoot(jail+"/marker", jail+"/sub")
	oldFile := sb.PivotRoot(jail, jail+"/marker")
	missing := sb.PivotRoot(jail, jail+"/missing")
	// A root that is no inherited mount, which might be locked.
	root := harness.Start(ctx, harness.Under(sb), harness.WithChroot(other)).PivotRoot("/", "/tmp")
	allowed := sb.PivotRoot(jail, jail+"/sub")
	claim.Evidence("put_old the root: %v; new_root the root: %v; put_old elsewhere: %v; new_root a file: %v; put_old a file: %v; put_old missing: %v; below: %v", old, root, apart, file, oldFile, missing, allowed)
	Expect(old).To(harness.FailWith(unix.EBUSY), "pivot_root(2) with a put_old on the current root mount")
	Expect(root).To(harness.FailWith(unix.EBUSY), "pivot_root(2) with a new_root that is the current root")
	Expect(apart).To(harness.FailWith(unix.EINVAL), "pivot_root(2) with a put_old that is not below new_root")
	Expect(file).To(harness.FailWith(unix.ENOTDIR), "pivot_root(2) with a new_root that is a file")
	Expect(oldFile).To(harness.FailWith(unix.ENOTDIR), "pivot_root(2) with a put_old that is a file")
	Expect(missing).To(harness.FailWith(unix.ENOENT), "pivot_root(2) with a put_old that does not exist")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: pivot_root(2) with put_old below new_root")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-needs-capability",
	Text:     "pivot_root(2) without CAP_SYS_ADMIN in the user namespace that owns the mount namespace is EPERM.",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed, claim.Namespace(namespace.User)},
	Contrast: "with the capability it succeeds",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	jail := rootfs.Jail(ctx)
	harness.Must(sb.Bind(jail, jail, 0))
	pivot := func(sb *harness.Sandbox) error { return sb.PivotRoot(jail, jail+"/sub") }
	// In a mount namespace of its own: one that is let through is to be seen, not
	// to take the others' root.
	dropped := pivot(harness.Start(ctx, harness.Under(sb), harness.New(namespace.Mount), harness.WithoutCapability(unix.CAP_SYS_ADMIN)))
	foreign := pivot(harness.Start(ctx, harness.Under(sb), harness.New(namespace.User)))
	allowed := pivot(sb)
	claim.Evidence("without CAP_SYS_ADMIN: %v; root of a user namespace that does not own the mount namespace: %v; with it: %v", dropped, foreign, allowed)
	Expect(dropped).To(harness.FailWith(unix.EPERM), "pivot_root(2) without CAP_SYS_ADMIN")
	Expect(foreign).To(harness.FailWith(unix.EPERM), "pivot_root(2) by root of a user namespace that does not own the mount namespace")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: pivot_root(2) with CAP_SYS_ADMIN")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/umount-errors",
	Text:     "umount2(2) is EINVAL for a path that is no mount point and for flags that do not go together, ENOENT for a missing path, and EPERM without CAP_SYS_ADMIN.",
	Source:   claim.Sources{claim.Man("umount(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a mount point is unmounted",
	Try:      "mkdir /tmp/d; umount /tmp/d; umount /tmp/missing; setpriv --bounding-set -sys_admin umount /mnt; umount /mnt && echo unmounted",
	Shows:    "umount: /tmp/d: not mounted.\numount: /tmp/missing: no mount point specified.\numount: /mnt: must be superuser to unmount.\nunmounted",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	harness.Must(sb.Mkdir(dir + "/plain"))
	plain := sb.Umount(dir+"/plain", 0)
	missing := sb.Umount(dir+"/missing", 0)
	flags := sb.Umount(dir, unix.MNT_EXPIRE|unix.MNT_DETACH)
	unknown := sb.Umount(dir, 1<<30)
	dropped := harness.Start(ctx, harness.Under(sb), harness.WithoutCapability(unix.CAP_SYS_ADMIN)).Umount(dir, 0)
	there := mountLine(sb, dir)
	allowed := sb.Umount(dir, 0)
	claim.Evidence("a plain directory: %v; missing: %v; MNT_EXPIRE|MNT_DETACH: %v; an unknown flag: %v; without CAP_SYS_ADMIN: %v; a mount point: %v", plain, missing, flags, unknown, dropped, allowed)
	Expect(plain).To(harness.FailWith(unix.EINVAL), "umount2(2) of a directory that is no mount point")
	Expect(missing).To(harness.FailWith(unix.ENOENT), "umount2(2) of a path that does not exist")
	Expect(flags).To(harness.FailWith(unix.EINVAL), "umount2(2) with MNT_EXPIRE|MNT_DETACH")
	Expect(unknown).To(harness.FailWith(unix.EINVAL), "umount2(2) with an unknown flag")
	Expect(dropped).To(harness.FailWith(unix.EPERM), "umount2(2) without CAP_SYS_ADMIN")
	Expect(there).NotTo(BeEmpty(), "the mount after what was refused")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: umount2(2) of a mount point")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/umount-expire-needs-two-calls",
	Text:     "umount2(2) with MNT_EXPIRE marks an unused mount (EAGAIN) and unmounts it at the second call, unless it was used between (EAGAIN again).",
	Source:   claim.Sources{claim.Man("umount(2)", "MNT_EXPIRE")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a mount in use is EBUSY",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	harness.Must(sb.CreateFile(dir+"/file", "content"))
	expire := func() error { return sb.Umount(dir, unix.MNT_EXPIRE) }
	first := expire()
	Expect(first).To(harness.FailWith(unix.EAGAIN), "the first umount2(MNT_EXPIRE) of an unused mount")
	harness.Got(sb.ReadFile(dir + "/file"))
	used := expire()
	Expect(used).To(harness.FailWith(unix.EAGAIN), "umount2(MNT_EXPIRE) of a mount that was used since it was marked")
	fd := harness.Got(sb.Open(dir+"/file", unix.O_RDONLY, 0))
	busy := expire()
	Expect(busy).To(harness.FailWith(unix.EBUSY), "contrast: umount2(MNT_EXPIRE) with a file open")
	harness.Must(sb.Close(fd))
	again, last := expire(), expire()
	claim.Evidence("first: %v; used since: %v; a file open: %v; then: %v, %v", first, used, busy, again, last)
	Expect(again).To(harness.FailWith(unix.EAGAIN), "umount2(MNT_EXPIRE) after it was busy")
	Expect(last).NotTo(HaveOccurred(), "the second umount2(MNT_EXPIRE) of a mount that was not used between")
	Expect(mountLine(sb, dir)).To(BeEmpty(), "mountinfo after umount2(MNT_EXPIRE)")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/umount-nofollow",
	Text:     "With UMOUNT_NOFOLLOW umount2(2) does not follow a symbolic link to a mount point (EINVAL).",
	Source:   claim.Sources{claim.Man("umount(2)", "UMOUNT_NOFOLLOW")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "without it the mount that the link points to is unmounted",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	link := sb.MkdirTemp() + "/link"
	harness.Must(sb.Symlink(dir, link))
	refused := sb.Umount(link, unix.UMOUNT_NOFOLLOW)
	there := mountLine(sb, dir)
	followed := sb.Umount(link, 0)
	claim.Evidence("with UMOUNT_NOFOLLOW: %v; without: %v", refused, followed)
	Expect(refused).To(harness.FailWith(unix.EINVAL), "umount2(UMOUNT_NOFOLLOW) of a symbolic link to a mount point")
	Expect(there).NotTo(BeEmpty(), "the mount after umount2(UMOUNT_NOFOLLOW) of a link to it")
	Expect(followed).NotTo(HaveOccurred(), "contrast: umount2(2) of the link without the flag")
	Expect(mountLine(sb, dir)).To(BeEmpty(), "contrast: the mount after umount2(2) of the link without the flag")
})
