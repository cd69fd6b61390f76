package namespaces

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var timeNeed = claim.Namespace(namespace.Time)

const offsets = "/proc/self/timens_offsets"

// wakeTime bounds the wait for a sleep of at most 0.1 s.
var wakeTime = harness.Scaled(5 * time.Second)

// clock reads a clock by clock_gettime(2), the system call.
func clock(sb *harness.Sandbox, id int) time.Duration {
	buf := make([]byte, 16)
	harness.Got(sb.Syscall("clock_gettime", unix.SYS_CLOCK_GETTIME, id, buf))
	return timespec(buf)
}

// vdsoClock reads a clock as programs do, through the vDSO.
func vdsoClock(sb *harness.Sandbox, id int) time.Duration {
	buf := make([]byte, 16)
	harness.Must(sb.VDSO("clock_gettime", id, buf))
	return timespec(buf)
}

func timespec(raw []byte) time.Duration {
	return time.Duration(le64(raw))*time.Second + time.Duration(le64(raw[8:]))
}

// ahead is how far the clock of a is before that of b, to the second.
func ahead(a, b *harness.Sandbox, id int) int { return aheadBy(clock, a, b, id) }

// aheadBy is ahead with another way to read the clock of a. On a busy machine
// much may pass between two readings: those do not count.
func aheadBy(read func(*harness.Sandbox, int) time.Duration, a, b *harness.Sandbox, id int) int {
	for {
		before := clock(b, id)
		at := read(a, id)
		if clock(b, id)-before < time.Second/2 {
			return int((at - before).Round(time.Second) / time.Second)
		}
	}
}

// inTime starts a process in a new time namespace with the offsets, and the
// process that created it.
func inTime(ctx SpecContext, lines string) (creator, member *harness.Sandbox) {
	creator = harness.Start(ctx)
	harness.Must(creator.Unshare(unix.CLONE_NEWTIME))
	if lines != "" {
		harness.Must(creator.WriteFile(offsets, lines))
	}
	return creator, creator.Fork(ctx)
}

var _ = claim.It(claim.Claim{
	ID:       "time/unshare-places-only-children",
	Text:     "unshare(CLONE_NEWTIME) leaves the caller where it is and places its later children in the new time namespace.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "DESCRIPTION"), claim.Man("unshare(2)", "")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "both links equal before",
	Since:    "5.6",
	Try:      "unshare --time sh -c 'readlink /proc/self/ns/time'; readlink /proc/self/ns/time; unshare --time --fork readlink /proc/self/ns/time",
	Shows:    "time:[<own>]\ntime:[<host>]\n…",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	before := links(sb)
	Expect(before["time"].SameAs(before["time_for_children"])).To(BeTrue(), "contrast: both links are equal before")
	Expect(sb.Unshare(unix.CLONE_NEWTIME)).To(Succeed(), "unshare(CLONE_NEWTIME)")
	after := links(sb)
	child := links(sb.Fork(ctx))
	claim.Evidence("links of the caller that changed: %v", differing(before, after))
	Expect(differing(before, after)).To(Equal([]string{"time_for_children"}), "links of the caller of unshare(CLONE_NEWTIME) that differ")
	Expect(child["time"].SameAs(after["time_for_children"])).To(BeTrue(), "the child is in the new time namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "time/monotonic-offset-applies",
	Text:     "The monotonic offset shifts CLOCK_MONOTONIC and its COARSE and RAW forms for members.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "host clock unchanged",
	Since:    "5.6",
	Try:      "unshare --time --monotonic 100000 --fork python3 -c 'import time; print(time.monotonic())'",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "monotonic 100000 0\n")
	for name, id := range map[string]int{"CLOCK_MONOTONIC": unix.CLOCK_MONOTONIC, "CLOCK_MONOTONIC_COARSE": unix.CLOCK_MONOTONIC_COARSE, "CLOCK_MONOTONIC_RAW": unix.CLOCK_MONOTONIC_RAW} {
		claim.Evidence("%s inside is %d s ahead", name, ahead(member, creator, id))
		Expect(ahead(member, creator, id)).To(Equal(100000), "seconds that %s of a member is ahead", name)
	}
	Expect(ahead(creator, harness.Host(ctx), unix.CLOCK_MONOTONIC)).To(Equal(0), "contrast: the creator's clock")
})

var _ = claim.It(claim.Claim{
	ID:       "time/nested-offsets-count-from-the-initial-clock",
	Text:     "A time namespace starts with its creator's offsets, and those written for it count from the initial namespace's clock, not from its creator's.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "/proc/PID/timens_offsets")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "the creator's offset stays what it was",
	Since:    "5.6",
	Try:      "unshare --time --fork --monotonic 1000 unshare --time --fork --monotonic 100 cat /proc/self/timens_offsets",
	Shows:    "monotonic 100 0\nboottime 0 0",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "monotonic 1000 0\n")
	nested := func(lines string) *harness.Sandbox {
		sb := member.Fork(ctx)
		harness.Must(sb.Unshare(unix.CLONE_NEWTIME))
		if lines != "" {
			harness.Must(sb.WriteFile(offsets, lines))
		}
		return sb.Fork(ctx)
	}
	outer := ahead(member, creator, unix.CLOCK_MONOTONIC)
	started, written := ahead(nested(""), creator, unix.CLOCK_MONOTONIC), ahead(nested("monotonic 100 0\n"), creator, unix.CLOCK_MONOTONIC)
	claim.Evidence("ahead of the initial clock: the creator %d s; a nested namespace with nothing written %d s, with an offset of 100 %d s", outer, started, written)
	Expect(started).To(Equal(1000), "seconds that CLOCK_MONOTONIC of a nested time namespace is ahead, its creator being ahead by 1000")
	Expect(written).To(Equal(100), "seconds that CLOCK_MONOTONIC of a nested time namespace with an offset of 100 is ahead of the initial one")
	Expect(outer).To(Equal(1000), "contrast: seconds that the creator's clock is ahead")
})

var _ = claim.It(claim.Claim{
	ID:       "time/boottime-offset-and-uptime",
	Text:     "The boottime offset shifts CLOCK_BOOTTIME and /proc/uptime and leaves the monotonic clock.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "monotonic equal",
	Since:    "5.6",
	Try:      "cut -d. -f1 /proc/uptime | { read u; unshare --time --boottime 500000 --fork cut -d. -f1 /proc/uptime | { read v; test $((v - u)) -ge 500000 && echo 500000 later; }; }",
	Shows:    "500000 later",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "boottime 500000 0\n")
	uptime := func(sb *harness.Sandbox) float64 {
		var up float64
		_, err := fmt.Sscan(harness.Got(sb.ReadFile("/proc/uptime")), &up)
		harness.Must(err)
		return up
	}
	out := uptime(creator)
	in := uptime(member)
	claim.Evidence("CLOCK_BOOTTIME is %d s ahead; /proc/uptime inside: %.0f, outside: %.0f", ahead(member, creator, unix.CLOCK_BOOTTIME), in, out)
	Expect(ahead(member, creator, unix.CLOCK_BOOTTIME)).To(Equal(500000), "seconds that CLOCK_BOOTTIME of a member is ahead")
	Expect(in-out).To(BeNumerically("~", 500000, 5), "/proc/uptime inside less /proc/uptime outside")
	Expect(ahead(member, creator, unix.CLOCK_MONOTONIC)).To(Equal(0), "contrast: CLOCK_MONOTONIC")
})

var _ = claim.It(claim.Claim{
	ID:       "time/realtime-not-virtualised",
	Text:     `CLOCK_REALTIME is the same in every time namespace and "realtime" is no valid offset line.`,
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "NOTES")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "monotonic differs",
	Since:    "5.6",
	Try:      "date +%s | { read u; unshare --time --monotonic 100000 --fork date +%s | { read v; test $((v - u)) -lt 100 && echo the same; }; }",
	Shows:    "the same",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "monotonic 1000 0\n")
	other := harness.Start(ctx)
	harness.Must(other.Unshare(unix.CLONE_NEWTIME))
	err := other.WriteFile(offsets, "realtime 10 0\n")
	claim.Evidence("CLOCK_REALTIME is %d s ahead; a realtime line: %v", ahead(member, creator, unix.CLOCK_REALTIME), err)
	Expect(ahead(member, creator, unix.CLOCK_REALTIME)).To(Equal(0), "seconds that CLOCK_REALTIME of a member is ahead")
	Expect(err).To(harness.FailWith(unix.EINVAL), "a realtime line in timens_offsets")
	Expect(ahead(member, creator, unix.CLOCK_MONOTONIC)).To(Equal(1000), "contrast: CLOCK_MONOTONIC")
})

var _ = claim.It(claim.Claim{
	ID:       "time/offsets-frozen-after-first-member",
	Text:     "Offsets can be written repeatedly until the first process is in the namespace, then not at all (EACCES).",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "timens_offsets")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "two writes before succeed",
	Since:    "5.6",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	harness.Must(sb.Unshare(unix.CLONE_NEWTIME))
	first, second := sb.WriteFile(offsets, "monotonic 10 0\n"), sb.WriteFile(offsets, "monotonic 20 0\n")
	member := sb.Fork(ctx)
	third := sb.WriteFile(offsets, "monotonic 30 0\n")
	claim.Evidence("before the first member: %v, %v; after: %v", first, second, third)
	Expect(third).To(harness.FailWith(unix.EACCES), "writing offsets once a process is in the namespace")
	Expect(first).To(Succeed(), "contrast: before the first member")
	Expect(second).To(Succeed(), "contrast: a second time before the first member")
	Expect(ahead(member, sb, unix.CLOCK_MONOTONIC)).To(Equal(20), "the last offset written counts")
})

var _ = claim.It(claim.Claim{
	ID:       "time/offsets-need-cap-sys-time",
	Text:     "Writing offsets needs CAP_SYS_TIME in the user namespace owning the time namespace.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "timens_offsets")},
	Needs:    claim.Needs{timeNeed, claim.Namespace(namespace.User)},
	Contrast: "userns root may for its own",
	Since:    "5.6",
	Try:      "unshare --user --map-root-user --time --monotonic 10 --fork echo made; unshare --user --map-root-user --time setpriv --bounding-set -sys_time --inh-caps -sys_time /bin/sh -c '/bin/echo monotonic 10 0 > /proc/self/timens_offsets'",
	Shows:    "made\n…: Operation not permitted",
}, func(ctx SpecContext) {
	without := harness.Start(ctx, harness.New(namespace.User))
	harness.Must(without.Unshare(unix.CLONE_NEWTIME))
	harness.Must(without.DropCapability(unix.CAP_SYS_TIME))
	refused := without.WriteFile(offsets, "monotonic 10 0\n")
	with := harness.Start(ctx, harness.New(namespace.User))
	harness.Must(with.Unshare(unix.CLONE_NEWTIME))
	allowed := with.WriteFile(offsets, "monotonic 10 0\n")
	claim.Evidence("without CAP_SYS_TIME: %v; root of the owning user namespace: %v", refused, allowed)
	Expect(refused).To(harness.FailWith(unix.EPERM), "writing offsets without CAP_SYS_TIME")
	Expect(allowed).To(Succeed(), "contrast: root of the owning user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "time/out-of-range-offset-erange",
	Text:     "Offsets that would make a clock negative or pass half of KTIME_SEC_MAX are refused with ERANGE.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "timens_offsets")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "-10 s accepted",
	Since:    "5.6",
	Try:      "unshare --time --monotonic -99999999 --fork true",
	Shows:    "unshare: failed to write to /proc/self/timens_offsets: Numerical result out of range",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	harness.Must(sb.Unshare(unix.CLONE_NEWTIME))
	negative := sb.WriteFile(offsets, "monotonic -999999999 0\n")
	// Half of KTIME_SEC_MAX is about 4.6 thousand million seconds.
	beyond := sb.WriteFile(offsets, "monotonic 4700000000 0\n")
	fine := sb.WriteFile(offsets, "monotonic -1 0\n")
	claim.Evidence("a negative clock: %v; beyond half of the range: %v; -1 s: %v", negative, beyond, fine)
	Expect(negative).To(harness.FailWith(unix.ERANGE), "an offset that makes the clock negative")
	Expect(beyond).To(harness.FailWith(unix.ERANGE), "an offset beyond half of KTIME_SEC_MAX")
	Expect(fine).To(Succeed(), "contrast: -1 s")
})

var _ = claim.It(claim.Claim{
	ID:       "time/setns-moves-the-caller",
	Text:     "setns(2) on a time handle does move the caller, whose clocks jump.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "DESCRIPTION"), claim.Man("setns(2)", "")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "unshare alone does not",
	Since:    "5.8",
	Try:      "unshare --time --boottime 500000 --fork sleep 99 & until p=$(pgrep -x -n sleep); do :; done; cut -d. -f1 /proc/uptime | { read u; nsenter --time=/proc/$p/ns/time cut -d. -f1 /proc/uptime | { read v; test $((v - u)) -ge 500000 && echo 500000 later; }; }",
	Shows:    "500000 later",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "monotonic 200000 0\n")
	fd := harness.Got(creator.Open(fmt.Sprintf("/proc/%d/ns/time", member.PID()), unix.O_RDONLY, 0))
	mover := creator.Parent().Fork(ctx)
	host := harness.Start(ctx)
	other := harness.Got(mover.Open(fmt.Sprintf("/proc/%d/ns/time", pidBySelf(mover, member)), unix.O_RDONLY, 0))
	before := ahead(mover, host, unix.CLOCK_MONOTONIC)
	Expect(mover.Setns(other, unix.CLONE_NEWTIME)).To(Succeed(), "setns(CLONE_NEWTIME)")
	after := ahead(mover, host, unix.CLOCK_MONOTONIC)
	unshared := harness.Start(ctx)
	harness.Must(unshared.Unshare(unix.CLONE_NEWTIME))
	harness.Must(unshared.WriteFile(offsets, "monotonic 200000 0\n"))
	alone := ahead(unshared, host, unix.CLOCK_MONOTONIC)
	harness.Must(creator.Close(fd))
	claim.Evidence("ahead before setns: %d s, after: %d s; after unshare alone: %d s", before, after, alone)
	Expect(after).To(Equal(200000), "seconds that the caller's clock is ahead after setns")
	Expect(alone).To(Equal(0), "contrast: unshare alone")
})

var vdsoNeed = &claim.Need{
	Name: "clock_gettime(2) in the vDSO",
	Try: func(ctx context.Context) error {
		return harness.Host(ctx).VDSO("clock_gettime", unix.CLOCK_MONOTONIC, make([]byte, 16))
	},
}

var _ = claim.It(claim.Claim{
	ID:       "time/vdso-follows-fork-and-setns",
	Text:     "A process that comes into a time namespace without execve(2), by its parent's fork or by setns(2), reads the namespace's clocks through the vDSO too.",
	Source:   claim.Sources{claim.Doc("kernel timens_commit()", ""), claim.Doc("kernel timens_on_fork()", "")},
	Needs:    claim.Needs{timeNeed, vdsoNeed},
	Contrast: "the vDSO of a process outside, and of the joiner before, tells the machine's time",
	Since:    "5.8",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "monotonic 300000 0\nboottime 600000 0\n")
	host, joiner := harness.Start(ctx), creator.Parent().Fork(ctx)
	fd := harness.Got(joiner.Open(fmt.Sprintf("/proc/%d/ns/time", pidBySelf(joiner, member)), unix.O_RDONLY, 0))
	both := func(sb *harness.Sandbox) []int {
		return []int{aheadBy(vdsoClock, sb, host, unix.CLOCK_MONOTONIC), aheadBy(vdsoClock, sb, host, unix.CLOCK_BOOTTIME)}
	}
	// What was read once is mapped: a join has to take it away.
	outside, before := both(creator), both(joiner)
	Expect(joiner.Setns(fd, unix.CLONE_NEWTIME)).To(Succeed(), "setns(CLONE_NEWTIME)")
	forked, joined := both(member), both(joiner)
	claim.Evidence("seconds ahead through the vDSO, monotonic and boottime: forked into the namespace %v, joined by setns %v, before that %v; the creator outside %v", forked, joined, before, outside)
	Expect(outside).To(Equal([]int{0, 0}), "contrast: seconds that a process outside is ahead through the vDSO")
	Expect(before).To(Equal([]int{0, 0}), "contrast: seconds that the joiner is ahead through the vDSO before it joins")
	Expect(forked).To(Equal([]int{300000, 600000}), "seconds that a process forked into the namespace is ahead through the vDSO")
	Expect(joined).To(Equal([]int{300000, 600000}), "seconds that the joiner is ahead through the vDSO after setns")
})

var _ = claim.It(claim.Claim{
	ID:       "time/setns-needs-single-thread",
	Text:     "A multithreaded process cannot join a time namespace (EUSERS).",
	Source:   claim.Sources{claim.Doc("kernel timens_install()", ""), claim.Man("setns(2)", "lists no such error")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "works single-threaded",
	Since:    "5.8",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "monotonic 10 0\n")
	path := fmt.Sprintf("/proc/%d/ns/time", member.PID())
	threaded := unix.Errno(probe.SetnsThreaded.In(creator.Agent(ctx), path))
	single := creator.Fork(ctx)
	fd := harness.Got(single.Open(path, unix.O_RDONLY, 0))
	claim.Evidence("multithreaded: %v", threaded)
	Expect(threaded).To(Equal(unix.EUSERS), "setns to a time namespace by a multithreaded process")
	Expect(single.Setns(fd, unix.CLONE_NEWTIME)).To(Succeed(), "contrast: single-threaded")
})

var _ = claim.It(claim.Claim{
	ID:       "time/absolute-timers-use-namespace-clock",
	Text:     "Absolute sleeps and timers are measured on the namespace's own clock.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "the host's clock value returns at once",
	Since:    "5.6",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "monotonic 100000 0\n")
	until := func(t time.Duration) []byte {
		raw := binary.NativeEndian.AppendUint64(nil, uint64(t/time.Second))
		return binary.NativeEndian.AppendUint64(raw, uint64(t%time.Second))
	}
	// sleep is how long the member slept until the time on its clock that at
	// reads, and whether it woke up at all.
	sleep := func(at func() time.Duration) (took time.Duration, woke bool) {
		start := clock(creator, unix.CLOCK_MONOTONIC)
		call := member.Begin("clock_nanosleep(TIMER_ABSTIME)", unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, until(at()), nil)
		if woke = call.Returns(wakeTime); woke {
			harness.Got(call.Wait())
		}
		return clock(creator, unix.CLOCK_MONOTONIC) - start, woke
	}
	// The host's time first: a member that never wakes can do nothing else.
	passed, over := sleep(func() time.Duration { return clock(creator, unix.CLOCK_MONOTONIC) + 3600*time.Second })
	claim.Evidence("sleeping until the host's now + 1 h, long past on the namespace's clock: woke %v, %v", over, passed.Round(time.Millisecond))
	Expect(over).To(BeTrue(), "contrast: an absolute sleep until a time that has long passed on the namespace's clock, though not on the host's, is over within %v", wakeTime)
	took, woke := sleep(func() time.Duration { return clock(member, unix.CLOCK_MONOTONIC) + 100*time.Millisecond })
	claim.Evidence("sleeping until the namespace's now + 0.1 s: woke %v, %v", woke, took.Round(time.Millisecond))
	Expect(woke).To(BeTrue(), "an absolute sleep of 0.1 s on the namespace's clock is over within %v", wakeTime)
	Expect(took).To(BeNumerically(">=", 100*time.Millisecond), "an absolute sleep of 0.1 s on the namespace's clock is not over at once")
})

var _ = claim.It(claim.Claim{
	ID:       "time/offset-survives-exec",
	Text:     "The offset still applies after execve(2), vDSO reads included.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "EXAMPLES")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "the host's program reads the plain one",
	Since:    "5.6",
	Try:      "unshare --time --monotonic 100000 --fork python3 -c 'import time; print(time.monotonic())'",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "monotonic 100000 0\n")
	host := clock(creator, unix.CLOCK_MONOTONIC)
	inside := time.Duration(probe.Monotonic.In(member.Agent(ctx), probe.None{}))
	plain := time.Duration(probe.Monotonic.In(harness.Start(ctx).Agent(ctx), probe.None{}))
	claim.Evidence("executed inside, through the vDSO: %v; the host's program: %v", inside.Round(time.Second), plain.Round(time.Second))
	Expect(inside-host).To(BeNumerically("~", 100000*time.Second, 10*time.Second), "CLOCK_MONOTONIC of an executed program, through the vDSO")
	Expect(plain-host).To(BeNumerically("<", 10*time.Second), "contrast: a program outside")
})

var _ = claim.It(claim.Claim{
	ID:       "time/proc-stat-btime-shifts",
	Text:     "btime in /proc/stat moves back by the boottime offset.",
	Source:   claim.Sources{claim.Doc("kernel show_stat()", ""), claim.Man("proc(5)", "/proc/stat")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "host: now minus uptime",
	Since:    "5.11",
	Try:      "unshare --time --boottime 3600 --fork sh -c 'grep btime /proc/stat'; grep btime /proc/stat",
	Shows:    "btime <inside>\nbtime <outside>",
}, func(ctx SpecContext) {
	creator, member := inTime(ctx, "boottime 3600 0\n")
	btime := func(sb *harness.Sandbox) int {
		for _, line := range strings.Split(harness.Got(sb.ReadFile("/proc/stat")), "\n") {
			var t int
			if n, _ := fmt.Sscanf(line, "btime %d", &t); n == 1 {
				return t
			}
		}
		harness.Broken("no btime in /proc/stat")
		return 0
	}
	in, out := btime(member), btime(creator)
	now := int((clock(creator, unix.CLOCK_REALTIME) - clock(creator, unix.CLOCK_BOOTTIME)) / time.Second)
	claim.Evidence("btime inside: %d; outside: %d; now less uptime: %d", in, out, now)
	Expect(out-in).To(BeNumerically("~", 3600, 2), "seconds that btime moves back with a boottime offset of 3600")
	Expect(out).To(BeNumerically("~", now, 2), "contrast: the host's btime is now less uptime")
})

var _ = claim.It(claim.Claim{
	ID:       "time/clone3-newtime-accepted",
	Text:     "clone3(2) with CLONE_NEWTIME creates a child directly in a new time namespace; clone(2) cannot, its flag bit being part of the exit signal.",
	Source:   claim.Sources{claim.Man("time_namespaces(7)", "says unshare")},
	Needs:    claim.Needs{timeNeed},
	Contrast: "legacy clone with that bit leaves it unchanged",
	Since:    "5.6",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	own := harness.Got(host.Namespace(namespace.Time))
	child, err := host.Clone3(ctx, harness.CloneArgs{Flags: unix.CLONE_NEWTIME})
	Expect(err).NotTo(HaveOccurred(), "clone3(CLONE_NEWTIME)")
	Expect(harness.Got(child.Namespace(namespace.Time)).SameAs(own)).To(BeFalse(), "the time namespace of the child of clone3(CLONE_NEWTIME)")
	// In clone(2) the bit is part of the exit signal: 0x80 | SIGCHLD.
	legacy, err := host.CloneSignal(ctx, unix.CLONE_NEWTIME)
	claim.Evidence("clone3: %v; clone: %v", child, err)
	if err != nil {
		// From 7.3 on clone(2) refuses an exit signal that is none.
		Expect(err).To(harness.FailWith(unix.EINVAL), "contrast: clone(2) with the bit")
		return
	}
	Expect(harness.Got(legacy.Namespace(namespace.Time)).SameAs(own)).To(BeTrue(), "contrast: clone(2) with the bit leaves the time namespace")
})
