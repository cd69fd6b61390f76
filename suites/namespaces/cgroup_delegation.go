package namespaces

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID: "cgroup/delegated-subtree-usable-unprivileged",
	Text: "After chowning the directory, cgroup.procs and cgroup.subtree_control to a user, that user can make child cgroups and " +
		"move processes among them, but not into or out of the subtree.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "CGROUPS DELEGATION")},
	Needs:    claim.Needs{claim.Root, cgroup2},
	Contrast: "an undelegated cgroup gives EACCES",
	Try:      "chown 1000 /sys/fs/cgroup/x /sys/fs/cgroup/x/cgroup.procs /sys/fs/cgroup/x/cgroup.subtree_control; setpriv --reuid 1000 --regid 1000 --clear-groups mkdir /sys/fs/cgroup/x/y",
}, func(ctx SpecContext) {
	group, undelegated := newCgroup2("delegated"), newCgroup2("undelegated")
	host := harness.Start(ctx)
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		harness.Must(host.Chown(group.file(file), user, user))
	}
	member, outsider := host.Fork(ctx), host.Fork(ctx)
	group.enter(member)
	become(member, user)
	become(outsider, user)

	one, two := group.file("one"), group.file("two")
	made := errors.Join(member.Mkdir(one), member.Mkdir(two))
	moved := errors.Join(member.WriteFile(one+"/cgroup.procs", "0"), member.WriteFile(two+"/cgroup.procs", "0"))
	path := group.path(member)
	in := outsider.WriteFile(one+"/cgroup.procs", "0")
	out := member.WriteFile(undelegated.file("cgroup.procs"), "0")
	limit := member.WriteFile(group.file("cgroup.max.descendants"), "1")
	elsewhere := member.Mkdir(undelegated.file("one"))
	claim.Evidence("mkdir inside: %v; moves inside: %v, to %s; into the subtree: %v; out of it: %v; its own limit: %v; mkdir in an undelegated cgroup: %v",
		made, moved, path, in, out, limit, elsewhere)
	Expect(made).NotTo(HaveOccurred(), "mkdir(2) by the user that a cgroup is delegated to")
	Expect(moved).NotTo(HaveOccurred(), "moves among child cgroups by the user that their parent is delegated to")
	Expect(path).To(HaveSuffix("/"+group.name+"/two"), "cgroup of the user's process after the moves")
	Expect(in).To(harness.FailWith(unix.EACCES), "a move of the user's own process from outside into the subtree")
	Expect(out).To(harness.FailWith(unix.EACCES), "a move of the user's own process out of the subtree")
	Expect(limit).To(harness.FailWith(unix.EACCES), "the user's write to cgroup.max.descendants of the delegated cgroup")
	Expect(elsewhere).To(harness.FailWith(unix.EACCES), "contrast: mkdir(2) in an undelegated cgroup")
})

// nsdelegate is that v2 is mounted with that option, which holds for all its
// mounts and is the machine's to decide.
var nsdelegate = &claim.Need{
	Name: "cgroup v2 mounted with nsdelegate",
	Try: func(context.Context) error {
		mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
		if err != nil {
			return err
		}
		for _, m := range mounts {
			if slices.Contains(strings.Split(m.VFSOptions, ","), "nsdelegate") {
				return nil
			}
		}
		return errors.New("cgroup2 is mounted without nsdelegate, which holds for the whole machine")
	},
	Built: []string{"CONFIG_CGROUPS"},
}

var _ = claim.It(claim.Claim{
	ID:   "cgroup/nsdelegate-makes-namespaces-boundaries",
	Text: "With nsdelegate, processes in a cgroup namespace cannot write resource files of its root (EPERM) nor migrate processes across it (ENOENT).",
	Source: claim.Sources{claim.Man("cgroups(7)", "CGROUPS DELEGATION: delegating a hierarchy to a cgroup namespace"),
		claim.Doc("kernel cgroup-v2.rst", "Delegation")},
	Needs:    claim.Needs{claim.Root, claim.Namespace(namespace.Cgroup), cgroup2, nsdelegate},
	Contrast: "both allowed from outside of the namespace, and a migration below its root",
	Since:    "4.13",
}, func(ctx SpecContext) {
	top := newCgroup2("boundary")
	own, sibling := top.child("own"), top.child("sibling")
	inner := own.child("inner")
	host := harness.Start(ctx)
	inside, outsider := host.Fork(ctx), host.Fork(ctx)
	own.enter(inside)
	sibling.enter(outsider)
	harness.Must(inside.Unshare(unix.CLONE_NEWCGROUP))

	limit := inside.WriteFile(own.file("cgroup.max.descendants"), "10")
	out := inside.WriteFile(sibling.file("cgroup.procs"), "0")
	in := inside.WriteFile(inner.file("cgroup.procs"), fmt.Sprint(outsider.PID()))
	within := inside.WriteFile(inner.file("cgroup.procs"), "0")
	limitOutside := host.WriteFile(own.file("cgroup.max.descendants"), "10")
	across := host.WriteFile(inner.file("cgroup.procs"), fmt.Sprint(outsider.PID()))
	claim.Evidence("inside: limit of the root: %v; migration out: %v, in: %v, below the root: %v; from outside: limit: %v, migration in: %v",
		limit, out, in, within, limitOutside, across)
	Expect(limit).To(harness.FailWith(unix.EPERM), "cgroup.max.descendants of the namespace's root, written inside, with nsdelegate")
	Expect(out).To(harness.FailWith(unix.ENOENT), "a migration out of the namespace's root, from inside, with nsdelegate")
	Expect(in).To(harness.FailWith(unix.ENOENT), "a migration into the namespace's root, from inside, with nsdelegate")
	Expect(within).To(Succeed(), "contrast: a migration below the namespace's root")
	Expect(limitOutside).To(Succeed(), "contrast: the same file written outside of the namespace")
	Expect(across).To(Succeed(), "contrast: the same migration from outside of the namespace")
})
