package namespaces

import (
	"fmt"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
)

var _ = claim.It(claim.Claim{
	ID:       "user/creation-needs-no-privilege",
	Text:     "An unprivileged process may create a user namespace.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", ""), claim.Man("namespaces(7)", "")},
	Needs:    claim.Needs{userNeed, unprivileged},
	Contrast: "CLONE_NEWUTS alone is EPERM",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user echo made; setpriv --reuid 1000 --regid 1000 --clear-groups unshare --uts true",
	Shows:    "made\nunshare: unshare failed: Operation not permitted",
}, func(ctx SpecContext) {
	sb := ordinary(ctx)
	before := harness.Got(sb.Namespace(namespace.User))
	other := sb.Unshare(unix.CLONE_NEWUTS)
	err := sb.Unshare(unix.CLONE_NEWUSER)
	claim.Evidence("UID %d: unshare(CLONE_NEWUSER): %v; unshare(CLONE_NEWUTS): %v", user, err, other)
	Expect(err).NotTo(HaveOccurred(), "a user namespace created by a process without capabilities")
	Expect(harness.Got(sb.Namespace(namespace.User)).SameAs(before)).To(BeFalse(), "the user namespace after unshare(CLONE_NEWUSER)")
	Expect(other).To(harness.FailWith(unix.EPERM), "contrast: a UTS namespace created by the same process")
})

var _ = claim.It(claim.Claim{
	ID:       "user/creator-gets-all-capabilities",
	Text:     "The creator holds every capability in the new user namespace.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Capabilities")},
	Needs:    claim.Needs{claim.Sysctls, userNeed, unprivileged},
	Contrast: "CapEff is 0 before",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user grep -E 'CapPrm|CapEff' /proc/self/status; setpriv --reuid 1000 --regid 1000 --clear-groups grep CapEff /proc/self/status",
	Shows:    "CapPrm: <all>\nCapEff: <all>\nCapEff: 0000000000000000",
}, func(ctx SpecContext) {
	sb := ordinary(ctx)
	before := harness.Got(sb.Capget())
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	after := harness.Got(sb.Capget())
	claim.Evidence("before: effective %x; after: effective %x, permitted %x; cap_last_cap: %d", before.Effective, after.Effective, after.Permitted, sysctlNumber("kernel.cap_last_cap"))
	Expect(before.Effective).To(BeZero(), "contrast: the effective capabilities before")
	Expect(after.Effective).To(Equal(allCapabilities()), "the creator's effective capabilities in its new user namespace")
	Expect(after.Permitted).To(Equal(allCapabilities()), "the creator's permitted capabilities in its new user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "user/capabilities-void-outside",
	Text:     "Those capabilities count only for resources owned by that user namespace.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Capabilities, Effect of capabilities")},
	Needs:    claim.Needs{claim.Sysctls, userNeed, unprivileged, niceLimit},
	Contrast: "chroot(2), judged in the own namespace, works",
	Core:     true,
	Try:      "unshare --user --map-root-user sh -c 'mount -t tmpfs t /mnt; hostname x; ip link add br9 type bridge; chroot / echo chroot works'",
	Shows:    "mount: /mnt: permission denied.\n…\nhostname: you must be root to change the host name\nRTNETLINK answers: Operation not permitted\nchroot works",
}, func(ctx SpecContext) {
	sb := ordinary(ctx)
	dir := harness.Host(ctx).MkdirTemp()
	const priorityProcess = 0
	// Being nicer is free, and leaves room to be refused on a machine that
	// starts the suite with a priority of its own.
	harness.Must(noNicer(sb))
	harness.Got(sb.Syscall("setpriority(19)", unix.SYS_SETPRIORITY, priorityProcess, 0, 19))
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	held := harness.Got(sb.Capget()).Effective
	mount := sb.Mount("tmpfs", dir, "tmpfs", 0, "")
	hostname := sb.Sethostname("x")
	_, nice := sb.Syscall("setpriority(-5)", unix.SYS_SETPRIORITY, priorityProcess, 0, -5)
	link := newLink(sb)
	chroot := sb.Chroot(dir)
	claim.Evidence("with capabilities %x: %v; %v; %v; %v; chroot: %v", held, mount, hostname, nice, link, chroot)
	Expect(held).To(Equal(allCapabilities()), "the capabilities held in the own user namespace")
	Expect(mount).To(harness.FailWith(unix.EPERM), "a mount in the host's mount namespace")
	Expect(hostname).To(harness.FailWith(unix.EPERM), "setting the host name of the host's UTS namespace")
	Expect(nice).To(harness.FailWith(unix.EACCES), "taking a higher priority")
	Expect(link).To(harness.FailWith(unix.EPERM), "making a link in the host's network namespace")
	Expect(chroot).To(Succeed(), "contrast: chroot(2), judged in the own user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "user/unmapped-ids-show-as-overflow",
	Text:     "IDs without a mapping read as overflowuid and overflowgid (65534).",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Unmapped user and group IDs")},
	Needs:    claim.Needs{claim.Sysctls, userNeed},
	Contrast: "mapped IDs read as mapped",
	Try:      "cat /proc/sys/kernel/overflowuid; unshare --user sh -c 'id -u; stat -c %u:%g /'; stat -c %u:%g /",
	Shows:    "65534\n65534\n65534:65534\n0:0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	file := host.MkdirTemp() + "/file"
	harness.Must(host.CreateFile(file, ""))
	uid, gid := sysctlNumber("kernel.overflowuid"), sysctlNumber("kernel.overflowgid")
	sb := unmapped(ctx, host)
	seen := harness.Got(sb.Stat(file))
	seenUID, seenGID := sb.Getuid(), sb.Getgid()
	harness.Must(sb.WriteMaps([]harness.Mapping{{Inside: 7, Outside: 0, Size: 1}}, []harness.Mapping{{Inside: 8, Outside: 0, Size: 1}}))
	mapped := harness.Got(sb.Stat(file))
	claim.Evidence("overflow IDs: %d:%d; getuid and getgid: %d:%d; stat: %d:%d; once mapped: %d:%d", uid, gid, seenUID, seenGID, seen.UID, seen.GID, mapped.UID, mapped.GID)
	Expect([]int{seenUID, seenGID}).To(Equal([]int{uid, gid}), "getuid(2) and getgid(2) without a mapping")
	Expect([]uint32{seen.UID, seen.GID}).To(Equal([]uint32{uint32(uid), uint32(gid)}), "the owner of a file without a mapping")
	Expect([]int{sb.Getuid(), sb.Getgid()}).To(Equal([]int{7, 8}), "contrast: getuid(2) and getgid(2) once mapped")
	Expect([]uint32{mapped.UID, mapped.GID}).To(Equal([]uint32{7, 8}), "contrast: the owner of the file once mapped")
})

var _ = claim.It(claim.Claim{
	ID:       "user/setgroups-denied-fails",
	Text:     "In a namespace with setgroups denied setgroups(2) is EPERM, capabilities notwithstanding.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "The /proc/pid/setgroups file")},
	Needs:    claim.Needs{claim.Root, userNeed, unprivileged, setgroupsNeed},
	Contrast: "works where a privileged parent left it allowed",
	Try:      "unshare --user --map-root-user setpriv --clear-groups true; setpriv --clear-groups echo works outside",
	Shows:    "setpriv: setgroups failed: Operation not permitted\nworks outside",
}, func(ctx SpecContext) {
	sb := rootless(ordinary(ctx), user)
	_, denied := sb.Syscall("setgroups(0)", unix.SYS_SETGROUPS, 0, nil)
	allowed := harness.Start(ctx, harness.New(namespace.User))
	_, works := allowed.Syscall("setgroups(0)", unix.SYS_SETGROUPS, 0, nil)
	claim.Evidence("denied: %v, with CAP_SETGID: %v; left allowed: %v", denied, harness.Got(sb.Capget()).Has(unix.CAP_SETGID), works)
	Expect(harness.Got(sb.Capget()).Has(unix.CAP_SETGID)).To(BeTrue(), "CAP_SETGID of the namespace's root")
	Expect(denied).To(harness.FailWith(unix.EPERM), "setgroups(2) where it is denied")
	Expect(works).NotTo(HaveOccurred(), "contrast: setgroups(2) where a privileged parent left it allowed")
})

var _ = claim.It(claim.Claim{
	ID:       "user/setgroups-deny-impossible-after-gid-map",
	Text:     `Once gid_map is written, "deny" can no longer be written (EPERM).`,
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "The /proc/pid/setgroups file")},
	Needs:    claim.Needs{userNeed, setgroupsOnStage},
	Contrast: "accepted before gid_map",
	Try:      "unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; /bin/echo 0 1000 1 > /proc/$p/gid_map; /bin/echo deny > /proc/$p/setgroups; cat /proc/$p/setgroups",
	Shows:    "/bin/echo: write error: Operation not permitted\nallow",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	first := unmapped(ctx, host)
	before := host.WriteFile(setgroupsFile(first), "deny")
	mapped := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	after := host.WriteFile(setgroupsFile(mapped), "deny")
	claim.Evidence("before gid_map: %v; after it: %v; it reads %q", before, after, strings.TrimSpace(harness.Got(host.ReadFile(setgroupsFile(mapped)))))
	Expect(after).To(harness.FailWith(unix.EPERM), `"deny" written to setgroups after gid_map`)
	Expect(host.ReadFile(setgroupsFile(mapped))).To(Equal("allow\n"), "setgroups after the refused write")
	Expect(before).To(Succeed(), `contrast: "deny" written before gid_map`)
})

var _ = claim.It(claim.Claim{
	ID:       "user/setgroups-deny-is-final-and-inherited",
	Text:     `"deny" cannot be undone and holds for all child user namespaces.`,
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "The /proc/pid/setgroups file")},
	Needs:    claim.Needs{claim.OrdinaryUser, userNeed, unprivileged, setgroupsNeed},
	Contrast: "the initial namespace shows allow",
	Try:      "cat /proc/self/setgroups; unshare --user --map-root-user sh -c '/bin/echo allow > /proc/self/setgroups; unshare --user cat /proc/self/setgroups'",
	Shows:    "allow\n/bin/echo: write error: Operation not permitted\ndeny",
}, func(ctx SpecContext) {
	host := harness.Nobody(ctx)
	sb := unmapped(ctx, host)
	harness.Must(host.WriteFile(setgroupsFile(sb), "deny"))
	undone := host.WriteFile(setgroupsFile(sb), "allow")
	Expect(undone).To(harness.FailWith(unix.EPERM), `"allow" written after "deny"`)
	harness.Must(sb.WriteMaps(
		[]harness.Mapping{{Inside: 0, Outside: host.Getuid(), Size: 1}},
		[]harness.Mapping{{Inside: 0, Outside: host.Getgid(), Size: 1}}))
	child := unmapped(ctx, sb)
	inherited := strings.TrimSpace(harness.Got(child.ReadFile("/proc/self/setgroups")))
	inChild := child.WriteFile("/proc/self/setgroups", "allow")
	outside := strings.TrimSpace(harness.Got(host.ReadFile("/proc/self/setgroups")))
	claim.Evidence("allow after deny: %v; a child namespace reads %q, allow there: %v; outside: %q", undone, inherited, inChild, outside)
	Expect(inherited).To(Equal("deny"), "setgroups of a child user namespace")
	Expect(inChild).To(harness.FailWith(unix.EPERM), `"allow" written in a child user namespace`)
	Expect(outside).To(Equal("allow"), "contrast: setgroups outside")
})

var _ = claim.It(claim.Claim{
	ID:       "user/files-created-get-outer-owner",
	Text:     "A file made by namespace root belongs outside to the mapped user, and reads as 0 inside.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Accessing files, uid_map")},
	Needs:    claim.Needs{claim.Sysctls, userNeed, unprivileged, foreignRoot, claim.File("/proc/version")},
	Contrast: "root-owned files read as 65534 inside",
	Core:     true,
	Try:      "chmod 777 /tmp; setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user sh -c 'touch /tmp/mine; stat -c %u /tmp/mine /proc/version'; stat -c %u /tmp/mine /proc/version",
	Shows:    "0\n65534\n1000\n0",
}, func(ctx SpecContext) {
	dir := harness.Host(ctx).MkdirTemp()
	harness.Must(harness.Host(ctx).Chmod(dir, 0o777))
	sb := ordinary(ctx)
	outside := sb.Fork(ctx)
	rootless(sb, user)
	harness.Must(sb.CreateFile(dir+"/mine", ""))
	in, out := harness.Got(sb.Stat(dir+"/mine")), harness.Got(outside.Stat(dir+"/mine"))
	roots := harness.Got(sb.Stat("/proc/version"))
	claim.Evidence("the file's owner inside: %d:%d; outside: %d:%d; a file of the machine's root inside: %d:%d", in.UID, in.GID, out.UID, out.GID, roots.UID, roots.GID)
	Expect([]uint32{in.UID, in.GID}).To(Equal([]uint32{0, 0}), "the owner of a file made by namespace root, inside")
	Expect([]uint32{out.UID, out.GID}).To(Equal([]uint32{user, user}), "its owner outside")
	overflow := []uint32{uint32(sysctlNumber("kernel.overflowuid")), uint32(sysctlNumber("kernel.overflowgid"))}
	if os.Geteuid() != 0 && os.Getegid() == 0 {
		// An ordinary user whose group is root's has it mapped.
		overflow[1] = 0
	}
	Expect([]uint32{roots.UID, roots.GID}).To(Equal(overflow), "contrast: the owner of a root-owned file, inside")
})

var _ = claim.It(claim.Claim{
	ID:       "user/chown-to-unmapped-einval",
	Text:     "chown to an ID without mapping fails with EINVAL.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Interaction with system calls"), claim.Man("chown(2)", "")},
	Needs:    claim.Needs{userNeed},
	Contrast: "a mapped ID is accepted",
	Try:      "unshare --user --map-root-user sh -c 'touch /tmp/mine; chown 5 /tmp/mine; chown 0 /tmp/mine && echo 0 works'",
	Shows:    "chown: changing ownership of '/tmp/mine': Invalid argument\n0 works",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.User))
	file := sb.MkdirTemp() + "/file"
	harness.Must(sb.CreateFile(file, ""))
	uid, gid := sb.Chown(file, 5, 0), sb.Chown(file, 0, 5)
	mapped := sb.Chown(file, 0, 0)
	claim.Evidence("%v; %v; 0:0: %v", uid, gid, mapped)
	Expect(uid).To(harness.FailWith(unix.EINVAL), "chown(2) to a UID without a mapping")
	Expect(gid).To(harness.FailWith(unix.EINVAL), "chown(2) to a GID without a mapping")
	Expect(mapped).To(Succeed(), "contrast: chown(2) to mapped IDs")
})

var _ = claim.It(claim.Claim{
	ID:       "user/dac-override-limited-to-mapped-files",
	Text:     "CAP_DAC_OVERRIDE of namespace root works only on files whose owner and group are mapped.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Operation of file-related capabilities")},
	Needs:    claim.Needs{userNeed, unprivileged, foreignRoot, claim.File("/proc/vmallocinfo")},
	Contrast: "an own mode-000 file opens",
	Try:      "echo secret > /tmp/roots; chmod 600 /tmp/roots; chmod 777 /tmp; setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user sh -c 'echo mine > /tmp/mine; chmod 0 /tmp/mine; cat /tmp/mine /tmp/roots'",
	Shows:    "mine\ncat: /tmp/roots: Permission denied",
}, func(ctx SpecContext) {
	// On every stage the machine's root owns it, and only root may read it.
	const roots = "/proc/vmallocinfo"
	dir := harness.Host(ctx).MkdirTemp()
	harness.Must(harness.Host(ctx).Chmod(dir, 0o777))
	sb := ordinary(ctx)
	file := dir + "/mine"
	harness.Must(sb.CreateFile(file, ""))
	harness.Must(sb.Chmod(file, 0))
	_, without := sb.Open(file, unix.O_RDONLY, 0)
	rootless(sb, user)
	_, own := sb.Open(file, unix.O_RDONLY, 0)
	_, foreign := sb.Open(roots, unix.O_RDONLY, 0)
	mode := harness.Got(sb.Stat(roots)).Mode & 0o777
	claim.Evidence("a file of the machine's root, mode %o: %v; the own one, mode 0: %v, before without the capability: %v", mode, foreign, own, without)
	Expect(mode&0o077).To(BeZero(), "what the mode of %s gives to others", roots)
	Expect(foreign).To(harness.FailWith(unix.EACCES), "a file whose owner is unmapped, opened with CAP_DAC_OVERRIDE")
	Expect(own).NotTo(HaveOccurred(), "contrast: an own file of mode 0, opened with CAP_DAC_OVERRIDE")
	Expect(without).To(harness.FailWith(unix.EACCES), "contrast: the same file without the capability")
})

var _ = claim.It(claim.Claim{
	ID:       "user/setuid-limited-to-mapped",
	Text:     "setresuid(2) accepts only mapped IDs: nothing before the map is written, EINVAL for others after.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Interaction with system calls")},
	Needs:    claim.Needs{userNeed},
	Contrast: "0 accepted once mapped",
	Try:      "unshare --user setpriv --reuid 0 id -u; unshare --user --map-root-user setpriv --reuid 5 id -u; unshare --user --map-root-user setpriv --reuid 0 id -u",
	Shows:    "setpriv: setresuid failed: Invalid argument\nsetpriv: setresuid failed: Invalid argument\n0",
}, func(ctx SpecContext) {
	sb := unmapped(ctx, harness.Start(ctx))
	before := sb.Setresuid(0, 0, 0)
	ids := []harness.Mapping{{Inside: 0, Outside: 0, Size: 1}}
	harness.Must(sb.WriteMaps(ids, ids))
	other, zero := sb.Setresuid(5, 5, 5), sb.Setresuid(0, 0, 0)
	claim.Evidence("before the map: %v; after: %v, and to 0: %v", before, other, zero)
	Expect(before).To(harness.FailWith(unix.EINVAL), "setresuid(2) before uid_map is written")
	Expect(other).To(harness.FailWith(unix.EINVAL), "setresuid(2) to an unmapped UID")
	Expect(zero).To(Succeed(), "contrast: setresuid(2) to the mapped UID")
})

var _ = claim.It(claim.Claim{
	ID:       "user/setuid-program-of-unmapped-owner-ignored",
	Text:     "The set-user-ID bit of a file whose owner is unmapped is silently ignored.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Set-user-ID programs")},
	Needs:    claim.Needs{claim.Root, userNeed, unprivileged, newPrivileges, setUserID},
	Contrast: "a mapped owner takes effect",
	Try:      "cp /bin/cat /tmp/suid; chmod u+s /tmp/suid; setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/suid /proc/self/status | grep Uid; setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-user=1000 /tmp/suid /proc/self/status | grep Uid",
	Shows:    "Uid: 1000 0 0 0\nUid: 1000 1000 1000 1000",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	cat := copyCat(ctx, host)
	harness.Must(host.Chmod(cat, 0o4755))
	sb := become(harness.Start(ctx), user)
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	mapSelf(sb, user, user)
	ignored := euidAfterExec(ctx, sb, cat)
	harness.Must(host.Chown(cat, 5, 5))
	harness.Must(host.Chmod(cat, 0o4755))
	ids := []harness.Mapping{{Inside: 0, Outside: 0, Size: 1001}}
	mapped := become(harness.Start(ctx, harness.Under(host), harness.New(namespace.User), harness.WithIDs(ids, ids)), user)
	effect := euidAfterExec(ctx, mapped, cat)
	claim.Evidence("effective UID after a set-user-ID program of an unmapped owner: %s; of the mapped owner 5: %s", ignored, effect)
	Expect(ignored).To(Equal(fmt.Sprint(user)), "effective UID after executing a set-user-ID program whose owner is unmapped")
	Expect(effect).To(Equal("5"), "contrast: the same with an owner that is mapped")
})

var _ = claim.It(claim.Claim{
	ID:       "user/exec-without-uid-0-drops-capabilities",
	Text:     "A process not mapped to UID 0 loses its capabilities at execve(2).",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Capabilities"), claim.Man("capabilities(7)", "Transformation")},
	Needs:    claim.Needs{claim.Sysctls, userNeed},
	Contrast: "full when mapped to 0",
	Try:      "unshare --user --map-user=1000 grep CapEff /proc/self/status; unshare --user --map-root-user grep CapEff /proc/self/status",
	Shows:    "CapEff: 0000000000000000\nCapEff: <all>",
}, func(ctx SpecContext) {
	ids := func(inside int) []harness.Mapping { return []harness.Mapping{{Inside: inside, Outside: 0, Size: 1}} }
	other := harness.Start(ctx, harness.New(namespace.User), harness.WithIDs(ids(user), ids(user)))
	zero := harness.Start(ctx, harness.New(namespace.User), harness.WithIDs(ids(0), ids(0)))
	before := harness.Got(other.Capget()).Effective
	dropped, kept := capsAfterExec(ctx, other, plainCat(ctx)), capsAfterExec(ctx, zero, plainCat(ctx))
	claim.Evidence("as UID %d: %x before execve(2), then %v; as UID 0: %v", user, before, dropped, kept)
	Expect(before).To(Equal(allCapabilities()), "effective capabilities before execve(2)")
	Expect(dropped.eff).To(BeZero(), "effective capabilities after execve(2) as a UID other than 0")
	Expect(dropped.prm).To(BeZero(), "permitted capabilities after execve(2) as a UID other than 0")
	Expect(kept.eff).To(Equal(allCapabilities()), "contrast: effective capabilities after execve(2) as UID 0")
})

var _ = claim.It(claim.Claim{
	ID:       "user/device-nodes-refused",
	Text:     "Root of a user namespace cannot create device nodes, not even on its own tmpfs.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities")},
	Needs:    claim.Needs{userNeed, mountNeed},
	Contrast: "a FIFO can be made there",
	Try:      "unshare --user --map-root-user --mount sh -c 'mount -t tmpfs t /mnt; mknod /mnt/null c 1 3; mkfifo /mnt/pipe && ls /mnt'",
	Shows:    "mknod: /mnt/null: Operation not permitted\npipe",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.User, namespace.Mount))
	dir := sb.MkdirTemp()
	harness.Must(sb.Mount("tmpfs", dir, "tmpfs", 0, ""))
	character := sb.Mknod(dir+"/null", unix.S_IFCHR|0o666, unix.Mkdev(1, 3))
	block := sb.Mknod(dir+"/ram", unix.S_IFBLK|0o666, unix.Mkdev(1, 0))
	fifo := sb.Mknod(dir+"/pipe", unix.S_IFIFO|0o666, 0)
	claim.Evidence("character device: %v; block device: %v; FIFO: %v", character, block, fifo)
	Expect(harness.Got(sb.Capget()).Has(unix.CAP_MKNOD)).To(BeTrue(), "CAP_MKNOD of namespace root")
	Expect(character).To(harness.FailWith(unix.EPERM), "a character device made on the own tmpfs")
	Expect(block).To(harness.FailWith(unix.EPERM), "a block device made on the own tmpfs")
	Expect(fifo).To(Succeed(), "contrast: a FIFO made on the own tmpfs")
})

var _ = claim.It(claim.Claim{
	ID:       "user/host-device-nodes-by-bind-mount",
	Text:     "A rootless container gets /dev/null and the like by bind mounting the host's nodes, which stay usable.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "")},
	Needs:    claim.Needs{userNeed, mountNeed, claim.File("/dev/null")},
	Contrast: "creating the node is EPERM",
	Core:     true,
	Try:      "unshare --user --map-root-user --mount sh -c 'mount -t tmpfs t /mnt; touch /mnt/null; mount --bind /dev/null /mnt/null; echo gone > /mnt/null && wc -c < /mnt/null; mknod /mnt/own c 1 3'",
	Shows:    "0\nmknod: /mnt/own: Operation not permitted",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.User, namespace.Mount))
	dir := sb.MkdirTemp()
	harness.Must(sb.Mount("tmpfs", dir, "tmpfs", 0, ""))
	made := sb.Mknod(dir+"/made", unix.S_IFCHR|0o666, unix.Mkdev(1, 3))
	harness.Must(sb.CreateFile(dir+"/null", ""))
	bound := sb.Bind("/dev/null", dir+"/null", 0)
	Expect(bound).To(Succeed(), "bind mount of the host's /dev/null")
	written := sb.WriteFile(dir+"/null", "gone")
	node := harness.Got(sb.Stat(dir + "/null"))
	claim.Evidence("bind mount: %v; write: %v; it is device %d:%d; mknod: %v", bound, written, node.RdevMajor, node.RdevMinor, made)
	Expect(written).To(Succeed(), "a write to the bound /dev/null")
	Expect([]uint32{node.RdevMajor, node.RdevMinor}).To(Equal([]uint32{1, 3}), "the device number of the bound /dev/null")
	Expect(sb.ReadFile(dir+"/null")).To(BeEmpty(), "what the bound /dev/null reads")
	Expect(made).To(harness.FailWith(unix.EPERM), "contrast: the node made by mknod(2)")
})

var _ = claim.It(claim.Claim{
	ID:       "user/wall-clock-cannot-be-set",
	Text:     "CAP_SYS_TIME in a user namespace does not allow setting the system clock.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities")},
	Needs:    claim.Needs{userNeed, utsNeed},
	Contrast: "a capability for the own UTS namespace works; only a process with CAP_SYS_TIME in the initial user namespace may set the clock (not tried here)",
	Try:      "unshare --user --map-root-user date -s @0 > /dev/null",
	Shows:    "date: cannot set date: Operation not permitted",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.User, namespace.UTS))
	// A kernel that lets it pass is told the time that it has.
	now := make([]byte, 16)
	harness.Got(sb.Syscall("clock_gettime", unix.SYS_CLOCK_GETTIME, unix.CLOCK_REALTIME, now))
	_, err := sb.Syscall("clock_settime(CLOCK_REALTIME)", unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, now)
	hostname := sb.Sethostname("x")
	has := harness.Got(sb.Capget()).Has(unix.CAP_SYS_TIME)
	claim.Evidence("with CAP_SYS_TIME %v: %v; host name of the own UTS namespace: %v", has, err, hostname)
	Expect(has).To(BeTrue(), "CAP_SYS_TIME of namespace root")
	Expect(err).To(harness.FailWith(unix.EPERM), "clock_settime(2) as namespace root")
	Expect(hostname).To(Succeed(), "contrast: the host name of the own UTS namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "user/mountable-filesystems",
	Text:     "Namespace root owning its mount, PID, net, IPC and cgroup namespaces may mount tmpfs, ramfs, proc, sysfs, devpts, mqueue, overlay and cgroup2, but no block filesystem.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities")},
	Needs:    claim.Needs{userNeed, mountNeed, claim.Namespace(namespace.PID), netNeed, claim.Namespace(namespace.IPC), claim.Namespace(namespace.Cgroup), sysfsMounted},
	Contrast: "ext4 and devtmpfs EPERM",
	Core:     true,
	Try:      "unshare --user --map-root-user --mount --pid --fork --net --ipc --cgroup sh -c 'for f in tmpfs ramfs proc sysfs devpts mqueue devtmpfs; do mount -t $f $f /mnt && echo $f; done'",
	Shows:    "tmpfs\nramfs\nproc\nsysfs\ndevpts\nmqueue\nmount: /mnt: permission denied.\n…",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.User, namespace.Mount, namespace.PID, namespace.Network, namespace.IPC, namespace.Cgroup))
	base := overlayDirs(sb)
	known := filesystems(sb)
	var mounted []string
	for _, fs := range []string{"tmpfs", "ramfs", "proc", "sysfs", "devpts", "mqueue", "overlay", "cgroup2"} {
		if _, built := known[fs]; !built || fs == "overlay" && !kernel.AtLeast(5, 11) {
			continue
		}
		data := ""
		if fs == "overlay" {
			data = overlayOptions(base)
		}
		// The host's sysfs may be read-only, and a new one may not undo that.
		Expect(sb.Mount(fs, base+"/merged", fs, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, data)).To(Succeed(), "%s mounted by namespace root", fs)
		harness.Must(sb.Umount(base+"/merged", unix.MNT_DETACH))
		mounted = append(mounted, fs)
	}
	var refused []string
	for _, fs := range []string{"devtmpfs", "ext4", "xfs", "btrfs", "vfat", "squashfs"} {
		if _, built := known[fs]; !built {
			continue
		}
		Expect(sb.Mount("none", base+"/merged", fs, 0, "")).To(harness.FailWith(unix.EPERM), "contrast: %s mounted by namespace root", fs)
		refused = append(refused, fs)
	}
	claim.Evidence("mounted: %s; EPERM: %s", strings.Join(mounted, ", "), strings.Join(refused, ", "))
	Expect(mounted).To(ContainElements("tmpfs", "ramfs", "proc", "sysfs"), "filesystems that every kernel has")
	Expect(refused).NotTo(BeEmpty(), "contrast: filesystems that namespace root may not mount")
})

var _ = claim.It(claim.Claim{
	ID:       "user/mounting-proc-needs-own-pid-ns",
	Text:     "A user-namespace root may mount proc only for a PID namespace its user namespace owns.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities")},
	Needs:    claim.Needs{userNeed, mountNeed, claim.Namespace(namespace.PID)},
	Contrast: "works with CLONE_NEWPID",
	Try:      "unshare --user --map-root-user --mount mount -t proc proc /mnt; unshare --user --map-root-user --mount --pid --fork mount -t proc proc /mnt && echo mounted",
	Shows:    "mount: /mnt: permission denied.\n…\nmounted",
}, func(ctx SpecContext) {
	foreign := harness.Start(ctx, harness.New(namespace.User, namespace.Mount))
	own := harness.Start(ctx, harness.New(namespace.User, namespace.Mount, namespace.PID))
	dir := harness.Host(ctx).MkdirTemp()
	refused, works := foreign.Mount("proc", dir, "proc", 0, ""), own.Mount("proc", dir, "proc", 0, "")
	claim.Evidence("in the host's PID namespace: %v; in an own one: %v", refused, works)
	Expect(refused).To(harness.FailWith(unix.EPERM), "proc mounted in the host's PID namespace")
	Expect(works).To(Succeed(), "contrast: proc mounted in an own PID namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "user/mounting-sysfs-needs-own-net-ns",
	Text:     "A user-namespace root may mount sysfs only with a network namespace its user namespace owns.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "lists /sys without this condition")},
	Needs:    claim.Needs{userNeed, mountNeed, netNeed, sysfsMounted},
	Contrast: "works with CLONE_NEWNET",
	Try:      "unshare --user --map-root-user --mount mount -t sysfs sysfs /mnt; unshare --user --map-root-user --mount --net mount -t sysfs sysfs /mnt && echo mounted",
	Shows:    "mount: /mnt: permission denied.\n…\nmounted",
}, func(ctx SpecContext) {
	foreign := harness.Start(ctx, harness.New(namespace.User, namespace.Mount))
	own := harness.Start(ctx, harness.New(namespace.User, namespace.Mount, namespace.Network))
	dir := harness.Host(ctx).MkdirTemp()
	// The host's sysfs may be read-only, and a new one may not undo that.
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	refused, works := foreign.Mount("sysfs", dir, "sysfs", flags, ""), own.Mount("sysfs", dir, "sysfs", flags, "")
	claim.Evidence("in the host's network namespace: %v; in an own one: %v", refused, works)
	Expect(refused).To(harness.FailWith(unix.EPERM), "sysfs mounted in the host's network namespace")
	Expect(works).To(Succeed(), "contrast: sysfs mounted in an own network namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "user/proc-mount-refused-when-existing-proc-is-masked",
	Text:     "A user-namespace root may not mount proc if part of the proc it inherited is covered by other mounts.",
	Source:   claim.Sources{claim.Doc("kernel mount_too_revealing()", ""), claim.Doc("not in the man pages", "")},
	Needs:    claim.Needs{userNeed, mountNeed, claim.Namespace(namespace.PID)},
	Contrast: "works uncovered",
	Try:      "unshare --mount sh -c 'unshare --user --map-root-user --mount --pid --fork mount -t proc proc /mnt && echo mounted; mount --bind /dev/null /proc/version; unshare --user --map-root-user --mount --pid --fork mount -t proc proc /mnt'",
	Shows:    "mounted\nmount: /mnt: permission denied.\n…",
}, func(ctx SpecContext) {
	mounts := func(mask bool) error {
		// Any uncovered proc that the namespace holds would do, so its root
		// becomes one that has the host's /proc and no other.
		host := harness.Start(ctx, harness.New(namespace.Mount))
		dir := host.MkdirTemp()
		harness.Must(host.Mount("tmpfs", dir, "tmpfs", 0, ""))
		harness.Must(host.Mkdir(dir + "/proc"))
		harness.Must(host.Mkdir(dir + "/mnt"))
		harness.Must(host.Bind("/proc", dir+"/proc", unix.MS_REC))
		if mask {
			harness.Must(host.CreateFile(dir+"/mask", ""))
			harness.Must(host.Bind(dir+"/mask", dir+"/proc/version", 0))
		}
		harness.Must(host.PivotInto(dir))
		sb := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.Mount, namespace.PID))
		return sb.Mount("proc", "/mnt", "proc", 0, "")
	}
	masked, open := mounts(true), mounts(false)
	claim.Evidence("with /proc/version covered: %v; uncovered: %v", masked, open)
	Expect(masked).To(harness.FailWith(unix.EPERM), "proc mounted where one file of the inherited proc is covered")
	Expect(open).To(Succeed(), "contrast: proc mounted where nothing is covered")
})
