package namespaces

import (
	"context"
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
	ID:       "user/map-file-writable-once",
	Text:     "uid_map is empty at first and can be written once; the second write is EPERM.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings")},
	Needs:    claim.Needs{userNeed},
	Contrast: "the first write succeeds, and what it wrote stays",
	Try:      "unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; cat /proc/$p/uid_map; /bin/echo 0 1000 1 > /proc/$p/uid_map; /bin/echo 0 1000 1 > /proc/$p/uid_map; cat /proc/$p/uid_map",
	Shows:    "/bin/echo: write error: Operation not permitted\n0 1000 1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	sb := unmapped(ctx, host)
	empty := harness.Got(host.ReadFile(uidMap(sb)))
	first := host.WriteFile(uidMap(sb), oneID(7, 0))
	second := host.WriteFile(uidMap(sb), oneID(8, 0))
	claim.Evidence("at first: %q; first write: %v; second: %v", empty, first, second)
	Expect(empty).To(BeEmpty(), "uid_map of a new user namespace")
	Expect(second).To(harness.FailWith(unix.EPERM), "the second write to uid_map")
	Expect(first).To(Succeed(), "contrast: the first write to uid_map")
	Expect(sb.Getuid()).To(Equal(7), "contrast: the UID that the first write mapped")
})

var _ = claim.It(claim.Claim{
	ID:       "user/unprivileged-may-map-only-itself",
	Text:     "Without CAP_SETUID in the parent, the map may be one line of length 1 naming the writer's own UID.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings")},
	Needs:    claim.Needs{userNeed, unprivileged},
	Contrast: "own UID accepted",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user sh -c 'echo 0 1001 1 > /proc/self/uid_map; echo 0 1000 2 > /proc/self/uid_map; echo 0 1000 1 > /proc/self/uid_map && id -u'",
}, func(ctx SpecContext) {
	sb := ordinary(ctx)
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	other := sb.WriteFile("/proc/self/uid_map", oneID(0, stranger))
	two := sb.WriteFile("/proc/self/uid_map", fmt.Sprintf("0 %d 2\n", user))
	lines := sb.WriteFile("/proc/self/uid_map", oneID(0, user)+oneID(1, stranger))
	own := sb.WriteFile("/proc/self/uid_map", oneID(0, user))
	claim.Evidence("UID %d mapping another: %v; two: %v; two lines: %v; itself: %v", user, other, two, lines, own)
	Expect(other).To(harness.FailWith(unix.EPERM), "an ordinary user mapping another UID")
	Expect(two).To(harness.FailWith(unix.EPERM), "an ordinary user mapping a range of two UIDs")
	Expect(lines).To(harness.FailWith(unix.EPERM), "an ordinary user mapping two lines")
	Expect(own).To(Succeed(), "contrast: an ordinary user mapping its own UID")
})

var _ = claim.It(claim.Claim{
	ID:       "user/gid-map-needs-setgroups-deny",
	Text:     `Without CAP_SETGID in the parent, gid_map can be written only after "deny" went to setgroups.`,
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings, The /proc/pid/setgroups file")},
	Needs:    claim.Needs{claim.OrdinaryUser, userNeed, unprivileged, setgroupsNeed},
	Contrast: "succeeds after deny",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user sh -c 'echo 0 1000 1 > /proc/self/gid_map; echo deny > /proc/self/setgroups; echo 0 1000 1 > /proc/self/gid_map && id -g'",
}, func(ctx SpecContext) {
	sb := harness.Nobody(ctx)
	gid := sb.Getgid()
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	without := sb.WriteFile("/proc/self/gid_map", oneID(0, gid))
	harness.Must(sb.WriteFile("/proc/self/setgroups", "deny"))
	with := sb.WriteFile("/proc/self/gid_map", oneID(0, gid))
	claim.Evidence(`gid_map written before "deny": %v; after: %v`, without, with)
	Expect(without).To(harness.FailWith(unix.EPERM), `gid_map written by an ordinary user without "deny" in setgroups`)
	Expect(with).To(Succeed(), `contrast: gid_map written after "deny"`)
	Expect(sb.Getgid()).To(Equal(0), "the GID just mapped")
})

var _ = claim.It(claim.Claim{
	ID:       "user/map-format-rules-einval",
	Text:     "Zero length, non-numbers, and ranges overlapping on either side are EINVAL; order of lines is free.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings")},
	Needs:    claim.Needs{claim.Root, userNeed},
	Contrast: "two disjoint lines accepted in either order",
	Try:      "unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; /bin/echo 0 1000 0 > /proc/$p/uid_map; /bin/echo x > /proc/$p/uid_map; /bin/echo '0 1000 9\n5 2000 9' > /proc/$p/uid_map; /bin/echo '5 2000 9\n0 1000 5' > /proc/$p/uid_map; cat /proc/$p/uid_map",
	Shows:    "/bin/echo: write error: Invalid argument\n/bin/echo: write error: Invalid argument\n/bin/echo: write error: Invalid argument\n5 2000 9\n0 1000 5",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	sb := unmapped(ctx, host)
	bad := []struct{ what, text string }{
		{"zero length", "0 1000 0\n"},
		{"no number", "0 x 1\n"},
		{"a negative number", "0 -1 1\n"},
		{"two fields", "0 1000\n"},
		{"ranges that overlap inside", "0 1000 10\n5 2000 10\n"},
		{"ranges that overlap outside", "0 1000 10\n100 1005 10\n"},
		{"a range beyond the last ID", "0 4294967290 10\n"},
	}
	for _, b := range bad {
		err := host.WriteFile(uidMap(sb), b.text)
		claim.Evidence("%s, %q: %v", b.what, b.text, err)
		Expect(err).To(harness.FailWith(unix.EINVAL), "uid_map with %s", b.what)
	}
	up := host.WriteFile(uidMap(sb), "0 1000 10\n100 2000 10\n")
	down := host.WriteFile(uidMap(unmapped(ctx, host)), "100 2000 10\n0 1000 10\n")
	claim.Evidence("two disjoint lines: %v; the other way round: %v", up, down)
	Expect(up).To(Succeed(), "contrast: two disjoint lines")
	Expect(down).To(Succeed(), "contrast: the same lines the other way round")
})

var _ = claim.It(claim.Claim{
	ID:       "user/map-holds-340-lines",
	Text:     "A map may have 340 lines; 341 are EINVAL.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings")},
	Needs:    claim.Needs{claim.Root, userNeed},
	Contrast: "340 accepted",
	Try:      "unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; seq 340 | sed 's/.*/& & 1/' > /tmp/340; seq 341 | sed 's/.*/& & 1/' > /tmp/341; for n in 341 340; do dd bs=64k if=/tmp/$n of=/proc/$p/uid_map 2>&1 | grep error; done; wc -l < /proc/$p/uid_map",
	Shows:    "dd: error writing '/proc/<pid>/uid_map': Invalid argument\n340",
}, func(ctx SpecContext) {
	// Short lines: more than a page is EINVAL for its size.
	lines := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(oneID(i, i+1))
		}
		return b.String()
	}
	host := harness.Start(ctx)
	sb := unmapped(ctx, host)
	over := host.WriteFile(uidMap(sb), lines(341))
	fits := host.WriteFile(uidMap(sb), lines(340))
	Expect(len(lines(341))).To(BeNumerically("<", 4096), "bytes of 341 lines")
	held := strings.Count(harness.Got(host.ReadFile(uidMap(sb))), "\n")
	claim.Evidence("341 lines of together %d bytes: %v; 340: %v, of which uid_map holds %d", len(lines(341)), over, fits, held)
	Expect(over).To(harness.FailWith(unix.EINVAL), "uid_map of 341 lines")
	Expect(fits).To(Succeed(), "contrast: uid_map of 340 lines")
	Expect(held).To(Equal(340), "lines that uid_map holds")
})

// manyRanges is a map of more than five lines.
var manyRanges = claim.Feature("ID maps of more than five lines", "4.15", nil, func(ctx context.Context) error {
	var ids []harness.Mapping
	for i := range 6 {
		ids = append(ids, harness.Mapping{Inside: i, Outside: 2 * i, Size: 1})
	}
	_, err := harness.TryStart(ctx, harness.New(namespace.User), harness.WithIDs(ids, ids))
	return err
})

var _ = claim.It(claim.Claim{
	ID:       "user/nested-map-of-many-ranges-translates-fully",
	Text:     "In a nested user namespace a map of more than five ranges still translates down to the right IDs of the initial namespace.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings")},
	Needs:    claim.Needs{claim.Root, userNeed, unprivileged, manyRanges},
	Contrast: "without any map the file keeps its creator's own owner, 0",
}, func(ctx SpecContext) {
	const outer, ranges = 100000, 8
	host := harness.Start(ctx)
	dir := host.MkdirTemp()
	harness.Must(host.Chmod(dir, 0o777))
	thousand := []harness.Mapping{{Inside: 0, Outside: outer, Size: 1000}}
	first := become(harness.Start(ctx, harness.Under(host), harness.New(namespace.User), harness.WithIDs(thousand, thousand)), 0)
	// Inside ID i is ID 2i one level up: no line can be joined to the next.
	var many []harness.Mapping
	for i := range ranges {
		many = append(many, harness.Mapping{Inside: i, Outside: 2 * i, Size: 1})
	}
	second := become(harness.Start(ctx, harness.Under(first), harness.New(namespace.User), harness.WithIDs(many, many)), 0)
	for i := range ranges {
		child := second.Fork(ctx)
		Expect(child.SetIDs(i, i)).To(Succeed(), "setresuid(2) and setresgid(2) to ID %d, which the map has", i)
		file := fmt.Sprintf("%s/%d", dir, i)
		harness.Must(child.CreateFile(file, ""))
		seen := harness.Got(host.Stat(file))
		claim.Evidence("made by %d:%d two levels down, owned outside by %d:%d", i, i, seen.UID, seen.GID)
		Expect([]uint32{seen.UID, seen.GID}).To(Equal([]uint32{uint32(outer + 2*i), uint32(outer + 2*i)}), "the owner outside of a file made by ID %d two user namespaces down", i)
	}
	plain := unmapped(ctx, host)
	harness.Must(plain.CreateFile(dir+"/plain", ""))
	Expect(harness.Got(host.Stat(dir+"/plain")).UID).To(BeZero(), "contrast: the owner of a file made without any map")
})

var _ = claim.It(claim.Claim{
	ID:       "user/map-view-depends-on-reader",
	Text:     "The second field of uid_map is given in the reader's user namespace.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "uid_map and gid_map")},
	Needs:    claim.Needs{userNeed},
	Contrast: "the two readers differ on the same file",
	Try:      "unshare --user --map-user=7 sleep 99 & until p=$(pgrep -x -n sleep); do :; done; cat /proc/$p/uid_map; unshare --user --map-user=5000 cat /proc/$p/uid_map",
	Shows:    "7 0 1\n7 5000 1",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	ids := func(inside int) harness.Option {
		m := []harness.Mapping{{Inside: inside, Outside: 0, Size: 1}}
		return harness.WithIDs(m, m)
	}
	target := harness.Start(ctx, harness.Under(host), harness.New(namespace.User), ids(7))
	reader := harness.Start(ctx, harness.Under(host), harness.New(namespace.User), ids(5000))
	second := func(from *harness.Sandbox) string {
		return strings.Fields(harness.Got(from.ReadFile(uidMap(target))))[1]
	}
	byHost, byReader := second(host), second(reader)
	claim.Evidence("second field of one uid_map, for the host: %s; for a reader that maps 5000 to 0: %s", byHost, byReader)
	Expect(byReader).To(Equal("5000"), "the second field read in a user namespace that maps 5000 to the same ID")
	Expect(byHost).To(Equal("0"), "contrast: the second field of the same file read by the host")
})

var _ = claim.It(claim.Claim{
	ID:       "user/map-ids-must-exist-in-parent",
	Text:     "Only IDs that are mapped in the parent namespace can be mapped further (else EPERM).",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings")},
	Needs:    claim.Needs{userNeed, unprivileged},
	Contrast: "a mapped one is accepted",
	Try:      "unshare --user --map-root-user sh -c 'unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; /bin/echo 0 1 1 > /proc/$p/uid_map; /bin/echo 0 0 1 > /proc/$p/uid_map; cat /proc/$p/uid_map'",
	Shows:    "/bin/echo: write error: Operation not permitted\n0 0 1",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx, harness.New(namespace.User))
	sb := unmapped(ctx, parent)
	has := harness.Got(parent.Capget()).Has(unix.CAP_SETUID)
	missing := parent.WriteFile(uidMap(sb), oneID(0, 1))
	partly := parent.WriteFile(uidMap(sb), "0 0 2\n")
	mapped := parent.WriteFile(uidMap(sb), oneID(0, 0))
	claim.Evidence("with CAP_SETUID %v: ID 1, unmapped in the parent: %v; 0 and 1: %v; 0, mapped: %v", has, missing, partly, mapped)
	Expect(has).To(BeTrue(), "CAP_SETUID of the parent")
	Expect(missing).To(harness.FailWith(unix.EPERM), "mapping an ID that the parent namespace does not have")
	Expect(partly).To(harness.FailWith(unix.EPERM), "mapping a range of which the parent namespace has a part")
	Expect(mapped).To(Succeed(), "contrast: mapping an ID that the parent namespace has")
})

var _ = claim.It(claim.Claim{
	ID:       "user/mapping-parent-root-needs-setfcap",
	Text:     "Mapping the parent's UID 0 needs CAP_SETFCAP.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings")},
	Needs:    claim.Needs{claim.Root, userNeed, unprivileged},
	Contrast: "works with it; another ID needs only CAP_SETUID",
	Since:    "5.12",
	Try:      "setpriv --bounding-set -setfcap --inh-caps -setfcap sh -c 'unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; /bin/echo 0 0 1 > /proc/$p/uid_map; /bin/echo 0 1000 1 > /proc/$p/uid_map; cat /proc/$p/uid_map'",
	Shows:    "/bin/echo: write error: Operation not permitted\n0 1000 1",
}, func(ctx SpecContext) {
	parent := harness.Start(ctx)
	harness.Must(parent.Capset(harness.Capabilities{Effective: 1 << unix.CAP_SETUID, Permitted: 1 << unix.CAP_SETUID}))
	sb := unmapped(ctx, parent)
	zero := parent.WriteFile(uidMap(sb), oneID(0, 0))
	other := parent.WriteFile(uidMap(sb), oneID(0, user))
	able := harness.Start(ctx)
	both := uint64(1<<unix.CAP_SETUID | 1<<unix.CAP_SETFCAP)
	harness.Must(able.Capset(harness.Capabilities{Effective: both, Permitted: both}))
	with := able.WriteFile(uidMap(unmapped(ctx, able)), oneID(0, 0))
	claim.Evidence("with CAP_SETUID alone, mapping 0: %v; mapping %d: %v; with CAP_SETFCAP too, mapping 0: %v", zero, user, other, with)
	Expect(zero).To(harness.FailWith(unix.EPERM), "mapping the parent's UID 0 without CAP_SETFCAP")
	Expect(other).To(Succeed(), "contrast: mapping another UID without CAP_SETFCAP")
	Expect(with).To(Succeed(), "contrast: mapping the parent's UID 0 with CAP_SETFCAP")
})

var _ = claim.It(claim.Claim{
	ID:       "user/privileged-parent-maps-ranges",
	Text:     "A parent with CAP_SETUID and CAP_SETGID may map a whole range of foreign IDs.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Defining mappings")},
	Needs:    claim.Needs{claim.Root, userNeed},
	Contrast: "with a single-ID map it is EINVAL",
	Core:     true,
	Try:      "unshare --user sleep 99 & until p=$(pgrep -x -n sleep); do :; done; for f in uid_map gid_map; do echo 0 100000 1000 > /proc/$p/$f; done; nsenter --user --target $p setpriv --reuid 999 id -u; unshare --user --map-root-user setpriv --reuid 999 id -u",
	Shows:    "999\nsetpriv: setresuid failed: Invalid argument",
}, func(ctx SpecContext) {
	all := []harness.Mapping{{Inside: 0, Outside: 0, Size: 65536}}
	wide := harness.Start(ctx, harness.New(namespace.User), harness.WithIDs(all, all))
	narrow := harness.Start(ctx, harness.New(namespace.User))
	ranged, single := wide.Setresuid(999, 999, 999), narrow.Setresuid(999, 999, 999)
	claim.Evidence("in a namespace that maps 0-65535: %v; in one that maps 0: %v", ranged, single)
	Expect(ranged).To(Succeed(), "setresuid(999) where a privileged parent mapped 0-65535")
	Expect(wide.Getuid()).To(Equal(999), "getuid() after setresuid(999)")
	Expect(single).To(harness.FailWith(unix.EINVAL), "contrast: setresuid(999) where only UID 0 is mapped")
})

var _ = claim.It(claim.Claim{
	ID:       "user/nesting-limit-33",
	Text:     "User namespaces nest 33 deep below the initial one; the next creation is ENOSPC.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "and unshare")},
	Needs:    claim.Needs{userNeed, unprivileged},
	Contrast: "every creation before that works",
}, func(ctx SpecContext) {
	const limit = 33
	at := userDepth()
	sb := harness.Start(ctx)
	made := 0
	var err error
	for ; made <= limit; made++ {
		if err = sb.Unshare(unix.CLONE_NEWUSER); err != nil {
			break
		}
		mapSelf(sb, 0, 0)
	}
	claim.Evidence("the stage is %v; %d user namespaces made, then: %v", at, made, err)
	Expect(err).To(harness.FailWith(unix.ENOSPC), "a user namespace more than %d below the initial one", limit)
	if at.known {
		Expect(made).To(Equal(limit-at.depth), "contrast: user namespaces made one in the other, from %v", at)
	} else {
		Expect(made).To(And(BeNumerically(">", 0), BeNumerically("<=", limit-at.depth)), "contrast: user namespaces made one in the other, from %v", at)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "user/owner-in-parent-has-all-caps",
	Text:     "A process in the parent namespace whose effective UID created the child has all capabilities in it; one of that UID further up has none.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Capabilities")},
	Needs:    claim.Needs{claim.Sysctls, claim.Root, userNeed, unprivileged},
	Contrast: "another UID, and the creator's two levels up, get EPERM",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user sleep 9 & sleep 1; setpriv --reuid 1000 --regid 1000 --clear-groups nsenter --user --target $(pgrep -n sleep) --preserve-credentials grep CapEff /proc/self/status",
}, func(ctx SpecContext) {
	sb := ordinary(ctx)
	child := unmapped(ctx, sb)
	owner, err := joins(ctx, hostPID(ctx, child), user, namespace.User)
	caps := harness.Got(owner.Capget()).Effective
	_, refused := joins(ctx, hostPID(ctx, child), stranger, namespace.User)
	// Two levels up the namespace between is another's: that of the suite's root.
	both := []harness.Mapping{{Inside: 0, Outside: user, Size: 2}}
	between := harness.Start(ctx, harness.New(namespace.User), harness.WithIDs(both, both))
	creator := become(between.Fork(ctx), stranger-user)
	_, further := joins(ctx, hostPID(ctx, unmapped(ctx, creator)), stranger, namespace.User)
	claim.Evidence("setns(2) as the creator's UID: %v, capabilities then %x; as another UID: %v; as the creator's two levels up: %v", err, caps, refused, further)
	Expect(err).NotTo(HaveOccurred(), "setns(2) to the user namespace as the UID that created it, without capabilities")
	Expect(caps).To(Equal(allCapabilities()), "its capabilities there")
	Expect(refused).To(harness.FailWith(unix.EPERM), "contrast: setns(2) as another UID")
	Expect(further).To(harness.FailWith(unix.EPERM), "contrast: setns(2) as the UID that created it, two levels up")
})

var _ = claim.It(claim.Claim{
	ID:       "user/ancestor-capability-covers-descendants",
	Text:     "A capability held in a user namespace counts in all its descendants.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Capabilities")},
	Needs:    claim.Needs{claim.Root, userNeed, unprivileged, utsNeed},
	Contrast: "an unrelated user gets EPERM",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --uts sleep 99 & until p=$(pgrep -x -n sleep); do :; done; nsenter --uts --target $p hostname by-host-root; nsenter --uts --target $p hostname; setpriv --reuid 1001 --regid 1001 --clear-groups nsenter --uts --target $p true",
	Shows:    "by-host-root\nnsenter: …: Permission denied",
}, func(ctx SpecContext) {
	sb := ordinary(ctx)
	child := harness.Start(ctx, harness.Under(sb), harness.New(namespace.User, namespace.UTS), harness.WithoutIDs())
	pid := hostPID(ctx, child)
	root := harness.Start(ctx)
	join := func(who *harness.Sandbox, pid int, what string) {
		// The descriptor, too, is for those with a capability over the process.
		fd, err := who.Open(fmt.Sprintf("/proc/%d/ns/uts", pid), unix.O_RDONLY, 0)
		Expect(err).NotTo(HaveOccurred(), "host root opening the UTS namespace of %s", what)
		Expect(who.Setns(fd, unix.CLONE_NEWUTS)).To(Succeed(), "host root joining the UTS namespace of %s", what)
	}
	join(root, pid, "a descendant user namespace")
	set := root.Sethostname("by-host-root")
	_, refused := joins(ctx, pid, stranger, namespace.UTS)
	mapSelf(child, 0, user)
	grandchild := harness.Start(ctx, harness.Under(child), harness.New(namespace.User, namespace.UTS), harness.WithoutIDs())
	join(harness.Start(ctx), hostPID(ctx, grandchild), "a user namespace two levels below")
	claim.Evidence("host root joins, and one level deeper; sets the name: %v; it reads %q inside; an unrelated user: %v", set, child.Uname().Nodename, refused)
	Expect(set).To(Succeed(), "host root setting the host name there")
	Expect(child.Uname().Nodename).To(Equal("by-host-root"), "the host name read in the descendant")
	Expect(refused).To(harness.FailWith(unix.EPERM), "contrast: an unrelated user joining it")
})

var _ = claim.It(claim.Claim{
	ID:       "user/siblings-have-no-power-over-each-other",
	Text:     "Full capabilities in one user namespace give none in a sibling.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Capabilities")},
	Needs:    claim.Needs{claim.Sysctls, userNeed, utsNeed},
	Contrast: "its own UTS namespace can be joined",
	Try:      "unshare --user --map-root-user --uts sleep 99 & until p=$(pgrep -x -n sleep); do :; done; unshare --user --map-root-user nsenter --uts=/proc/$p/ns/uts hostname x; nsenter --uts=/proc/$p/ns/uts hostname by-parent && echo the parent may",
	Shows:    "nsenter: …: …\nthe parent may",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	sibling := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.UTS))
	sb := harness.Start(ctx, harness.Under(host))
	theirs := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/uts", sibling.PID()), unix.O_RDONLY, 0))
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	harness.Must(sb.Unshare(unix.CLONE_NEWUTS))
	own := harness.Got(sb.OpenNamespace(namespace.UTS))
	held := harness.Got(sb.Capget()).Effective
	refused, joined := sb.Setns(theirs, unix.CLONE_NEWUTS), sb.Setns(own, unix.CLONE_NEWUTS)
	claim.Evidence("with capabilities %x: the sibling's UTS namespace: %v; the own: %v", held, refused, joined)
	Expect(held).To(Equal(allCapabilities()), "capabilities in the own user namespace")
	Expect(refused).To(harness.FailWith(unix.EPERM), "setns(2) to the UTS namespace of a sibling user namespace")
	Expect(joined).To(Succeed(), "contrast: setns(2) to the own UTS namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "user/joining-grants-all-capabilities",
	Text:     "Joining a user namespace with setns(2) gives all capabilities in it.",
	Source:   claim.Sources{claim.Man("setns(2)", "User namespaces"), claim.Man("user_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Sysctls, userNeed, unprivileged},
	Contrast: "none before",
	Try:      "unshare --user --map-root-user sleep 9 & sleep 1; nsenter --user --target $! grep CapEff /proc/self/status",
}, func(ctx SpecContext) {
	sb := ordinary(ctx)
	child := unmapped(ctx, sb)
	fd := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/user", hostPID(ctx, child)), unix.O_RDONLY, 0))
	before := harness.Got(sb.Capget())
	harness.Must(sb.Setns(fd, unix.CLONE_NEWUSER))
	after := harness.Got(sb.Capget())
	claim.Evidence("effective capabilities before setns(2): %x; after: %x, permitted %x", before.Effective, after.Effective, after.Permitted)
	Expect(after.Effective).To(Equal(allCapabilities()), "effective capabilities after joining the user namespace")
	Expect(after.Permitted).To(Equal(allCapabilities()), "permitted capabilities after joining the user namespace")
	Expect(before.Effective).To(BeZero(), "contrast: effective capabilities before")
})

// keepCapsLocked is SECBIT_KEEP_CAPS_LOCKED, which changes nothing else.
const keepCapsLocked = 1 << 5

// securebitsNeed is that a process may set its securebits.
var securebitsNeed = claim.Feature("securebits", "2.6.26", nil, func(ctx context.Context) error {
	_, err := harness.Start(ctx).Prctl(unix.PR_SET_SECUREBITS, keepCapsLocked)
	return err
})

var _ = claim.It(claim.Claim{
	ID:       "user/creation-resets-securebits-and-bounding-set",
	Text:     "A new user namespace starts with the default securebits and a full bounding set, whatever its creator had.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Capabilities"), claim.Man("capabilities(7)", "The securebits flags: establishing a capabilities-only environment")},
	Needs:    claim.Needs{userNeed, securebitsNeed},
	Contrast: "a plain child has its creator's",
}, func(ctx SpecContext) {
	look := func(sb *harness.Sandbox) (bits, bounding int) {
		return harness.Got(sb.Prctl(unix.PR_GET_SECUREBITS)), harness.Got(sb.Prctl(unix.PR_CAPBSET_READ, unix.CAP_NET_RAW))
	}
	creator := harness.Start(ctx)
	harness.Got(creator.Prctl(unix.PR_SET_SECUREBITS, keepCapsLocked))
	harness.Got(creator.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_RAW, 0, 0, 0))
	bits, bounding := look(unmapped(ctx, creator))
	plainBits, plainBounding := look(creator.Fork(ctx))
	claim.Evidence("securebits and CAP_NET_RAW in the bounding set of the creator's plain child: %#x, %d; in a new user namespace: %#x, %d", plainBits, plainBounding, bits, bounding)
	Expect(bits).To(BeZero(), "securebits in a new user namespace")
	Expect(bounding).To(Equal(1), "CAP_NET_RAW in the bounding set in a new user namespace, whose creator had dropped it")
	Expect(plainBits).To(Equal(keepCapsLocked), "contrast: securebits of a plain child")
	Expect(plainBounding).To(BeZero(), "contrast: CAP_NET_RAW in the bounding set of a plain child")
})

var _ = claim.It(claim.Claim{
	ID:       "user/creation-needs-mapped-ids",
	Text:     "A process whose own effective IDs are unmapped cannot create a user namespace (EPERM).",
	Source:   claim.Sources{claim.Man("unshare(2)", "ERRORS"), claim.Man("clone(2)", "ERRORS")},
	Needs:    claim.Needs{userNeed, unprivileged},
	Contrast: "works once mapped",
	Try:      "unshare --user unshare --user true; unshare --user --map-root-user unshare --user echo made",
	Shows:    "unshare: unshare failed: Operation not permitted\nmade",
}, func(ctx SpecContext) {
	sb := unmapped(ctx, harness.Start(ctx))
	refused := sb.Unshare(unix.CLONE_NEWUSER)
	// With the namespace that it must not get its IDs cannot be mapped any more.
	Expect(refused).To(harness.FailWith(unix.EPERM), "unshare(CLONE_NEWUSER) by a process whose IDs are unmapped")
	_, cloned := sb.Clone(ctx, unix.CLONE_NEWUSER)
	ids := []harness.Mapping{{Inside: 0, Outside: 0, Size: 1}}
	harness.Must(sb.WriteMaps(ids, ids))
	works := sb.Unshare(unix.CLONE_NEWUSER)
	claim.Evidence("unmapped: %v; %v; once mapped: %v", refused, cloned, works)
	Expect(cloned).To(harness.FailWith(unix.EPERM), "clone(CLONE_NEWUSER) by a process whose IDs are unmapped")
	Expect(works).To(Succeed(), "contrast: unshare(CLONE_NEWUSER) once the IDs are mapped")
})

var _ = claim.It(claim.Claim{
	ID:       "user/proc-files-owned-by-namespace-root",
	Text:     "/proc/PID files of a non-dumpable process belong to root of the user namespace in which its program was executed.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/pid")},
	Needs:    claim.Needs{claim.Root, userNeed, claim.File("/proc/sys/fs/suid_dumpable", "CONFIG_SYSCTL"), undumpable},
	Contrast: "global root for a process that entered the namespace without exec",
}, func(ctx SpecContext) {
	const outer, inner = 100000, 5
	host := harness.Start(ctx)
	// A program that its user cannot read makes its process non-dumpable.
	cat := copyCat(ctx, host)
	harness.Must(host.Chown(cat, outer, outer))
	harness.Must(host.Chmod(cat, 0o711))
	ids := []harness.Mapping{{Inside: 0, Outside: outer, Size: 10}}
	start := func() *harness.Sandbox {
		sb := harness.Start(ctx, harness.Under(host), harness.New(namespace.User), harness.WithIDs(ids, ids))
		// Only leaving UID 0 of the namespace gives up its capabilities.
		return become(become(sb, 0), inner)
	}
	owner := func(pid int) int {
		return int(harness.Got(host.Stat(fmt.Sprintf("/proc/%d/status", pid))).UID)
	}
	executed, entered, dumpable := start(), start(), start()
	pid := executed.PID()
	echoes(ctx, executed, cat)
	harness.Got(entered.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	inside, outside, own := owner(pid), owner(entered.PID()), owner(dumpable.PID())
	claim.Evidence("owner of /proc/PID/status, executed inside and non-dumpable: %d; entered without execve(2) and non-dumpable: %d; dumpable: %d", inside, outside, own)
	Expect(inside).To(Equal(outer), "the owner of /proc/PID/status of a non-dumpable process that executed its program inside")
	Expect(outside).To(Equal(0), "contrast: of a process that entered the namespace without execve(2)")
	Expect(own).To(Equal(outer+inner), "contrast: of a dumpable process")
})

var _ = claim.It(claim.Claim{
	ID:       "user/user-keyring-is-per-namespace",
	Text:     "The user keyring differs in each user namespace, so keys in it are not found from another.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "DESCRIPTION"), claim.Man("user-keyring(7)", "")},
	Needs:    claim.Needs{userNeed, unprivileged, keysNeed},
	Contrast: "key found before unshare",
	Try:      "keyctl add user bulkhead x @u; keyctl search @u user bulkhead; unshare --user --map-root-user keyctl search @u user bulkhead",
}, func(ctx SpecContext) {
	// The key is put into the keyring of a namespace that ends with the spec.
	host := harness.Start(ctx, harness.New(namespace.User))
	harness.Got(keyring(host))
	harness.Got(host.Syscall("add_key", unix.SYS_ADD_KEY, "user", "bulkhead", []byte("x"), 1, unix.KEY_SPEC_USER_KEYRING))
	search := func(sb *harness.Sandbox) error {
		_, err := sb.Syscall("keyctl(KEYCTL_SEARCH)", unix.SYS_KEYCTL, unix.KEYCTL_SEARCH, unix.KEY_SPEC_USER_KEYRING, "user", "bulkhead", 0)
		return err
	}
	sb := host.Fork(ctx)
	first, before := harness.Got(keyring(sb)), search(sb)
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	mapSelf(sb, 0, 0)
	second, after := harness.Got(keyring(sb)), search(sb)
	claim.Evidence("user keyring %d, search: %v; after unshare(CLONE_NEWUSER): %d, search: %v", first, before, second, after)
	Expect(second).NotTo(Equal(first), "serial of the user keyring in another user namespace")
	Expect(after).To(harness.FailWith(unix.ENOKEY), "search in another user namespace")
	Expect(before).To(Succeed(), "contrast: search in the key's own user namespace")
})
