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
)

var _ = claim.It(claim.Claim{
	ID:       "cgroup/ns-own-cgroup-shown-as-root",
	Text:     `After CLONE_NEWCGROUP a process's own cgroup reads as "/" in /proc/self/cgroup, in v1 and v2 hierarchies.`,
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("cgroup_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.Cgroup), claim.Root, cgroupMount},
	Contrast: "full path before",
	Core:     true,
	Try:      `unshare --cgroup grep -v :/$ /proc/self/cgroup; unshare --cgroup grep -m1 -o ":/$" /proc/self/cgroup`,
	Shows:    ":/",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	group := newCgroup("root")
	group.enter(sb)
	before := group.path(sb)
	Expect(sb.Unshare(unix.CLONE_NEWCGROUP)).To(Succeed(), "unshare(CLONE_NEWCGROUP)")
	after := group.path(sb)
	claim.Evidence("before: %s; after unshare(CLONE_NEWCGROUP): %s", before, after)
	Expect(after).To(Equal("/"), "the own cgroup in /proc/self/cgroup of a new cgroup namespace")
	Expect(before).To(HaveSuffix("/"+group.name), "contrast: the full path before")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/ns-outside-paths-use-dotdot",
	Text:     "Cgroups outside the namespace's root read as paths beginning with /..",
	Source:   claim.Sources{claim.Man("cgroup_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.Namespace(namespace.Cgroup), claim.Root, cgroupMount},
	Contrast: "absolute path from the initial namespace",
	Try:      "unshare --cgroup cat /proc/1/cgroup",
}, func(ctx SpecContext) {
	top := newCgroup("dotdot")
	host := harness.Start(ctx)
	inside, sibling, parent := host.Fork(ctx), host.Fork(ctx), host.Fork(ctx)
	top.child("own").enter(inside)
	top.child("sibling").enter(sibling)
	top.enter(parent)
	harness.Must(inside.Unshare(unix.CLONE_NEWCGROUP))
	toSibling, toParent := top.pathOf(inside, sibling.PID()), top.pathOf(inside, parent.PID())
	outside := top.pathOf(host, sibling.PID())
	claim.Evidence("a sibling: %s; the parent: %s; the sibling from the initial namespace: %s", toSibling, toParent, outside)
	Expect(toSibling).To(Equal("/../sibling"), "path of a sibling cgroup, read inside the namespace")
	Expect(toParent).To(Equal("/.."), "path of the parent cgroup, read inside the namespace")
	Expect(outside).To(HaveSuffix("/"+top.name+"/sibling"), "contrast: the sibling's path, read outside")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/ns-old-mount-shows-dotdot-root",
	Text:     `A cgroup mount inherited from outside shows /.. as its root field in mountinfo; one mounted inside shows "/".`,
	Source:   claim.Sources{claim.Man("cgroup_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.Namespace(namespace.Cgroup), claim.Namespace(namespace.Mount), claim.Root, cgroup2},
	Contrast: `"/" after mounting again`,
	Try:      "unshare --cgroup --mount sh -c 'grep cgroup2 /proc/self/mountinfo; mount -t cgroup2 none /mnt; grep cgroup2 /proc/self/mountinfo'",
}, func(ctx SpecContext) {
	group := newCgroup2("mountinfo").child("inner")
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	rootField := func(point string) string {
		f := strings.Fields(mountLine(sb, point))
		if len(f) < 4 {
			harness.Broken("no mount on %s", point)
		}
		return f[3]
	}
	inherited := hierarchy("")
	group.enter(sb)
	before := rootField(inherited)
	harness.Must(sb.Unshare(unix.CLONE_NEWCGROUP))
	after := rootField(inherited)
	point := sb.MkdirTemp()
	harness.Must(sb.Mount("none", point, "cgroup2", 0, ""))
	again := rootField(point)
	claim.Evidence("root of the inherited mount: %s, in the namespace: %s; of a mount made there: %s", before, after, again)
	Expect(after).To(Equal("/../.."), "root field of a cgroup2 mount from outside, two levels above the namespace's root")
	Expect(again).To(Equal("/"), "contrast: root field of a cgroup2 mount made inside")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/ns-mount-exposes-only-own-subtree",
	Text:     "cgroup2 mounted inside a cgroup namespace has the namespace's cgroup as its root directory.",
	Source:   claim.Sources{claim.Man("cgroup_namespaces(7)", "NOTES")},
	Needs:    claim.Needs{claim.Namespace(namespace.Cgroup), claim.Namespace(namespace.Mount), claim.Root, cgroup2},
	Contrast: "the host's mount lists its siblings too",
	Try:      "unshare --cgroup --mount sh -c 'mount -t cgroup2 none /mnt; ls /mnt'",
}, func(ctx SpecContext) {
	top := newCgroup2("subtree")
	own := top.child("own")
	own.child("inner")
	top.child("sibling")
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	own.enter(sb)
	harness.Must(sb.Unshare(unix.CLONE_NEWCGROUP))
	point := sb.MkdirTemp()
	harness.Must(sb.Mount("none", point, "cgroup2", 0, ""))
	cgroups := func(dir string) (names []string) {
		for _, n := range harness.Got(sb.ReadDir(dir)) {
			if f := harness.Got(sb.Lstat(dir + "/" + n)); f.Mode&unix.S_IFMT == unix.S_IFDIR {
				names = append(names, n)
			}
		}
		return names
	}
	root, from := harness.Got(sb.Stat(point)), harness.Got(sb.Stat(own.dir))
	inside, outside := cgroups(point), cgroups(top.dir)
	claim.Evidence("cgroups at the top of a mount made inside: %v, its root %v; the namespace's cgroup %v; the host's mount lists %v", inside, root, from, outside)
	Expect(inside).To(ConsistOf("inner"), "cgroups at the top of a cgroup2 mounted inside")
	Expect(root.SameAs(from)).To(BeTrue(), "the mount's root %v is the namespace's cgroup %v", root, from)
	Expect(outside).To(ConsistOf("own", "sibling"), "contrast: what the host's mount lists")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/ns-setns-keeps-membership",
	Text:     "Joining a cgroup namespace does not move the process to another cgroup.",
	Source:   claim.Sources{claim.Man("setns(2)", "Cgroup namespaces")},
	Needs:    claim.Needs{claim.Namespace(namespace.Cgroup), claim.Root, cgroupMount},
	Contrast: "writing cgroup.procs does move it",
	Try:      "mkdir /sys/fs/cgroup/x; sh -c 'echo $$ > /sys/fs/cgroup/x/cgroup.procs; exec unshare --cgroup sleep 99' & nsenter --target $! --cgroup cat /proc/self/cgroup",
}, func(ctx SpecContext) {
	group := newCgroup("setns")
	host := harness.Start(ctx)
	owner, joiner := host.Fork(ctx), host.Fork(ctx)
	group.enter(owner)
	harness.Must(owner.Unshare(unix.CLONE_NEWCGROUP))
	fd := harness.Got(joiner.Open(fmt.Sprintf("/proc/%d/ns/cgroup", owner.PID()), unix.O_RDONLY, 0))
	before := group.pathOf(host, joiner.PID())
	harness.Must(joiner.Setns(fd, unix.CLONE_NEWCGROUP))
	joined := harness.Got(joiner.Namespace(namespace.Cgroup)).SameAs(harness.Got(owner.Namespace(namespace.Cgroup)))
	after, members := group.pathOf(host, joiner.PID()), group.members(host)
	// By the host: the joiner's own cgroup is now beyond the root of its cgroup
	// namespace, which a v2 mounted with nsdelegate lets nobody cross.
	harness.Must(host.WriteFile(group.file("cgroup.procs"), fmt.Sprint(joiner.PID())))
	moved := group.members(host)
	claim.Evidence("namespace joined: %v; path before: %s, after: %s; members %v; after writing cgroup.procs: %v", joined, before, after, members, moved)
	Expect(joined).To(BeTrue(), "the joiner's cgroup namespace is the target's")
	Expect(after).To(Equal(before), "the joiner's cgroup, read outside, after setns(CLONE_NEWCGROUP)")
	Expect(members).To(ConsistOf(fmt.Sprint(owner.PID())), "cgroup.procs of the target's cgroup after setns(CLONE_NEWCGROUP)")
	Expect(moved).To(ConsistOf(fmt.Sprint(owner.PID()), fmt.Sprint(joiner.PID())), "contrast: cgroup.procs after writing to it")
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/userns-may-mount-v2",
	Text:     "Root of a user namespace owning its cgroup namespace may mount cgroup2.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities within a user namespace")},
	Needs:    claim.Needs{userNeed, claim.Namespace(namespace.Cgroup), mountNeed, cgroup2Built},
	Contrast: "EPERM in the host's cgroup namespace",
	Try:      "unshare --user --map-root-user --mount --cgroup sh -c 'mount -t cgroup2 none /mnt && echo mounted'; unshare --user --map-root-user --mount mount -t cgroup2 none /mnt",
	Shows:    "mounted\nmount: /mnt: permission denied.\n…",
}, func(ctx SpecContext) {
	own := harness.Start(ctx, harness.New(namespace.User, namespace.Mount, namespace.Cgroup))
	mounted := own.Mount("none", own.MkdirTemp(), "cgroup2", 0, "")
	hosts := harness.Start(ctx, harness.New(namespace.User, namespace.Mount))
	refused := hosts.Mount("none", hosts.MkdirTemp(), "cgroup2", 0, "")
	claim.Evidence("with an own cgroup namespace: %v; in the host's: %v", mounted, refused)
	Expect(mounted).To(Succeed(), "cgroup2 mounted by namespace root that owns its cgroup namespace")
	Expect(refused).To(harness.FailWith(unix.EPERM), "contrast: in the host's cgroup namespace")
})
