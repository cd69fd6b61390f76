package proc

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
)

var _ = claim.It(claim.Claim{
	ID:       "proc/hidepid4-shows-only-ptraceable",
	Text:     "With hidepid=4 a proc mount shows only processes that the reader may trace, whatever gid= says.",
	Source:   claim.Sources{claim.Doc("kernel Documentation/filesystems/proc.rst", "Mount options")},
	Needs:    claim.Needs{procfs, claim.Root},
	Contrast: "with hidepid=2 a member of the group of gid= sees all",
	Since:    "5.8",
	Try:      "mount -t proc -o hidepid=4,gid=4711 proc /mnt; mount -t proc -o hidepid=2,gid=4711 proc /run; setpriv --reuid 1000 --regid 4711 --clear-groups ls -d /mnt/1 /run/1",
	Shows:    "ls: cannot access '/mnt/1': No such file or directory\n/run/1",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount, namespace.PID))
	traceable, invisible := sb.MkdirTemp(), sb.MkdirTemp()
	Expect(sb.Mount("proc", traceable, "proc", 0, "hidepid=4,gid=4711")).To(Succeed(), "mounting proc with hidepid=4 and gid=")
	harness.Must(sb.Mount("proc", invisible, "proc", 0, "hidepid=2,gid=4711"))
	member := harness.Start(ctx, harness.Under(sb), harness.As(65533, 4711))
	seen := harness.Got(member.PIDs(traceable))
	_, looked := member.Stat(traceable + "/1")
	granted := harness.Got(member.PIDs(invisible))
	all := harness.Got(sb.PIDs(traceable))
	claim.Evidence("a user in the group of gid= (PID %d) lists %v with hidepid=4, looks up 1: %v; lists %v with hidepid=2; root lists %v with hidepid=4", member.Getpid(), seen, looked, granted, all)
	Expect(seen).To(Equal([]int{member.Getpid()}), "what a user lists with hidepid=4,gid= of the user's group")
	Expect(looked).To(harness.FailWith(unix.ENOENT), "/proc/1 looked up by that user with hidepid=4")
	Expect(granted).To(ContainElement(1), "contrast: what the user lists with hidepid=2,gid= of the user's group")
	Expect(all).To(ContainElements(1, member.Getpid()), "contrast: what root, who may trace all, lists with hidepid=4")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/gid-option-exempts-group",
	Text:     "Members of the group of gid= read with hidepid=1 what is hidden from others, by their supplementary groups too.",
	Source:   claim.Sources{claim.Man("proc(5)", "Mount options")},
	Needs:    claim.Needs{procfs, claim.Root},
	Contrast: "others are refused (EPERM)",
	Try:      "mount -t proc -o hidepid=1,gid=4711 proc /mnt; setpriv --reuid 1000 --regid 1000 --groups 4711 grep -c ^Pid: /mnt/1/status; setpriv --reuid 1000 --regid 1000 --clear-groups grep -c ^Pid: /mnt/1/status",
	Shows:    "1\ngrep: /mnt/1/status: Operation not permitted",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount, namespace.PID))
	dir := sb.MkdirTemp()
	harness.Must(sb.Mount("proc", dir, "proc", 0, "hidepid=1,gid=4711"))
	read := func(gid int, groups []byte) error {
		reader := harness.Start(ctx, harness.Under(sb))
		harness.Got(reader.Syscall("setgroups", unix.SYS_SETGROUPS, len(groups)/4, groups))
		harness.Got(reader.Syscall("setresgid", unix.SYS_SETRESGID, gid, gid, gid))
		harness.Must(reader.Setresuid(65533, 65533, 65533))
		_, err := reader.ReadFile(dir + "/1/status")
		return err
	}
	member, supplementary, other := read(4711, nil), read(65533, groupList(4711)), read(65533, groupList(4712))
	claim.Evidence("hidepid=1,gid=4711: with GID 4711: %v; with 4711 among the groups: %v; with neither: %v", member, supplementary, other)
	Expect(member).NotTo(HaveOccurred(), "reading /proc/1/status with hidepid=1 as a member of the group of gid=")
	Expect(supplementary).NotTo(HaveOccurred(), "reading /proc/1/status with hidepid=1 with the group of gid= as a supplementary group")
	Expect(other).To(harness.FailWith(unix.EPERM), "contrast: reading it in other groups")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/mounts-have-options-of-their-own",
	Text:     "Each mount of proc is an instance with its own options, also in one PID namespace, and a remount changes only its own.",
	Source:   claim.Sources{claim.Doc("kernel Documentation/filesystems/proc.rst", "Filesystem behavior")},
	Needs:    claim.Needs{procfs},
	Contrast: "a bind mount is the same instance",
	Since:    "5.8",
	Try:      "mount -t proc -o hidepid=2 proc /mnt; mount -t proc proc /run; mount -o remount,hidepid=1 /mnt; grep -o ' /mnt .* proc proc .*\\| /run .* proc proc .*' /proc/self/mountinfo",
	Shows:    "/mnt rw,relatime - proc proc rw,hidepid=noaccess\n/run rw,relatime - proc proc rw",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount, namespace.PID))
	hidden, plain, bound := sb.MkdirTemp(), sb.MkdirTemp(), sb.MkdirTemp()
	harness.Must(sb.Mount("proc", hidden, "proc", 0, "hidepid=2"))
	harness.Must(sb.Mount("proc", plain, "proc", 0, ""))
	harness.Must(sb.Bind(hidden, bound, 0))
	options := func(dir string) string {
		_, after, _ := strings.Cut(mountLine(sb, dir), " - ")
		return after
	}
	device := func(dir string) string {
		f := harness.Got(sb.Stat(dir))
		return fmt.Sprintf("%d:%d", f.DevMajor, f.DevMinor)
	}
	before, other := options(hidden), options(plain)
	harness.Must(sb.Mount("proc", plain, "proc", unix.MS_REMOUNT, "hidepid=1"))
	claim.Evidence("hidepid=2: device %s, %q; without: device %s, %q; after a remount of that with hidepid=1: %q, %q; a bind mount of the first: device %s",
		device(hidden), before, device(plain), other, options(hidden), options(plain), device(bound))
	Expect(device(plain)).NotTo(Equal(device(hidden)), "the device of a second proc mount in one PID namespace")
	Expect(before).To(ContainSubstring("hidepid=invisible"), "options in mountinfo of a proc mount made with hidepid=2")
	Expect(other).NotTo(ContainSubstring("hidepid"), "options of a proc mount made without hidepid in the same PID namespace")
	Expect(options(plain)).To(ContainSubstring("hidepid=noaccess"), "options of a proc mount after its remount with hidepid=1")
	Expect(options(hidden)).To(Equal(before), "options of one proc mount after another one's remount")
	Expect(device(bound)).To(Equal(device(hidden)), "contrast: the device of a bind mount of a proc mount")
})

var _ = claim.It(claim.Claim{
	ID:       "proc/refuses-unknown-hidepid",
	Text:     "A proc mount refuses a hidepid= that has no meaning, and options that it does not know (EINVAL).",
	Source:   claim.Sources{claim.Doc("kernel Documentation/filesystems/proc.rst", "Mount options")},
	Needs:    claim.Needs{procfs},
	Contrast: "the known values, by number and by word, are accepted",
	Since:    "5.8",
	Try:      "mount -t proc -o hidepid=invisible proc /run && echo mounted; mount -t proc -o hidepid=3 proc /mnt",
	Shows:    "mounted\nmount: /mnt: …\n…",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount, namespace.PID))
	dir := sb.MkdirTemp()
	for _, option := range []string{"hidepid=3", "hidepid=5", "hidepid=nobody", "subset=all", "bulkhead"} {
		err := sb.Mount("proc", dir, "proc", 0, option)
		claim.Evidence("%s: %v", option, err)
		Expect(err).To(harness.FailWith(unix.EINVAL), "mounting proc with %s", option)
	}
	for _, option := range []string{"hidepid=0", "hidepid=1", "hidepid=2", "hidepid=4", "hidepid=off", "hidepid=noaccess", "hidepid=invisible", "hidepid=ptraceable"} {
		Expect(sb.Mount("proc", dir, "proc", 0, option)).To(Succeed(), "contrast: mounting proc with %s", option)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "proc/thread-self-gives-numbers-in-the-mounts-ns",
	Text:     "/proc/thread-self names the reading thread with the numbers of the mount's PID namespace, and is ENOENT for a reader that has none there.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/thread-self"), claim.Man("pid_namespaces(7)", "/proc and PID namespaces")},
	Needs:    claim.Needs{procfs, claim.Namespace(namespace.PID)},
	Contrast: "through the outer mount it has the outer numbers",
	Try:      "unshare --pid --fork --mount sh -c 'mount -t proc proc /mnt; exec readlink /mnt/thread-self /proc/thread-self'",
	Shows:    "1/task/1\n<pid>/task/<pid>",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	harness.Must(inside.Mount("proc", dir, "proc", 0, ""))
	inner, outer := harness.Got(inside.Readlink(dir+"/thread-self")), harness.Got(inside.Readlink("/proc/thread-self"))
	_, none := host.Readlink(dir + "/thread-self")
	_, self := host.Readlink(dir + "/self")
	claim.Evidence("inside: %s, through the outer mount: %s; an outer reader of the inner mount: %v", inner, outer, none)
	Expect(inner).To(Equal("1/task/1"), "thread-self of a PID namespace's proc mount, read by its first process")
	Expect(none).To(harness.FailWith(unix.ENOENT), "thread-self of a PID namespace's proc mount, read from outside the namespace")
	Expect(self).To(harness.FailWith(unix.ENOENT), "self of a PID namespace's proc mount, read from outside the namespace")
	Expect(outer).To(Equal(fmt.Sprintf("%d/task/%d", inside.PID(), inside.PID())), "contrast: thread-self of the outer mount, read by the same process")
})

// groupList is setgroups(2)'s list.
func groupList(gids ...uint32) []byte {
	var raw []byte
	for _, g := range gids {
		raw = binary.NativeEndian.AppendUint32(raw, g)
	}
	return raw
}
