// Package namespaces holds the claims on the eight namespaces and on cgroups,
// and their specs, a file an area. It knows nothing of how a run is carried out
// or reported.
package namespaces

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "ns/one-link-per-type",
	Text:     "/proc/PID/ns has an entry for each namespace type built into the kernel, plus pid_for_children and time_for_children.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/pid/ns/ directory")},
	Contrast: "a type that the kernel is built without has no entry",
	Try:      `ls /proc/self/ns | tr '\n' ' '`,
	Shows:    "cgroup ipc mnt net pid pid_for_children time time_for_children user uts",
}, func(ctx SpecContext) {
	names := harness.Got(harness.Start(ctx).ReadDir("/proc/self/ns"))
	want := []string{"mnt"}
	for name, option := range nsOptions {
		if offers(option, name) {
			want = append(want, name)
		}
	}
	if offers("CONFIG_PID_NS", "pid") {
		want = append(want, "pid_for_children")
	}
	if offers("CONFIG_TIME_NS", "time") {
		want = append(want, "time_for_children")
	}
	claim.Evidence("/proc/self/ns: %v", names)
	Expect(names).To(ConsistOf(want), "entries of /proc/self/ns, for the options this kernel is built with")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/same-namespace-same-inode",
	Text:     "Two processes share a namespace exactly when the device and inode numbers of their ns links agree.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/pid/ns/ directory")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "differs for the one type unshared, and only for it",
	Try:      "readlink /proc/self/ns/uts /proc/$$/ns/uts; unshare --uts readlink /proc/self/ns/uts",
	Shows:    "uts:[<one>]\nuts:[<one>]\nuts:[<other>]",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx)
	before := links(parent)
	child := parent.Fork(ctx)
	Expect(differing(before, links(child))).To(BeEmpty(), "links that differ after a fork")
	harness.Must(child.Unshare(unix.CLONE_NEWUTS))
	changed := differing(before, links(child))
	claim.Evidence("after fork: no link differs; after unshare(CLONE_NEWUTS): %v", changed)
	Expect(changed).To(Equal([]string{"uts"}), "contrast: links that differ after unshare(CLONE_NEWUTS)")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/clone-puts-only-the-child-in",
	Text:     "clone(2) with CLONE_NEW* flags starts the child in new namespaces of those types and leaves the parent's as they were.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("namespaces(7)", "The namespaces API")},
	Contrast: "parent's links unchanged; clone without the flag changes none",
	Core:     true,
	Try:      "readlink /proc/self/ns/uts /proc/self/ns/net; unshare --uts --fork readlink /proc/self/ns/uts /proc/self/ns/net; readlink /proc/self/ns/uts",
	Shows:    "uts:[<host>]\nnet:[<net>]\nuts:[<child>]\nnet:[<net>]\nuts:[<host>]",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx)
	before := links(parent)
	for _, t := range offered(ctx) {
		child, err := parent.Clone(ctx, t.Flag)
		Expect(err).NotTo(HaveOccurred(), "clone(%s)", t.Const)
		want := []string{t.Name}
		switch t {
		case namespace.PID:
			want = []string{"pid", "pid_for_children"}
		case namespace.Time:
			want = []string{"time", "time_for_children"}
		}
		Expect(differing(before, links(child))).To(Equal(want), "links of the child of clone(%s) that differ", t.Const)
		Expect(differing(before, links(parent))).To(BeEmpty(), "links of the parent of clone(%s) that differ", t.Const)
	}
	plain := parent.Fork(ctx)
	claim.Evidence("one link for each of %v", offered(ctx))
	Expect(differing(before, links(plain))).To(BeEmpty(), "contrast: clone without a flag")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/unshare-moves-the-caller",
	Text:     "unshare(2) moves the calling process itself into new namespaces (for all types but PID and time).",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("unshare(2)", "")},
	Contrast: "unshare(0) changes nothing",
	Core:     true,
	Try:      "unshare --uts sh -c 'readlink /proc/$$/ns/uts'; readlink /proc/$$/ns/uts",
	Shows:    "uts:[<moved>]\nuts:[<host>]",
}, func(ctx SpecContext) {
	for _, t := range offered(ctx) {
		sb := harness.Start(ctx)
		before := links(sb)
		_, err := sb.Syscall("unshare(0)", unix.SYS_UNSHARE, 0)
		Expect(err).NotTo(HaveOccurred(), "unshare(0)")
		Expect(differing(before, links(sb))).To(BeEmpty(), "contrast: unshare(0)")
		want := []string{t.Name}
		switch t {
		case namespace.PID:
			want = []string{"pid_for_children"}
		case namespace.Time:
			want = []string{"time_for_children"}
		}
		Expect(sb.Unshare(t.Flag)).To(Succeed(), "unshare(%s)", t.Const)
		Expect(differing(before, links(sb))).To(Equal(want), "links of the caller of unshare(%s) that differ", t.Const)
	}
	claim.Evidence("one link for each of %v", offered(ctx))
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-joins-existing",
	Text:     "setns(2) moves the caller into the namespace behind a descriptor, creating none.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("setns(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "the host name was seen before",
	Core:     true,
	Try:      "unshare --uts sh -c 'hostname target; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; nsenter --uts --target $p hostname; hostname",
	Shows:    "target\n<host>",
}, func(ctx SpecContext) {
	target := harness.Start(ctx, harness.New(namespace.UTS))
	harness.Must(target.Sethostname("target"))
	for _, t := range offered(ctx) {
		if t == namespace.User {
			continue // Joining one's own is refused; user/… claims say more.
		}
		host := harness.Start(ctx)
		member := harness.Start(ctx, harness.Under(host), harness.New(t))
		fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/%s", member.PID(), t.Name), unix.O_RDONLY, 0))
		joiner := host.Fork(ctx)
		Expect(joiner.Setns(fd, t.Flag)).To(Succeed(), "setns to a %s namespace", t)
		in := joiner
		if t == namespace.PID {
			in = joiner.Fork(ctx) // The next child is the first inside.
		}
		if t == namespace.Mount {
			continue // Its /proc is of no use any more; the root tells.
		}
		got, want := harness.Got(in.Namespace(t)), harness.Got(host.Fstat(fd))
		Expect(got.SameAs(want)).To(BeTrue(), "the %s link after setns is the target's", t)
	}
	host := harness.Start(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	harness.Must(member.Sethostname("member"))
	fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/uts", member.PID()), unix.O_RDONLY, 0))
	before := host.Uname().Nodename
	Expect(host.Setns(fd, unix.CLONE_NEWUTS)).To(Succeed(), "setns(CLONE_NEWUTS)")
	after := host.Uname().Nodename
	claim.Evidence("host name before setns: %q, after: %q", before, after)
	Expect(after).To(Equal("member"), "the host name after setns to the member's UTS namespace")
	Expect(before).NotTo(Equal("member"), "contrast: the host name before")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-wrong-type-einval",
	Text:     "setns(2) refuses a descriptor whose type is not the one named in its second argument (EINVAL); 0 accepts any.",
	Source:   claim.Sources{claim.Man("setns(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "CLONE_NEWUTS or 0 succeeds",
	Try:      "nsenter --ipc=/proc/self/ns/uts true; nsenter --uts=/proc/self/ns/uts echo joined",
	Shows:    "nsenter: reassociate to namespace 'ns/ipc' failed: Invalid argument\njoined",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	fd := harness.Got(sb.OpenNamespace(namespace.UTS))
	wrong := sb.Setns(fd, unix.CLONE_NEWIPC)
	claim.Evidence("uts descriptor as CLONE_NEWIPC: %v", wrong)
	Expect(wrong).To(harness.FailWith(unix.EINVAL), "setns of a uts descriptor with CLONE_NEWIPC")
	Expect(sb.Setns(fd, unix.CLONE_NEWUTS)).To(Succeed(), "contrast: with CLONE_NEWUTS")
	Expect(sb.Setns(fd, 0)).To(Succeed(), "contrast: with 0")
})

// ownLinks are the names of the links that tell a process's namespaces of these
// types, in order.
func ownLinks(types ...namespace.Type) []string {
	names := []string{}
	for _, t := range types {
		names = append(names, t.Name)
		// PID and time namespaces are those of the children, too.
		switch t {
		case namespace.PID:
			names = append(names, "pid_for_children")
		case namespace.Time:
			names = append(names, "time_for_children")
		}
	}
	sort.Strings(names)
	return names
}

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-pidfd-joins-several-at-once",
	Text:     "Given a PID descriptor, setns(2) joins every type named in its mask in one call and leaves the others.",
	Source:   claim.Sources{claim.Man("setns(2)", "fd is a PID file descriptor")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "a namespace descriptor with a mask of two gives EINVAL",
	Since:    "5.8",
	Try:      "unshare --net --uts --ipc sleep 9 & nsenter --net --uts --target $! ls -l /proc/self/ns",
}, func(ctx SpecContext) {
	types := offered(ctx)
	host := harness.Start(ctx)
	target := harness.Start(ctx, harness.Under(host), harness.New(types...))
	fd := pidfdOpen(host, target.PID())
	all := linksOf(host, target.PID())
	join := func(mask ...namespace.Type) {
		joiner := host.Fork(ctx)
		before := linksOf(host, joiner.PID())
		name := harness.FlagNames(namespace.Flags(mask...))
		Expect(joiner.Setns(fd, namespace.Flags(mask...))).To(Succeed(), "setns(pidfd, %s)", name)
		after := linksOf(host, joiner.PID())
		want := ownLinks(mask...)
		// A process's own PID namespace is the one it was born in.
		want = slices.DeleteFunc(want, func(link string) bool { return link == "pid" })
		Expect(differing(before, after)).To(Equal(want), "links changed by one setns(pidfd, %s)", name)
		for _, link := range want {
			Expect(after[link].SameAs(all[link])).To(BeTrue(), "the %s link is the target's after setns(pidfd, %s)", link, name)
		}
	}
	for _, t := range types {
		join(t)
	}
	join(types...)
	ns := harness.Got(host.OpenNamespace(namespace.UTS))
	refused := host.Setns(ns, unix.CLONE_NEWNS|unix.CLONE_NEWUTS)
	claim.Evidence("each of %v alone and all at once; a namespace descriptor with a mask of two: %v", types, refused)
	Expect(refused).To(harness.FailWith(unix.EINVAL), "contrast: a namespace descriptor with a mask of two")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-pidfd-all-or-nothing",
	Text:     "If one of the requested namespaces cannot be joined, a pidfd setns changes none of them.",
	Source:   claim.Sources{claim.Man("setns(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS), claim.Namespace(namespace.PID), claim.Namespace(namespace.User)},
	Contrast: "UTS alone succeeds",
	Since:    "5.8",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.UTS))
	inner := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.UTS))
	fd := pidfdOpen(host, host.Getpid())
	// The descriptor is inherited: the inner process cannot name its parent.
	joiner := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.UTS))
	uts := harness.Got(joiner.Namespace(namespace.UTS))
	refused := joiner.Setns(fd, unix.CLONE_NEWUTS|unix.CLONE_NEWPID)
	unchanged := harness.Got(joiner.Namespace(namespace.UTS))
	alone := joiner.Setns(fd, unix.CLONE_NEWUTS)
	claim.Evidence("UTS and an ancestor's PID namespace: %v, UTS unchanged: %v; UTS alone: %v", refused, unchanged.SameAs(uts), alone)
	Expect(inner.Getpid()).To(Equal(1), "getpid() of PID 1 of a new PID namespace")
	Expect(refused).To(harness.FailWith(unix.EINVAL), "joining an ancestor's PID namespace along with its UTS namespace")
	Expect(unchanged.SameAs(uts)).To(BeTrue(), "the UTS namespace after the refusal")
	Expect(alone).To(Succeed(), "contrast: the UTS namespace alone")

	// What the joiner has no capability for is refused behind what it has one for.
	owner := harness.Start(ctx, harness.New(namespace.User))
	target := harness.Start(ctx, harness.Under(owner), harness.New(namespace.UTS))
	joiner = owner.Fork(ctx)
	fd = pidfdOpen(joiner, pidBySelf(joiner, target))
	uts = harness.Got(joiner.Namespace(namespace.UTS))
	refused = joiner.Setns(fd, unix.CLONE_NEWUTS|unix.CLONE_NEWNET)
	unchanged = harness.Got(joiner.Namespace(namespace.UTS))
	alone = joiner.Setns(fd, unix.CLONE_NEWUTS)
	claim.Evidence("its own UTS and a network namespace that it has no capability over: %v, UTS unchanged: %v; UTS alone: %v", refused, unchanged.SameAs(uts), alone)
	Expect(refused).To(harness.FailWith(unix.EPERM), "joining a network namespace of another user namespace along with an own UTS namespace")
	Expect(unchanged.SameAs(uts)).To(BeTrue(), "the UTS namespace after the network namespace was refused")
	Expect(alone).To(Succeed(), "contrast: that UTS namespace alone")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/fork-inherits-all",
	Text:     "A plain fork leaves the child in all of its parent's namespaces.",
	Source:   claim.Sources{claim.Man("clone(2)", "CLONE_NEW* entries"), claim.Man("user_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS), claim.Namespace(namespace.IPC)},
	Contrast: "a child that unshares differs",
	Try:      "ls /proc/self/ns | while read t; do test $(readlink /proc/self/ns/$t) = $(readlink /proc/$$/ns/$t) || echo $t differs; done; unshare --uts sh -c 'readlink /proc/self/ns/uts'; readlink /proc/self/ns/uts",
	Shows:    "uts:[<own>]\nuts:[<host>]",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx, harness.New(namespace.UTS, namespace.IPC))
	child := parent.Fork(ctx)
	same := differing(links(parent), links(child))
	harness.Must(child.Unshare(unix.CLONE_NEWUTS))
	claim.Evidence("differing after fork: %v; after unshare: %v", same, differing(links(parent), links(child)))
	Expect(same).To(BeEmpty(), "links of a forked child that differ from its parent's")
	Expect(differing(links(parent), links(child))).To(Equal([]string{"uts"}), "contrast: a child that unshares")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/exec-preserves-all",
	Text:     "execve(2) changes no namespace membership.",
	Source:   claim.Sources{claim.Man("mount(2)", "Mount namespaces"), claim.Man("namespaces(7)", "Namespace lifetime")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "a fresh unshare gives others",
	Try:      "unshare --uts sh -c 'readlink /proc/self/ns/uts; exec readlink /proc/self/ns/uts'; readlink /proc/self/ns/uts",
	Shows:    "uts:[<own>]\nuts:[<own>]\nuts:[<host>]",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx)
	child := harness.Start(ctx, harness.Under(parent), harness.New(namespace.UTS, namespace.Network))
	before := links(child)
	agent := child.Agent(ctx)
	after := linksOf(parent, agentPID(parent, child, agent))
	claim.Evidence("%d links before and after execve(2)", len(after))
	Expect(differing(before, after)).To(BeEmpty(), "links of an executed program that differ from its caller's")
	Expect(differing(links(parent), after)).To(ConsistOf("net", "uts"), "contrast: its grandparent, in other namespaces")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/unshare-acts-on-one-thread",
	Text:     "In a multithreaded process unshare(2) and setns(2) move only the calling thread.",
	Source:   claim.Sources{claim.Man("unshare(2)", "DESCRIPTION"), claim.Man("setns(2)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "the thread itself did move",
}, func(ctx SpecContext) {
	agent := harness.Start(ctx, harness.New(namespace.UTS)).Agent(ctx)
	seen := probe.UnshareThread.In(agent, probe.None{})
	claim.Evidence("main thread: uts %s, host name %q; other thread: uts %s, host name %q", seen.MainLink, seen.MainName, seen.ThreadLink, seen.ThreadName)
	Expect(seen.MainLink).To(Equal(seen.Before), "the main thread's link after another thread called unshare(CLONE_NEWUTS)")
	Expect(seen.MainName).NotTo(Equal("thread"), "the main thread's host name")
	Expect(seen.ThreadLink).NotTo(Equal(seen.Before), "contrast: the thread itself moved")
	Expect(seen.ThreadName).To(Equal("thread"), "contrast: the thread's host name")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/creation-needs-cap-sys-admin",
	Text:     "Creating any namespace but a user namespace fails with EPERM without CAP_SYS_ADMIN, UID 0 included.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The namespaces API"), claim.Man("unshare(2)", "ERRORS"), claim.Man("clone(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Root},
	Contrast: "root with the cap succeeds for each",
	Try:      "for o in mount uts ipc net pid cgroup; do setpriv --reuid 1000 --regid 1000 --clear-groups unshare --$o true; done",
	Shows:    "unshare: unshare failed: Operation not permitted\nunshare: unshare failed: Operation not permitted\nunshare: unshare failed: Operation not permitted\nunshare: unshare failed: Operation not permitted\nunshare: unshare failed: Operation not permitted\nunshare: unshare failed: Operation not permitted",
}, func(ctx SpecContext) {
	for _, t := range offered(ctx) {
		if t == namespace.User {
			continue
		}
		nobody := harness.Start(ctx, harness.As(65534, 65534))
		root := harness.Start(ctx, harness.WithoutCapability(unix.CAP_SYS_ADMIN))
		// Each call has a check of its own.
		_, nobodyClone := nobody.Clone(ctx, t.Flag)
		_, rootClone := root.Clone(ctx, t.Flag)
		nobodyUnshare, rootUnshare := nobody.Unshare(t.Flag), root.Unshare(t.Flag)
		claim.Evidence("%s: nobody %v, %v; UID 0 without CAP_SYS_ADMIN %v, %v", t, nobodyUnshare, nobodyClone, rootUnshare, rootClone)
		Expect(nobodyUnshare).To(harness.FailWith(unix.EPERM), "unshare(%s) as nobody", t.Const)
		Expect(nobodyClone).To(harness.FailWith(unix.EPERM), "clone(%s) as nobody", t.Const)
		Expect(rootUnshare).To(harness.FailWith(unix.EPERM), "unshare(%s) as UID 0 without CAP_SYS_ADMIN", t.Const)
		Expect(rootClone).To(harness.FailWith(unix.EPERM), "clone(%s) as UID 0 without CAP_SYS_ADMIN", t.Const)
		capable := harness.Start(ctx)
		_, cloned := capable.Clone(ctx, t.Flag)
		Expect(cloned).NotTo(HaveOccurred(), "contrast: clone(%s) with CAP_SYS_ADMIN", t.Const)
		Expect(capable.Unshare(t.Flag)).To(Succeed(), "contrast: unshare(%s) with CAP_SYS_ADMIN", t.Const)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/userns-first-grants-the-rest",
	Text:     "One call naming CLONE_NEWUSER and other flags succeeds unprivileged, because the user namespace is made first and owns the rest.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Interaction with other types"), claim.Man("unshare(2)", "NOTES")},
	Needs:    claim.Needs{claim.OrdinaryUser, userNeed, unprivileged, ownerNeed},
	Contrast: "the same call without CLONE_NEWUSER is EPERM",
	Core:     true,
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --uts --net echo made; setpriv --reuid 1000 --regid 1000 --clear-groups unshare --uts --net true",
	Shows:    "made\nunshare: unshare failed: Operation not permitted",
}, func(ctx SpecContext) {
	flags := namespace.Flags(offered(ctx)...)
	sb := harness.Nobody(ctx)
	// The new PID and time namespaces are for children.
	before := map[namespace.Type]harness.File{}
	for _, t := range offered(ctx) {
		if t != namespace.PID && t != namespace.Time {
			before[t] = harness.Got(sb.Namespace(t))
		}
	}
	refused := sb.Unshare(flags &^ unix.CLONE_NEWUSER)
	allowed := sb.Unshare(flags)
	Expect(refused).To(harness.FailWith(unix.EPERM), "contrast: the same flags without CLONE_NEWUSER, as nobody")
	Expect(allowed).To(Succeed(), "all namespaces in one unshare(2) with CLONE_NEWUSER, as nobody")
	for t, old := range before {
		Expect(harness.Got(sb.Namespace(t)).SameAs(old)).To(BeFalse(), "the %s namespace after the unshare(2) is the same as before", t.Name)
	}
	uts := harness.Got(sb.OpenNamespace(namespace.UTS))
	owner := harness.Got(sb.Ioctl(uts, unix.NS_GET_USERNS, nil))
	same := harness.Got(sb.Fstat(owner)).SameAs(harness.Got(sb.Namespace(namespace.User)))
	claim.Evidence("with CLONE_NEWUSER: %v; without: %v; the new UTS namespace belongs to the new user namespace: %v", allowed, refused, same)
	Expect(same).To(BeTrue(), "NS_GET_USERNS of the new UTS namespace is the new user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/last-exit-destroys",
	Text:     "A namespace goes away when its last member leaves and nothing else refers to it.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "Namespace lifetime")},
	Needs:    claim.Needs{claim.Wired},
	Contrast: "it is present while the member lives",
	Core:     true,
	Try:      "unshare --net sleep 99 & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1 netns $p; grep -c v0 /proc/net/dev; kill $p; wait; while grep -q v0 /proc/net/dev; do :; done; ip link show v0",
	Shows:    "1\n…\nDevice \"v0\" does not exist.",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	agent := host.Agent(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network))
	veth(agent, member, "gone0", "eth0")
	_, there := probe.Find(probe.Links.In(agent, probe.None{}), "gone0")
	Expect(there).To(BeTrue(), "contrast: the host's end while the member lives")
	member.Exit(0)
	// The kernel takes network namespaces down in a work queue.
	Eventually(func() bool {
		_, still := probe.Find(probe.Links.In(agent, probe.None{}), "gone0")
		return still
	}).WithTimeout(destroyTime).WithPolling(pollTime).Should(BeFalse(), "the host's end of the veth after the namespace's only member has exited")
	claim.Evidence("the veth was there before and not after")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/open-fd-keeps-alive",
	Text:     "An open descriptor on a ns link keeps the namespace and its state after all members are gone.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/pid/ns/ directory, Namespace lifetime")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS)},
	Contrast: "/proc/PID of the member no longer exists",
	Try:      "unshare --uts sh -c 'hostname kept; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; exec 9< /proc/$p/ns/uts; kill $p; wait; ls -d /proc/$p; nsenter --uts=/proc/self/fd/9 hostname",
	Shows:    "…\nls: cannot access '/proc/<pid>': No such file or directory\nkept",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	harness.Must(member.Sethostname("kept"))
	fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/uts", member.PID()), unix.O_RDONLY, 0))
	member.Exit(0)
	harness.Got(host.Wait(member))
	_, gone := host.Stat(fmt.Sprintf("/proc/%d", member.PID()))
	before := host.Uname().Nodename
	Expect(host.Setns(fd, unix.CLONE_NEWUTS)).To(Succeed(), "setns through a descriptor kept open")
	name := host.Uname().Nodename
	claim.Evidence("member: %v; host name found: %q", gone, name)
	Expect(gone).To(harness.FailWith(unix.ENOENT), "/proc/PID of the member")
	Expect(name).To(Equal("kept"), "the dead member's host name")
	Expect(before).NotTo(Equal("kept"), "contrast: before setns")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/bind-mount-keeps-alive",
	Text:     "Bind mounting a ns link somewhere keeps that namespace alive and joinable without members.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/pid/ns/ directory")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS), claim.Namespace(namespace.Mount)},
	Contrast: "after umount the file gives EINVAL",
	Core:     true,
	Try:      "touch /tmp/n; unshare --uts=/tmp/n hostname kept; nsenter --uts=/tmp/n hostname; umount /tmp/n; nsenter --uts=/tmp/n hostname",
	Shows:    "kept\nnsenter: reassociate to namespace …: Invalid argument",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	file := host.MkdirTemp() + "/uts"
	harness.Must(host.CreateFile(file, ""))
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	harness.Must(member.Sethostname("kept"))
	Expect(host.Bind(fmt.Sprintf("/proc/%d/ns/uts", member.PID()), file, 0)).To(Succeed(), "bind mount of a ns link")
	member.Exit(0)
	harness.Got(host.Wait(member))
	line := mountLine(host, file)
	joiner := host.Fork(ctx)
	fd := harness.Got(joiner.Open(file, unix.O_RDONLY, 0))
	Expect(joiner.Setns(fd, unix.CLONE_NEWUTS)).To(Succeed(), "setns through the bind mount, without members")
	harness.Must(joiner.Close(fd))
	claim.Evidence("mountinfo: %s; host name found: %q", line, joiner.Uname().Nodename)
	Expect(joiner.Uname().Nodename).To(Equal("kept"), "the host name in a UTS namespace that only its bind mount has kept")
	Expect(line).To(ContainSubstring(" - nsfs "), "mountinfo of the bind mount")
	harness.Must(host.Umount(file, 0))
	bare := harness.Got(host.Open(file, unix.O_RDONLY, 0))
	Expect(host.Setns(bare, unix.CLONE_NEWUTS)).To(harness.FailWith(unix.EINVAL), "contrast: the file after umount")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/owned-namespace-pins-userns",
	Text:     "A user namespace without members stays while it owns another live namespace.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "Namespace lifetime")},
	Needs:    claim.Needs{claim.Namespace(namespace.User), claim.Namespace(namespace.UTS), ownerNeed},
	Contrast: "no process has that inode as user link",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.UTS))
	user := harness.Got(member.Namespace(namespace.User))
	fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/uts", member.PID()), unix.O_RDONLY, 0))
	member.Exit(0)
	harness.Got(host.Wait(member))
	owner := harness.Got(host.Fstat(harness.Got(host.Ioctl(fd, unix.NS_GET_USERNS, nil))))
	claim.Evidence("user namespace %v, found again: %v", user, owner)
	Expect(owner.SameAs(user)).To(BeTrue(), "NS_GET_USERNS of the kept UTS namespace is the memberless user namespace")
	members := 0
	for _, pid := range harness.Got(host.PIDs("/proc")) {
		if f, err := host.Stat(fmt.Sprintf("/proc/%d/ns/user", pid)); err == nil && f.SameAs(user) {
			members++
		}
	}
	Expect(members).To(BeZero(), "contrast: processes with that user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/proc-mount-pins-pid-ns",
	Text:     "A mounted proc instance keeps its PID namespace: it still answers after init died, with no PIDs in it.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "Namespace lifetime")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.Mount)},
	Contrast: "after umount the directory is empty",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	harness.Must(init.Mount("proc", dir, "proc", 0, ""))
	Expect(host.PIDs(dir)).To(Equal([]int{1}), "contrast: while init lives")
	init.Exit(0)
	harness.Got(host.Wait(init))
	_, meminfo := host.ReadFile(dir + "/meminfo")
	pids := harness.Got(host.PIDs(dir))
	harness.Must(host.Umount(dir, 0))
	claim.Evidence("after init's death: meminfo %v, processes %v", meminfo, pids)
	Expect(meminfo).NotTo(HaveOccurred(), "meminfo of the proc mount of a dead PID namespace")
	Expect(pids).To(BeEmpty(), "numbered entries of it")
	Expect(host.ReadDir(dir)).To(BeEmpty(), "contrast: after umount")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/nstype-ioctl",
	Text:     "NS_GET_NSTYPE returns the CLONE_NEW* constant of the namespace behind a descriptor.",
	Source:   claim.Sources{claim.Man("ioctl_ns(2)", "Discovering the namespace type")},
	Contrast: "an ordinary file gives ENOTTY",
	Try:      "lsns --output TYPE,PATH",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	for _, t := range offered(ctx) {
		fd := harness.Got(sb.OpenNamespace(t))
		kind, err := sb.Ioctl(fd, unix.NS_GET_NSTYPE, nil)
		Expect(err).NotTo(HaveOccurred(), "NS_GET_NSTYPE of %s", t)
		Expect(kind).To(Equal(int(t.Flag)), "NS_GET_NSTYPE of %s is %s", t, t.Const)
	}
	file := harness.Got(sb.Open("/proc/self/status", unix.O_RDONLY, 0))
	_, err := sb.Ioctl(file, unix.NS_GET_NSTYPE, nil)
	claim.Evidence("right for %v; an ordinary file: %v", offered(ctx), err)
	Expect(err).To(harness.FailWith(unix.ENOTTY), "contrast: an ordinary file")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/get-userns-returns-owner",
	Text:     "NS_GET_USERNS returns the user namespace in which the namespace was created.",
	Source:   claim.Sources{claim.Man("ioctl_ns(2)", ""), claim.Man("user_namespaces(7)", "Interaction with other types")},
	Needs:    claim.Needs{claim.Namespace(namespace.User), claim.Namespace(namespace.UTS), ownerNeed},
	Contrast: "a type that was not unshared still belongs to the initial one",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.UTS))
	ownerOf := func(t namespace.Type) harness.File {
		fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/%s", member.PID(), t.Name), unix.O_RDONLY, 0))
		return harness.Got(host.Fstat(harness.Got(host.Ioctl(fd, unix.NS_GET_USERNS, nil))))
	}
	mine, hosts := harness.Got(member.Namespace(namespace.User)), harness.Got(host.Namespace(namespace.User))
	uts, ipc := ownerOf(namespace.UTS), ownerOf(namespace.IPC)
	claim.Evidence("owner of the new UTS namespace: %v (created in %v); of the inherited IPC namespace: %v (host's %v)", uts, mine, ipc, hosts)
	Expect(uts.SameAs(mine)).To(BeTrue(), "the owner of a UTS namespace created in the new user namespace")
	Expect(ipc.SameAs(hosts)).To(BeTrue(), "contrast: the owner of an inherited IPC namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/get-parent-of-hierarchical",
	Text:     "NS_GET_PARENT returns the parent of a PID or user namespace, and EINVAL for every other type.",
	Source:   claim.Sources{claim.Man("ioctl_ns(2)", ""), claim.Man("pid_namespaces(7)", "Nesting")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.User)},
	Contrast: "uts, ipc, net, mnt, cgroup, time give EINVAL",
	Try:      "lsns --tree",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.User))
	for _, t := range []namespace.Type{namespace.PID, namespace.User} {
		fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/%s", member.PID(), t.Name), unix.O_RDONLY, 0))
		up, err := host.Ioctl(fd, unix.NS_GET_PARENT, nil)
		Expect(err).NotTo(HaveOccurred(), "NS_GET_PARENT of a %s namespace", t)
		Expect(harness.Got(host.Fstat(up)).SameAs(harness.Got(host.Namespace(t)))).To(BeTrue(), "the parent of the %s namespace is its creator's", t)
	}
	for _, t := range offered(ctx) {
		if t != namespace.PID && t != namespace.User {
			_, err := host.Ioctl(harness.Got(host.OpenNamespace(t)), unix.NS_GET_PARENT, nil)
			Expect(err).To(harness.FailWith(unix.EINVAL), "contrast: NS_GET_PARENT of a %s namespace", t)
			claim.Evidence("%s: %v", t, err)
		}
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/get-userns-out-of-scope-eperm",
	Text:     "Asking for an owner or parent that lies above the caller's own user or PID namespace fails with EPERM.",
	Source:   claim.Sources{claim.Man("ioctl_ns(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.User), claim.Namespace(namespace.PID)},
	Contrast: "the same request from the initial one succeeds",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	fd := harness.Got(member.OpenNamespace(namespace.UTS))
	_, above := member.Ioctl(fd, unix.NS_GET_USERNS, nil)
	_, parent := member.Ioctl(harness.Got(member.OpenNamespace(namespace.User)), unix.NS_GET_PARENT, nil)
	_, allowed := host.Ioctl(harness.Got(host.OpenNamespace(namespace.UTS)), unix.NS_GET_USERNS, nil)
	inner := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	own := harness.Got(inner.OpenNamespace(namespace.PID))
	_, parentPID := inner.Ioctl(own, unix.NS_GET_PARENT, nil)
	_, allowedPID := host.Ioctl(harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/pid", inner.PID()), unix.O_RDONLY, 0)), unix.NS_GET_PARENT, nil)
	claim.Evidence("owner from inside: %v; parent from inside: %v, of a PID namespace: %v; from outside: %v, %v", above, parent, parentPID, allowed, allowedPID)
	Expect(above).To(harness.FailWith(unix.EPERM), "NS_GET_USERNS of an inherited namespace, from inside a new user namespace")
	Expect(parent).To(harness.FailWith(unix.EPERM), "NS_GET_PARENT of the own user namespace, from inside")
	Expect(parentPID).To(harness.FailWith(unix.EPERM), "NS_GET_PARENT of the own PID namespace, from inside")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: from the user namespace above")
	Expect(allowedPID).NotTo(HaveOccurred(), "contrast: NS_GET_PARENT of that PID namespace from its parent")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/get-owner-uid",
	Text:     "NS_GET_OWNER_UID gives the effective UID of a user namespace's creator, in the numbers of the asker's user namespace, and EINVAL for other types.",
	Source:   claim.Sources{claim.Man("ioctl_ns(2)", "Discovering the owner")},
	Needs:    claim.Needs{claim.Sysctls, claim.Root, claim.Namespace(namespace.User), claim.UnprivilegedUserNamespaces},
	Contrast: "a uts descriptor gives EINVAL",
}, func(ctx SpecContext) {
	owner := harness.Start(ctx, harness.As(1234, 1234))
	child := harness.Got(owner.Clone(ctx, unix.CLONE_NEWUSER))
	fd := harness.Got(child.OpenNamespace(namespace.User))
	buf := make([]byte, 8)
	_, err := child.Ioctl(fd, unix.NS_GET_OWNER_UID, buf)
	// The answer is translated to the asker's user namespace, which has no maps.
	inside := le32(buf)
	outside := harness.Got(harness.Host(ctx).Open(fmt.Sprintf("/proc/%d/ns/user", hostPID(ctx, child)), unix.O_RDONLY, 0))
	Expect(err).NotTo(HaveOccurred(), "NS_GET_OWNER_UID of a user namespace, inside")
	_, err = harness.Host(ctx).Ioctl(outside, unix.NS_GET_OWNER_UID, buf)
	Expect(err).NotTo(HaveOccurred(), "NS_GET_OWNER_UID")
	uts := harness.Got(child.OpenNamespace(namespace.UTS))
	_, wrong := child.Ioctl(uts, unix.NS_GET_OWNER_UID, make([]byte, 8))
	claim.Evidence("owner: %d, asked from inside without maps: %d; of a uts descriptor: %v", le32(buf), inside, wrong)
	harness.Must(harness.Host(ctx).Close(outside))
	Expect(le32(buf)).To(Equal(uint32(1234)), "the owner of a user namespace created by UID 1234")
	Expect(inside).To(BeEquivalentTo(sysctlNumber("kernel.overflowuid")), "the owner for an asker in whose user namespace UID 1234 has no mapping")
	Expect(wrong).To(harness.FailWith(unix.EINVAL), "contrast: NS_GET_OWNER_UID of a uts descriptor")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/link-needs-ptrace-read",
	Text:     "Reading another process's ns links needs ptrace read access to it.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/pid/ns/ directory"), claim.Man("proc(5)", "")},
	Needs:    claim.Needs{claim.Root},
	Contrast: "nobody can read its own",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups ls -l /proc/1/ns/uts; setpriv --reuid 1000 --regid 1000 --clear-groups readlink /proc/self/ns/uts",
	Shows:    "ls: cannot read symbolic link '/proc/1/ns/uts': Permission denied\n…\nuts:[<own>]",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	root := host.Fork(ctx)
	nobody := harness.Start(ctx, harness.Under(host), harness.As(65534, 65534))
	harness.Got(nobody.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
	_, other := nobody.Readlink(fmt.Sprintf("/proc/%d/ns/uts", root.PID()))
	_, own := nobody.Readlink("/proc/self/ns/uts")
	claim.Evidence("root's link: %v; its own: %v", other, own)
	Expect(other).To(harness.FailWith(unix.EACCES), "nobody reading the ns link of a root process")
	Expect(own).NotTo(HaveOccurred(), "contrast: its own link")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/limit-zero-gives-enospc",
	Text:     "With max_X_namespaces set to 0, creating a namespace of type X fails with ENOSPC.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/sys/user directory")},
	Needs:    claim.Needs{claim.Namespace(namespace.User), claim.UnprivilegedUserNamespaces, limitsNeed},
	Contrast: "succeeds without the limit",
	Try:      "unshare --user --map-root-user sh -c 'unshare --uts echo made; echo 0 > /proc/sys/user/max_uts_namespaces; unshare --uts true'",
	Shows:    "made\nunshare: unshare failed: No space left on device",
}, func(ctx SpecContext) {
	for _, t := range offered(ctx) {
		sb := harness.Start(ctx, harness.New(namespace.User))
		Expect(sb.Fork(ctx).Unshare(t.Flag)).To(Succeed(), "contrast: unshare(%s) without the limit", t.Const)
		harness.Must(sb.WriteFile(fmt.Sprintf("/proc/sys/user/max_%s_namespaces", t.Name), "0"))
		err := sb.Unshare(t.Flag)
		claim.Evidence("%s: %v", t, err)
		Expect(err).To(harness.FailWith(unix.ENOSPC), "unshare(%s) with user.max_%s_namespaces at 0", t.Const, t.Name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/limit-is-per-userns",
	Text:     "The /proc/sys/user limits shown are those of the opener's user namespace; a new one starts at 2147483647.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/sys/user directory")},
	Needs:    claim.Needs{claim.Namespace(namespace.User), claim.UnprivilegedUserNamespaces, limitsNeed},
	Contrast: "the initial namespace shows half of threads-max",
	Try:      "cat /proc/sys/user/max_uts_namespaces; unshare --user cat /proc/sys/user/max_uts_namespaces",
	Shows:    "<host>\n2147483647",
}, func(ctx SpecContext) {
	const path = "/proc/sys/user/max_uts_namespaces"
	host := harness.Start(ctx, harness.New(namespace.User))
	harness.Must(host.WriteFile(path, "77"))
	inside := strings.TrimSpace(harness.Got(harness.Start(ctx, harness.Under(host), harness.New(namespace.User)).ReadFile(path)))
	outside := strings.TrimSpace(harness.Got(host.ReadFile(path)))
	claim.Evidence("set to 77 outside: outside %s, in a new user namespace %s", outside, inside)
	Expect(inside).To(Equal("2147483647"), "the limit shown in a new user namespace")
	Expect(outside).To(Equal("77"), "contrast: the limit of the namespace above")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/limit-counts-against-ancestors",
	Text:     "A nested user namespace cannot get round the limit of an ancestor.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "The /proc/sys/user directory")},
	Needs:    claim.Needs{claim.Namespace(namespace.User), claim.UnprivilegedUserNamespaces, limitsNeed},
	Contrast: "works when the ancestor has no limit",
	Try:      `unshare --user --map-root-user sh -c 'echo 0 > /proc/sys/user/max_uts_namespaces; unshare --user --map-root-user sh -c "cat /proc/sys/user/max_uts_namespaces; unshare --uts true"'`,
	Shows:    "2147483647\nunshare: unshare failed: No space left on device",
}, func(ctx SpecContext) {
	const path = "/proc/sys/user/max_uts_namespaces"
	parent := harness.Start(ctx, harness.New(namespace.User))
	child := harness.Start(ctx, harness.Under(parent), harness.New(namespace.User))
	Expect(child.Fork(ctx).Unshare(unix.CLONE_NEWUTS)).To(Succeed(), "contrast: without a limit above")
	harness.Must(parent.WriteFile(path, "0"))
	own := strings.TrimSpace(harness.Got(child.ReadFile(path)))
	err := child.Unshare(unix.CLONE_NEWUTS)
	claim.Evidence("own limit %s, parent's 0: %v", own, err)
	Expect(own).To(Equal("2147483647"), "the child's own limit")
	Expect(err).To(harness.FailWith(unix.ENOSPC), "unshare(CLONE_NEWUTS) below a user namespace with the limit 0")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/newpid-or-newuser-with-thread-einval",
	Text:     "CLONE_NEWPID and CLONE_NEWUSER cannot be combined with CLONE_THREAD (EINVAL).",
	Source:   claim.Sources{claim.Man("clone(2)", "ERRORS"), claim.Man("pid_namespaces(7)", "Compatibility")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.User)},
	Contrast: "each flag alone works",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	const thread = unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_VM
	for _, t := range []namespace.Type{namespace.PID, namespace.User} {
		_, err := sb.Syscall("clone(CLONE_THREAD|"+t.Const+")", unix.SYS_CLONE, thread|t.Flag, 0, 0, 0, 0)
		claim.Evidence("%s: %v", t.Const, err)
		Expect(err).To(harness.FailWith(unix.EINVAL), "clone(CLONE_THREAD|%s)", t.Const)
		_, err = sb.Clone(ctx, t.Flag)
		Expect(err).NotTo(HaveOccurred(), "contrast: clone(%s) alone", t.Const)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/newpid-or-newuser-with-clone-parent-allowed",
	Text:     "CLONE_NEWPID and CLONE_NEWUSER may be combined with CLONE_PARENT, except by an init process, for which CLONE_PARENT itself is EINVAL.",
	Source:   claim.Sources{claim.Man("clone(2)", "ERRORS says EINVAL"), claim.Doc("kernel allows it (copy_process)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), claim.Namespace(namespace.User)},
	Contrast: "PID 1 of a namespace gets EINVAL for CLONE_PARENT",
}, func(ctx SpecContext) {
	for _, t := range []namespace.Type{namespace.PID, namespace.User} {
		host := harness.Start(ctx)
		caller := host.Fork(ctx)
		sibling, err := caller.Clone(ctx, t.Flag|unix.CLONE_PARENT)
		claim.Evidence("%s with CLONE_PARENT: %v", t.Const, err)
		Expect(err).NotTo(HaveOccurred(), "clone(%s|CLONE_PARENT)", t.Const)
		sibling.Exit(0)
		got, _, err := host.WaitAny(sibling.PID(), 0)
		Expect(err).NotTo(HaveOccurred(), "the child of CLONE_PARENT is its caller's sibling")
		Expect(got).To(Equal(sibling.PID()), "the child of CLONE_PARENT that its caller's parent waited for")
		init := harness.Start(ctx, harness.New(namespace.PID))
		_, err = init.Clone(ctx, t.Flag|unix.CLONE_PARENT)
		Expect(err).To(harness.FailWith(unix.EINVAL), "contrast: CLONE_PARENT by PID 1 of a namespace")
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ns/userns-change-needs-single-thread",
	Text:     "A multithreaded process can neither create nor join a user namespace (EINVAL).",
	Source:   claim.Sources{claim.Man("unshare(2)", "CLONE_NEWUSER"), claim.Man("setns(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Namespace(namespace.User)},
	Contrast: "works single-threaded",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	agent := host.Agent(ctx)
	seen := probe.UserNamespaceThreaded.In(agent, fmt.Sprintf("/proc/%d/ns/user", member.PID()))
	single := host.Fork(ctx)
	fd := harness.Got(single.Open(fmt.Sprintf("/proc/%d/ns/user", member.PID()), unix.O_RDONLY, 0))
	claim.Evidence("with several threads: unshare %v, setns %v", unix.Errno(seen.Unshare), unix.Errno(seen.Setns))
	Expect(unix.Errno(seen.Unshare)).To(Equal(unix.EINVAL), "unshare(CLONE_NEWUSER) by a multithreaded process")
	Expect(unix.Errno(seen.Setns)).To(Equal(unix.EINVAL), "setns to a user namespace by a multithreaded process")
	Expect(single.Setns(fd, unix.CLONE_NEWUSER)).To(Succeed(), "contrast: a single-threaded process joins")
	Expect(host.Fork(ctx).Unshare(unix.CLONE_NEWUSER)).To(Succeed(), "contrast: a single-threaded process creates")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/setns-own-userns-einval",
	Text:     "setns(2) to the user namespace one is already in fails with EINVAL, so dropped capabilities cannot be regained that way.",
	Source:   claim.Sources{claim.Man("setns(2)", "User namespaces")},
	Needs:    claim.Needs{claim.Namespace(namespace.User)},
	Contrast: "joining a child user namespace works",
	Try:      "nsenter --user=/proc/self/ns/user true; unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; nsenter --preserve-credentials --user --target $p true && echo a child works",
	Shows:    "nsenter: reassociate to namespace 'ns/user' failed: Invalid argument\na child works",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	own := host.Setns(harness.Got(host.OpenNamespace(namespace.User)), unix.CLONE_NEWUSER)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	fd := harness.Got(host.Open(fmt.Sprintf("/proc/%d/ns/user", member.PID()), unix.O_RDONLY, 0))
	claim.Evidence("the own user namespace: %v", own)
	Expect(own).To(harness.FailWith(unix.EINVAL), "setns to the user namespace one is in")
	Expect(host.Setns(fd, unix.CLONE_NEWUSER)).To(Succeed(), "contrast: a child user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/unshare-command-one-type-per-option",
	Text:     "Each flag of unshare(2), as an option of unshare(1) passes it, changes exactly one namespace type for the program that is executed after it.",
	Source:   claim.Sources{claim.Article("Using the unshare User-space Tool"), claim.Man("unshare(1)", "")},
	Contrast: "no option changes none",
	Try:      "for o in mount/mnt uts/uts ipc/ipc net/net user/user cgroup/cgroup; do for t in mnt uts ipc net user cgroup; do test $(unshare --${o%/*} readlink /proc/self/ns/$t) = $(readlink /proc/self/ns/$t) || echo --${o%/*}: $t; done; done",
	Shows:    "--mount: mnt\n--uts: uts\n--ipc: ipc\n--net: net\n--user: user\n--cgroup: cgroup",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	before := links(host)
	for _, t := range offered(ctx) {
		// What unshare(1) does: unshare(2), fork(2), execve(2).
		caller := host.Fork(ctx)
		Expect(caller.Unshare(t.Flag)).To(Succeed(), "unshare(%s)", t.Const)
		child := caller.Fork(ctx)
		want := []string{t.Name}
		switch t {
		case namespace.PID, namespace.Time:
			want = append(want, t.Name+"_for_children")
		}
		Expect(differing(before, links(child))).To(Equal(want), "links that differ after unshare(%s) and fork(2)", t.Const)
	}
	claim.Evidence("one type for each of %v", offered(ctx))
	Expect(differing(before, links(host.Fork(ctx)))).To(BeEmpty(), "contrast: no option")
})

var _ = claim.It(claim.Claim{
	ID:       "ns/nsenter-runs-inside-a-running-container",
	Text:     "nsenter(1) with a container's PID runs a command in that container's namespaces.",
	Source:   claim.Sources{claim.Article2("Configuring Container Network"), claim.Man("setns(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS), claim.Namespace(namespace.Network), claim.Namespace(namespace.PID)},
	Contrast: "the command without nsenter shows the host's",
	Try:      "unshare --uts --net sh -c 'hostname box; exec sleep 99' & until p=$(pgrep -x -n sleep); do :; done; nsenter --target $p --uts --net hostname; nsenter --target $p --uts --net readlink /proc/self/ns/net; readlink /proc/self/ns/net /proc/$p/ns/net",
	Shows:    "box\nnet:[<box>]\nnet:[<host>]\nnet:[<box>]",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	container := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS, namespace.Network, namespace.PID))
	harness.Must(container.Sethostname("container"))
	// What nsenter(1) does: open, setns, fork, execve.
	caller := host.Fork(ctx)
	for _, t := range []namespace.Type{namespace.UTS, namespace.Network, namespace.PID} {
		fd := harness.Got(caller.Open(fmt.Sprintf("/proc/%d/ns/%s", container.PID(), t.Name), unix.O_RDONLY, 0))
		Expect(caller.Setns(fd, t.Flag)).To(Succeed(), "setns to the container's %s namespace", t)
	}
	entered := caller.Fork(ctx)
	inContainer := linksOf(host, container.PID())
	inEntered := linksOf(host, pidBySelf(host, entered))
	claim.Evidence("host name inside: %q; outside: %q; links that differ from the container's: %v", entered.Uname().Nodename, host.Uname().Nodename, differing(inContainer, inEntered))
	Expect(entered.Uname().Nodename).To(Equal("container"), "the host name that an entered process sees")
	Expect(entered.Signal(1, 0)).To(Succeed(), "the container's PID 1, from an entered process")
	Expect(differing(inContainer, inEntered)).To(BeEmpty(), "links of an entered process that differ from the container's")
	Expect(host.Fork(ctx).Uname().Nodename).NotTo(Equal("container"), "contrast: without entering")
})
