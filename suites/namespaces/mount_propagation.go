package namespaces

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
	"bulkhead/suites/rootfs"
)

var _ = claim.It(claim.Claim{
	ID:       "mount/new-ns-starts-as-copy",
	Text:     "A new mount namespace begins with a copy of the creator's mount list, under new mount IDs.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "DESCRIPTION"), claim.Man("clone(2)", "CLONE_NEWNS")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "the list changes after a later umount",
	Try:      "mount -t tmpfs -o noexec x /run; list() { sed 's/^[^ ]* [^ ]*//' /proc/self/mountinfo | sort > $1; }; ids() { cut -d' ' -f1 /proc/self/mountinfo; }; list /tmp/out; unshare --mount --propagation unchanged sed 's/^[^ ]* [^ ]*//' /proc/self/mountinfo | sort | cmp - /tmp/out && echo same; unshare --mount sh -c \"umount /run; sed 's/^[^ ]* [^ ]*//' /proc/self/mountinfo\" | sort | cmp -s - /tmp/out || echo changed",
	Shows:    "same\nchanged",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(host, unix.MS_NOEXEC|unix.MS_NOATIME)
	subMount(host, dir, "sub")
	// What a mount is without its IDs: subtree, place, options, filesystem.
	list := func(sb *harness.Sandbox) (mounts []string, ids []string) {
		for _, line := range strings.Split(strings.TrimSpace(harness.Got(sb.ReadFile("/proc/self/mountinfo"))), "\n") {
			f := strings.SplitN(line, " ", 3)
			ids, mounts = append(ids, f[0]), append(mounts, f[2])
		}
		return mounts, ids
	}
	original, ids := list(host)
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	copied, newIDs := list(inside)
	harness.Must(inside.Umount(dir+"/sub", 0))
	later, _ := list(inside)
	stays, _ := list(host)
	claim.Evidence("%d mounts copied as %d, IDs %s… as %s…; after an umount inside: %d, outside %d", len(original), len(copied), ids[0], newIDs[0], len(later), len(stays))
	Expect(copied).To(ConsistOf(original), "mountinfo of a new mount namespace, without IDs, against its creator's")
	for _, id := range newIDs {
		Expect(ids).NotTo(ContainElement(id), "mount IDs of the copy, which are its own")
	}
	Expect(stays).To(ConsistOf(original), "mountinfo of the creator after an umount in the copy")
	Expect(later).To(HaveLen(len(original)-1), "contrast: mountinfo of the copy after an umount in it")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/ns-copy-joins-peer-group",
	Text:     "Copying a shared mount into a new namespace, or binding it, puts the copy into the same peer group.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "SHARED SUBTREES")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "private mounts get no tag",
	Try:      "mkdir /tmp/b; mount --make-shared /mnt; mount --bind /mnt /tmp/b; for m in /mnt /tmp/b; do grep \" $m \" /proc/self/mountinfo | grep -o 'shared:[0-9]*'; unshare --mount --propagation unchanged grep \" $m \" /proc/self/mountinfo | grep -o 'shared:[0-9]*'; done",
	Shows:    "<group>\n<group>\n<group>\n<group>",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	shared, other, private := mountTmpfs(host, 0), mountTmpfs(host, 0), mountTmpfs(host, 0)
	bound, privateBound := host.MkdirTemp(), host.MkdirTemp()
	harness.Must(host.Propagation(shared, unix.MS_SHARED))
	harness.Must(host.Propagation(other, unix.MS_SHARED))
	harness.Must(host.Bind(shared, bound, 0))
	harness.Must(host.Bind(private, privateBound, 0))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	group := peers(host, shared)
	claim.Evidence("shared:%s; its bind mount: shared:%s; its copy in a new namespace: shared:%s; another shared mount: shared:%s; a private mount's copy: %q",
		group, peers(host, bound), peers(inside, shared), peers(host, other), mountLine(inside, private))
	Expect(group).NotTo(BeEmpty(), "the shared: tag of a shared mount")
	Expect(peers(inside, shared)).To(Equal(group), "the peer group of the copy of a shared mount in a new mount namespace")
	Expect(peers(host, bound)).To(Equal(group), "the peer group of a bind mount of a shared mount")
	Expect(peers(host, other)).NotTo(Equal(group), "the peer group of an unrelated shared mount")
	Expect(peers(inside, private)).To(BeEmpty(), "contrast: the shared: tag of a private mount's copy in a new namespace")
	Expect(peers(host, privateBound)).To(BeEmpty(), "contrast: the shared: tag of a private mount's bind mount")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/child-inherits-sharedness-of-parent",
	Text:     "A new mount is shared when its parent mount is shared, otherwise private.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "NOTES")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "no tag under a private or a slave parent",
	Try:      "mkdir /mnt/a /mnt/b; mount --make-shared /mnt; mount -t tmpfs x /mnt/a; mount --make-private /mnt; mount -t tmpfs x /mnt/b; grep -o ' /mnt/[ab] .*-' /proc/self/mountinfo",
	Shows:    "/mnt/a rw,relatime shared:<group> -\n/mnt/b rw,relatime -",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	slave := sb.MkdirTemp()
	harness.Must(sb.Propagation(dir, unix.MS_SHARED))
	harness.Must(sb.Bind(dir, slave, 0))
	harness.Must(sb.Propagation(slave, unix.MS_SLAVE))
	shared := mountLine(sb, subMount(sb, dir, "shared"))
	below := mountLine(sb, subMount(sb, slave, "slave"))
	harness.Must(sb.Propagation(dir, unix.MS_PRIVATE))
	private := mountLine(sb, subMount(sb, dir, "private"))
	claim.Evidence("under a shared mount: %q; under a slave: %q; under a private mount: %q", shared, below, private)
	Expect(tag(shared, "shared")).NotTo(BeEmpty(), "the shared: tag of a mount made under a shared mount")
	Expect(tag(below, "shared")+tag(below, "master")).To(BeEmpty(), "contrast: tags of a mount made under a slave mount")
	Expect(tag(private, "shared")+tag(private, "master")).To(BeEmpty(), "contrast: tags of a mount made under a private mount")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/propagate-from-tag-in-chroot",
	Text:     "mountinfo adds propagate_from:X when a slave's master is not reachable from the reader's root, but group X above it is.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "/proc/pid/mountinfo and propagate_from")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "only master:X outside",
	Try:      "cd /tmp/tiny-linux; mkdir a c /tmp/b; mount -t tmpfs x a; mount --make-shared a; mount --bind a /tmp/b; mount --make-slave /tmp/b; mount --make-shared /tmp/b; mount --bind /tmp/b c; mount --make-slave c; mount -t proc proc proc; grep ' /tmp/tiny-linux/c ' /proc/self/mountinfo; chroot . grep ' /c ' /proc/self/mountinfo",
	Shows:    "… /tmp/tiny-linux/c rw,relatime master:<b> - tmpfs …\n… /c rw,relatime master:<b> propagate_from:<a> - tmpfs …",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	jail, between := rootfs.Jail(ctx), sb.MkdirTemp()
	first, last := jail+"/sub", jail+"/tmp"
	harness.Must(sb.Mount("proc", jail+"/proc", "proc", 0, ""))
	// A chain of masters first, between, last; between is not in the jail.
	harness.Must(sb.Mount("x", first, "tmpfs", 0, ""))
	harness.Must(sb.Propagation(first, unix.MS_SHARED))
	harness.Must(sb.Bind(first, between, 0))
	harness.Must(sb.Propagation(between, unix.MS_SLAVE))
	harness.Must(sb.Propagation(between, unix.MS_SHARED))
	harness.Must(sb.Bind(between, last, 0))
	harness.Must(sb.Propagation(last, unix.MS_SLAVE))
	outside := mountLine(sb, last)
	dominant, master := peers(sb, first), peers(sb, between)
	jailed := harness.Start(ctx, harness.Under(sb), harness.WithChroot(jail))
	inside := mountLine(jailed, "/tmp")
	claim.Evidence("groups %s and its slave %s; outside: %q; in the chroot: %q", dominant, master, outside, inside)
	Expect(tag(inside, "master")).To(Equal(master), "the master: tag of the slave, read in a chroot")
	Expect(tag(inside, "propagate_from")).To(Equal(dominant), "the propagate_from: tag of a slave whose master is outside the reader's root")
	Expect(tag(outside, "master")).To(Equal(master), "contrast: the master: tag outside")
	Expect(outside).NotTo(ContainSubstring("propagate_from:"), "contrast: mountinfo where the master can be reached")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/propagation-type-covers-only-direct-children",
	Text:     "A mount's propagation type governs events directly under it, not below its submounts.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "SHARED SUBTREES")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "an event directly below the shared mount spreads",
	Try:      "mkdir /mnt/p /mnt/d /tmp/b; mount --make-shared /mnt; mount --bind /mnt /tmp/b; mount -t tmpfs x /mnt/p; mount --make-private /mnt/p; mkdir /mnt/p/below; mount -t tmpfs x /mnt/p/below; mount -t tmpfs x /mnt/d; grep -o ' /tmp/b/[^ ]*' /proc/self/mountinfo",
	Shows:    "/tmp/b/p\n/tmp/b/d",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	shared := mountTmpfs(host, 0)
	harness.Must(host.Propagation(shared, unix.MS_SHARED))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	sub := subMount(host, shared, "sub")
	arrived := mountLine(inside, sub)
	harness.Must(host.Propagation(sub, unix.MS_PRIVATE))
	below, beside := subMount(host, sub, "below"), subMount(host, shared, "beside")
	claim.Evidence("below a private submount of a shared mount: %q; directly under the shared mount: %q", mountLine(inside, below), mountLine(inside, beside))
	Expect(mountLine(inside, below)).To(BeEmpty(), "a mount below a private submount of a shared mount, in the peer's namespace")
	Expect(arrived).NotTo(BeEmpty(), "contrast: the submount itself, made while its parent was shared")
	Expect(mountLine(inside, beside)).NotTo(BeEmpty(), "contrast: a mount directly under the shared mount, in the peer's namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/unshare-syscall-keeps-sharing",
	Text:     "The bare unshare(2) or clone(2) call keeps propagation types, so a mount under a shared parent leaks out.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "NOTES")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "made after what unshare(1) does, it does not",
	Try:      "mkdir /mnt/bare /mnt/made; mount --make-shared /mnt; unshare --mount --propagation unchanged mount -t tmpfs x /mnt/bare; unshare --mount mount -t tmpfs x /mnt/made; grep -o ' /mnt/[bm][^ ]*' /proc/self/mountinfo",
	Shows:    "/mnt/bare",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	shared := mountTmpfs(host, 0)
	harness.Must(host.Propagation(shared, unix.MS_SHARED))
	cloned := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	unshared, private := host.Fork(ctx), host.Fork(ctx)
	harness.Must(unshared.Unshare(unix.CLONE_NEWNS))
	harness.Must(private.Unshare(unix.CLONE_NEWNS))
	makePrivate(private)
	byClone, byUnshare, hidden := subMount(cloned, shared, "clone"), subMount(unshared, shared, "unshare"), subMount(private, shared, "private")
	claim.Evidence("outside, mounted after clone(2): %q; after unshare(2): %q; after MS_REC|MS_PRIVATE: %q", mountLine(host, byClone), mountLine(host, byUnshare), mountLine(host, hidden))
	Expect(mountLine(host, byClone)).NotTo(BeEmpty(), "a mount made under a shared mount after clone(CLONE_NEWNS), outside")
	Expect(mountLine(host, byUnshare)).NotTo(BeEmpty(), "a mount made under a shared mount after unshare(CLONE_NEWNS), outside")
	Expect(mountLine(host, hidden)).To(BeEmpty(), "contrast: after unshare(CLONE_NEWNS) and MS_REC|MS_PRIVATE")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/slave-and-shared-receives-and-passes-on",
	Text:     "A mount that is slave and shared receives from its master and passes that on to its own peers, exchanges events with them, and sends nothing to its master.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "SHARED SUBTREES"), claim.Man("mount_namespaces(7)", "/proc/pid/mountinfo and propagate_from")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a plain slave sends nothing to anybody",
	Try:      "mkdir /mnt/from-master /mnt/from-both /mnt/from-slave /tmp/both /tmp/peer /tmp/slave; mount --make-shared /mnt; mount --bind /mnt /tmp/both; mount --make-slave /tmp/both; mount --make-shared /tmp/both; mount --bind /tmp/both /tmp/peer; mount --bind /mnt /tmp/slave; mount --make-slave /tmp/slave; mount -t tmpfs x /mnt/from-master; mount -t tmpfs x /tmp/both/from-both; mount -t tmpfs x /tmp/slave/from-slave; grep -o ' [^ ]*/from-[^ ]*' /proc/self/mountinfo | sort",
	Shows:    "/mnt/from-master\n/tmp/both/from-both\n/tmp/both/from-master\n/tmp/peer/from-both\n/tmp/peer/from-master\n/tmp/slave/from-master\n/tmp/slave/from-slave",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(host, 0)
	harness.Must(host.Propagation(dir, unix.MS_SHARED))
	group := peers(host, dir)
	both := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	slave := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	harness.Must(both.Propagation(dir, unix.MS_SLAVE))
	harness.Must(slave.Propagation(dir, unix.MS_SLAVE))
	harness.Must(both.Propagation(dir, unix.MS_SHARED))
	peer := harness.Start(ctx, harness.Under(both), harness.New(namespace.Mount))
	line := mountLine(both, dir)
	all := map[string]*harness.Sandbox{"its master": host, "the slave-and-shared mount": both, "its peer": peer, "a plain slave": slave}
	made := map[string]string{}
	for i, name := range []string{"its master", "the slave-and-shared mount", "its peer", "a plain slave"} {
		made[name] = subMount(all[name], dir, fmt.Sprint("d", i))
	}
	arrives := map[string][]string{
		"its master":                 {"the slave-and-shared mount", "its peer", "a plain slave"},
		"the slave-and-shared mount": {"its peer"},
		"its peer":                   {"the slave-and-shared mount"},
	}
	claim.Evidence("the slave-and-shared mount: %q, its peer: %q", line, mountLine(peer, dir))
	Expect(tag(line, "master")).To(Equal(group), "the master: tag of a mount that is slave and shared")
	Expect(tag(line, "shared")).NotTo(BeElementOf("", group), "the shared: tag of a mount that is slave and shared")
	Expect(peers(peer, dir)).To(Equal(tag(line, "shared")), "the peer group of the copy of a mount that is slave and shared")
	for from, path := range made {
		for at, sb := range all {
			if at == from {
				continue
			}
			want := false
			for _, to := range arrives[from] {
				want = want || to == at
			}
			got := mountLine(sb, path) != ""
			claim.Evidence("made at %s, arrives at %s: %v", from, at, got)
			Expect(got).To(Equal(want), "whether a mount made under %s arrives under %s", from, at)
		}
	}
})

var _ = claim.It(claim.Claim{
	ID:       "mount/mountpoint-removable-from-other-ns",
	Text:     "A directory that is a mount point only in another namespace can be removed, renamed or unlinked here, which unmounts it there.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "Restrictions [6]")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "rmdir in the namespace holding the mount gives EBUSY",
	Try:      "mkdir /tmp/d; unshare --mount sh -c 'mount -t tmpfs there /tmp/d; rmdir /tmp/d; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; grep -c ' there ' /proc/$p/mountinfo; rmdir /tmp/d && echo removed; grep -c ' there ' /proc/$p/mountinfo",
	Shows:    "rmdir: failed to remove '/tmp/d': Device or resource busy\n1\nremoved\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	removed, renamed, file := mountTmpfs(inside, 0), mountTmpfs(inside, 0), host.MkdirTemp()+"/file"
	harness.Must(host.CreateFile(file, ""))
	harness.Must(inside.Bind(file, file, 0))
	busy, busyRename, busyUnlink := inside.Rmdir(removed), inside.Rename(renamed, renamed+"x"), inside.Unlink(file)
	there := mountLine(inside, removed)
	rmdir, rename, unlink := host.Rmdir(removed), host.Rename(renamed, renamed+"x"), host.Unlink(file)
	claim.Evidence("from the other namespace: rmdir %v, rename %v, unlink %v; where it is mounted: rmdir %v, rename %v, unlink %v; mountinfo there after: %q",
		rmdir, rename, unlink, busy, busyRename, busyUnlink, mountLine(inside, removed))
	Expect(rmdir).NotTo(HaveOccurred(), "rmdir of a directory that is a mount point in another mount namespace")
	Expect(mountLine(inside, removed)).To(BeEmpty(), "the mount, after the directory was removed in another namespace")
	Expect(rename).NotTo(HaveOccurred(), "rename of a directory that is a mount point in another mount namespace")
	Expect(unlink).NotTo(HaveOccurred(), "unlink of a file that is a mount point in another mount namespace")
	Expect(mountLine(inside, file)).To(BeEmpty(), "the mount, after the file was unlinked in another namespace")
	Expect(there).NotTo(BeEmpty(), "contrast: the mount before")
	Expect(busy).To(harness.FailWith(unix.EBUSY), "contrast: rmdir in the namespace that holds the mount")
	Expect(busyRename).To(harness.FailWith(unix.EBUSY), "contrast: rename in the namespace that holds the mount")
	Expect(busyUnlink).To(harness.FailWith(unix.EBUSY), "contrast: unlink in the namespace that holds the mount")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/setns-resets-root-and-cwd",
	Text:     "Joining a mount namespace sets root and working directory to that namespace's root, ending a chroot.",
	Source:   claim.Sources{claim.Man("setns(2)", "Mount namespaces")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "ENOENT in the chroot before",
	Try:      "cd /tmp; nsenter --mount=/proc/self/ns/mnt pwd; pwd",
	Shows:    "/\n/tmp",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	jail := rootfs.Jail(ctx)
	fd := harness.Got(host.OpenNamespace(namespace.Mount))
	// The descriptor is inherited.
	jailed := harness.Start(ctx, harness.Under(host), harness.WithChroot(jail), harness.WithDir("/sub"))
	_, before := jailed.Stat(jail)
	cwdBefore := harness.Got(jailed.Getcwd())
	Expect(jailed.Setns(fd, unix.CLONE_NEWNS)).To(Succeed(), "joining the mount namespace from inside a chroot")
	root, after := jailed.Stat("/")
	_, marker := jailed.Stat("/marker")
	cwd := harness.Got(jailed.Getcwd())
	want := harness.Got(host.Stat("/"))
	claim.Evidence("before: %v, cwd %s; after setns: / is %v, the namespace's root %v, cwd %s", before, cwdBefore, root, want, cwd)
	Expect(after).NotTo(HaveOccurred(), "setns(CLONE_NEWNS) in a chroot")
	Expect(root.SameAs(want)).To(BeTrue(), "/ after setns(CLONE_NEWNS) in a chroot is the root of the joined namespace")
	Expect(marker).To(harness.FailWith(unix.ENOENT), "the file of the chroot at / after setns(CLONE_NEWNS)")
	Expect(cwd).To(Equal("/"), "the working directory after setns(CLONE_NEWNS)")
	Expect(before).To(harness.FailWith(unix.ENOENT), "contrast: a path of the namespace, in the chroot before")
	Expect(cwdBefore).To(Equal("/sub"), "contrast: the working directory before")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/propagation-change-spares-submounts",
	Text:     "A change of propagation type applies to one mount, and to its submounts only with MS_REC.",
	Source:   claim.Sources{claim.Man("mount(2)", "Changing the propagation type of an existing mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "with MS_REC they change",
	Try:      "mkdir /mnt/s; mount -t tmpfs x /mnt/s; mount --make-shared /mnt; grep -c ' /mnt/s .*shared' /proc/self/mountinfo; mount --make-rshared /mnt; grep -c ' /mnt/s .*shared' /proc/self/mountinfo",
	Shows:    "0\n1",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	dir := mountTmpfs(sb, 0)
	sub := subMount(sb, dir, "sub")
	Expect(sb.Propagation(dir, unix.MS_SHARED)).To(Succeed(), "MS_SHARED")
	top, without := peers(sb, dir), peers(sb, sub)
	Expect(sb.Propagation(dir, unix.MS_SHARED|unix.MS_REC)).To(Succeed(), "MS_SHARED|MS_REC")
	with := peers(sb, sub)
	plain := sb.Propagation(dir, unix.MS_SHARED|unix.MS_PRIVATE)
	harness.Must(sb.Mkdir(dir + "/plain"))
	directory := sb.Propagation(dir+"/plain", unix.MS_SHARED)
	claim.Evidence("MS_SHARED: shared:%s, its submount: %q; MS_SHARED|MS_REC: the submount: shared:%s; MS_SHARED|MS_PRIVATE: %v; a plain directory: %v", top, without, with, plain, directory)
	Expect(top).NotTo(BeEmpty(), "the shared: tag after MS_SHARED")
	Expect(without).To(BeEmpty(), "the shared: tag of a submount after MS_SHARED without MS_REC")
	Expect(plain).To(harness.FailWith(unix.EINVAL), "mount(2) with MS_SHARED|MS_PRIVATE")
	Expect(directory).To(harness.FailWith(unix.EINVAL), "MS_SHARED of a directory that is no mount point")
	Expect(with).NotTo(BeEmpty(), "contrast: the shared: tag of the submount after MS_SHARED|MS_REC")
})

var _ = claim.It(claim.Claim{
	ID:       "mount/slave-outlives-its-master",
	Text:     "When the last mount of a peer group goes, its slaves become slaves of the group above, or private when there is none.",
	Source:   claim.Sources{claim.Man("mount_namespaces(7)", "Propagation type transitions"), claim.Doc("kernel Documentation/filesystems/sharedsubtree.rst", "")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "slaves before, and still while a peer is left",
	Try:      "mkdir /tmp/b; mount --make-shared /mnt; mount --bind /mnt /tmp/b; mount --make-slave /tmp/b; grep -o ' /tmp/b .*-' /proc/self/mountinfo; umount /mnt; grep -o ' /tmp/b .*-' /proc/self/mountinfo",
	Shows:    "/tmp/b rw,relatime master:<group> -\n/tmp/b rw,relatime -",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	top := mountTmpfs(sb, 0)
	middle, peer, slave := sb.MkdirTemp(), sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.Propagation(top, unix.MS_SHARED))
	harness.Must(sb.Bind(top, middle, 0))
	harness.Must(sb.Propagation(middle, unix.MS_SLAVE))
	harness.Must(sb.Propagation(middle, unix.MS_SHARED))
	harness.Must(sb.Bind(middle, peer, 0))
	harness.Must(sb.Bind(middle, slave, 0))
	harness.Must(sb.Propagation(slave, unix.MS_SLAVE))
	groups := []string{peers(sb, top), peers(sb, middle)}
	master := func() string { return tag(mountLine(sb, slave), "master") }
	before := master()
	harness.Must(sb.Umount(middle, 0))
	left := master()
	harness.Must(sb.Umount(peer, 0))
	above := master()
	harness.Must(sb.Umount(top, 0))
	none := mountLine(sb, slave)
	claim.Evidence("groups %v; the slave's master: %s; after the first of two masters went: %s; after the last: %s; after the group above: %q", groups, before, left, above, none)
	Expect(above).To(Equal(groups[0]), "the master: tag of a slave after the last mount of its master's group went, with a group above")
	Expect(tag(none, "master")+tag(none, "shared")).To(BeEmpty(), "propagation tags of a slave after all of its masters went")
	Expect(before).To(Equal(groups[1]), "contrast: the master: tag before")
	Expect(left).To(Equal(groups[1]), "contrast: the master: tag while another peer is left")
})
