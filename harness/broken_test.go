package harness

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness/agent"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
)

// stopped runs do and returns the message with which it ended the spec.
func stopped(do func()) (message string) {
	before := stop
	type end struct{ message string }
	stop = func(m string) { panic(end{m}) }
	defer func() {
		stop = before
		if e, ok := recover().(end); ok {
			message = e.message
		}
	}()
	do()
	return ""
}

var _ = Describe("a sandbox in a namespace that it must have left", func() {
	It("is not found where the kernel did what it was told", func(ctx SpecContext) {
		sb := Start(ctx, New(namespace.UTS, namespace.Network))
		Expect(sb.Unshare(unix.CLONE_NEWIPC | unix.CLONE_NEWPID)).To(Succeed())
		Expect(stopped(func() { Broken("no reason") })).To(Equal(BrokenPrefix + "no reason"))
	})

	It("makes the spec a failed one that says so", func(ctx SpecContext) {
		sb := Start(ctx)
		sb.cloned(unix.CLONE_NEWUTS)
		Expect(stopped(func() { Broken("no reason") })).To(Equal(
			"clone(CLONE_NEWUTS) succeeded, and the process is still in its parent's uts namespace; then: no reason"))
		sb.moved()
		Expect(stopped(func() { Broken("no reason") })).To(HavePrefix(BrokenPrefix), "setns may have brought it back")
	})

	It("is found by what its children would get", func(ctx SpecContext) {
		sb := Start(ctx)
		sb.unshared(unix.CLONE_NEWPID)
		Expect(stopped(func() { Broken("no reason") })).To(HavePrefix("unshare(CLONE_NEWPID) succeeded"))
	})
})

var _ = Describe("a kernel that oopses", func() {
	It("makes the spec a failed one that says so", func(ctx SpecContext) {
		Watch()
		Expect(stopped(func() { Broken("no reason") })).To(Equal(BrokenPrefix+"no reason"), "contrast: no oops since the spec began")
		oopses--
		DeferCleanup(Watch)
		sb := Start(ctx)
		Expect(sb.Kill(unix.SIGKILL)).To(Succeed())
		Expect(stopped(func() { sb.Getpid() })).To(Equal(
			"the kernel oopsed, its log has the trace; then: getpid in " + sb.name + ": its process has ended"))
	})
})

var _ = Describe("each way of going wrong ends the spec as broken", func() {
	It("says so when a probe panics", func(ctx SpecContext) {
		agent := Start(ctx).Agent(ctx)
		message := stopped(func() { probe.Misbehave.In(agent, "panic") })
		Expect(message).To(HavePrefix(BrokenPrefix))
		Expect(message).To(ContainSubstring("panicked: asked to"))
		Expect(probe.Monotonic.In(agent, probe.None{})).NotTo(BeZero(), "the agent lives on")
	})

	It("says so when an agent is killed", func(ctx SpecContext) {
		agent := Start(ctx).Agent(ctx)
		Expect(agent.Kill(unix.SIGKILL)).To(Succeed())
		message := stopped(func() { probe.Monotonic.In(agent, probe.None{}) })
		Expect(message).To(HavePrefix(BrokenPrefix))
		Expect(message).To(Or(ContainSubstring("it has ended"), ContainSubstring("cut short")))
	})

	It("says so when a reply is cut short", func(ctx SpecContext) {
		agent := Start(ctx).Agent(ctx)
		message := stopped(func() { probe.Misbehave.In(agent, "half") })
		Expect(message).To(HavePrefix(BrokenPrefix))
		Expect(message).To(ContainSubstring("cut short"))
	})

	It("says so when a sandbox is killed", func(ctx SpecContext) {
		sb := Start(ctx)
		Expect(sb.Kill(unix.SIGKILL)).To(Succeed())
		Expect(sb.WaitExit(settleTime)).To(BeTrue())
		message := stopped(func() { sb.Getpid() })
		Expect(message).To(HavePrefix(BrokenPrefix))
		Expect(message).To(ContainSubstring("its process has ended"))
	})

	It("says so when a sandbox cannot be started", func(ctx SpecContext) {
		sb := Start(ctx, New(namespace.User))
		Expect(sb.WriteFile("/proc/sys/user/max_uts_namespaces", "0")).To(Succeed())
		message := stopped(func() { Start(ctx, Under(sb), New(namespace.UTS)) })
		Expect(message).To(HavePrefix(BrokenPrefix))
		Expect(message).To(ContainSubstring("ENOSPC"))
	})

	It("says so when a call outlasts the spec's time", func(ctx SpecContext) {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		sb := Start(short)
		message := stopped(func() { _, _ = sb.Syscall("pause", unix.SYS_PPOLL, nil, 0, nil, nil, 0) })
		Expect(message).To(HavePrefix(BrokenPrefix))
		Expect(message).To(ContainSubstring("time ran out"))
	})

	It("says so when a probe hangs", func(ctx SpecContext) {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		agent := Start(ctx).Agent(short)
		message := stopped(func() { probe.Misbehave.In(agent, "hang") })
		Expect(message).To(HavePrefix(BrokenPrefix))
		Expect(message).To(ContainSubstring("time ran out"))
	})

	It("sets the stage up anew when it has died", func(ctx SpecContext) {
		stage := Got(CurrentStage())
		pid := stage.cmd.Process.Pid
		Expect(unix.Kill(pid, unix.SIGKILL)).To(Succeed())
		_ = stopped(func() {
			for {
				stage.root.bind(ctx)
				stage.root.Getpid()
			}
		})
		Expect(Got(CurrentStage()).cmd.Process.Pid).NotTo(Equal(pid))
		Expect(Start(ctx).Getpid()).To(BeNumerically(">", 1))
	})

	It("never says so of an errno that the kernel gave", func(ctx SpecContext) {
		sb := Start(ctx)
		message := stopped(func() {
			Expect(sb.Chdir("/no/such")).To(MatchError(unix.ENOENT))
		})
		Expect(message).To(BeEmpty())
	})
})

var _ = Describe("clean-up", func() {
	It("kills and waits, also for a PID namespace full of processes", func(ctx SpecContext) {
		var pids []int
		before := Got(Host(ctx).PIDs("/proc"))
		DeferCleanup(func(ctx SpecContext) {
			Expect(Host(ctx).PIDs("/proc")).To(Equal(before), fmt.Sprint(pids))
		})
		sb := Start(ctx, New(namespace.PID, namespace.Mount))
		for range 5 {
			child := sb.Fork(ctx)
			child.Fork(ctx)
			pids = append(pids, child.PID())
		}
	})

	It("returns every slot of shared memory", func(ctx SpecContext) {
		stage := Got(CurrentStage())
		Host(ctx)
		free := len(stage.slots)
		DeferCleanup(func() { Expect(stage.slots).To(HaveLen(free)) })
		for range 3 {
			Start(ctx)
		}
	})

	It("touches nothing where the stage is not in namespaces of its own", func() {
		before, err := os.Hostname()
		Expect(err).NotTo(HaveOccurred())
		// As a kernel does that ignores CLONE_NEWUTS.
		attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | stageFlags&^unix.CLONE_NEWUTS}
		_, err = begin(agent.StageName, attr, stageFlags)
		Expect(err).To(MatchError(&SharedNamespace{namespace.UTS}))
		Expect(err).To(MatchError(ContainSubstring("left the child in its parent's uts namespace")))
		Expect(os.Hostname()).To(Equal(before))
	})
})

var _ = Describe("FailWith", func() {
	for _, c := range []struct {
		actual  any
		matches bool
		message string
	}{
		{&Error{"mount proc on /proc", unix.EPERM}, true, ""},
		{fmt.Errorf("wrapped: %w", unix.EPERM), true, ""},
		{&Error{"mount proc on /proc", unix.EINVAL}, false, "Expected\n    EPERM (operation not permitted)\nand got\n    mount proc on /proc: EINVAL (invalid argument)"},
		{unix.ENOENT, false, "Expected\n    EPERM (operation not permitted)\nand got\n    ENOENT (no such file or directory)"},
		{nil, false, "Expected\n    EPERM (operation not permitted)\nand got\n    success"},
	} {
		It(fmt.Sprintf("names both for %v", c.actual), func() {
			m := FailWith(unix.EPERM)
			Expect(m.Match(c.actual)).To(Equal(c.matches))
			if !c.matches {
				Expect(m.FailureMessage(c.actual)).To(Equal(c.message))
			}
		})
	}

	It("is an error for what is none", func() {
		_, err := FailWith(unix.EPERM).Match(7)
		Expect(err).To(MatchError(ContainSubstring("wants an error")))
	})
})
