package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-freeze-stops-and-reports",
	Text:     "Writing 1 to cgroup.freeze stops all members and sets frozen 1 in cgroup.events, of an empty cgroup too; 0 resumes them.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "freezer controller"), claim.Man("cgroups(7)", "cgroup.events file")},
	Needs:    claim.Needs{claim.Root, cgroup2},
	Contrast: "progress and frozen 0 before and after",
	Core:     true,
	Since:    "5.2",
	Try:      "echo 1 > /sys/fs/cgroup/x/cgroup.freeze; cat /sys/fs/cgroup/x/cgroup.events; echo 0 > /sys/fs/cgroup/x/cgroup.freeze",
}, func(ctx SpecContext) {
	group := newCgroup2("freeze")
	inner := group.child("inner")
	host := harness.Start(ctx)
	members := []*harness.Sandbox{host.Fork(ctx), host.Fork(ctx)}
	outsider := host.Fork(ctx)
	group.enter(members[0])
	inner.enter(members[1])
	frozen := func() string { return group.field("cgroup.events", "frozen") }
	before := frozen()
	for _, m := range members {
		m.Getpid()
	}
	Expect(host.WriteFile(group.file("cgroup.freeze"), "1")).To(Succeed(), "1 written to cgroup.freeze")
	// A member is frozen when it next meets the kernel.
	Eventually(frozen).WithTimeout(settle).WithPolling(pollTime).Should(Equal("1"), "frozen in cgroup.events after 1 was written to cgroup.freeze")
	calls := []*harness.Ongoing{
		members[0].Begin("getppid", unix.SYS_GETPPID),
		members[1].Begin("getppid", unix.SYS_GETPPID),
	}
	// What an outsider gets done meanwhile is the measure of time.
	const meanwhile = 500
	for range meanwhile {
		outsider.Getppid()
	}
	progress := []bool{calls[0].Returns(0), calls[1].Returns(0)}
	Expect(host.WriteFile(group.file("cgroup.freeze"), "0")).To(Succeed(), "0 written to cgroup.freeze")
	for _, c := range calls {
		harness.Got(c.Wait())
	}
	Eventually(frozen).WithTimeout(settle).WithPolling(pollTime).Should(Equal("0"), "contrast: frozen in cgroup.events after 0 was written to cgroup.freeze")
	// Of an empty one no member has to stop first.
	empty := newCgroup2("empty")
	var emptyFrozen []string
	for _, state := range []string{"1", "0"} {
		harness.Must(host.WriteFile(empty.file("cgroup.freeze"), state))
		emptyFrozen = append(emptyFrozen, empty.field("cgroup.events", "frozen"))
	}
	claim.Evidence("frozen of an empty cgroup after 1 and after 0: %v", emptyFrozen)
	Expect(emptyFrozen).To(Equal([]string{"1", "0"}), "frozen in cgroup.events of an empty cgroup after 1 and after 0 was written to cgroup.freeze")
	claim.Evidence("frozen before: %s; progress of a member and of one in a child cgroup, while an outsider made %d calls: %v; after 0 both went on", before, meanwhile, progress)
	Expect(progress).To(Equal([]bool{false, false}), "progress of a member, and of one in a child cgroup, of a frozen cgroup")
	Expect(before).To(Equal("0"), "contrast: frozen before")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-kill-file-ends-everything",
	Text:     "Writing 1 to cgroup.kill sends SIGKILL to all processes of the cgroup and its descendants.",
	Source:   claim.Sources{claim.Doc("kernel cgroup-v2.rst", "Core Interface Files")},
	Needs:    claim.Needs{claim.Root, cgroup2},
	Contrast: "an outsider lives",
	Since:    "5.14",
	Try:      "echo 1 > /sys/fs/cgroup/x/cgroup.kill",
}, func(ctx SpecContext) {
	group := newCgroup2("kill")
	inner := group.child("inner")
	host := harness.Start(ctx)
	member, below, outsider := host.Fork(ctx), host.Fork(ctx), host.Fork(ctx)
	for _, sb := range []*harness.Sandbox{member, below, outsider} {
		harness.Must(ignore(sb, unix.SIGTERM))
	}
	group.enter(member)
	inner.enter(below)
	Expect(host.WriteFile(group.file("cgroup.kill"), "1")).To(Succeed(), "1 written to cgroup.kill")
	Expect(member.WaitExit(settle)).To(BeTrue(), "the end of a member after 1 was written to cgroup.kill")
	Expect(below.WaitExit(settle)).To(BeTrue(), "the end of a member of a child cgroup after 1 was written to cgroup.kill")
	ends := []unix.WaitStatus{harness.Got(host.Wait(member)), harness.Got(host.Wait(below))}
	alive := !outsider.WaitExit(0)
	claim.Evidence("a member ended by %v, one in a child cgroup by %v; an outsider lives: %v", ends[0].Signal(), ends[1].Signal(), alive)
	Expect([]unix.Signal{ends[0].Signal(), ends[1].Signal()}).To(Equal([]unix.Signal{unix.SIGKILL, unix.SIGKILL}), "signals that ended the members")
	Expect(alive).To(BeTrue(), "contrast: an outsider lives")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-populated-tracks-members",
	Text:     "populated in cgroup.events is 1 exactly while the cgroup or a descendant has live members; the file is pollable.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "cgroup.events file")},
	Needs:    claim.Needs{claim.Root, cgroup2},
	Contrast: "0 before and after",
	Core:     true,
	Try:      "mkdir -p /sys/fs/cgroup/x/y; sleep 99 & echo $! > /sys/fs/cgroup/x/y/cgroup.procs; cat /sys/fs/cgroup/x/cgroup.events; kill $!; wait; cat /sys/fs/cgroup/x/cgroup.events",
}, func(ctx SpecContext) {
	group := newCgroup2("populated")
	inner := group.child("inner")
	host := harness.Start(ctx)
	member := host.Fork(ctx)
	events := harness.Got(os.Open(group.file("cgroup.events")))
	DeferCleanup(events.Close)
	populated := func() string {
		raw := make([]byte, 256)
		n, _ := events.ReadAt(raw, 0)
		for _, line := range strings.Split(string(raw[:n]), "\n") {
			if v, ok := strings.CutPrefix(line, "populated "); ok {
				return v
			}
		}
		return ""
	}
	notified := func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, int(settle.Milliseconds()))
		return err == nil && n == 1
	}
	before := populated()
	inner.enter(member)
	told := notified()
	with := populated()
	harness.Must(member.Kill(unix.SIGKILL))
	harness.Got(host.Wait(member))
	toldOfEnd := notified()
	// A process that was reaped may still be on its way out.
	Eventually(populated).WithTimeout(settle).WithPolling(pollTime).Should(Equal("0"), "contrast: populated after the end of the only member")
	claim.Evidence("populated before: %s; with a member in a child cgroup: %s, POLLPRI: %v; after its end: 0, POLLPRI: %v", before, with, told, toldOfEnd)
	Expect(with).To(Equal("1"), "populated with a member in a child cgroup")
	Expect(told).To(BeTrue(), "POLLPRI of cgroup.events when the first member came")
	Expect(toldOfEnd).To(BeTrue(), "POLLPRI of cgroup.events when the last member ended")
	Expect(before).To(Equal("0"), "contrast: populated before")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/clone3-into-cgroup",
	Text:     "clone3(2) with CLONE_INTO_CGROUP starts the child directly in another v2 cgroup.",
	Source:   claim.Sources{claim.Man("clone(2)", "CLONE_INTO_CGROUP")},
	Needs:    claim.Needs{claim.Root, cgroup2},
	Contrast: "the parent stays where it is",
	Since:    "5.7",
}, func(ctx SpecContext) {
	group := newCgroup2("clone3")
	parent := harness.Start(ctx)
	before := group.path(parent)
	fd := harness.Got(parent.Open(group.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0))
	child, err := parent.Clone3(ctx, harness.CloneArgs{Flags: unix.CLONE_INTO_CGROUP, Cgroup: fd})
	Expect(err).NotTo(HaveOccurred(), "clone3(CLONE_INTO_CGROUP)")
	inside, after, plain := group.path(child), group.path(parent), group.path(parent.Fork(ctx))
	claim.Evidence("the child: %s; its parent: %s; a plain child: %s", inside, after, plain)
	Expect(inside).To(HaveSuffix("/"+group.name), "cgroup of the child of clone3(CLONE_INTO_CGROUP)")
	Expect([]string{after, plain}).To(Equal([]string{before, before}), "contrast: cgroups of the parent and of a plain child")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-depth-and-descendant-limits",
	Text:     "cgroup.max.depth and cgroup.max.descendants make mkdir fail with EAGAIN; cgroup.stat counts descendants.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Limiting the number of descendant cgroups")},
	Needs:    claim.Needs{claim.Root, cgroup2},
	Contrast: "works when the limit is raised",
	Since:    "4.14",
	Try:      "echo 1 > /sys/fs/cgroup/x/cgroup.max.depth; mkdir -p /sys/fs/cgroup/x/y/z",
}, func(ctx SpecContext) {
	group := newCgroup2("descendants")
	host := harness.Start(ctx)
	set := func(file, value string) { harness.Must(host.WriteFile(group.file(file), value)) }
	set("cgroup.max.depth", "1")
	first := host.Mkdir(group.file("a"))
	tooDeep := host.Mkdir(group.file("a/b"))
	set("cgroup.max.depth", "2")
	deepEnough := host.Mkdir(group.file("a/b"))
	set("cgroup.max.descendants", "2")
	tooMany := host.Mkdir(group.file("c"))
	counted := group.field("cgroup.stat", "nr_descendants")
	set("cgroup.max.descendants", "3")
	fewEnough := host.Mkdir(group.file("c"))
	claim.Evidence("depth 1: %v, then %v; depth 2: %v; a third of at most 2, counted %s: %v; of at most 3: %v", first, tooDeep, deepEnough, counted, tooMany, fewEnough)
	Expect(first).To(Succeed(), "mkdir(2) of a cgroup within cgroup.max.depth")
	Expect(tooDeep).To(harness.FailWith(unix.EAGAIN), "mkdir(2) of a cgroup beyond cgroup.max.depth")
	Expect(tooMany).To(harness.FailWith(unix.EAGAIN), "mkdir(2) of a cgroup beyond cgroup.max.descendants")
	Expect(counted).To(Equal("2"), "nr_descendants in cgroup.stat")
	Expect(deepEnough).To(Succeed(), "contrast: with cgroup.max.depth raised")
	Expect(fewEnough).To(Succeed(), "contrast: with cgroup.max.descendants raised")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-threaded-subtree-types",
	Text:     "Making a cgroup threaded turns its parent into domain threaded and the siblings into domain invalid, which accept no process (EOPNOTSUPP).",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Thread mode")},
	Needs:    claim.Needs{claim.Root, cgroup2},
	Contrast: `all "domain" before, and the parent again when the threaded child is removed`,
	Since:    "4.14",
	Try:      "mkdir -p /sys/fs/cgroup/x/y /sys/fs/cgroup/x/z; echo threaded > /sys/fs/cgroup/x/y/cgroup.type; cat /sys/fs/cgroup/x/cgroup.type /sys/fs/cgroup/x/?/cgroup.type",
}, func(ctx SpecContext) {
	parent := newCgroup2("threaded")
	one, sibling := parent.child("one"), parent.child("sibling")
	host := harness.Start(ctx)
	types := func(groups ...cgroup) (types []string) {
		for _, g := range groups {
			types = append(types, strings.TrimSpace(harness.Got(host.ReadFile(g.file("cgroup.type")))))
		}
		return types
	}
	before := types(parent, one, sibling)
	Expect(host.WriteFile(one.file("cgroup.type"), "threaded")).To(Succeed(), `"threaded" written to cgroup.type`)
	threaded := types(parent, one, sibling)
	enter := host.Fork(ctx).WriteFile(sibling.file("cgroup.procs"), "0")
	harness.Must(host.Rmdir(one.dir))
	after := types(parent, sibling)
	entered := host.Fork(ctx).WriteFile(sibling.file("cgroup.procs"), "0")
	claim.Evidence("parent, child and sibling before: %q; with the child threaded: %q, entering the sibling: %v; parent and sibling after its removal: %q, entering: %v", before, threaded, enter, after, entered)
	Expect(threaded).To(Equal([]string{"domain threaded", "threaded", "domain invalid"}), "cgroup.type of the parent, the threaded child and its sibling")
	Expect(enter).To(harness.FailWith(unix.EOPNOTSUPP), "a process moved into a domain invalid cgroup")
	Expect(before).To(Equal([]string{"domain", "domain", "domain"}), "contrast: cgroup.type of parent, child and sibling before")
	Expect(after).To(Equal([]string{"domain", "domain"}), "contrast: cgroup.type of the parent and the sibling when the threaded child is gone")
	Expect(entered).To(Succeed(), "contrast: a process moved into the sibling then")
})

// spare are the controllers of a cgroup made at the top of v2.
func spare() []string {
	return cgroup{dir: hierarchy("")}.words("cgroup.subtree_control")
}

// spareController is that v2's root enables one of the controllers for its
// children: which those are is the machine's to decide.
func spareController(what string, names ...string) *claim.Need {
	return &claim.Need{
		Name: "a v2 controller " + what,
		Try: func(context.Context) error {
			if pick(names) == "" {
				return fmt.Errorf("none of %s is enabled in %s/cgroup.subtree_control", strings.Join(names, ", "), hierarchy(""))
			}
			return nil
		},
		Built: []string{"CONFIG_CGROUPS", "CONFIG_MEMCG"},
	}
}

// pick is the first of the controllers that v2's root enables; "" for none.
func pick(names []string) string {
	enabled := spare()
	for _, n := range names {
		if slices.Contains(enabled, n) {
			return n
		}
	}
	return ""
}

// domainControllers are those that know no thread mode; filed have files in
// every cgroup that is not the root.
var (
	domainControllers = []string{"memory", "io", "hugetlb", "rdma", "misc"}
	filedControllers  = []string{"pids", "memory", "cpu", "cpuset", "hugetlb", "rdma", "misc"}
)

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-subtree-control-creates-files",
	Text:     "Enabling a controller in cgroup.subtree_control makes its files appear in the children and lists it in their cgroup.controllers.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Cgroups v2 subtree control")},
	Needs:    claim.Needs{claim.Root, cgroup2, spareController("for cgroups below the root", filedControllers...)},
	Contrast: "no files before, and none in grandchildren",
	Core:     true,
	Try:      "mkdir -p /sys/fs/cgroup/x/y; ls /sys/fs/cgroup/x/y; echo +pids > /sys/fs/cgroup/x/cgroup.subtree_control; ls /sys/fs/cgroup/x/y",
}, func(ctx SpecContext) {
	group := newCgroup2("control")
	child := group.child("child")
	grandchild := child.child("grandchild")
	name := pick(filedControllers)
	host := harness.Start(ctx)
	files := func(g cgroup) (n int) {
		for _, f := range harness.Got(host.ReadDir(g.dir)) {
			// The scheduler's cpu.stat and cpu.pressure are in every cgroup.
			if strings.HasPrefix(f, name+".") && !strings.HasPrefix(f, "cpu.stat") && !strings.HasSuffix(f, ".pressure") {
				n++
			}
		}
		return n
	}
	before, listed := files(child), child.words("cgroup.controllers")
	Expect(host.WriteFile(group.file("cgroup.subtree_control"), "+"+name)).To(Succeed(), "+%s written to cgroup.subtree_control", name)
	after, lists, below := files(child), child.words("cgroup.controllers"), files(grandchild)
	claim.Evidence("%s files before: %d, listed: %v; after: %d, listed: %v; in a grandchild: %d", name, before, listed, after, lists, below)
	Expect(after).To(BeNumerically(">", 0), "%s files in a child after +%s in cgroup.subtree_control", name, name)
	Expect(lists).To(Equal([]string{name}), "cgroup.controllers of a child after +%s in cgroup.subtree_control", name)
	Expect(group.words("cgroup.subtree_control")).To(Equal([]string{name}), "cgroup.subtree_control read again")
	Expect(before).To(BeZero(), "contrast: %s files in the child before", name)
	Expect(listed).To(BeEmpty(), "contrast: cgroup.controllers of the child before")
	Expect(below).To(BeZero(), "contrast: %s files in the grandchild", name)
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-controllers-enabled-top-down",
	Text:     "A controller can be enabled only where the parent enables it (ENOENT) and not disabled while a child uses it (EBUSY).",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Cgroups v2 subtree control")},
	Needs:    claim.Needs{claim.Root, cgroup2, spareController("for cgroups below the root", filedControllers...)},
	Contrast: "works in order",
	Try:      "mkdir -p /sys/fs/cgroup/x/y; echo +pids > /sys/fs/cgroup/x/y/cgroup.subtree_control",
}, func(ctx SpecContext) {
	group := newCgroup2("topdown")
	child := group.child("child")
	name := pick(filedControllers)
	host := harness.Start(ctx)
	control := func(g cgroup, sign string) error { return host.WriteFile(g.file("cgroup.subtree_control"), sign+name) }
	early := control(child, "+")
	inOrder := errors.Join(control(group, "+"), control(child, "+"))
	inUse := control(group, "-")
	undone := errors.Join(control(child, "-"), control(group, "-"))
	claim.Evidence("+%s below a cgroup that does not enable it: %v; from the top: %v; -%s while the child has it: %v; from below: %v", name, early, inOrder, name, inUse, undone)
	Expect(early).To(harness.FailWith(unix.ENOENT), "+%s where the parent does not enable it", name)
	Expect(inUse).To(harness.FailWith(unix.EBUSY), "-%s while a child enables it", name)
	Expect(inOrder).NotTo(HaveOccurred(), "contrast: +%s from the top", name)
	Expect(undone).NotTo(HaveOccurred(), "contrast: -%s from below", name)
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-no-internal-processes",
	Text:     "A non-root v2 cgroup cannot both hold processes and enable domain controllers for children (EBUSY either way).",
	Source:   claim.Sources{claim.Man("cgroups(7)", `Cgroups v2 "no internal processes" rule`)},
	Needs:    claim.Needs{claim.Root, cgroup2, spareController("that knows no thread mode", domainControllers...)},
	Contrast: "enabling works when it is empty",
	Try:      "echo $$ > /sys/fs/cgroup/x/cgroup.procs; echo +memory > /sys/fs/cgroup/x/cgroup.subtree_control",
}, func(ctx SpecContext) {
	top := newCgroup2("internal")
	name := pick(domainControllers)
	top.set("cgroup.subtree_control", "+"+name)
	group, other := top.child("group"), top.child("other")
	host := harness.Start(ctx)
	member := host.Fork(ctx)
	group.enter(member)
	withMember := host.WriteFile(group.file("cgroup.subtree_control"), "+"+name)
	other.enter(member)
	empty := host.WriteFile(group.file("cgroup.subtree_control"), "+"+name)
	moving := member.WriteFile(group.file("cgroup.procs"), "0")
	claim.Evidence("+%s with a member: %v; without: %v; moving in then: %v", name, withMember, empty, moving)
	Expect(withMember).To(harness.FailWith(unix.EBUSY), "+%s in the cgroup.subtree_control of a cgroup with a member", name)
	Expect(moving).To(harness.FailWith(unix.EBUSY), "a process moved into a cgroup that enables %s for its children", name)
	Expect(empty).To(Succeed(), "contrast: +%s without a member", name)
})
