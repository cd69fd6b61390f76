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
	"bulkhead/internal/claim"
	"bulkhead/suites/rootfs"
)

// netRaw is the capability that these claims take as an example: it gives
// nothing to the programs that they run.
const netRaw = uint64(1) << unix.CAP_NET_RAW

var _ = claim.It(claim.Claim{
	ID:       "user/cap-bounding-set-limits-exec",
	Text:     "A capability dropped from the bounding set is not regained at exec, even by UID 0.",
	Source:   claim.Sources{claim.Man("capabilities(7)", "Capability bounding set")},
	Contrast: "present before the drop",
	Core:     true,
	Try:      "capsh --drop=cap_net_raw -- -c 'capsh --has-p=cap_net_raw'; capsh --has-p=cap_net_raw && echo has it",
	Shows:    "…cap_net_raw…not permitted\nhas it",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	before := capsAfterExec(ctx, sb, plainCat(ctx))
	harness.Got(sb.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_RAW, 0, 0, 0))
	held := harness.Got(sb.Capget()).Permitted
	after := capsAfterExec(ctx, sb, plainCat(ctx))
	claim.Evidence("executed before the drop: %v; after it: %v; the dropping process still has CapPrm %x", before, after, held)
	Expect(sb.Geteuid()).To(Equal(0), "effective UID")
	Expect(after.prm&netRaw).To(BeZero(), "CAP_NET_RAW in CapPrm after execve(2), dropped from the bounding set")
	Expect(after.bnd&netRaw).To(BeZero(), "CAP_NET_RAW in CapBnd after execve(2)")
	Expect(before.prm&netRaw).NotTo(BeZero(), "contrast: CAP_NET_RAW in CapPrm before the drop")
	Expect(before.bnd&netRaw).NotTo(BeZero(), "contrast: CAP_NET_RAW in CapBnd before the drop")
})

var _ = claim.It(claim.Claim{
	ID:       "user/cap-ambient-survives-exec-as-nonroot",
	Text:     "An ambient capability stays effective when a non-root process executes a plain program.",
	Source:   claim.Sources{claim.Man("capabilities(7)", "Ambient")},
	Needs:    claim.Needs{userNeed},
	Contrast: "without ambient it is 0",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps +net_raw --ambient-caps +net_raw grep CapEff /proc/self/status; setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps +net_raw grep CapEff /proc/self/status",
	Shows:    "CapEff: 0000000000002000\nCapEff: 0000000000000000",
}, func(ctx SpecContext) {
	// The creator of a user namespace has all capabilities there, as UID 1000 too.
	ids := []harness.Mapping{{Inside: user, Outside: 0, Size: 1}}
	sb := harness.Start(ctx, harness.New(namespace.User), harness.WithIDs(ids, ids))
	harness.Must(sb.Capset(harness.Capabilities{Effective: netRaw, Permitted: netRaw, Inheritable: netRaw}))
	without := capsAfterExec(ctx, sb, plainCat(ctx))
	harness.Got(sb.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_RAW, 0, 0))
	with := capsAfterExec(ctx, sb, plainCat(ctx))
	claim.Evidence("UID %d, executed with CAP_NET_RAW ambient: %v; without: %v", sb.Getuid(), with, without)
	Expect(with.eff).To(Equal(netRaw), "CapEff after execve(2) with CAP_NET_RAW in the ambient set")
	Expect(without.eff).To(BeZero(), "contrast: CapEff after execve(2) without an ambient set")
})

var _ = claim.It(claim.Claim{
	ID:       "user/cap-leaving-uid-0-clears-sets",
	Text:     "Changing all UIDs from 0 to nonzero empties permitted and effective sets unless keep-caps is set.",
	Source:   claim.Sources{claim.Man("capabilities(7)", "Effect of user ID changes")},
	Needs:    claim.Needs{claim.Root},
	Contrast: "permitted kept with PR_SET_KEEPCAPS",
	Try:      "setpriv --reuid 1000 grep CapEff /proc/self/status; grep -c 'CapEff:.*0000000000000000' /proc/self/status",
	Shows:    "CapEff: 0000000000000000\n0",
}, func(ctx SpecContext) {
	cleared := harness.Start(ctx)
	before := harness.Got(cleared.Capget())
	harness.Must(cleared.SetIDs(user, user))
	after := harness.Got(cleared.Capget())
	keeper := harness.Start(ctx)
	harness.Got(keeper.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0))
	harness.Must(keeper.SetIDs(user, user))
	kept := harness.Got(keeper.Capget())
	claim.Evidence("as UID 0: permitted %x; as UID %d: permitted %x, effective %x; with keep-caps: permitted %x, effective %x", before.Permitted, user, after.Permitted, after.Effective, kept.Permitted, kept.Effective)
	Expect(before.Permitted).NotTo(BeZero(), "permitted capabilities of UID 0")
	Expect(after.Permitted).To(BeZero(), "permitted capabilities after all UIDs left 0")
	Expect(after.Effective).To(BeZero(), "effective capabilities after all UIDs left 0")
	Expect(kept.Permitted).To(Equal(before.Permitted), "contrast: permitted capabilities with PR_SET_KEEPCAPS")
	Expect(kept.Effective).To(BeZero(), "effective capabilities with PR_SET_KEEPCAPS")
})

var _ = claim.It(claim.Claim{
	ID:       "user/cap-file-capabilities-granted-at-exec",
	Text:     "A file's capability attribute gives those capabilities to a non-root process executing it.",
	Source:   claim.Sources{claim.Man("capabilities(7)", "File capabilities")},
	Needs:    claim.Needs{claim.Root, newPrivileges, fileCapabilities},
	Contrast: "0 once the attribute is removed",
	Try:      "cp /bin/cat /tmp/cat; setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/cat /proc/self/status | grep CapEff; setcap cap_net_raw+ep /tmp/cat; setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/cat /proc/self/status | grep CapEff",
	Shows:    "CapEff: 0000000000000000\nCapEff: 0000000000002000",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	cat := copyCat(ctx, host)
	sb := become(harness.Start(ctx), user)
	harness.Must(setFileCapability(host, cat, unix.CAP_NET_RAW))
	with := capsAfterExec(ctx, sb, cat)
	removeFileCapability(host, cat)
	without := capsAfterExec(ctx, sb, cat)
	claim.Evidence("UID %d, executed with the attribute: %v; once it is removed: %v", user, with, without)
	Expect(with.eff).To(Equal(netRaw), "CapEff of UID %d executing a file with CAP_NET_RAW", user)
	Expect(without.eff).To(BeZero(), "contrast: CapEff once the attribute is removed")
})

var _ = claim.It(claim.Claim{
	ID:       "user/cap-file-capabilities-from-userns-are-v3",
	Text:     "File capabilities set from inside a user namespace are stored with that namespace's root UID and give nothing outside it.",
	Source:   claim.Sources{claim.Man("capabilities(7)", "Namespaced file capabilities")},
	Needs:    claim.Needs{claim.Root, userNeed, unprivileged, newPrivileges, fileCapabilities},
	Contrast: "set by host root it works everywhere",
	Try:      "unshare --user --map-root-user setcap cap_net_raw+ep /tmp/cat; getfattr -e hex -n security.capability /tmp/cat; /tmp/cat /proc/self/status | grep CapEff",
}, func(ctx SpecContext) {
	dir := harness.Host(ctx).MkdirTemp()
	harness.Must(harness.Host(ctx).Chmod(dir, 0o777))
	host := harness.Start(ctx)
	inside := ordinary(ctx)
	outside := inside.Fork(ctx)
	cat := copyCat(ctx, host)
	harness.Must(host.Chown(cat, user, user))
	rootless(inside, user)
	Expect(setFileCapability(inside, cat, unix.CAP_NET_RAW)).To(Succeed(), "file capabilities set by the root of a user namespace")
	raw, seen := fileCapability(host, cat), fileCapability(inside, cat)
	nothing := capsAfterExec(ctx, outside, cat)
	harness.Must(setFileCapability(host, cat, unix.CAP_NET_RAW))
	global, everywhere := fileCapability(host, cat), capsAfterExec(ctx, outside, cat)
	claim.Evidence("outside % x; inside % x; executed outside: %v; set by host root: % x, %v", raw, seen, nothing, global, everywhere)
	Expect(raw).To(HaveLen(24), "the attribute as the host reads it")
	Expect(binary.LittleEndian.Uint32(raw)>>24).To(BeEquivalentTo(3), "its revision")
	Expect(binary.LittleEndian.Uint32(raw[20:])).To(BeEquivalentTo(user), "the root UID in it")
	Expect(seen).To(HaveLen(20), "the attribute as the namespace's root reads it")
	Expect(nothing.eff).To(BeZero(), "CapEff of a program executed outside the namespace that gave it capabilities")
	Expect(global).To(HaveLen(20), "contrast: the attribute set by host root")
	Expect(everywhere.eff).To(Equal(netRaw), "contrast: CapEff of the same program with capabilities given by host root")
})

var _ = claim.It(claim.Claim{
	ID:       "user/cap-no-new-privs-blocks-setuid-and-filecaps",
	Text:     "After PR_SET_NO_NEW_PRIVS set-user-ID bits and file capabilities give nothing at exec, and the bit cannot be cleared.",
	Source:   claim.Sources{claim.Man("prctl(2)", "PR_SET_NO_NEW_PRIVS"), claim.Man("capabilities(7)", "")},
	Needs:    claim.Needs{claim.Root, newPrivileges, fileCapabilities},
	Contrast: "both take effect without the bit",
	Core:     true,
	Try:      "cp /bin/cat /tmp/suid; chmod u+s /tmp/suid; setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/suid /proc/self/status | grep Uid; setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs /tmp/suid /proc/self/status | grep Uid",
	Shows:    "Uid: 1000 0 0 0\nUid: 1000 1000 1000 1000",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	suid, caps := copyCat(ctx, host), copyCat(ctx, host)
	harness.Must(host.Chmod(suid, 0o4755))
	harness.Must(setFileCapability(host, caps, unix.CAP_NET_RAW))
	sb := become(harness.Start(ctx), user)
	uidBefore, capsBefore := euidAfterExec(ctx, sb, suid), capsAfterExec(ctx, sb, caps)
	harness.Got(sb.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	uidAfter, capsAfter := euidAfterExec(ctx, sb, suid), capsAfterExec(ctx, sb, caps)
	_, cleared := sb.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
	claim.Evidence("without the bit: effective UID %s, %v; with it: effective UID %s, %v; clearing: %v", uidBefore, capsBefore, uidAfter, capsAfter, cleared)
	Expect(uidAfter).To(Equal(fmt.Sprint(user)), "effective UID after executing a set-user-ID program with no_new_privs")
	Expect(capsAfter.eff).To(BeZero(), "CapEff after executing a program with file capabilities and no_new_privs")
	Expect(cleared).To(harness.FailWith(unix.EINVAL), "clearing no_new_privs")
	Expect(uidBefore).To(Equal("0"), "contrast: effective UID without no_new_privs")
	Expect(capsBefore.eff).To(Equal(netRaw), "contrast: CapEff without no_new_privs")
})

var _ = claim.It(claim.Claim{
	ID:       "user/cap-no-new-privs-inherited",
	Text:     "no_new_privs passes to forked children and to executed programs.",
	Source:   claim.Sources{claim.Man("prctl(2)", "PR_SET_NO_NEW_PRIVS")},
	Needs:    claim.Needs{newPrivileges},
	Contrast: "a process forked before it was set does not have it",
	Try:      "setpriv --no-new-privs sh -c 'grep NoNewPrivs /proc/self/status; echo then'; grep NoNewPrivs /proc/self/status",
	Shows:    "NoNewPrivs: 1\nthen\nNoNewPrivs: 0",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	older := sb.Fork(ctx)
	harness.Got(sb.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	child := sb.Fork(ctx)
	has := func(sb *harness.Sandbox) int { return harness.Got(sb.Prctl(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) }
	cat := rootfs.Tiny(ctx).Dir + "/bin/cat"
	run := harness.Got(sb.Run(ctx, cat, "/proc/self/status"))
	_, rest, _ := strings.Cut(run.Stdout, "\nNoNewPrivs:\t")
	executed, _, _ := strings.Cut(rest, "\n")
	claim.Evidence("no_new_privs: %d; child forked after: %d, before: %d; program: %s", has(sb), has(child), has(older), executed)
	Expect(has(child)).To(Equal(1), "no_new_privs of a child forked after it was set")
	Expect(executed).To(Equal("1"), "NoNewPrivs of a program executed after it was set")
	Expect(has(older)).To(Equal(0), "contrast: no_new_privs of a child forked before")
})
