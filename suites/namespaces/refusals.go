package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
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

// What the manual pages say that the kernel refuses, and with which errno.

var _ = claim.It(claim.Claim{
	ID:       "ns/unshare-unknown-flag-einval",
	Text:     "unshare(2) with a flag that it does not take is EINVAL.",
	Source:   claim.Sources{claim.Man("unshare(2)", "ERRORS")},
	Contrast: "unshare(0) and unshare(CLONE_FS) succeed",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	for name, flag := range map[string]uintptr{"CLONE_PTRACE": unix.CLONE_PTRACE, "CLONE_VFORK": unix.CLONE_VFORK, "CLONE_PARENT": unix.CLONE_PARENT} {
		err := sb.Unshare(flag)
		claim.Evidence("%s: %v", name, err)
		Expect(err).To(harness.FailWith(unix.EINVAL), "unshare(%s)", name)
	}
	Expect(sb.Unshare(0)).To(Succeed(), "contrast: unshare(0)")
	Expect(sb.Unshare(unix.CLONE_FS)).To(Succeed(), "contrast: unshare(CLONE_FS)")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/clone-newns-or-newuser-with-fs-einval",
	Text:     "clone(2) with CLONE_FS and CLONE_NEWNS or CLONE_NEWUSER, or with CLONE_SYSVSEM and CLONE_NEWIPC, is EINVAL.",
	Source:   claim.Sources{claim.Man("clone(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed, userNeed, ipcNeed},
	Contrast: "each flag alone works",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	for _, pair := range []struct {
		name          string
		shared, fresh uintptr
	}{
		{"CLONE_NEWNS|CLONE_FS", unix.CLONE_FS, unix.CLONE_NEWNS},
		{"CLONE_NEWUSER|CLONE_FS", unix.CLONE_FS, unix.CLONE_NEWUSER},
		{"CLONE_NEWIPC|CLONE_SYSVSEM", unix.CLONE_SYSVSEM, unix.CLONE_NEWIPC},
	} {
		_, err := sb.Clone(ctx, pair.shared|pair.fresh)
		_, shared := sb.Clone(ctx, pair.shared)
		_, fresh := sb.Clone(ctx, pair.fresh)
		claim.Evidence("%s: %v; apart: %v, %v", pair.name, err, shared, fresh)
		Expect(err).To(harness.FailWith(unix.EINVAL), "clone(%s)", pair.name)
		Expect(shared).NotTo(HaveOccurred(), "contrast: the first flag alone of %s", pair.name)
		Expect(fresh).NotTo(HaveOccurred(), "contrast: the second flag alone of %s", pair.name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-other-descriptor-refused",
	Text:     "setns(2) refuses a descriptor that is no namespace's (EINVAL) and a number that is no descriptor (EBADF).",
	Source:   claim.Sources{claim.Man("setns(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "a namespace's descriptor is accepted",
	Try:      "nsenter --uts=/proc/version true; nsenter --uts=/proc/self/ns/uts echo joined",
	Shows:    "nsenter: …: Invalid argument\njoined",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	file := harness.Got(sb.Open("/proc/self/status", unix.O_RDONLY, 0))
	uts := harness.Got(sb.OpenNamespace(namespace.UTS))
	other, none, fine := sb.Setns(file, 0), sb.Setns(1000, 0), sb.Setns(uts, 0)
	claim.Evidence("another file: %v; no descriptor: %v; a namespace: %v", other, none, fine)
	Expect(other).To(harness.FailWith(unix.EINVAL), "setns to a file that is no namespace")
	Expect(none).To(harness.FailWith(unix.EBADF), "setns to a number that is no descriptor")
	Expect(fine).NotTo(HaveOccurred(), "contrast: setns to a namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-pidfd-mask-refused",
	Text:     "setns(2) with a PID descriptor refuses an empty mask and one with other flags (EINVAL), and a process that has been reaped (ESRCH).",
	Source:   claim.Sources{claim.Man("setns(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "a mask of a namespace type is accepted while the process lives",
	Since:    "5.8",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	target := harness.Start(ctx, harness.Under(sb), harness.New(namespace.UTS))
	fd := pidfdOpen(sb, target.PID())
	empty, foreign, fine := sb.Setns(fd, 0), sb.Setns(fd, unix.CLONE_NEWUTS|unix.CLONE_FS), sb.Setns(fd, unix.CLONE_NEWUTS)
	target.Exit(0)
	harness.Got(sb.Wait(target))
	gone := sb.Setns(fd, unix.CLONE_NEWUTS)
	claim.Evidence("mask 0: %v; CLONE_NEWUTS|CLONE_FS: %v; CLONE_NEWUTS: %v, after the process's end: %v", empty, foreign, fine, gone)
	Expect(empty).To(harness.FailWith(unix.EINVAL), "setns(pidfd, 0)")
	Expect(foreign).To(harness.FailWith(unix.EINVAL), "setns(pidfd, CLONE_NEWUTS|CLONE_FS)")
	Expect(gone).To(harness.FailWith(unix.ESRCH), "setns to the namespace of a process that has been reaped")
	Expect(fine).NotTo(HaveOccurred(), "contrast: setns(pidfd, CLONE_NEWUTS)")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-needs-cap-sys-admin",
	Text:     "Joining a namespace of any type but user fails with EPERM without CAP_SYS_ADMIN, and a mount namespace without CAP_SYS_CHROOT too.",
	Source:   claim.Sources{claim.Man("setns(2)", "DESCRIPTION, ERRORS")},
	Contrast: "the same call with the capability succeeds",
	Try:      "for o in mount uts ipc net pid cgroup; do setpriv --bounding-set -sys_admin --inh-caps -sys_admin nsenter --target $$ --$o true; done; nsenter --target $$ --uts echo joined",
	Shows:    "nsenter: …: Operation not permitted\nnsenter: …: Operation not permitted\nnsenter: …: Operation not permitted\nnsenter: …: Operation not permitted\nnsenter: …: Operation not permitted\nnsenter: …: Operation not permitted\njoined",
}, func(ctx SpecContext) {
	for _, t := range offered(ctx) {
		if t == namespace.User {
			continue
		}
		target := harness.Start(ctx, harness.New(t))
		join := func(drop ...uintptr) error {
			sb := harness.Start(ctx)
			fd := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/%s", target.PID(), t.Name), unix.O_RDONLY, 0))
			harness.Must(sb.DropCapability(drop...))
			return sb.Setns(fd, t.Flag)
		}
		without, with := join(unix.CAP_SYS_ADMIN), join()
		claim.Evidence("%s: without CAP_SYS_ADMIN %v, with it %v", t, without, with)
		Expect(without).To(harness.FailWith(unix.EPERM), "setns(%s) without CAP_SYS_ADMIN", t.Const)
		Expect(with).NotTo(HaveOccurred(), "contrast: setns(%s) with all capabilities", t.Const)
		if t == namespace.Mount {
			Expect(join(unix.CAP_SYS_CHROOT)).To(harness.FailWith(unix.EPERM), "setns(CLONE_NEWNS) without CAP_SYS_CHROOT")
		}
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-needs-cap-over-the-target",
	Text:     "All capabilities in one's own user namespace do not suffice to join a namespace, of any type, that another user namespace owns (EPERM).",
	Source:   claim.Sources{claim.Man("setns(2)", "DESCRIPTION"), claim.Man("user_namespaces(7)", "Interaction of user namespaces and other types of namespaces")},
	Needs:    claim.Needs{userNeed},
	Contrast: "one that the own user namespace owns can be joined",
	Try:      "for o in uts ipc net cgroup; do unshare --user --map-root-user nsenter --$o=/proc/$$/ns/$o true; done; unshare --user --map-root-user --uts nsenter --uts=/proc/self/ns/uts echo joined",
	Shows:    "nsenter: …\nnsenter: …\nnsenter: …\nnsenter: …\njoined",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	for _, t := range offered(ctx) {
		if t == namespace.User {
			continue
		}
		target := harness.Start(ctx, harness.Under(host), harness.New(t))
		sb := harness.Start(ctx, harness.Under(host))
		link := func(of *harness.Sandbox) int {
			return harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/%s", of.PID(), t.Name), unix.O_RDONLY, 0))
		}
		theirs := link(target)
		harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
		own := link(harness.Start(ctx, harness.Under(sb), harness.New(t)))
		refused, joined := sb.Setns(theirs, t.Flag), sb.Setns(own, t.Flag)
		claim.Evidence("%s: of the outer user namespace: %v; of the own: %v", t, refused, joined)
		Expect(refused).To(harness.FailWith(unix.EPERM), "setns(%s) to a namespace of the outer user namespace, with all capabilities in an inner one", t.Const)
		Expect(joined).NotTo(HaveOccurred(), "contrast: setns(%s) to a namespace of the own user namespace", t.Const)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-pidfd-needs-ptrace-access",
	Text:     "Joining the namespaces of a process by its PID descriptor needs ptrace access to that process (EPERM), which a process without CAP_SYS_PTRACE has not to one with more capabilities.",
	Source:   claim.Sources{claim.Man("setns(2)", "fd is a PID file descriptor"), claim.Man("ptrace(2)", "Ptrace access mode checking")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "by the descriptor of the namespace it joins, and with the capability by the PID descriptor",
	Since:    "5.8",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	target := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	sb := harness.Start(ctx, harness.Under(host))
	fd := pidfdOpen(sb, target.PID())
	ns := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/uts", target.PID()), unix.O_RDONLY, 0))
	able := sb.Fork(ctx)
	harness.Must(sb.DropCapability(unix.CAP_SYS_PTRACE))
	refused, byNamespace, allowed := sb.Setns(fd, unix.CLONE_NEWUTS), sb.Setns(ns, unix.CLONE_NEWUTS), able.Setns(fd, unix.CLONE_NEWUTS)
	claim.Evidence("by PID descriptor without CAP_SYS_PTRACE: %v, with it: %v; by the namespace's descriptor without it: %v", refused, allowed, byNamespace)
	Expect(refused).To(harness.FailWith(unix.EPERM), "setns(pidfd, CLONE_NEWUTS) without CAP_SYS_PTRACE, to a process that has it")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: setns(pidfd, CLONE_NEWUTS) with all capabilities")
	Expect(byNamespace).NotTo(HaveOccurred(), "contrast: setns to the descriptor of the UTS namespace without CAP_SYS_PTRACE")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-shared-fs-einval",
	Text:     "A process that shares its root and working directory with another (CLONE_FS) can join neither a mount nor a user namespace (EINVAL).",
	Source:   claim.Sources{claim.Man("setns(2)", "ERRORS")},
	Needs:    claim.Needs{mountNeed, userNeed},
	Contrast: "after unshare(CLONE_FS) it can",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	for _, t := range []namespace.Type{namespace.Mount, namespace.User} {
		target := harness.Start(ctx, harness.Under(host), harness.New(t))
		sb := harness.Got(host.Clone(ctx, unix.CLONE_FS))
		fd := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/%s", target.PID(), t.Name), unix.O_RDONLY, 0))
		shared := sb.Setns(fd, t.Flag)
		harness.Must(sb.Unshare(unix.CLONE_FS))
		own := sb.Setns(fd, t.Flag)
		claim.Evidence("%s: shared %v, unshared %v", t, shared, own)
		Expect(shared).To(harness.FailWith(unix.EINVAL), "setns(%s) of a process that shares its root and working directory", t.Const)
		Expect(own).NotTo(HaveOccurred(), "contrast: setns(%s) after unshare(CLONE_FS)", t.Const)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/limit-allows-as-many-as-it-says",
	Text:     "With max_X_namespaces set to N, N namespaces of type X can exist at a time, and one that has ended makes room.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/sys/user directory")},
	Needs:    claim.Needs{userNeed, claim.Namespace(namespace.UTS), limitsNeed},
	Contrast: "the next one is ENOSPC",
	Since:    "4.9",
	Try:      `unshare --user --map-root-user sh -c 'u="unshare --uts --fork"; echo 2 > /proc/sys/user/max_uts_namespaces; $u $u echo two made; $u $u $u echo; $u $u echo two again'`,
	Shows:    "two made\nunshare: unshare failed: No space left on device\ntwo again",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.User))
	harness.Must(sb.WriteFile("/proc/sys/user/max_uts_namespaces", "3"))
	var members []*harness.Sandbox
	for i := range 3 {
		m, err := sb.Clone(ctx, unix.CLONE_NEWUTS)
		Expect(err).NotTo(HaveOccurred(), "UTS namespace %d with user.max_uts_namespaces at 3", i+1)
		members = append(members, m)
	}
	_, full := sb.Clone(ctx, unix.CLONE_NEWUTS)
	members[0].Exit(0)
	harness.Got(sb.Wait(members[0]))
	_, again := sb.Clone(ctx, unix.CLONE_NEWUTS)
	claim.Evidence("three made; the fourth: %v; after the end of one: %v", full, again)
	Expect(full).To(harness.FailWith(unix.ENOSPC), "contrast: a fourth UTS namespace with user.max_uts_namespaces at 3")
	Expect(again).NotTo(HaveOccurred(), "a UTS namespace after the end of one of three")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/kill-all-by-member-spares-init",
	Text:     "kill(-1, SIGKILL) by a member of a PID namespace reaches the other members, not its init, not itself and nobody outside.",
	Source:   claim.Sources{claim.Man("kill(2)", "DESCRIPTION"), claim.Man("pid_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "another member is ended",
	Try:      `sleep 99 & unshare --pid --fork sh -c "sleep 98 & sh -c 'kill -9 -1; kill -0 1 && echo init lives'; wait; echo as init itself says"; kill -0 $! && echo the other lives`,
	Shows:    "…\ninit lives\n…\nas init itself says\nthe other lives",
}, func(ctx SpecContext) {
	outside := harness.Start(ctx)
	init := harness.Start(ctx, harness.New(namespace.PID))
	killer, victim := init.Fork(ctx), init.Fork(ctx)
	reached, err := signalAll(killer, victim, init, killer, outside)
	claim.Evidence("kill(-1, SIGURG) by a member: another member reached: %v; init: %v; the caller: %v; a process outside: %v", reached[0], reached[1], reached[2], reached[3])
	Expect(err).NotTo(HaveOccurred(), "kill(-1, SIGURG) by a member")
	Expect(reached[3]).To(BeFalse(), "a process outside of the PID namespace gets the signal of a member's kill(-1)")
	Expect(reached[1]).To(BeFalse(), "init gets the signal of a member's kill(-1)")
	Expect(reached[2]).To(BeFalse(), "the caller gets the signal of its own kill(-1)")
	Expect(reached[0]).To(BeTrue(), "contrast: another member gets the signal of a member's kill(-1)")
	Expect(killer.Signal(-1, unix.SIGKILL)).To(Succeed(), "kill(-1, SIGKILL) by a member")
	status := harness.Got(init.Wait(victim))
	claim.Evidence("the other member ended by %v; init answers as %d, the killer as %d, outside as %d", status.Signal(), init.Getpid(), killer.Getpid(), outside.Getpid())
	Expect(init.WaitExit(0)).To(BeFalse(), "init after a member's kill(-1, SIGKILL)")
	Expect(killer.WaitExit(0)).To(BeFalse(), "the caller of kill(-1, SIGKILL)")
	Expect(outside.WaitExit(0)).To(BeFalse(), "a process outside of the namespace of the caller of kill(-1, SIGKILL)")
	Expect(status.Signal()).To(Equal(unix.SIGKILL), "contrast: another member")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/nspid-begins-at-the-mounts-level",
	Text:     "NSpid lists the PIDs from the level of the proc mount that it is read through, so that a container does not learn its outer PID.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/pid/status"), claim.Man("pid_namespaces(7)", "/proc and PID namespaces")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), mountNeed},
	Contrast: "the outermost proc mount lists all three",
	Try:      "unshare --pid --fork sh -c 'unshare --pid --fork grep NSpid /proc/self/status; unshare --mount --mount-proc grep NSpid /proc/self/status'",
	Shows:    "NSpid: <outer> <middle> 1\nNSpid: <inner>",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	middle := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.Mount))
	inner := harness.Start(ctx, harness.Under(middle), harness.New(namespace.PID, namespace.Mount))
	outermost := strings.Fields(nspid(host, pidBySelf(host, inner)))
	harness.Must(middle.Mount("proc", "/proc", "proc", 0, ""))
	harness.Must(inner.Mount("proc", "/proc", "proc", 0, ""))
	fromMiddle, fromInner := strings.Fields(nspid(middle, inner.PID())), strings.Fields(nspid(inner, 1))
	claim.Evidence("NSpid of a doubly nested init: from outside %v, from the middle %v, from inside %v", outermost, fromMiddle, fromInner)
	Expect(fromInner).To(Equal([]string{"1"}), "NSpid through the proc mount of the innermost namespace")
	Expect(fromMiddle).To(Equal([]string{fmt.Sprint(inner.PID()), "1"}), "NSpid through the proc mount of the namespace between")
	Expect(outermost).To(HaveLen(3), "contrast: NSpid through the outermost proc mount")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/outer-group-and-session-read-0",
	Text:     "A process group and a session from outside of a process's PID namespace read as 0; setsid(2) makes both its own.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Nesting PID namespaces"), claim.Man("getpgrp(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "an ordinary child reads its parent's",
	Try:      "unshare --pid --fork --mount-proc sh -c 'ps -o pid=,pgid=,sid= -p 1; setsid ps -o pgid=,sid= -C ps'",
	Shows:    "1 0 0\n<own> <own>",
}, func(ctx SpecContext) {
	ids := func(sb *harness.Sandbox) []int {
		return []int{int(harness.Got(sb.Syscall("getpgid(0)", unix.SYS_GETPGID, 0))), int(harness.Got(sb.Syscall("getsid(0)", unix.SYS_GETSID, 0)))}
	}
	// A group and a session that the stage's PID namespace has a number for.
	host := harness.Start(ctx)
	harness.Got(host.Syscall("setsid", unix.SYS_SETSID))
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	plain := ids(host.Fork(ctx))
	before := ids(init)
	harness.Got(init.Syscall("setsid", unix.SYS_SETSID))
	after := ids(init)
	claim.Evidence("group and session in a new PID namespace: %v, after setsid: %v; of an ordinary child: %v", before, after, plain)
	Expect(before).To(Equal([]int{0, 0}), "process group and session from outside, in a new PID namespace")
	Expect(after).To(Equal([]int{1, 1}), "process group and session of init after setsid")
	Expect(plain).To(Equal([]int{host.Getpid(), host.Getpid()}), "contrast: process group and session of an ordinary child")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/join-sibling-einval",
	Text:     "A process cannot join a PID namespace that is not below its own (EINVAL).",
	Source:   claim.Sources{claim.Man("setns(2)", "ERRORS"), claim.Man("pid_namespaces(7)", "setns(2) and unshare(2) semantics")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "the common parent can",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	sibling := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/pid", sibling.PID()), unix.O_RDONLY, 0))
	// The descriptor is inherited.
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	refused, allowed := inside.Setns(fd, unix.CLONE_NEWPID), host.Fork(ctx).Setns(fd, unix.CLONE_NEWPID)
	claim.Evidence("from a sibling: %v; from the parent: %v", refused, allowed)
	Expect(refused).To(harness.FailWith(unix.EINVAL), "setns to a sibling PID namespace")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: setns by a process of the common parent")
})

var _ = claim.It(claim.Claim{
	ID:       "user/map-writer-in-namespace-or-parent",
	Text:     "A map can be written only from the user namespace itself or its parent: from further above it is EPERM.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining user and group ID mappings")},
	Needs:    claim.Needs{userNeed, unprivileged},
	Contrast: "from the parent it succeeds",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	parent := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	child := unmapped(ctx, parent)
	above := host.WriteFile(uidMap(child), oneID(0, 0))
	from := parent.WriteFile(uidMap(child), oneID(0, 0))
	claim.Evidence("two levels above: %v; the parent: %v", above, from)
	Expect(above).To(harness.FailWith(unix.EPERM), "uid_map written from two user namespaces above")
	Expect(from).NotTo(HaveOccurred(), "contrast: uid_map written from the parent")
})

var _ = claim.It(claim.Claim{
	ID:       "user/map-write-whole-and-at-start",
	Text:     "A map must be written at the start of the file and in less than a page (EINVAL).",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining user and group ID mappings")},
	Needs:    claim.Needs{userNeed},
	Contrast: "the same line at the start is accepted",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	child := unmapped(ctx, host)
	fd := harness.Got(host.Open(uidMap(child), unix.O_WRONLY, 0))
	harness.Got(host.Syscall("lseek", unix.SYS_LSEEK, fd, 1, unix.SEEK_SET))
	moved := host.Write(fd, []byte(oneID(0, 0)))
	harness.Must(host.Close(fd))
	page := host.WriteFile(uidMap(child), oneID(0, 0)+strings.Repeat("\n", os.Getpagesize()))
	fine := host.WriteFile(uidMap(child), oneID(0, 0))
	claim.Evidence("after lseek to 1: %v; more than a page: %v; at the start: %v", moved, page, fine)
	Expect(moved).To(harness.FailWith(unix.EINVAL), "uid_map written behind the start")
	Expect(page).To(harness.FailWith(unix.EINVAL), "uid_map written with more than a page")
	Expect(fine).NotTo(HaveOccurred(), "contrast: uid_map written at the start")
})

var _ = claim.It(claim.Claim{
	ID:       "user/map-needs-capability-in-namespace",
	Text:     "A process without capabilities in a user namespace cannot write its maps (EPERM), though it is a member and the files are its own.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining user and group ID mappings")},
	Needs:    claim.Needs{userNeed},
	Contrast: "with them it maps its own ID",
}, func(ctx SpecContext) {
	write := func(capable bool) (uid, gid error) {
		sb := unmapped(ctx, harness.Start(ctx))
		if !capable {
			harness.Must(sb.Capset(harness.Capabilities{}))
		}
		uid = sb.WriteFile("/proc/self/uid_map", oneID(0, 0))
		if capable {
			harness.Must(sb.WriteFile("/proc/self/setgroups", "deny"))
		}
		return uid, sb.WriteFile("/proc/self/gid_map", oneID(0, 0))
	}
	uid, gid := write(false)
	uidWith, gidWith := write(true)
	claim.Evidence("without capabilities: uid_map %v, gid_map %v; with them: %v, %v", uid, gid, uidWith, gidWith)
	Expect(uid).To(harness.FailWith(unix.EPERM), "uid_map written by a member without capabilities")
	Expect(gid).To(harness.FailWith(unix.EPERM), "gid_map written by a member without capabilities")
	Expect(uidWith).NotTo(HaveOccurred(), "contrast: uid_map written by a member with all capabilities")
	Expect(gidWith).NotTo(HaveOccurred(), "contrast: gid_map written by a member with all capabilities")
})

// projectIDs is that the suite's own user namespace has project IDs to map.
var projectIDs = &claim.Need{
	Name: "mapped project IDs",
	Try: func(ctx context.Context) error {
		mapped, err := harness.Outermost(ctx).ReadFile("/proc/self/projid_map")
		if err == nil && mapped == "" {
			err = errors.New("the suite's own user namespace has no project IDs")
		}
		return err
	},
}

var _ = claim.It(claim.Claim{
	ID:       "user/projid-map-needs-no-capability",
	Text:     "projid_map is empty at first, can be written once (then EPERM) and needs no capability; ranges that overlap are EINVAL.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Project ID mappings")},
	Needs:    claim.Needs{userNeed, projectIDs},
	Contrast: "uid_map with the same line is EPERM for the same writer",
}, func(ctx SpecContext) {
	sb := unmapped(ctx, harness.Outermost(ctx).Fork(ctx))
	harness.Must(sb.Capset(harness.Capabilities{}))
	const file, line = "/proc/self/projid_map", "0 5 10\n"
	empty := harness.Got(sb.ReadFile(file))
	overlap := sb.WriteFile(file, "0 5 10\n5 50 10\n")
	uid := sb.WriteFile("/proc/self/uid_map", line)
	first, second := sb.WriteFile(file, line), sb.WriteFile(file, line)
	read := strings.Fields(harness.Got(sb.ReadFile(file)))
	claim.Evidence("at first %q; overlapping: %v; written: %v, again: %v, reads %v; uid_map: %v", empty, overlap, first, second, read, uid)
	Expect(empty).To(BeEmpty(), "projid_map of a new user namespace")
	Expect(overlap).To(harness.FailWith(unix.EINVAL), "projid_map with ranges that overlap")
	Expect(first).NotTo(HaveOccurred(), "projid_map written without capabilities")
	Expect(read).To(HaveLen(3), "projid_map after it was written")
	Expect(second).To(harness.FailWith(unix.EPERM), "projid_map written a second time")
	Expect(uid).To(harness.FailWith(unix.EPERM), "contrast: uid_map written without capabilities")
})

var _ = claim.It(claim.Claim{
	ID:       "user/setgroups-file-takes-two-words",
	Text:     "/proc/PID/setgroups takes allow and deny and nothing else (EINVAL).",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "The /proc/pid/setgroups file")},
	Needs:    claim.Needs{userNeed},
	Contrast: "deny is accepted",
	Try:      "unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; /bin/echo maybe > /proc/$p/setgroups; /bin/echo deny > /proc/$p/setgroups; cat /proc/$p/setgroups",
	Shows:    "/bin/echo: write error: Invalid argument\ndeny",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	child := unmapped(ctx, host)
	for _, word := range []string{"maybe", "denyx", "allow deny"} {
		err := host.WriteFile(setgroupsFile(child), word)
		claim.Evidence("%q: %v", word, err)
		Expect(err).To(harness.FailWith(unix.EINVAL), "%q written to /proc/PID/setgroups", word)
	}
	Expect(host.WriteFile(setgroupsFile(child), "deny")).To(Succeed(), "contrast: deny")
})

// ipcSysctls is that the IPC sysctls can be written, which root of a user
// namespace may do on some kernels only.
var ipcSysctls = &claim.Need{
	Name: "IPC sysctls that can be written",
	Try: func(ctx context.Context) error {
		if kernel.IsRoot() {
			return nil
		}
		sb := harness.Start(ctx, harness.New(namespace.IPC))
		for _, path := range []string{"/proc/sys/kernel/msgmni", "/proc/sys/fs/mqueue/msg_max"} {
			value, err := sb.ReadFile(path)
			if errors.Is(err, unix.ENOENT) {
				continue
			}
			if err == nil {
				err = sb.WriteFile(path, value)
			}
			if err != nil {
				return fmt.Errorf("needs root: %w", err)
			}
		}
		return nil
	},
}

var _ = claim.It(claim.Claim{
	ID:       "ipc/sysctls-limit-what-can-be-made",
	Text:     "shmmax, shmmni, shmall, sem, msgmni and msgmax of an IPC namespace bound the objects that can be made in it: EINVAL beyond a size, ENOSPC beyond a number.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", ""), claim.Man("shmget(2)", "ERRORS"), claim.Man("msgget(2)", "ERRORS"), claim.Man("semget(2)", "ERRORS")},
	Needs:    claim.Needs{ipcNeed, sysvipc, claim.File("/proc/sys/kernel/shmmax", "CONFIG_SYSVIPC_SYSCTL"), ipcSysctls, ipcSysctlsWritten},
	Contrast: "within the limits, and in another namespace, they are made",
	Try:      "unshare --ipc sh -c 'echo 1 > /proc/sys/kernel/msgmni; ipcmk -Q; ipcmk -Q; unshare --ipc ipcmk -Q'",
	Shows:    "Message queue id: …\nipcmk: create message queue failed: No space left on device\nMessage queue id: …",
}, func(ctx SpecContext) {
	const private = 0 // IPC_PRIVATE
	make := func(sb *harness.Sandbox, what string, nr uintptr, args ...any) error {
		_, err := sb.Syscall(what, nr, append([]any{private}, args...)...)
		return err
	}
	shm := func(sb *harness.Sandbox, size int) error {
		return make(sb, "shmget", unix.SYS_SHMGET, size, unix.IPC_CREAT|0o600)
	}
	sem := func(sb *harness.Sandbox, n int) error {
		return make(sb, "semget", unix.SYS_SEMGET, n, unix.IPC_CREAT|0o600)
	}
	msg := func(sb *harness.Sandbox) error { return make(sb, "msgget", unix.SYS_MSGGET, unix.IPC_CREAT|0o600) }
	limited := harness.Start(ctx, harness.New(namespace.IPC))
	for name, value := range map[string]string{"shmmax": "8192", "shmmni": "1", "sem": "2\t100\t10\t10", "msgmni": "1", "msgmax": "16"} {
		harness.Must(limited.WriteFile("/proc/sys/kernel/"+name, value))
	}
	other := harness.Start(ctx, harness.Under(limited), harness.New(namespace.IPC))

	big, sets := shm(limited, 8193), sem(limited, 3)
	Expect(big).To(harness.FailWith(unix.EINVAL), "shmget of more than shmmax")
	Expect(sets).To(harness.FailWith(unix.EINVAL), "semget of more semaphores than SEMMSL")
	Expect(shm(limited, 8192)).To(Succeed(), "contrast: shmget of shmmax")
	Expect(sem(limited, 2)).To(Succeed(), "contrast: semget of SEMMSL semaphores")
	Expect(msg(limited)).To(Succeed(), "contrast: the first of msgmni queues")
	secondShm, secondMsg := shm(limited, 4096), msg(limited)
	Expect(secondShm).To(harness.FailWith(unix.ENOSPC), "shmget of more segments than shmmni")
	Expect(secondMsg).To(harness.FailWith(unix.ENOSPC), "msgget of more queues than msgmni")

	// shmall counts pages, of all segments together.
	paged, page := harness.Start(ctx, harness.New(namespace.IPC)), os.Getpagesize()
	harness.Must(paged.WriteFile("/proc/sys/kernel/shmall", "2"))
	Expect(shm(paged, page)).To(Succeed(), "contrast: shmget of one page of shmall's two")
	beyond := shm(paged, 2*page)
	Expect(beyond).To(harness.FailWith(unix.ENOSPC), "shmget of more pages than shmall leaves")
	Expect(shm(paged, page)).To(Succeed(), "contrast: shmget of the last page that shmall leaves")

	queue := harness.Got(msgget(other, unix.IPC_CREAT|0o600))
	send := func(n int) error {
		_, err := other.Syscall("msgsnd", unix.SYS_MSGSND, queue, append(binary.NativeEndian.AppendUint64(nil, 1), bytesOf(n)...), n, unix.IPC_NOWAIT)
		return err
	}
	Expect(send(17)).To(Succeed(), "contrast: a message of 17 bytes where msgmax is not 16")
	harness.Must(other.WriteFile("/proc/sys/kernel/msgmax", "16"))
	long := send(17)
	Expect(long).To(harness.FailWith(unix.EINVAL), "a message of 17 bytes with msgmax at 16")
	Expect(send(16)).To(Succeed(), "contrast: a message of msgmax bytes")
	Expect(shm(other, 8193)).To(Succeed(), "contrast: shmget in another IPC namespace")
	claim.Evidence("beyond shmmax: %v; SEMMSL: %v; shmmni: %v; shmall: %v; msgmni: %v; msgmax: %v", big, sets, secondShm, beyond, secondMsg, long)
})

func bytesOf(n int) []byte { return []byte(strings.Repeat("x", n)) }

var _ = claim.It(claim.Claim{
	ID:       "ipc/mqueue-sysctls-limit-what-can-be-made",
	Text:     "Without CAP_SYS_RESOURCE a POSIX queue beyond msg_max or msgsize_max is refused (EINVAL), and one more queue than queues_max (ENOSPC).",
	Source:   claim.Sources{claim.Man("mq_overview(7)", "/proc interfaces"), claim.Man("mq_open(3)", "ERRORS")},
	Needs:    claim.Needs{ipcNeed, mqueue, claim.File("/proc/sys/fs/mqueue/msg_max", "CONFIG_POSIX_MQUEUE_SYSCTL"), ipcSysctls},
	Contrast: "within the limits they are made",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.IPC))
	for name, value := range map[string]string{"msg_max": "5", "msgsize_max": "256", "queues_max": "1"} {
		harness.Must(sb.WriteFile("/proc/sys/fs/mqueue/"+name, value))
	}
	harness.Must(sb.DropCapability(unix.CAP_SYS_RESOURCE))
	open := func(name string, messages, size uint64) error {
		attr := binary.NativeEndian.AppendUint64(nil, 0)
		attr = binary.NativeEndian.AppendUint64(attr, messages)
		attr = binary.NativeEndian.AppendUint64(attr, size)
		attr = append(attr, bytesOf(40)...)
		_, err := sb.Syscall("mq_open /"+name, unix.SYS_MQ_OPEN, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600, attr)
		return err
	}
	many, large := open("many", 6, 256), open("large", 5, 257)
	fine, more := open("fine", 5, 256), open("more", 5, 256)
	claim.Evidence("6 messages of msg_max 5: %v; 257 bytes of msgsize_max 256: %v; the first of queues_max 1: %v, the second: %v", many, large, fine, more)
	Expect(many).To(harness.FailWith(unix.EINVAL), "mq_open of more messages than msg_max")
	Expect(large).To(harness.FailWith(unix.EINVAL), "mq_open of larger messages than msgsize_max")
	Expect(more).To(harness.FailWith(unix.ENOSPC), "mq_open of more queues than queues_max")
	Expect(fine).NotTo(HaveOccurred(), "contrast: a queue within the limits")
})

var _ = claim.It(claim.Claim{
	ID:       "uts/domainname-limit-64-bytes",
	Text:     "A domain name of 64 bytes is accepted and 65 bytes is EINVAL.",
	Source:   claim.Sources{claim.Man("setdomainname(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Sysctls, claim.Namespace(namespace.UTS)},
	Contrast: "64 bytes are read back, also from /proc/sys/kernel/domainname",
	Try:      "unshare --uts sh -c 'f=/proc/sys/kernel/domainname; printf %064d 1 > $f; cat $f'",
	Shows:    "0000000000000000000000000000000000000000000000000000000000000001",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.UTS))
	name := strings.Repeat("d", 64)
	Expect(sb.Setdomainname(name)).To(Succeed(), "contrast: setdomainname of 64 bytes")
	long := sb.Setdomainname(name + "d")
	file := strings.TrimSpace(harness.Got(sb.ReadFile("/proc/sys/kernel/domainname")))
	claim.Evidence("64 bytes: read back as %d, from /proc as %d; 65 bytes: %v", len(sb.Uname().Domainname), len(file), long)
	Expect(long).To(harness.FailWith(unix.EINVAL), "setdomainname of 65 bytes")
	Expect(sb.Uname().Domainname).To(Equal(name), "the domain name of uname")
	Expect(file).To(Equal(name), "/proc/sys/kernel/domainname")
})

var _ = claim.It(claim.Claim{
	ID:       "time/offsets-format-einval",
	Text:     "timens_offsets refuses a clock that has no offset, and nanoseconds of a second or more (EINVAL).",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "/proc/PID/timens_offsets")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "the same line with fewer nanoseconds is accepted",
	Since:    "5.6",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	harness.Must(sb.Unshare(unix.CLONE_NEWTIME))
	for _, line := range []string{"tai 1 0\n", "monotonic 1 1000000000\n", "monotonic\n", "99 1 0\n"} {
		err := sb.WriteFile(offsets, line)
		claim.Evidence("%q: %v", line, err)
		Expect(err).To(harness.FailWith(unix.EINVAL), "%q written to timens_offsets", line)
	}
	Expect(sb.WriteFile(offsets, "monotonic 1 999999999\n")).To(Succeed(), "contrast: fewer nanoseconds than a second")
})
