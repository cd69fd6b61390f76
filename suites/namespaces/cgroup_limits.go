package namespaces

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "cgroup/meminfo-ignores-the-limit",
	Text:     "A memory limit does not change MemTotal in /proc/meminfo.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("cgroups(7)", "memory controller")},
	Needs:    claim.Needs{claim.Root, controller("memory")},
	Contrast: "the limit is in force",
	Try:      "echo 64M > /sys/fs/cgroup/x/memory.max; echo $$ > /sys/fs/cgroup/x/cgroup.procs; grep MemTotal /proc/meminfo",
}, func(ctx SpecContext) {
	const limit = 64 << 20
	sb := harness.Start(ctx)
	memTotal := func() string {
		line, _, _ := strings.Cut(harness.Got(sb.ReadFile("/proc/meminfo")), "\n")
		return line
	}
	before := memTotal()
	group := newController("memory", "meminfo")
	group.set(group.memoryLimit(), limit)
	group.enter(sb)
	Expect(group.path(sb)).To(HaveSuffix("/"+group.name), "contrast: the cgroup with the limit is the process's")
	after := memTotal()
	inForce := group.text(group.memoryLimit())
	claim.Evidence("outside: %s; in a cgroup limited to %s bytes: %s", before, inForce, after)
	Expect(after).To(Equal(before), "MemTotal inside a cgroup with a memory limit")
	Expect(inForce).To(Equal(fmt.Sprint(limit)), "contrast: the limit is in force")
})

// forks starts up to n children of a process and says how many there are, and
// what refused the next.
func forks(ctx context.Context, sb *harness.Sandbox, n int) (started int, err error) {
	for ; started < n; started++ {
		if _, err = sb.Clone(ctx, 0); err != nil {
			return started, err
		}
	}
	return started, nil
}

var _ = claim.It(claim.Claim{
	ID:       "cgroup/pids-limit-blocks-fork",
	Text:     "With pids.max reached fork fails with EAGAIN.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "pids controller")},
	Needs:    claim.Needs{claim.Root, controller("pids")},
	Contrast: "five forks work with max",
	Core:     true,
	Try:      "echo 3 > /sys/fs/cgroup/x/pids.max; echo $$ > /sys/fs/cgroup/x/cgroup.procs; sleep 9 & sleep 9 & sleep 9 &",
}, func(ctx SpecContext) {
	group := newController("pids", "pids")
	sb := harness.Start(ctx)
	group.set("pids.max", 3)
	group.enter(sb)
	started, refused := forks(ctx, sb, 5)
	counted := group.field("pids.events", "max")
	group.set("pids.max", "max")
	free, err := forks(ctx, sb, 5)
	claim.Evidence("at most 3 tasks: %d children, then %v; max in pids.events: %s; without the limit %d more, %v", started, refused, counted, free, err)
	Expect(refused).To(harness.FailWith(unix.EAGAIN), "fork by the third task of at most 3 in pids.max (children started: %d)", started)
	Expect(started).To(Equal(2), "children of a process with 3 in pids.max")
	Expect(strconv.Atoi(counted)).To(BeNumerically(">", 0), "max in pids.events after a fork was refused")
	Expect(err).NotTo(HaveOccurred(), "contrast: five forks with max in pids.max")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/pids-limit-is-hierarchical",
	Text:     "A limit set on a parent cgroup binds a child cgroup whose own limit is max.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Terminology")},
	Needs:    claim.Needs{claim.Root, controller("pids")},
	Contrast: "works when lifted at the parent",
	Try:      "mkdir -p /sys/fs/cgroup/x/y; echo 2 > /sys/fs/cgroup/x/pids.max; echo $$ > /sys/fs/cgroup/x/y/cgroup.procs; sleep 9 & sleep 9 &",
}, func(ctx SpecContext) {
	parent := newController("pids", "tree")
	if !parent.v1() {
		parent.set("cgroup.subtree_control", "+pids")
	}
	child := parent.child("child")
	sb := harness.Start(ctx)
	parent.set("pids.max", 2)
	child.enter(sb)
	own := child.text("pids.max")
	started, refused := forks(ctx, sb, 5)
	parent.set("pids.max", "max")
	free, err := forks(ctx, sb, 5)
	claim.Evidence("own limit: %s; at most 2 tasks in the parent: %d children, then %v; lifted there: %d more, %v", own, started, refused, free, err)
	Expect(own).To(Equal("max"), "pids.max of a new cgroup")
	Expect(refused).To(harness.FailWith(unix.EAGAIN), "fork by the second task of at most 2 in the parent's pids.max (children started: %d)", started)
	Expect(started).To(Equal(1), "children of a process with 2 in the parent's pids.max")
	Expect(err).NotTo(HaveOccurred(), "contrast: five forks with the limit lifted at the parent")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/memory-limit-oom-kills",
	Text:     "Using more memory than the cgroup's limit gets the process killed with SIGKILL and counted as oom_kill.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "memory controller")},
	Needs:    claim.Needs{claim.Root, controller("memory")},
	Contrast: "a process that uses less lives",
	Core:     true,
	Try:      "echo 16M > /sys/fs/cgroup/x/memory.max; echo $$ > /sys/fs/cgroup/x/cgroup.procs; head -c 64M /dev/zero | tail",
}, func(ctx SpecContext) {
	const limit, little, much = 16 << 20, 4 << 20, 64 << 20
	group := newController("memory", "oom")
	host := harness.Start(ctx)
	modest, greedy := host.Fork(ctx), host.Fork(ctx)
	group.set(group.memoryLimit(), limit)
	// What is swapped out is not counted.
	for file, none := range map[string]int{"memory.swap.max": 0, "memory.swappiness": 0} {
		if group.has(file) {
			group.set(file, none)
		}
	}
	events := "memory.events"
	if group.v1() {
		events = "memory.oom_control"
	}
	begin := func(sb *harness.Sandbox, size int) *harness.Ongoing {
		// The suite's own score may forbid to kill it.
		harness.Must(sb.WriteFile("/proc/self/oom_score_adj", "0"))
		group.enter(sb)
		return sb.Begin("mmap(MAP_POPULATE)", unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE, -1, 0)
	}
	_, err := begin(modest, little).Wait()
	modest.Exit(0)
	fine := harness.Got(host.Wait(modest))
	before := group.field(events, "oom_kill")
	begin(greedy, much)
	ended := greedy.WaitExit(settle)
	Expect(ended).To(BeTrue(), "the end of a process that uses %d MiB in a cgroup limited to %d MiB", much>>20, limit>>20)
	status := harness.Got(host.Wait(greedy))
	after := group.field(events, "oom_kill")
	claim.Evidence("%d MiB in %d MiB: ended by %v, oom_kill %s, then %s; %d MiB: %v, exit status %d", much>>20, limit>>20, status.Signal(), before, after, little>>20, err, fine.ExitStatus())
	Expect(status.Signal()).To(Equal(unix.SIGKILL), "what ended a process beyond its cgroup's memory limit")
	Expect([]string{before, after}).To(Equal([]string{"0", "1"}), "oom_kill in %s before and after", events)
	Expect(err).NotTo(HaveOccurred(), "contrast: %d MiB in a cgroup limited to %d MiB", little>>20, limit>>20)
	Expect(fine.Exited()).To(BeTrue(), "contrast: a process within its cgroup's memory limit exits by itself")
})

// cpuQuota is that cgroups have CPU quotas.
var cpuQuota = claim.Feature("CPU quotas", "", []string{"CONFIG_CFS_BANDWIDTH"}, func(context.Context) error {
	if group := newController("cpu", "quota-need"); !group.has(group.quotaFile()) {
		return errors.New("a cgroup with the cpu controller has no " + group.quotaFile())
	}
	return nil
})

func (g cgroup) quotaFile() string {
	if g.v1() {
		return "cpu.cfs_quota_us"
	}
	return "cpu.max"
}

var _ = claim.It(claim.Claim{
	ID:       "cgroup/cpu-quota-throttles",
	Text:     "A CPU quota bounds a group's CPU time per period even on an idle machine.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "cpu controller")},
	Needs:    claim.Needs{claim.Root, controller("cpu"), cpuQuota},
	Contrast: "without the quota nothing is throttled",
	Core:     true,
	Try:      "echo '10000 100000' > /sys/fs/cgroup/x/cpu.max; timeout 1 sh -c 'echo $$ > /sys/fs/cgroup/x/cgroup.procs; while :; do :; done'; cat /sys/fs/cgroup/x/cpu.stat",
}, func(ctx SpecContext) {
	// 20 ms of CPU at 2 ms in each 20 ms take nine periods; a tick's work may come
	// in advance. On a busy machine too, whoever runs at all runs for longer than
	// 2 ms at a stretch, and is throttled.
	const quota, period, work, atLeast = 2_000, 20_000, 20, 60
	group := newController("cpu", "quota")
	sb := harness.Start(ctx)
	group.enter(sb)
	agent := sb.Agent(ctx)
	throttled := func() int { return harness.Got(strconv.Atoi(group.field("cpu.stat", "nr_throttled"))) }
	free := probe.Burn.In(agent, work)
	before := throttled()
	if group.v1() {
		group.set("cpu.cfs_period_us", period)
		group.set("cpu.cfs_quota_us", quota)
	} else {
		group.set("cpu.max", fmt.Sprintf("%d %d", quota, period))
	}
	bound := probe.Burn.In(agent, work)
	after := throttled()
	claim.Evidence("%d ms of CPU at %d ms in each %d ms took %d ms, throttled %d times; without the quota %d ms, throttled %d times", work, quota/1000, period/1000, bound, after, free, before)
	Expect(after).To(BeNumerically(">", 0), "nr_throttled in cpu.stat of a group with a CPU quota of %d ms in each %d ms that used %d ms", quota/1000, period/1000, work)
	Expect(bound).To(BeNumerically(">=", atLeast), "milliseconds that %d ms of CPU took with a quota of %d ms in each %d ms", work, quota/1000, period/1000)
	Expect(before).To(BeZero(), "contrast: nr_throttled without the quota")
})

// affinity are the CPUs of sched_getaffinity(2).
func affinity(sb *harness.Sandbox) (cpus []int) {
	mask := make([]byte, 1024)
	n := int(harness.Got(sb.Syscall("sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, 0, len(mask), mask)))
	for i := range n * 8 {
		// Words of the machine's byte order: the mask is an array of longs.
		if le64(mask[i/64*8:])>>(i%64)&1 == 1 {
			cpus = append(cpus, i)
		}
	}
	return cpus
}

func setAffinity(sb *harness.Sandbox, cpu int) error {
	mask := make([]byte, 1024)
	copy(mask[cpu/64*8:], fmt64(1<<(cpu%64)))
	_, err := sb.Syscall(fmt.Sprintf("sched_setaffinity(%d)", cpu), unix.SYS_SCHED_SETAFFINITY, 0, len(mask), mask)
	return err
}

// twoCPUs is that the suite may run on two.
var twoCPUs = &claim.Need{
	Name: "two CPUs",
	Try: func(ctx context.Context) error {
		if cpus := affinity(harness.Host(ctx)); len(cpus) < 2 {
			return fmt.Errorf("the suite may run on the CPUs %v only", cpus)
		}
		return nil
	},
	Built: []string{"CONFIG_SMP"},
}

var _ = claim.It(claim.Claim{
	ID:       "cgroup/cpuset-limits-affinity",
	Text:     "A cpuset restricts which CPUs its processes may run on and may ask for.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "cpuset controller"), claim.Man("cpuset(7)", "")},
	Needs:    claim.Needs{claim.Root, twoCPUs, controller("cpuset")},
	Contrast: "an outside process may use the other CPU",
	Try:      "echo 1 > /sys/fs/cgroup/x/cpuset.cpus; echo $$ > /sys/fs/cgroup/x/cgroup.procs; taskset -p $$; taskset -p -c 0 $$",
}, func(ctx SpecContext) {
	group := newController("cpuset", "cpuset")
	sb, outside := harness.Start(ctx), harness.Start(ctx)
	all := affinity(sb)
	mine, other := all[len(all)-1], all[0]
	if group.v1() {
		// A new cpuset of v1 has neither CPUs nor memory, and takes no process.
		group.set("cpuset.mems", cgroup{dir: hierarchy("cpuset")}.text("cpuset.mems"))
	}
	group.set("cpuset.cpus", mine)
	group.enter(sb)
	allowed := affinity(sb)
	refused := setAffinity(sb, other)
	kept := affinity(sb)
	free := setAffinity(outside, other)
	claim.Evidence("CPUs before: %v, in a cpuset of %d: %v; asking for %d: %v, then %v; outside: %v", all, mine, allowed, other, refused, kept, free)
	Expect(allowed).To(Equal([]int{mine}), "sched_getaffinity(2) in a cpuset of the CPU %d", mine)
	Expect(refused).To(harness.FailWith(unix.EINVAL), "sched_setaffinity(2) to the CPU %d in a cpuset of %d", other, mine)
	Expect(kept).To(Equal([]int{mine}), "sched_getaffinity(2) after the refusal")
	Expect(free).To(Succeed(), "contrast: sched_setaffinity(2) to the CPU %d outside", other)
})
