package namespaces

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/internal/claim"
	"bulkhead/suites/rootfs"
)

var _ = claim.It(claim.Claim{
	ID:       "cgroup/mkdir-makes-a-cgroup",
	Text:     "mkdir in a cgroup filesystem makes an empty cgroup with its control files.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Creating cgroups and moving processes")},
	Needs:    claim.Needs{claim.Root, cgroupMount},
	Contrast: "a directory made on tmpfs has no files",
	Try:      "mkdir /sys/fs/cgroup/x && ls /sys/fs/cgroup/x && cat /sys/fs/cgroup/x/cgroup.procs",
}, func(ctx SpecContext) {
	top := newCgroup("mkdir")
	sb := harness.Start(ctx)
	dir, plain := top.file("made"), sb.MkdirTemp()
	made := sb.Mkdir(dir)
	Expect(made).To(Succeed(), "mkdir(2) in a cgroup filesystem")
	files, elsewhere := harness.Got(sb.ReadDir(dir)), harness.Got(sb.ReadDir(plain))
	members := harness.Got(sb.ReadFile(dir + "/cgroup.procs"))
	claim.Evidence("a new cgroup has %d files and the members %q; a new directory on tmpfs has %d files", len(files), members, len(elsewhere))
	want := []string{"cgroup.procs", "cgroup.controllers", "cgroup.events", "cgroup.subtree_control", "cgroup.type"}
	if top.v1() {
		want = []string{"cgroup.procs", "tasks", "notify_on_release"}
	}
	Expect(files).To(ContainElements(want), "control files of a new cgroup")
	Expect(members).To(BeEmpty(), "cgroup.procs of a new cgroup")
	Expect(elsewhere).To(BeEmpty(), "contrast: files in a new directory on tmpfs")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/writing-procs-moves-process",
	Text:     "Writing a PID (0 for oneself) to cgroup.procs moves that process there.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Creating cgroups and moving processes")},
	Needs:    claim.Needs{claim.Root, cgroupMount},
	Contrast: "another path before",
	Core:     true,
	Try:      "mkdir /sys/fs/cgroup/x; cat /proc/self/cgroup; echo $$ > /sys/fs/cgroup/x/cgroup.procs; cat /proc/self/cgroup",
}, func(ctx SpecContext) {
	group := newCgroup("move")
	host := harness.Start(ctx)
	other := host.Fork(ctx)
	before := []string{group.path(host), group.path(other)}
	Expect(host.WriteFile(group.file("cgroup.procs"), fmt.Sprint(other.PID()))).To(Succeed(), "another's PID written to cgroup.procs")
	between := []string{group.path(host), group.path(other)}
	Expect(host.WriteFile(group.file("cgroup.procs"), "0")).To(Succeed(), "0 written to cgroup.procs")
	after := []string{group.path(host), group.path(other)}
	members := group.members(host)
	claim.Evidence("writer and the other: %v; after its PID: %v; after 0: %v; members: %v", before, between, after, members)
	Expect(before).NotTo(ContainElement(HaveSuffix("/"+group.name)), "contrast: the paths before")
	Expect(between[1]).To(HaveSuffix("/"+group.name), "path of the process whose PID was written to cgroup.procs")
	Expect(between[0]).To(Equal(before[0]), "path of the process that wrote another's PID")
	Expect(after[0]).To(HaveSuffix("/"+group.name), "path of the process that wrote 0 to cgroup.procs")
	Expect(members).To(ConsistOf(fmt.Sprint(host.Getpid()), fmt.Sprint(other.PID())), "cgroup.procs after both were moved")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/fork-inherits-membership",
	Text:     "Children start in their parent's cgroup and exec does not change it.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "NOTES")},
	Needs:    claim.Needs{claim.Root, cgroupMount},
	Contrast: "other processes are elsewhere",
	Core:     true,
	Try:      "mkdir /sys/fs/cgroup/x; echo $$ > /sys/fs/cgroup/x/cgroup.procs; sh -c 'cat /proc/self/cgroup'",
}, func(ctx SpecContext) {
	group := newCgroup("fork")
	host := harness.Start(ctx)
	parent := host.Fork(ctx)
	group.enter(parent)
	child, program, other := parent.Fork(ctx), parent.Fork(ctx), host.Fork(ctx)
	forked := group.path(child)
	echoes(ctx, program, rootfs.Tiny(ctx).Dir+"/bin/cat")
	executed := group.pathOf(parent, program.PID())
	elsewhere := group.path(other)
	claim.Evidence("child: %s; program executed by a child: %s; another process: %s", forked, executed, elsewhere)
	Expect(forked).To(HaveSuffix("/"+group.name), "cgroup of a member's child")
	Expect(executed).To(HaveSuffix("/"+group.name), "cgroup of a member's child after execve(2)")
	Expect(elsewhere).NotTo(HaveSuffix("/"+group.name), "contrast: cgroup of another process")
})

// bothVersions is that v1 and v2 are mounted side by side.
var bothVersions = &claim.Need{
	Name: "cgroup v1 beside v2",
	Try: func(ctx context.Context) error {
		if v1Hierarchy() == "" {
			return errors.New("no cgroup v1 hierarchy is mounted beside v2")
		}
		return nil
	},
	// v2 has no use for the devices controller, which leaves it to v1.
	Built: []string{"CONFIG_CGROUPS", "CONFIG_CGROUP_DEVICE"},
}

// v1Hierarchy names a controller that is mounted in v1; "" without one.
func v1Hierarchy() string {
	for _, c := range []string{"pids", "memory", "cpu", "cpuset", "devices", "freezer", "blkio"} {
		if hierarchy(c) != "" {
			return c
		}
	}
	return ""
}

var _ = claim.It(claim.Claim{
	ID:       "cgroup/one-membership-per-hierarchy",
	Text:     "In one hierarchy a process is in exactly one cgroup; membership in other hierarchies is independent.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Creating cgroups and moving processes")},
	Needs:    claim.Needs{claim.Root, cgroup2, bothVersions},
	Contrast: "its v1 cgroup is unchanged by moves in v2",
	Try:      "echo $$ > /sys/fs/cgroup/unified/x/cgroup.procs; echo $$ > /sys/fs/cgroup/unified/y/cgroup.procs; cat /sys/fs/cgroup/unified/x/cgroup.procs; cat /proc/self/cgroup",
}, func(ctx SpecContext) {
	first, second := newCgroup2("first"), newCgroup2("second")
	v1 := cgroup{controller: v1Hierarchy()}
	host := harness.Start(ctx)
	sb := host.Fork(ctx)
	pid := fmt.Sprint(sb.PID())
	elsewhere := v1.path(sb)
	first.enter(sb)
	inFirst := []bool{slices.Contains(first.members(host), pid), slices.Contains(second.members(host), pid)}
	second.enter(sb)
	inSecond := []bool{slices.Contains(first.members(host), pid), slices.Contains(second.members(host), pid)}
	now := v1.path(sb)
	claim.Evidence("member of first and second: %v, after the move: %v; its %s cgroup: %s, then %s", inFirst, inSecond, v1.controller, elsewhere, now)
	Expect(inFirst).To(Equal([]bool{true, false}), "listed in the first and the second cgroup after entering the first")
	Expect(inSecond).To(Equal([]bool{false, true}), "listed in the first and the second cgroup after entering the second")
	Expect(now).To(Equal(elsewhere), "contrast: the %s cgroup of v1 after moves in v2", v1.controller)
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/rmdir-refused-while-used",
	Text:     "A cgroup with members or children cannot be removed (EBUSY); its files need not be removed first.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Removing cgroups")},
	Needs:    claim.Needs{claim.Root, cgroupMount},
	Contrast: "an empty one goes with all its files",
	Try:      "mkdir -p /sys/fs/cgroup/x/y; rmdir /sys/fs/cgroup/x; rmdir /sys/fs/cgroup/x/y /sys/fs/cgroup/x",
}, func(ctx SpecContext) {
	top := newCgroup("rmdir")
	host := harness.Start(ctx)
	used, parent := top.child("used"), top.child("parent")
	inner := parent.child("inner")
	sb := host.Fork(ctx)
	used.enter(sb)
	withMember, withChild := host.Rmdir(used.dir), host.Rmdir(parent.dir)
	top.enter(sb)
	files := len(harness.Got(host.ReadDir(inner.dir)))
	empty := []error{host.Rmdir(inner.dir), host.Rmdir(parent.dir), host.Rmdir(used.dir)}
	claim.Evidence("with a member: %v; with a child: %v; with nothing but %d files, and then the others: %v", withMember, withChild, files, errors.Join(empty...))
	Expect(withMember).To(harness.FailWith(unix.EBUSY), "rmdir(2) of a cgroup with a member")
	Expect(withChild).To(harness.FailWith(unix.EBUSY), "rmdir(2) of a cgroup with a child cgroup")
	for _, err := range empty {
		Expect(err).NotTo(HaveOccurred(), "contrast: rmdir(2) of an empty cgroup")
	}
})

// controllers are the lines of /proc/cgroups: the hierarchy of each controller
// that is enabled, 0 for v2.
func controllers(sb *harness.Sandbox) map[string]int {
	found := map[string]int{}
	for _, line := range strings.Split(harness.Got(sb.ReadFile("/proc/cgroups")), "\n") {
		if f := strings.Fields(line); len(f) == 4 && !strings.HasPrefix(line, "#") && f[3] == "1" {
			found[f[0]] = harness.Got(strconv.Atoi(f[1]))
		}
	}
	return found
}

var _ = claim.It(claim.Claim{
	ID:       "cgroup/proc-cgroup-line-format",
	Text:     "/proc/PID/cgroup has one line per hierarchy: 0::PATH for v2, ID:controllers:PATH for v1 with the ID of /proc/cgroups.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "/proc files")},
	Needs:    claim.Needs{cgroup2Mounted, bothVersions},
	Contrast: "v1 lines name a controller, the v2 line none",
	Try:      "cat /proc/cgroups /proc/self/cgroup",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	text := strings.TrimSpace(harness.Got(sb.ReadFile("/proc/self/cgroup")))
	known := controllers(sb)
	lines := map[int]string{}
	named := map[string]int{}
	for _, line := range strings.Split(text, "\n") {
		f := strings.SplitN(line, ":", 3)
		Expect(f).To(HaveLen(3), "fields of the line %q in /proc/self/cgroup", line)
		id, err := strconv.Atoi(f[0])
		Expect(err).NotTo(HaveOccurred(), "the ID of the line %q in /proc/self/cgroup", line)
		Expect(lines).NotTo(HaveKey(id), "lines of one hierarchy in /proc/self/cgroup")
		lines[id] = f[1]
		Expect(f[2]).To(HavePrefix("/"), "the path of the line %q in /proc/self/cgroup", line)
		for _, c := range strings.Split(f[1], ",") {
			if c != "" {
				named[c] = id
			}
		}
	}
	claim.Evidence("%d lines; of v2: %q; controllers by ID: %v", len(lines), lines[0], named)
	Expect(lines).To(HaveKeyWithValue(0, ""), "contrast: the v2 line, which names no controller")
	for id, names := range lines {
		if id != 0 {
			Expect(names).NotTo(BeEmpty(), "what the v1 line with the ID %d names", id)
		}
	}
	for name, id := range known {
		if id != 0 {
			Expect(named).To(HaveKeyWithValue(name, id), "the line of /proc/self/cgroup that names %s, by the ID of /proc/cgroups", name)
		}
	}
	for name, id := range named {
		if !strings.HasPrefix(name, "name=") {
			Expect(known).To(HaveKeyWithValue(name, id), "the line of /proc/cgroups for %s, by the ID of /proc/self/cgroup", name)
		}
	}
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/controller-in-one-version-only",
	Text:     "A controller in use by a v1 hierarchy is not offered by v2.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "CGROUPS VERSION 2")},
	Needs:    claim.Needs{cgroup2Mounted, bothVersions},
	Contrast: "a controller that no v1 hierarchy has is offered",
	Try:      "cat /proc/cgroups /sys/fs/cgroup/unified/cgroup.controllers",
}, func(ctx SpecContext) {
	sb, root := harness.Start(ctx), cgroup{dir: hierarchy("")}
	offered := strings.Fields(harness.Got(sb.ReadFile(root.dir + "/cgroup.controllers")))
	var v1, free []string
	for name, id := range controllers(sb) {
		if name == "blkio" {
			name = "io"
		}
		switch {
		case id != 0:
			v1 = append(v1, name)
		case slices.Contains([]string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc", "dmem"}, name):
			free = append(free, name)
		}
	}
	slices.Sort(v1)
	claim.Evidence("in v1: %v; in v1's reach but free: %v; offered by v2: %v", v1, free, offered)
	for _, name := range v1 {
		Expect(offered).NotTo(ContainElement(name), "v2's cgroup.controllers, with %s in a v1 hierarchy", name)
	}
	// Below the top only what the parent enables is offered.
	if !root.has("cgroup.type") {
		Expect(offered).To(ContainElements(free), "contrast: v2's cgroup.controllers, of those that no v1 hierarchy has")
	}
})
