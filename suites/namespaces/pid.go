package namespaces

import (
	"encoding/binary"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
	"bulkhead/suites/rootfs"
)

var _ = claim.It(claim.Claim{
	ID:       "pid/first-child-is-1",
	Text:     "Whatever process starts first inside a new PID namespace gets PID 1 there.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "a plain fork does not",
	Core:     true,
	Try:      "unshare --pid --fork sh -c 'echo $$'",
	Shows:    "1",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx)
	inside := harness.Start(ctx, harness.Under(parent), harness.New(namespace.PID))
	plain := parent.Fork(ctx)
	unshared := parent.Fork(ctx)
	harness.Must(unshared.Unshare(unix.CLONE_NEWPID))
	child := unshared.Fork(ctx)
	claim.Evidence("by clone: %d; by unshare and fork: %d; plain fork: %d", inside.Getpid(), child.Getpid(), plain.Getpid())
	Expect(inside.Getpid()).To(Equal(1), "getpid() of the child of clone(CLONE_NEWPID)")
	Expect(child.Getpid()).To(Equal(1), "getpid() of the first child after unshare(CLONE_NEWPID)")
	Expect(plain.Getpid()).NotTo(Equal(1), "contrast: a plain fork")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/init-ppid-is-0",
	Text:     "A process whose parent is outside its PID namespace sees parent PID 0.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Nesting PID namespaces")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "an ordinary child sees its parent's PID",
	Try:      "unshare --pid --fork sh -c 'echo $PPID'",
	Shows:    "0",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx)
	init := harness.Start(ctx, harness.Under(parent), harness.New(namespace.PID))
	child := init.Fork(ctx)
	plain := parent.Fork(ctx)
	claim.Evidence("getppid() of init: %d, of its child: %d, of a plain child: %d", init.Getppid(), child.Getppid(), plain.Getppid())
	Expect(init.Getppid()).To(Equal(0), "getppid() of a namespace's init")
	Expect(child.Getppid()).To(Equal(1), "getppid() of init's child")
	Expect(plain.Getppid()).To(Equal(parent.Getpid()), "contrast: getppid() of an ordinary child")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/same-pid-in-two-namespaces",
	Text:     "Processes in different PID namespaces may have the same PID.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("pid_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "their outer PIDs differ",
	Try:      "for i in 1 2; do unshare --pid --fork grep NSpid /proc/self/status; done",
	Shows:    "NSpid: <first> 1\nNSpid: <second> 1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	a := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	b := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	claim.Evidence("inside: %d and %d; outside: %d and %d", a.Getpid(), b.Getpid(), a.PID(), b.PID())
	Expect(a.Getpid()).To(Equal(b.Getpid()), "PIDs of the inits of two namespaces")
	Expect(nspid(host, a.PID())).To(HaveSuffix("\t1"), "NSpid of the first")
	Expect(nspid(host, b.PID())).To(HaveSuffix("\t1"), "NSpid of the second")
	Expect(a.PID()).NotTo(Equal(b.PID()), "contrast: their outer PIDs")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/outer-ns-sees-another-pid",
	Text:     "One process has a different PID in each ancestor namespace.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("pid_namespaces(7)", "Nesting")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "without the namespace both views agree",
	Core:     true,
	Try:      "unshare --pid --fork sleep 99 & until p=$(pgrep -x -n sleep); do :; done; echo $p; grep NSpid /proc/$p/status",
	Shows:    "<pid>\nNSpid: <pid> 1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	plain := host.Fork(ctx)
	_, entry := host.Stat(fmt.Sprintf("/proc/%d", inside.PID()))
	claim.Evidence("inside: %d; outside: %d, /proc entry: %v; without the namespace: %d and %d", inside.Getpid(), inside.PID(), entry, plain.Getpid(), plain.PID())
	Expect(inside.Getpid()).To(Equal(1), "getpid() of the first process of a new PID namespace")
	Expect(inside.PID()).To(BeNumerically(">", 1), "the PID that the outer namespace sees")
	Expect(entry).NotTo(HaveOccurred(), "/proc/%d outside", inside.PID())
	Expect(plain.Getpid()).To(Equal(plain.PID()), "contrast: without the namespace both views agree")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/nspid-lists-every-level",
	Text:     "NSpid in /proc/PID/status lists the PID at every level, outermost first.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/pid/status"), claim.Man("pid_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "one number for a host process",
	Try:      "unshare --pid --fork unshare --pid --fork grep NSpid /proc/self/status",
	Shows:    "NSpid: <outer> <middle> 1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	middle := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	inner := harness.Start(ctx, harness.Under(middle), harness.New(namespace.PID))
	outer := pidBySelf(host, inner)
	levels := strings.Fields(nspid(host, outer))
	plain := strings.Fields(nspid(host, host.Getpid()))
	claim.Evidence("doubly nested: %v; a host process: %v", levels, plain)
	Expect(levels).To(Equal([]string{fmt.Sprint(outer), fmt.Sprint(inner.PID()), "1"}), "NSpid of a doubly nested process, outermost first")
	Expect(plain).To(Equal([]string{fmt.Sprint(host.Getpid())}), "contrast: NSpid of a host process")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/cannot-see-or-signal-outside",
	Text:     "A process cannot see or signal processes of ancestor namespaces; their PIDs give ESRCH.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("pid_namespaces(7)", "Nesting")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "the same kill outside succeeds",
	Core:     true,
	Try:      `sleep 99 & unshare --pid --fork --mount-proc sh -c "ls -d /proc/$!; kill -0 $!"; kill -0 $! && echo sent`,
	Shows:    "ls: cannot access '/proc/<pid>': No such file or directory\nsh: …: No such process\nsent",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	outside := host.Fork(ctx)
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.Mount))
	harness.Must(inside.Mount("proc", "/proc", "proc", 0, ""))
	kill := inside.Signal(outside.PID(), 0)
	_, pgid := inside.Syscall("getpgid", unix.SYS_GETPGID, outside.PID())
	listed := harness.Got(inside.PIDs("/proc"))
	allowed := host.Signal(outside.PID(), 0)
	claim.Evidence("kill: %v; getpgid: %v; own proc lists %v; kill from outside: %v", kill, pgid, listed, allowed)
	Expect(kill).To(harness.FailWith(unix.ESRCH), "kill(%d, 0) of an outside process", outside.PID())
	Expect(pgid).To(harness.FailWith(unix.ESRCH), "getpgid(%d) of an outside process", outside.PID())
	Expect(listed).To(Equal([]int{1}), "processes that a new PID namespace lists")
	Expect(allowed).To(Succeed(), "contrast: the same kill outside")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/ancestor-sees-and-signals-descendants",
	Text:     "An ancestor namespace sees descendants' processes and can signal them by outer PID.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Nesting")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "a sibling namespace gets ESRCH for that number",
	Try:      "unshare --pid --fork sh -c 'sleep 99; echo ended $?' & until pkill -x sleep; do :; done; wait",
	Shows:    "Terminated\nended 143",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	member := init.Fork(ctx)
	outer := pidBySelf(host, member)
	sibling := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID)).Signal(outer, 0)
	Expect(host.Signal(outer, unix.SIGTERM)).To(Succeed(), "SIGTERM from the ancestor namespace")
	Expect(member.WaitExit(settle)).To(BeTrue(), "an inner process has ended after the ancestor's SIGTERM")
	status := harness.Got(init.Wait(member))
	claim.Evidence("outer PID %d ended by %v; a sibling namespace: %v", outer, status.Signal(), sibling)
	Expect(status.Signaled() && status.Signal() == unix.SIGTERM).To(BeTrue(), "an inner process is ended by the ancestor's SIGTERM")
	Expect(sibling).To(harness.FailWith(unix.ESRCH), "contrast: a sibling namespace, for that number")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/init-death-kills-namespace",
	Text:     "When PID 1 of a namespace exits, every other process in it is killed with SIGKILL.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "children of an ordinary parent survive its exit",
	Core:     true,
	Try:      "two='sleep 99 & sleep 99 & until test $(pgrep -c -x sleep) -ge 2; do :; done'; unshare --pid --fork sh -c \"$two\"; pgrep -c -x sleep; sh -c \"$two\"; pgrep -c -x sleep",
	Shows:    "0\n2",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	family := func(flags ...namespace.Type) (parent *harness.Sandbox, children []*harness.Sandbox) {
		parent = harness.Start(ctx, harness.Under(host), harness.New(flags...))
		for range 3 {
			child := parent.Fork(ctx)
			harness.Must(ignore(child, unix.SIGTERM))
			children = append(children, child)
		}
		// Not only the children of init.
		children = append(children, children[0].Fork(ctx))
		parent.BeginExit(0)
		return parent, children
	}
	plain, orphans := family()
	init, members := family(namespace.PID)
	alive, within := 0, settle
	for _, m := range members {
		if !m.WaitExit(within) {
			alive++
			within = 0 // They had the time of the first.
		}
	}
	Expect(plain.WaitExit(settle)).To(BeTrue(), "contrast: an ordinary parent exits")
	for _, o := range orphans {
		Expect(o.WaitExit(0)).To(BeFalse(), "contrast: a child of an ordinary parent that has exited")
	}
	claim.Evidence("%d of %d members alive after init's exit, %d orphans of an ordinary parent", alive, len(members), len(orphans))
	Expect(alive).To(BeZero(), "members of a PID namespace alive after its init has exited")
	Expect(init.WaitExit(settle)).To(BeTrue(), "init itself exits")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/fork-after-init-death-enomem",
	Text:     "Once init has exited no further process can be created in that namespace: fork gives ENOMEM.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "two forks in a row work otherwise",
	Try:      "unshare --pid sh -c '/bin/true; /bin/true; echo'; unshare --pid --fork sh -c '/bin/true; /bin/true; echo fine'",
	Shows:    "sh: …: Cannot fork\nfine",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	first, second := sb.Fork(ctx), sb.Fork(ctx)
	Expect([]int{first.Getppid(), second.Getppid()}).To(Equal([]int{sb.Getpid(), sb.Getpid()}), "contrast: two forks in a row")
	harness.Must(sb.Unshare(unix.CLONE_NEWPID))
	init := sb.Fork(ctx)
	Expect(init.Getpid()).To(Equal(1), "getpid() of the first child after unshare(CLONE_NEWPID)")
	init.Exit(0)
	harness.Got(sb.Wait(init))
	_, err := sb.Clone(ctx, 0)
	claim.Evidence("fork after init's death: %v", err)
	Expect(err).To(harness.FailWith(unix.ENOMEM), "fork into a PID namespace whose init has exited")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/unhandled-signals-from-inside-ignored-by-init",
	Text:     "Members of the namespace, root included, cannot kill init with signals it does not handle, not even SIGKILL or SIGSTOP.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "the same signal ends another member",
	Core:     true,
	Try:      "unshare --pid --fork sh -c 'kill -9 $$; kill -STOP $$; echo alive'",
	Shows:    "alive",
}, func(ctx SpecContext) {
	init := harness.Start(ctx, harness.New(namespace.PID))
	killer, victim := init.Fork(ctx), init.Fork(ctx)
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1} {
		lives, err := killer.Survives(func() error { return killer.Signal(1, sig) })
		Expect(lives).To(BeTrue(), "the sender of an unhandled %s to PID 1 from inside lives on, so PID 1 has not ended", unix.SignalName(sig))
		Expect(err).NotTo(HaveOccurred(), "kill(1, %s) from inside", unix.SignalName(sig))
		Expect(init.Answers()).To(BeTrue(), "PID 1 answers after an unhandled %s from inside its namespace, neither ended nor stopped", unix.SignalName(sig))
	}
	harness.Must(killer.Signal(victim.PID(), unix.SIGKILL))
	Expect(victim.WaitExit(settle)).To(BeTrue(), "contrast: another member has ended after SIGKILL")
	status := harness.Got(init.Wait(victim))
	claim.Evidence("PID 1 alive after SIGKILL, SIGSTOP, SIGTERM, SIGINT, SIGHUP, SIGUSR1; another member ended by %v", status.Signal())
	Expect(status.Signal()).To(Equal(unix.SIGKILL), "contrast: another member")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/handled-signal-from-inside-delivered",
	Text:     "A signal for which init has a handler is delivered to it from inside.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "SIGUSR2 without handler is dropped",
	Try:      `unshare --pid --fork sh -c 'trap "echo handled" USR1; kill -USR1 $$; kill -USR2 $$; echo alive'`,
	Shows:    "handled\nalive",
}, func(ctx SpecContext) {
	init, member := agentInit(ctx)
	probe.NotifySignal.In(init, int(unix.SIGUSR1))
	harness.Must(member.Signal(1, unix.SIGUSR1))
	Expect(probe.AwaitSignal.In(init, 2000)).To(Equal(int(unix.SIGUSR1)), "the signal that init's handler saw")
	harness.Must(member.Signal(1, unix.SIGUSR2))
	claim.Evidence("SIGUSR1 handled by PID 1, SIGUSR2 without a handler dropped: PID 1 alive: %v", !init.WaitExit(0))
	Expect(init.WaitExit(0)).To(BeFalse(), "contrast: SIGUSR2, which has no handler, is dropped")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/ancestor-sigterm-dropped-without-handler",
	Text:     "A SIGTERM sent from an ancestor namespace to an init without handler has no effect.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "with a handler it exits; an ordinary process dies",
	Try:      "unshare --pid --fork sleep 99 & until p=$(pgrep -x -n sleep); do :; done; kill -TERM $p; kill -0 $p && echo init lives; sleep 98 & kill -TERM $!; wait $!; echo $?",
	Shows:    "init lives\n…\n143",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	Expect(host.Signal(init.PID(), unix.SIGTERM)).To(Succeed(), "kill(SIGTERM) of a namespace's init, from an ancestor namespace")
	Expect(init.Answers()).To(BeTrue(), "init answers after a SIGTERM from outside that it has no handler for")
	plain := host.Fork(ctx)
	harness.Must(host.Signal(plain.PID(), unix.SIGTERM))
	Expect(plain.WaitExit(settle)).To(BeTrue(), "contrast: an ordinary process has ended after SIGTERM")
	status := harness.Got(host.Wait(plain))
	claim.Evidence("init without a handler lives; an ordinary process ended by %v", status.Signal())
	Expect(status.Signal()).To(Equal(unix.SIGTERM), "contrast: an ordinary process")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/ancestor-sigkill-always-kills",
	Text:     "SIGKILL from an ancestor namespace always ends init.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "SIGTERM leaves it running",
	Core:     true,
	Try:      "unshare --pid --fork sh -c 'kill -TERM 1; sleep 99' & until p=$(pgrep -x -n sleep); do :; done; read i < /proc/$!/task/$!/children; kill -TERM $i; kill -0 $i && echo lives; kill -KILL $i; wait; kill -0 $i",
	Shows:    "lives\n…\nsh: …: No such process",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	harness.Must(host.Signal(init.PID(), unix.SIGTERM))
	Expect(init.Answers()).To(BeTrue(), "contrast: SIGTERM leaves it running")
	Expect(host.Signal(init.PID(), unix.SIGKILL)).To(Succeed(), "kill(SIGKILL) of a namespace's init, from an ancestor namespace")
	Expect(init.WaitExit(settle)).To(BeTrue(), "init has ended after SIGKILL from its ancestor namespace")
	status := harness.Got(host.Wait(init))
	claim.Evidence("ended by %v", status.Signal())
	Expect(status.Signaled() && status.Signal() == unix.SIGKILL).To(BeTrue(), "wait status of init: %v", status)
})

var _ = claim.It(claim.Claim{
	ID:       "pid/ancestor-sigstop-stops-init",
	Text:     "SIGSTOP from an ancestor namespace stops init and SIGCONT resumes it.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "state S before and after",
	Try:      "unshare --pid --fork sleep 99 & until p=$(pgrep -x -n sleep); do :; done; kill -STOP $p; until grep -q 'State:.T' /proc/$p/status; do :; done; echo stopped; kill -CONT $p; while grep -q 'State:.T' /proc/$p/status; do :; done; echo resumed",
	Shows:    "stopped\nresumed",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	before := state(host, init.PID())
	harness.Must(host.Signal(init.PID(), unix.SIGSTOP))
	// A signal takes its effect after kill(2) has returned.
	Eventually(func() string { return state(host, init.PID()) }).WithTimeout(settle).WithPolling(pollTime).
		Should(Equal("T"), "state of init after SIGSTOP from its ancestor namespace")
	_, status, err := host.WaitAny(init.PID(), unix.WUNTRACED)
	harness.Must(err)
	stopped := state(host, init.PID())
	harness.Must(host.Signal(init.PID(), unix.SIGCONT))
	Expect(init.Answers()).To(BeTrue(), "init answers after SIGCONT from its ancestor namespace")
	pid := init.Getpid()
	claim.Evidence("state before %s, after SIGSTOP %s, answers after SIGCONT", before, stopped)
	Expect(before).NotTo(Equal("T"), "contrast: state before")
	Expect(status.Stopped()).To(BeTrue(), "wait status of init after SIGSTOP from its ancestor namespace")
	Expect(stopped).To(Equal("T"), "state of init after SIGSTOP")
	Expect(pid).To(Equal(1), "init after SIGCONT")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/si-pid-zero-when-sender-invisible",
	Text:     "The sender field of a signal coming from outside the namespace is 0; from inside it is the inner PID.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "si_pid 2 for an inner sender",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	member := init.Fork(ctx)
	block(init, unix.SIGUSR1)
	harness.Must(host.Signal(init.PID(), unix.SIGUSR1))
	outer := sender(init, unix.SIGUSR1)
	harness.Must(member.Signal(1, unix.SIGUSR1))
	inner := sender(init, unix.SIGUSR1)
	claim.Evidence("si_pid from outside: %d; from inside: %d", outer, inner)
	Expect(outer).To(Equal(0), "si_pid of a signal from outside the namespace")
	Expect(inner).To(Equal(2), "contrast: si_pid of a signal from PID 2 inside")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/orphans-adopted-by-ns-init",
	Text:     "Orphans are reparented to PID 1 of their namespace, which can reap them, even with a subreaper outside.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Adoption of orphaned children")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "before the parent's exit it was another PID",
	Core:     true,
	Try:      "unshare --pid --fork --mount-proc sh -c '(sleep 99 & ); until pgrep -x sleep > /dev/null; do :; done; ps -o pid=,ppid=,comm= -C sleep'",
	Shows:    "<pid> 1 sleep",
}, func(ctx SpecContext) {
	outside := harness.Start(ctx)
	harness.Got(outside.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	init := harness.Start(ctx, harness.Under(outside), harness.New(namespace.PID))
	parent := init.Fork(ctx)
	orphan := parent.Fork(ctx)
	before := orphan.Getppid()
	parent.Exit(0)
	harness.Got(init.Wait(parent))
	after := orphan.Getppid()
	orphan.Exit(0)
	reaped, _, err := init.WaitAny(-1, 0)
	claim.Evidence("getppid() before %d, after %d; init's wait returned %d", before, after, reaped)
	Expect(before).To(Equal(parent.PID()), "contrast: before its parent's exit")
	Expect(after).To(Equal(1), "getppid() of an orphan")
	Expect(err).NotTo(HaveOccurred(), "wait4(-1) by init, which the orphan must have become a child of")
	Expect(reaped).To(Equal(3), "the orphan that init's wait4(2) returned")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/unreaped-orphan-stays-zombie",
	Text:     "If init never waits, dead orphans stay zombies in the container.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Adoption of orphaned children")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "an init ignoring SIGCHLD has none",
}, func(ctx SpecContext) {
	zombies := func(ignoring bool) string {
		host := harness.Start(ctx)
		init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
		if ignoring {
			harness.Must(ignore(init, unix.SIGCHLD))
		}
		parent := init.Fork(ctx)
		orphan := parent.Fork(ctx)
		outer := pidBySelf(host, orphan)
		parent.Exit(0)
		orphan.Exit(0)
		if ignoring {
			// It is reaped a moment after it has exited.
			Eventually(func() string { return state(host, outer) }).WithTimeout(settle).WithPolling(pollTime).Should(Equal("gone"), "the orphan, when init ignores SIGCHLD")
		}
		return state(host, outer)
	}
	waited, ignored := zombies(false), zombies(true)
	claim.Evidence("init that never waits: %s; init that ignores SIGCHLD: %s", waited, ignored)
	Expect(waited).To(Equal("Z"), "state of a dead orphan under an init that never waits")
	Expect(ignored).To(Equal("gone"), "contrast: under an init that ignores SIGCHLD")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/subreaper-adopts-before-init",
	Text:     "A nearer ancestor marked with PR_SET_CHILD_SUBREAPER adopts orphans instead of init.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Adoption of orphaned children"), claim.Man("prctl(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "without the mark it is 1",
}, func(ctx SpecContext) {
	adopter := func(mark bool) (ppid int, reaper int) {
		init := harness.Start(ctx, harness.New(namespace.PID))
		nearer := init.Fork(ctx)
		if mark {
			harness.Got(nearer.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		}
		parent := nearer.Fork(ctx)
		orphan := parent.Fork(ctx)
		parent.Exit(0)
		harness.Got(nearer.Wait(parent))
		return orphan.Getppid(), nearer.Getpid()
	}
	with, reaper := adopter(true)
	without, _ := adopter(false)
	claim.Evidence("with PR_SET_CHILD_SUBREAPER: %d; without: %d", with, without)
	Expect(with).To(Equal(reaper), "getppid() of an orphan below a subreaper")
	Expect(without).To(Equal(1), "contrast: without the mark")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/joined-childs-orphan-goes-to-outer-reaper",
	Text:     "A process put into the namespace by setns(2) and then orphaned is adopted outside: its parent PID stays 0.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Adoption of orphaned children")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "it is an ordinary member with PID > 1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	harness.Got(host.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	joiner := host.Fork(ctx)
	fd := harness.Got(joiner.Open(fmt.Sprintf("/proc/%d/ns/pid", init.PID()), unix.O_RDONLY, 0))
	harness.Must(joiner.Setns(fd, unix.CLONE_NEWPID))
	member := joiner.Fork(ctx)
	outer := pidBySelf(host, member)
	before := member.Getppid()
	joiner.Exit(0)
	harness.Got(host.Wait(joiner))
	after := member.Getppid()
	adopted := ppid(host, outer)
	claim.Evidence("PID %d inside; getppid() before %d, after %d; outside its parent is %d, the subreaper %d", member.Getpid(), before, after, adopted, host.Getpid())
	Expect(before).To(Equal(0), "getppid() before its parent's exit")
	Expect(after).To(Equal(0), "getppid() after its parent's exit")
	Expect(adopted).To(Equal(host.Getpid()), "its parent as seen outside is the outer subreaper")
	Expect(member.Getpid()).To(BeNumerically(">", 1), "contrast: it is an ordinary member")
	harness.Must(member.Kill(unix.SIGKILL))
	harness.Got(host.Wait4(outer, 0))
})

var _ = claim.It(claim.Claim{
	ID:       "pid/init-exit-waits-for-outside-parented-members",
	Text:     "A killed init is not reapable until every member has been reaped, also those whose parent is outside.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "returns at once when its parent reaps it",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	joiner := host.Fork(ctx)
	fd := harness.Got(joiner.Open(fmt.Sprintf("/proc/%d/ns/pid", init.PID()), unix.O_RDONLY, 0))
	harness.Must(joiner.Setns(fd, unix.CLONE_NEWPID))
	member := joiner.Fork(ctx)
	harness.Must(init.Kill(unix.SIGKILL))
	Expect(member.WaitExit(settle)).To(BeTrue(), "the member, killed with its init")
	early, _, err := host.WaitAny(init.PID(), unix.WNOHANG)
	harness.Must(err)
	Expect(early).To(Equal(0), "init is not reapable while a member whose parent is outside is unreaped")
	harness.Got(joiner.Wait(member))
	late := harness.Got(host.Wait(init))
	claim.Evidence("with an unreaped member: wait4(WNOHANG) returned %d; after it was reaped: ended by %v", early, late.Signal())
	Expect(late.Signal()).To(Equal(unix.SIGKILL), "contrast: once that member's parent has reaped it")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/unshare-does-not-move-caller",
	Text:     "unshare(CLONE_NEWPID) leaves the caller's PID and PID namespace alone; only later children are inside.",
	Source:   claim.Sources{claim.Article("Using the unshare User-space Tool"), claim.Man("unshare(2)", ""), claim.Man("pid_namespaces(7)", "setns and unshare semantics")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "the next child has PID 1",
	Try:      `unshare --pid sh -c 'echo $$; sh -c "echo \$\$"'`,
	Shows:    "<pid>\n1",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	pid, link := sb.Getpid(), harness.Got(sb.Namespace(namespace.PID))
	Expect(sb.Unshare(unix.CLONE_NEWPID)).To(Succeed(), "unshare(CLONE_NEWPID)")
	after := harness.Got(sb.Namespace(namespace.PID))
	child := sb.Fork(ctx)
	claim.Evidence("caller: PID %d before, %d after, link unchanged: %v; next child: %d", pid, sb.Getpid(), after.SameAs(link), child.Getpid())
	Expect(sb.Getpid()).To(Equal(pid), "the caller's PID after unshare(CLONE_NEWPID)")
	Expect(after.SameAs(link)).To(BeTrue(), "the caller's pid link after unshare(CLONE_NEWPID)")
	Expect(child.Getpid()).To(Equal(1), "contrast: the next child")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/unshare-command-without-fork-breaks",
	Text:     `After unshare --pid without --fork a shell can start one command, and the next fails with "Cannot allocate memory".`,
	Source:   claim.Sources{claim.Article("Using the unshare User-space Tool")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "with --fork both run",
	Try:      "unshare --pid sh -c '/bin/true; /bin/true; echo'; unshare --pid --fork sh -c '/bin/true; /bin/true; echo fine'",
	Shows:    "sh: …: Cannot fork\nfine",
}, func(ctx SpecContext) {
	tiny := rootfs.Tiny(ctx)
	shell := func(fork bool) (harness.Output, harness.Output) {
		sb := harness.Start(ctx, harness.New(namespace.Mount), harness.WithChroot(tiny.Dir))
		harness.Must(sb.Unshare(unix.CLONE_NEWPID))
		if fork {
			sb = sb.Fork(ctx)
		}
		first := harness.Got(sb.Run(ctx, "/bin/true"))
		child, err := sb.Clone(ctx, 0)
		if err != nil {
			return first, harness.Output{Stderr: err.Error()}
		}
		child.Exit(0)
		return first, harness.Output{}
	}
	first, second := shell(false)
	_, forked := shell(true)
	claim.Evidence("without --fork: first command status %d, second: %s; with --fork: %q", first.Status.ExitStatus(), second.Stderr, forked.Stderr)
	Expect(first.Status.ExitStatus()).To(Equal(0), "the first command")
	Expect(second.Stderr).To(ContainSubstring("ENOMEM"), "the second command cannot be forked")
	Expect(forked.Stderr).To(BeEmpty(), "contrast: with --fork")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/pid-for-children-link-changes",
	Text:     "After unshare(CLONE_NEWPID) pid_for_children cannot be read (ENOENT) until the first child exists, or from 7.3 on names the new namespace at once, and then is the child's namespace.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "setns and unshare semantics"), claim.Man("namespaces(7)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "equal to own pid link before",
}, func(ctx SpecContext) {
	const path = "/proc/self/ns/pid_for_children"
	sb := harness.Start(ctx)
	own := harness.Got(sb.Namespace(namespace.PID))
	before, err := sb.Stat(path)
	Expect(err).NotTo(HaveOccurred(), "pid_for_children before unshare(2)")
	harness.Must(sb.Unshare(unix.CLONE_NEWPID))
	early, empty := sb.Stat(path)
	child := sb.Fork(ctx)
	after := harness.Got(sb.Stat(path))
	inner := harness.Got(sb.Stat(fmt.Sprintf("/proc/%d/ns/pid", pidBySelf(sb, child))))
	claim.Evidence("before the first child: %v; after: %v, the child's pid link %v", empty, after, inner)
	Expect(before.SameAs(own)).To(BeTrue(), "contrast: pid_for_children before unshare(2) is the own namespace")
	if empty == nil {
		// From 7.3 on the link names the new namespace at once.
		Expect(early.SameAs(inner)).To(BeTrue(), "pid_for_children after unshare(CLONE_NEWPID), before the first child, is the new namespace")
	} else {
		Expect(empty).To(harness.FailWith(unix.ENOENT), "pid_for_children after unshare(CLONE_NEWPID), before the first child")
	}
	Expect(after.SameAs(inner)).To(BeTrue(), "pid_for_children once the first child exists is the child's namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/second-unshare-einval",
	Text:     "A process can call unshare(CLONE_NEWPID) only once; the second call is EINVAL.",
	Source:   claim.Sources{claim.Man("unshare(2)", "ERRORS"), claim.Man("pid_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.UTS)},
	Contrast: "CLONE_NEWUTS may be unshared twice",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	harness.Must(sb.Unshare(unix.CLONE_NEWPID))
	err := sb.Unshare(unix.CLONE_NEWPID)
	claim.Evidence("second unshare(CLONE_NEWPID): %v", err)
	Expect(err).To(harness.FailWith(unix.EINVAL), "the second unshare(CLONE_NEWPID)")
	Expect(sb.Unshare(unix.CLONE_NEWUTS)).To(Succeed(), "contrast: CLONE_NEWUTS")
	Expect(sb.Unshare(unix.CLONE_NEWUTS)).To(Succeed(), "contrast: CLONE_NEWUTS again")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/join-ancestor-einval",
	Text:     "A process cannot join a PID namespace above its own.",
	Source:   claim.Sources{claim.Man("setns(2)", "ERRORS"), claim.Man("pid_namespaces(7)", "Nesting")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "its own namespace is accepted",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	outer := harness.Got(host.OpenNamespace(namespace.PID))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.Mount))
	ancestor := inside.Setns(outer, unix.CLONE_NEWPID)
	harness.Must(inside.Mount("proc", "/proc", "proc", 0, ""))
	own := inside.Setns(harness.Got(inside.OpenNamespace(namespace.PID)), unix.CLONE_NEWPID)
	claim.Evidence("the ancestor's: %v; its own: %v", ancestor, own)
	Expect(ancestor).To(harness.FailWith(unix.EINVAL), "setns to an ancestor's PID namespace")
	Expect(own).To(Succeed(), "contrast: its own")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/setns-affects-children-only",
	Text:     "setns(2) to a PID namespace affects only children created afterwards.",
	Source:   claim.Sources{claim.Man("setns(2)", "PID namespaces")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "without the call a child stays in the host's namespace",
	Core:     true,
	Try:      "unshare --pid --fork sleep 99 & until p=$(pgrep -x -n sleep); do :; done; nsenter --pid=/proc/$p/ns/pid --no-fork sh -c 'readlink /proc/self/ns/pid' ; readlink /proc/self/ns/pid /proc/$p/ns/pid",
	Shows:    "pid:[<inner>]\npid:[<own>]\npid:[<inner>]",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	joiner := host.Fork(ctx)
	pid, link := joiner.Getpid(), harness.Got(joiner.Namespace(namespace.PID))
	fd := harness.Got(joiner.Open(fmt.Sprintf("/proc/%d/ns/pid", init.PID()), unix.O_RDONLY, 0))
	Expect(joiner.Setns(fd, unix.CLONE_NEWPID)).To(Succeed(), "setns(CLONE_NEWPID)")
	unmoved := harness.Got(joiner.Namespace(namespace.PID))
	child := joiner.Fork(ctx)
	kill := child.Signal(1, 0)
	inner := nspid(host, pidBySelf(host, child))
	plain := nspid(host, host.Fork(ctx).PID())
	claim.Evidence("caller: PID %d then %d; child: NSpid %q, kill(1, 0) %v; plain child: NSpid %q", pid, joiner.Getpid(), inner, kill, plain)
	Expect(joiner.Getpid()).To(Equal(pid), "the caller's PID after setns")
	Expect(unmoved.SameAs(link)).To(BeTrue(), "the caller's pid link after setns")
	Expect(child.Getpid()).To(Equal(2), "the child's PID inside the joined namespace")
	Expect(strings.Fields(inner)).To(HaveLen(2), "levels of the child's NSpid")
	Expect(kill).To(Succeed(), "the child signalling PID 1 of the joined namespace")
	Expect(strings.Fields(plain)).To(HaveLen(1), "contrast: a child without the call")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/nesting-limit-32",
	Text:     "PID namespaces nest at most 32 deep below the initial one; one more is ENOSPC.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Nesting"), claim.Man("unshare(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "level 32 works",
}, func(ctx SpecContext) {
	level := pidDepth(ctx)
	sb := harness.Start(ctx)
	made := 0
	var err error
	for made <= 33 {
		var next *harness.Sandbox
		if next, err = sb.Clone(ctx, unix.CLONE_NEWPID); err != nil {
			break
		}
		sb, made = next, made+1
	}
	claim.Evidence("%d levels below the stage, which is %s; the next: %v", made, level, err)
	Expect(err).To(harness.FailWith(unix.ENOSPC), "one PID namespace more than the limit")
	Expect(made).To(BeNumerically(">", 0), "contrast: the level before works")
	if level.known {
		Expect(made+level.depth).To(Equal(32), "levels below the initial PID namespace")
	} else {
		Expect(made+level.depth).To(BeNumerically("<=", 32), "levels below the initial PID namespace")
	}
})

var _ = claim.It(claim.Claim{
	ID:       "pid/ns-last-pid-picks-next",
	Text:     "Writing N to ns_last_pid makes the next process in that namespace get PID N+1.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "/proc files")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.File("/proc/sys/kernel/ns_last_pid", "CONFIG_CHECKPOINT_RESTORE", "CONFIG_SYSCTL")},
	Contrast: "without the write it is 2",
	Try:      `unshare --pid --fork sh -c 'echo 500 > /proc/sys/kernel/ns_last_pid; sh -c "echo \$\$"'`,
	Shows:    "501",
}, func(ctx SpecContext) {
	init := harness.Start(ctx, harness.New(namespace.PID))
	first := init.Fork(ctx)
	Expect(init.WriteFile("/proc/sys/kernel/ns_last_pid", "500")).To(Succeed(), "writing ns_last_pid in a new PID namespace")
	second := init.Fork(ctx)
	claim.Evidence("before: %d; after writing 500: %d", first.Getpid(), second.Getpid())
	Expect(second.Getpid()).To(Equal(501), "the PID after ns_last_pid was set to 500")
	Expect(first.Getpid()).To(Equal(2), "contrast: without the write")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/choosing-pids-needs-capability",
	Text:     "Choosing a PID by set_tid or ns_last_pid needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN in the user namespace that owns the PID namespace (EPERM).",
	Source:   claim.Sources{claim.Man("clone(2)", "ERRORS"), claim.Man("pid_namespaces(7)", "/proc files"), claim.Man("capabilities(7)", "CAP_CHECKPOINT_RESTORE")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), userNeed, claim.File("/proc/sys/kernel/ns_last_pid", "CONFIG_CHECKPOINT_RESTORE", "CONFIG_SYSCTL")},
	Contrast: "with the capability, and for a process of no chosen PID, it works",
	Since:    "5.5",
}, func(ctx SpecContext) {
	const file = "/proc/sys/kernel/ns_last_pid"
	init := harness.Start(ctx, harness.New(namespace.PID))
	// Root of a user namespace that does not own the PID namespace.
	foreign := unmapped(ctx, init)
	dropped := init.Fork(ctx)
	harness.Must(dropped.Capset(harness.Capabilities{}))
	choose := func(sb *harness.Sandbox, pid int32) (tid, last error) {
		_, tid = sb.Clone3(ctx, harness.CloneArgs{SetTID: []int32{pid}})
		return tid, sb.WriteFile(file, "500")
	}
	foreignTID, foreignLast := choose(foreign, 70)
	droppedTID, droppedLast := choose(dropped, 71)
	_, plain := dropped.Clone(ctx, 0)
	tid, last := choose(init, 72)
	claim.Evidence("set_tid and ns_last_pid without capabilities: %v, %v; as root of a user namespace that does not own the PID namespace: %v, %v; with them: %v, %v", droppedTID, droppedLast, foreignTID, foreignLast, tid, last)
	Expect(droppedTID).To(harness.FailWith(unix.EPERM), "clone3(set_tid) without capabilities")
	Expect(droppedLast).To(harness.FailWith(unix.EPERM), "writing ns_last_pid without capabilities")
	Expect(foreignTID).To(harness.FailWith(unix.EPERM), "clone3(set_tid) as root of a user namespace that does not own the PID namespace")
	Expect(foreignLast).To(harness.FailWith(unix.EPERM), "writing ns_last_pid as root of a user namespace that does not own the PID namespace")
	Expect(plain).NotTo(HaveOccurred(), "contrast: a process of no chosen PID without capabilities")
	Expect(tid).NotTo(HaveOccurred(), "contrast: clone3(set_tid) with all capabilities")
	Expect(last).NotTo(HaveOccurred(), "contrast: writing ns_last_pid with all capabilities")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/clone3-set-tid",
	Text:     "clone3(2) with set_tid creates the process with the requested PID.",
	Source:   claim.Sources{claim.Man("clone(2)", "The set_tid array")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "next free PID without it; EEXIST for a taken one",
	Since:    "5.5",
}, func(ctx SpecContext) {
	init := harness.Start(ctx, harness.New(namespace.PID))
	plain := init.Fork(ctx)
	chosen, err := init.Clone3(ctx, harness.CloneArgs{SetTID: []int32{77}})
	Expect(err).NotTo(HaveOccurred(), "clone3(set_tid = 77)")
	_, taken := init.Clone3(ctx, harness.CloneArgs{SetTID: []int32{77}})
	claim.Evidence("asked for 77: %d; taken already: %v; without: %d", chosen.Getpid(), taken, plain.Getpid())
	Expect(chosen.Getpid()).To(Equal(77), "the PID asked for")
	Expect(taken).To(harness.FailWith(unix.EEXIST), "a PID that is taken")
	Expect(plain.Getpid()).To(Equal(2), "contrast: without set_tid")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/scm-credentials-translated",
	Text:     "A PID passed over a UNIX socket is translated to the receiver's namespace.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Miscellaneous")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "inner receiver gets the inner PID",
}, func(ctx SpecContext) {
	outside := harness.Start(ctx)
	pair := make([]byte, 8)
	harness.Got(outside.Syscall("socketpair", unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM, 0, pair))
	recv, send := int(le32(pair)), int(le32(pair[4:]))
	on := binary.NativeEndian.AppendUint32(nil, 1)
	harness.Got(outside.Syscall("setsockopt(SO_PASSCRED)", unix.SYS_SETSOCKOPT, recv, unix.SOL_SOCKET, unix.SO_PASSCRED, on, 4))
	inside := harness.Start(ctx, harness.Under(outside), harness.New(namespace.PID))
	member := inside.Fork(ctx)
	receive := func(sb *harness.Sandbox) int {
		harness.Must(member.Write(send, []byte("x")))
		return credentialsPID(sb, recv)
	}
	outer, inner := receive(outside), receive(inside)
	claim.Evidence("received outside: %d (its outer PID is %d); inside: %d", outer, pidBySelf(outside, member), inner)
	Expect(outer).To(Equal(pidBySelf(outside, member)), "the sender's PID as an outside receiver gets it")
	Expect(inner).To(Equal(2), "contrast: as an inside receiver gets it")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/kill-all-stays-inside",
	Text:     "kill(-1, sig) by a namespace's init reaches all other members and nobody outside.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "Nesting"), claim.Man("kill(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "a process outside is untouched",
	Try:      "sleep 99 & unshare --pid --fork sh -c 'sleep 98 & kill -9 -1; wait $!; echo $?'; kill -0 $! && echo the other lives",
	Shows:    "…\n137\nthe other lives",
}, func(ctx SpecContext) {
	outside := harness.Start(ctx)
	init := harness.Start(ctx, harness.New(namespace.PID))
	a, b := init.Fork(ctx), init.Fork(ctx)
	reached, err := signalAll(init, a, b, outside)
	claim.Evidence("kill(-1, SIGURG) by init: two members reached: %v, %v; a process outside: %v", reached[0], reached[1], reached[2])
	Expect(err).NotTo(HaveOccurred(), "kill(-1, SIGURG) by a namespace's init")
	Expect(reached[2]).To(BeFalse(), "contrast: a process outside of the PID namespace gets the signal of its init's kill(-1)")
	Expect(reached[:2]).To(Equal([]bool{true, true}), "whether the members get the signal of their init's kill(-1)")
	Expect(init.Signal(-1, unix.SIGKILL)).To(Succeed(), "kill(-1, SIGKILL) by a namespace's init")
	first, second := harness.Got(init.Wait(a)), harness.Got(init.Wait(b))
	claim.Evidence("members ended by %v and %v; init and a process outside live", first.Signal(), second.Signal())
	Expect([]unix.Signal{first.Signal(), second.Signal()}).To(Equal([]unix.Signal{unix.SIGKILL, unix.SIGKILL}), "the signals that ended the other members")
	Expect(init.Getpid()).To(Equal(1), "the caller lives")
	Expect(outside.WaitExit(0)).To(BeFalse(), "contrast: a process outside")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/reboot-ends-only-the-container",
	Text:     "reboot(2) in a non-initial PID namespace ends its init with SIGHUP (restart) or SIGINT (halt, power off) and does not touch the machine.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process"), claim.Man("reboot(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.User)},
	Contrast: "without an own PID namespace a userns root gets EPERM",
	Try:      "unshare --user --map-root-user --pid --fork reboot -f",
}, func(ctx SpecContext) {
	// A user namespace makes the refusal outside of a PID namespace safe: its
	// root has no CAP_SYS_BOOT over the machine.
	refused := harness.Start(ctx, harness.New(namespace.User))
	_, err := refused.Syscall("reboot(LINUX_REBOOT_CMD_CAD_OFF)", unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, unix.LINUX_REBOOT_CMD_CAD_OFF, nil)
	Expect(err).To(harness.FailWith(unix.EPERM), "contrast: root of a user namespace without a PID namespace of its own")
	for _, c := range []struct {
		name    string
		command uint32
		signal  unix.Signal
	}{
		{"RESTART", unix.LINUX_REBOOT_CMD_RESTART, unix.SIGHUP},
		{"HALT", unix.LINUX_REBOOT_CMD_HALT, unix.SIGINT},
		{"POWER_OFF", unix.LINUX_REBOOT_CMD_POWER_OFF, unix.SIGINT},
	} {
		host := harness.Start(ctx)
		init := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.PID))
		init.Begin("reboot", unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, c.command, nil)
		Expect(init.WaitExit(settle)).To(BeTrue(), "init has ended after reboot(%s)", c.name)
		status := harness.Got(host.Wait(init))
		claim.Evidence("%s: init ended by %v", c.name, status.Signal())
		Expect(status.Signaled() && status.Signal() == c.signal).To(BeTrue(), "wait status of init after reboot(%s): %v", c.name, status)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "pid/pid-max-per-namespace",
	Text:     "kernel.pid_max belongs to the PID namespace: lowering it inside leaves the host's value.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/sys/kernel/pid_max describes a system-wide value"), claim.Doc("kernels since 6.14 differ", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "host value unchanged (before 6.14 it would change)",
	Since:    "6.14",
	Try:      "unshare --pid --fork --mount-proc sh -c 'echo 400 > /proc/sys/kernel/pid_max; cat /proc/sys/kernel/pid_max'; cat /proc/sys/kernel/pid_max",
	Shows:    "400\n<host>",
}, func(ctx SpecContext) {
	const path = "/proc/sys/kernel/pid_max"
	host := harness.Start(ctx)
	before := harness.Got(host.ReadFile(path))
	inside := harness.Start(ctx, harness.New(namespace.PID, namespace.Mount))
	harness.Must(inside.Mount("proc", "/proc", "proc", 0, ""))
	Expect(inside.WriteFile(path, "400")).To(Succeed(), "writing %s in a new PID namespace", path)
	own, after := harness.Got(inside.ReadFile(path)), harness.Got(host.ReadFile(path))
	if after != before {
		harness.Must(host.WriteFile(path, before))
	}
	claim.Evidence("inside: %s; host before: %s, after: %s", strings.TrimSpace(own), strings.TrimSpace(before), strings.TrimSpace(after))
	Expect(strings.TrimSpace(own)).To(Equal("400"), "kernel.pid_max inside after writing 400")
	Expect(after).To(Equal(before), "contrast: the host's kernel.pid_max")
})

var _ = claim.It(claim.Claim{
	ID:       "pid/pidfd-open-uses-callers-numbering",
	Text:     "pidfd_open(2) takes PIDs of the caller's own PID namespace.",
	Source:   claim.Sources{claim.Man("pidfd_open(2)", ""), claim.Man("pid_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "that number works outside",
	Since:    "5.3",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	outside := host.Fork(ctx)
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	_, one := inside.Syscall("pidfd_open(1)", unix.SYS_PIDFD_OPEN, 1, 0)
	child := inside.Fork(ctx)
	fd := harness.Got(inside.Syscall("pidfd_open of a child", unix.SYS_PIDFD_OPEN, child.PID(), 0))
	child.Exit(0)
	// Only the descriptor of a child can be waited for.
	_, own := inside.Syscall("waitid(P_PIDFD)", unix.SYS_WAITID, unix.P_PIDFD, fd, make([]byte, 128), unix.WEXITED|unix.WNOWAIT, 0)
	_, outer := inside.Syscall("pidfd_open(outer)", unix.SYS_PIDFD_OPEN, outside.PID(), 0)
	_, allowed := host.Syscall("pidfd_open", unix.SYS_PIDFD_OPEN, outside.PID(), 0)
	claim.Evidence("1 inside: %v; waiting for child %d by the pidfd of its number inside: %v; an outer number inside: %v; outside: %v", one, child.PID(), own, outer, allowed)
	Expect(one).NotTo(HaveOccurred(), "pidfd_open(1) inside")
	Expect(own).NotTo(HaveOccurred(), "waitid(P_PIDFD) of the process that pidfd_open(2) gives for a child's number inside")
	Expect(outer).To(harness.FailWith(unix.ESRCH), "pidfd_open of an outer number inside")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: that number outside")
})
