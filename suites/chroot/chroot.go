// Package chroot holds the claims on chroot(2) and chroot(8) and their specs. It
// knows nothing of how a run is carried out or reported.
package chroot

import (
	"errors"
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

// enters starts a sandbox and chroots it, as the thing under test.
func enters(ctx SpecContext, dir string) *harness.Sandbox {
	sb := harness.Start(ctx)
	Expect(sb.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	harness.Must(sb.Chdir("/"))
	return sb
}

// opens says whether the sandbox can open a path, with the errno if not.
func opens(sb *harness.Sandbox, path string) error {
	fd, err := sb.Open(path, unix.O_RDONLY, 0)
	if err == nil {
		harness.Must(sb.Close(fd))
	}
	return err
}

// status returns lines of /proc/self/status by their names.
func status(sb *harness.Sandbox, names ...string) string {
	var found []string
	for _, line := range strings.Split(harness.Got(sb.ReadFile("/proc/self/status")), "\n") {
		for _, n := range names {
			if strings.HasPrefix(line, n+":") {
				found = append(found, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return strings.Join(found, "; ")
}

var _ = claim.It(claim.Claim{
	ID:       "chroot/absolute-paths-resolve-inside",
	Text:     "After chroot(2), every pathname beginning with a slash is looked up from the new root.",
	Source:   claim.Sources{claim.Article("Introduction to Chroot"), claim.Man("chroot(2)", "DESCRIPTION")},
	Contrast: "the same open gives ENOENT before the call",
	Core:     true,
	Try:      "echo inside > /tmp/tiny-linux/marker; chroot /tmp/tiny-linux cat /marker; cat /marker",
	Shows:    "inside\ncat: /marker: No such file or directory",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	sb := harness.Start(ctx)
	before := opens(sb, "/marker")
	Expect(before).To(harness.FailWith(unix.ENOENT), "contrast: /marker before chroot(2)")
	Expect(sb.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	after, err := sb.ReadFile("/marker")
	claim.Evidence("/marker before: %v; after: %q", before, after)
	Expect(err).NotTo(HaveOccurred(), "/marker of the jail after chroot(2)")
	Expect(after).To(Equal("inside the jail\n"), "what /marker reads after chroot(2)")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/parent-of-root-is-root",
	Text:     "Going up with .. from the jail's root stays at that root.",
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION"), claim.Man("path_resolution(7)", "")},
	Contrast: "seen from outside, jail/.. is another inode than jail",
	Try:      "mount -t proc proc /tmp/tiny-linux/proc; echo inside > /tmp/tiny-linux/marker; chroot /tmp/tiny-linux cat /../../marker; cat /tmp/tiny-linux/../marker",
	Shows:    "inside\ncat: /tmp/tiny-linux/../marker: No such file or directory",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	host := harness.Host(ctx)
	sb := enters(ctx, dir)
	root, up := harness.Got(sb.Stat("/")), harness.Got(sb.Stat("/.."))
	far := harness.Got(sb.Stat("/../../../.."))
	// A path that does not begin with a slash finds the root another way.
	harness.Must(sb.Chdir("/"))
	relative := harness.Got(sb.Stat("../.."))
	jail, parent := harness.Got(host.Stat(dir)), harness.Got(host.Stat(dir+"/.."))
	claim.Evidence("inside: / is %v, /.. is %v; outside: jail is %v, jail/.. is %v", root, up, jail, parent)
	Expect(root.SameAs(jail)).To(BeTrue(), "/ inside is the jail directory")
	Expect(up.SameAs(root)).To(BeTrue(), "/.. inside the chroot is its root: .. must not lead out; got %v, root is %v", up, root)
	Expect(far.SameAs(root)).To(BeTrue(), "/../../../.. inside the chroot is its root")
	Expect(relative.SameAs(root)).To(BeTrue(), "../.. from / inside the chroot is its root: .. must not lead out; got %v, root is %v", relative, root)
	Expect(parent.SameAs(jail)).To(BeFalse(), "contrast: jail/.. from outside")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/inherited-by-fork",
	Text:     "A child forked after the call starts with the same root as its parent.",
	Source:   claim.Sources{claim.Article("Introduction to Chroot"), claim.Man("chroot(2)", "NOTES")},
	Contrast: "a child forked by an unchrooted process gets ENOENT",
	Try:      `echo inside > /tmp/tiny-linux/marker; chroot /tmp/tiny-linux /bin/sh -c "(cat /marker)"; (cat /marker)`,
	Shows:    "inside\ncat: /marker: No such file or directory",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	child := enters(ctx, dir).Fork(ctx)
	err := opens(child, "/marker")
	outside := opens(harness.Start(ctx).Fork(ctx), "/marker")
	claim.Evidence("child of the jailed process: %v; child of another: %v", err, outside)
	Expect(err).NotTo(HaveOccurred(), "a child forked after chroot(2) opens /marker of the jail")
	Expect(outside).To(harness.FailWith(unix.ENOENT), "contrast: a child of an unchrooted process")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/kept-across-execve",
	Text:     "Executing another program does not restore the old root.",
	Source:   claim.Sources{claim.Man("chroot(2)", "NOTES")},
	Contrast: "the same binary exec'ed outside cannot",
	Try:      "echo inside > /tmp/tiny-linux/marker; chroot /tmp/tiny-linux chroot / cat /marker; chroot / cat /marker",
	Shows:    "inside\ncat: /marker: No such file or directory",
}, func(ctx SpecContext) {
	tiny := rootfs.Tiny(ctx)
	sb := enters(ctx, tiny.Dir)
	inside, err := sb.Run(ctx, "/bin/cat", "/etc/os-release")
	harness.Must(err)
	outside, err := harness.Start(ctx).Run(ctx, tiny.Dir+"/bin/cat", "/etc/hostname-of-nobody")
	harness.Must(err)
	claim.Evidence("executed inside: %q; outside: %q", inside.Stdout, outside.Stderr)
	Expect(inside.Stdout).To(ContainSubstring("ID=tiny-linux"), "a program executed in the jail reads the jail's files")
	Expect(outside.Status.ExitStatus()).NotTo(Equal(0), "contrast: the same program outside")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/parent-process-unaffected",
	Text:     "A chroot made by a child leaves the parent's root where it was.",
	Source:   claim.Sources{claim.Article("Introduction to Chroot"), claim.Man("clone(2)", "CLONE_FS")},
	Contrast: "the child itself sees /marker",
	Try:      "chroot /tmp/tiny-linux cat /etc/hostname; readlink /proc/self/root",
	Shows:    "tiny-linux\n/",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	parent := harness.Start(ctx)
	before := harness.Got(parent.Readlink("/proc/self/root"))
	child := parent.Fork(ctx)
	Expect(child.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	after := harness.Got(parent.Readlink("/proc/self/root"))
	claim.Evidence("root of the parent before: %s, after its child's chroot: %s", before, after)
	Expect(after).To(Equal(before), "the parent's root after its child's chroot(2)")
	Expect(opens(parent, "/marker")).To(harness.FailWith(unix.ENOENT), "/marker of the jail, seen by the parent")
	Expect(opens(child, "/marker")).To(Succeed(), "contrast: the child itself")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/needs-cap-sys-chroot",
	Text:     "The call fails with EPERM for a caller without CAP_SYS_CHROOT, even one with UID 0.",
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION, ERRORS")},
	Needs:    claim.Needs{claim.Root},
	Contrast: "root with the cap succeeds",
	Try:      "setpriv --bounding-set -sys_chroot --inh-caps -sys_chroot chroot /tmp/tiny-linux true; chroot /tmp/tiny-linux true && echo root may",
	Shows:    "chroot: cannot change root directory to '/tmp/tiny-linux': Operation not permitted\nroot may",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	nobody := harness.Start(ctx, harness.As(65534, 65534)).Chroot(dir)
	without := harness.Start(ctx, harness.WithoutCapability(unix.CAP_SYS_CHROOT))
	root := without.Chroot(dir)
	claim.Evidence("nobody: %v; UID 0 without CAP_SYS_CHROOT: %v", nobody, root)
	Expect(nobody).To(harness.FailWith(unix.EPERM), "chroot(2) as nobody")
	Expect(without.Geteuid()).To(Equal(0), "effective UID without CAP_SYS_CHROOT")
	Expect(root).To(harness.FailWith(unix.EPERM), "chroot(2) as UID 0 without CAP_SYS_CHROOT")
	Expect(harness.Start(ctx).Chroot(dir)).To(Succeed(), "contrast: UID 0 with CAP_SYS_CHROOT")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/userns-root-may-chroot",
	Text:     "An unprivileged user who became root of a new user namespace may call chroot(2).",
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION"), claim.Man("user_namespaces(7)", "Capabilities")},
	Needs:    claim.Needs{claim.OrdinaryUser, claim.Namespace(namespace.User), claim.UnprivilegedUserNamespaces},
	Contrast: "the same user outside the namespace gets EPERM",
	Try:      "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user chroot /tmp/tiny-linux id; setpriv --reuid 1000 --regid 1000 --clear-groups chroot /tmp/tiny-linux id",
	Shows:    "uid=0…\nchroot: cannot change root directory to '/tmp/tiny-linux': Operation not permitted",
}, func(ctx SpecContext) {
	sb := harness.Nobody(ctx)
	refused := sb.Chroot("/proc")
	Expect(refused).To(harness.FailWith(unix.EPERM), "contrast: chroot(2) by an ordinary user outside of a user namespace")
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	allowed := sb.Chroot("/proc")
	claim.Evidence("before unshare(CLONE_NEWUSER): %v; after: %v", refused, allowed)
	Expect(allowed).To(Succeed(), "chroot(2) as root of an own user namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/cwd-not-changed",
	Text:     `The working directory stays where it was, so "." may lie outside the new root.`,
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION")},
	Contrast: `after chdir("/") it no longer opens`,
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	host := harness.Host(ctx)
	outside := host.MkdirTemp()
	harness.Must(host.CreateFile(outside+"/outside", "x"))
	sb := harness.Start(ctx, harness.WithDir(outside))
	Expect(sb.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	err := opens(sb, "outside")
	cwd := harness.Got(sb.Getcwd())
	harness.Must(sb.Chdir("/"))
	after := opens(sb, "outside")
	claim.Evidence("by relative path: %v, getcwd: %s; after chdir(\"/\"): %v", err, cwd, after)
	Expect(err).To(Succeed(), "a file of the old working directory after chroot(2)")
	Expect(cwd).To(HavePrefix("(unreachable)"), "getcwd(2) outside of the root")
	Expect(after).To(harness.FailWith(unix.ENOENT), "contrast: after chdir(\"/\")")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/escape-via-second-chroot",
	Text:     "A jailed process with CAP_SYS_CHROOT gets out by chrooting deeper without chdir and walking up.",
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION")},
	Contrast: "the same steps after pivot_root(2) and a detach of the old root stay inside",
}, func(ctx SpecContext) {
	escape := func(sb *harness.Sandbox) harness.File {
		harness.Must(sb.Chroot("/sub"))
		for range 12 {
			harness.Must(sb.Chdir(".."))
		}
		harness.Must(sb.Chroot("."))
		return harness.Got(sb.Stat("/"))
	}
	dir := rootfs.Jail(ctx)
	host := harness.Got(harness.Host(ctx).Stat("/"))
	jailed := escape(enters(ctx, dir))
	pivoted := harness.Start(ctx, harness.New(namespace.Mount), harness.WithPivotRoot(dir))
	kept := escape(pivoted)
	jail := harness.Got(harness.Host(ctx).Stat(dir))
	claim.Evidence("host's / is %v; after the escape from chroot: %v; from pivot_root: %v", host, jailed, kept)
	Expect(jailed.SameAs(host)).To(BeTrue(), "/ of a process that chrooted deeper and walked up is the host's")
	Expect(kept.SameAs(jail)).To(BeTrue(), "contrast: after pivot_root(2) and a detach the same steps stay inside")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/open-dirfd-escapes",
	Text:     "A directory descriptor opened earlier still leads outside through openat(2) and fchdir(2).",
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION")},
	Contrast: "the path alone gives ENOENT",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	outside := harness.Host(ctx).MkdirTemp()
	harness.Must(harness.Host(ctx).CreateFile(outside+"/outside", "x"))
	sb := harness.Start(ctx)
	fd := harness.Got(sb.Open(outside, unix.O_DIRECTORY, 0))
	Expect(sb.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	harness.Must(sb.Chdir("/"))
	_, err := sb.OpenAt(fd, "outside", unix.O_RDONLY, 0)
	plain := opens(sb, outside+"/outside")
	_, fchdir := sb.Syscall("fchdir", unix.SYS_FCHDIR, fd)
	claim.Evidence("openat(old descriptor): %v; fchdir: %v; by path: %v", err, fchdir, plain)
	Expect(err).NotTo(HaveOccurred(), "openat(2) through a directory descriptor from before")
	Expect(fchdir).NotTo(HaveOccurred(), "fchdir(2) to it")
	Expect(plain).To(harness.FailWith(unix.ENOENT), "contrast: the path alone")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/moved-out-directory-escapes",
	Text:     "When the directory that is a jailed process's cwd is renamed out of the jail, .. from it leads outside.",
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION")},
	Contrast: "ENOENT before the rename",
}, func(ctx SpecContext) {
	host := harness.Host(ctx)
	base := host.MkdirTemp()
	for _, d := range []string{"/jail", "/jail/in", "/elsewhere"} {
		harness.Must(host.Mkdir(base + d))
	}
	harness.Must(host.CreateFile(base+"/outside", "x"))
	sb := enters(ctx, base+"/jail")
	harness.Must(sb.Chdir("/in"))
	before := opens(sb, "../../outside")
	Expect(before).To(harness.FailWith(unix.ENOENT), "contrast: before the rename")
	harness.Must(host.Rename(base+"/jail/in", base+"/elsewhere/in"))
	after := opens(sb, "../../outside")
	claim.Evidence("../../outside before: %v; after the rename: %v", before, after)
	Expect(after).To(Succeed(), "../../outside after the working directory was moved out of the jail")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/proc-root-link-shows-root",
	Text:     "/proc/PID/root of a chrooted process reads as the jail's path.",
	Source:   claim.Sources{claim.Man("chroot(2)", "NOTES"), claim.Man("proc(5)", "/proc/pid/root")},
	Contrast: `it reads "/" for an unchrooted process`,
	Try:      `chroot /tmp/tiny-linux sleep 99 & until test "$(readlink /proc/$!/root)" != /; do :; done; readlink /proc/$!/root /proc/self/root`,
	Shows:    "/tmp/tiny-linux\n/",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	parent := harness.Start(ctx)
	sb := parent.Fork(ctx)
	link := func() string { return harness.Got(parent.Readlink(fmt.Sprintf("/proc/%d/root", sb.PID()))) }
	before := link()
	Expect(sb.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	claim.Evidence("before: %s; after: %s", before, link())
	Expect(before).To(Equal("/"), "contrast: /proc/PID/root of an unchrooted process")
	Expect(link()).To(Equal(dir), "/proc/PID/root of the chrooted process")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/same-uid-and-caps",
	Text:     "Entering a chroot changes neither user IDs nor any capability set.",
	Source:   claim.Sources{claim.Article("Introduction to Chroot")},
	Needs:    claim.Needs{claim.Namespace(namespace.User)},
	Contrast: "after unshare(CLONE_NEWUSER) mounting in the old mount namespace is refused",
	Try:      "mount -t proc proc /tmp/tiny-linux/proc; for f in Uid CapEff; do grep $f /proc/self/status; chroot /tmp/tiny-linux grep $f /proc/self/status; done",
	Shows:    "Uid: 0 0 0 0\nUid: 0 0 0 0\nCapEff: <caps>\nCapEff: <caps>",
}, func(ctx SpecContext) {
	fields := []string{"Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
	sb := harness.Start(ctx)
	dir := sb.MkdirTemp()
	harness.Must(sb.Mkdir(dir + "/proc"))
	before := status(sb, fields...)
	// The new root has no /proc: the old one is kept open.
	proc := harness.Got(sb.Open("/proc/self/status", unix.O_RDONLY, 0))
	Expect(sb.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	raw := string(harness.Got(sb.Read(proc, 1<<14)))
	var after []string
	for _, line := range strings.Split(raw, "\n") {
		for _, f := range fields {
			if strings.HasPrefix(line, f+":") {
				after = append(after, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	claim.Evidence("before: %s; after: %s", before, strings.Join(after, "; "))
	Expect(strings.Join(after, "; ")).To(Equal(before), "IDs and capabilities before and after chroot(2)")
	user := harness.Start(ctx, harness.New(namespace.User))
	Expect(user.Mount("x", dir, "tmpfs", 0, "")).To(harness.FailWith(unix.EPERM), "contrast: mounting in the old mount namespace after clone(CLONE_NEWUSER)")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/host-processes-visible",
	Text:     "A proc mount made inside a plain chroot lists the host's processes.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "with CLONE_NEWPID added only PID 1 is listed",
	Try:      `sleep 99 & until pgrep -x sleep > /dev/null; do :; done; mount -t proc proc /tmp/tiny-linux/proc; chroot /tmp/tiny-linux cat /proc/$!/comm; unshare --pid --fork sh -c "mount -t proc proc /tmp/tiny-linux/proc; chroot /tmp/tiny-linux cat /proc/$!/comm"`,
	Shows:    "sleep\n…no such file or directory",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		plain := harness.Start(ctx, harness.New(namespace.Mount), harness.WithMount("proc", root.Dir+"/proc", "proc", 0, ""), harness.WithChroot(root.Dir))
		outside := harness.Start(ctx)
		pid := outside.Getpid()
		seen := harness.Got(plain.PIDs("/proc"))
		contained := harness.Start(ctx, harness.New(namespace.Mount, namespace.PID), harness.WithMount("proc", root.Dir+"/proc", "proc", 0, ""), harness.WithChroot(root.Dir))
		own := harness.Got(contained.PIDs("/proc"))
		claim.Evidence("%s: a plain chroot lists %d processes, with a PID namespace %v", root.Name, len(seen), own)
		Expect(seen).To(ContainElement(pid), "%s: PID %d, started outside, in the /proc of a plain chroot", root.Name, pid)
		Expect(own).To(Equal([]int{1}), "%s, contrast: with CLONE_NEWPID", root.Name)
		ps, err := plain.Run(ctx, "/bin/ps", "aux")
		harness.Must(err)
		Expect(strings.Count(ps.Stdout, "\n")).To(BeNumerically(">", len(own)+2), "%s: rows of ps aux:\n%s%s", root.Name, ps.Stdout, ps.Stderr)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/host-interfaces-visible",
	Text:     "A plain chroot sees the same network interfaces as the host.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem")},
	Needs:    claim.Needs{claim.Namespace(namespace.Network), claim.Veth},
	Contrast: "with CLONE_NEWNET only lo remains",
	Try:      "mount -t proc proc /tmp/tiny-linux/proc; ip link add br9 type bridge; chroot /tmp/tiny-linux cat /proc/net/dev | grep -c br9; unshare --net chroot /tmp/tiny-linux cat /proc/net/dev | grep -c br9",
	Shows:    "1\n0",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network, namespace.Mount), harness.Held(), harness.Named("the host"))
	addVeth(ctx, host)
	interfaces := func(sb *harness.Sandbox) []string {
		var names []string
		for _, line := range strings.Split(harness.Got(sb.ReadFile("/proc/self/net/dev")), "\n") {
			if name, _, ok := strings.Cut(line, ":"); ok {
				names = append(names, strings.TrimSpace(name))
			}
		}
		return names
	}
	dir := rootfs.Jail(ctx)
	harness.Must(host.Mount("proc", dir+"/proc", "proc", 0, ""))
	outside := interfaces(host)
	inside := interfaces(harness.Start(ctx, harness.Under(host), harness.WithChroot(dir)))
	alone := interfaces(harness.Start(ctx, harness.Under(host), harness.New(namespace.Network), harness.Held(), harness.WithChroot(dir)))
	claim.Evidence("host: %v; plain chroot: %v; with CLONE_NEWNET: %v", outside, inside, alone)
	Expect(inside).To(Equal(outside), "interfaces seen in a plain chroot")
	Expect(alone).NotTo(ContainElement("veth0"), "contrast: interfaces with CLONE_NEWNET")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/changes-no-namespace",
	Text:     "chroot(2) leaves all eight namespace memberships as they were.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("chroot(2)", "DESCRIPTION")},
	Contrast: "unshare(CLONE_NEWUTS) changes one of them",
	Try:      `chroot /tmp/tiny-linux true; mount -t proc proc /tmp/tiny-linux/proc; readlink /proc/self/ns/uts /proc/self/ns/net; chroot /tmp/tiny-linux ls -l /proc/self/ns | grep -o -E "(uts|net):.*"; unshare --uts readlink /proc/self/ns/uts`,
	Shows:    "uts:[<uts>]\nnet:[<net>]\n…net:[<net>]\n…uts:[<uts>]\nuts:[<new>]",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx)
	dir := sb.MkdirTemp()
	links := func() map[string]harness.File {
		found := map[string]harness.File{}
		for _, name := range harness.Got(sb.ReadDir("/proc/self/ns")) {
			found[name] = harness.Got(sb.Stat("/proc/self/ns/" + name))
		}
		return found
	}
	before := links()
	proc := harness.Got(sb.Open("/proc/self/ns", unix.O_DIRECTORY, 0))
	Expect(sb.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	// Reached through the descriptor, as the new root has no /proc.
	for name, was := range before {
		fd, err := sb.OpenAt(proc, name, unix.O_RDONLY, 0)
		harness.Must(err)
		Expect(harness.Got(sb.Fstat(fd)).SameAs(was)).To(BeTrue(), "the %s namespace after chroot(2)", name)
		harness.Must(sb.Close(fd))
	}
	claim.Evidence("%d links of /proc/self/ns unchanged", len(before))
	other := harness.Start(ctx)
	uts := harness.Got(other.Namespace(namespace.UTS))
	Expect(other.Unshare(unix.CLONE_NEWUTS)).To(Succeed(), "contrast: unshare(CLONE_NEWUTS)")
	Expect(harness.Got(other.Namespace(namespace.UTS)).SameAs(uts)).To(BeFalse(), "contrast: unshare(CLONE_NEWUTS)")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/can-signal-outside-process",
	Text:     "A chrooted root process can signal processes outside the jail.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("chroot(2)", "")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID)},
	Contrast: "in a new PID namespace it returns ESRCH",
	Try:      `sleep 99 & chroot --userspec=0:0 / sh -c "kill $! && echo sent"; unshare --pid --fork sh -c "kill -0 $$"`,
	Shows:    "sent\nsh: …: No such process",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	outside := harness.Start(ctx)
	pid := outside.Getpid()
	signalled := enters(ctx, dir).Signal(pid, 0)
	contained := harness.Start(ctx, harness.New(namespace.PID), harness.WithChroot(dir)).Signal(pid, 0)
	claim.Evidence("from a chroot: %v; from a PID namespace: %v", signalled, contained)
	Expect(signalled).To(Succeed(), "kill(%d, 0) from the chroot", pid)
	Expect(contained).To(harness.FailWith(unix.ESRCH), "contrast: from a new PID namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/mounts-visible-to-host",
	Text:     "A mount made inside a plain chroot shows up in the host's mount table under the jail path.",
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION"), claim.Man("mount(2)", "Mount namespaces")},
	Contrast: "with an own private mount namespace it does not",
	Try:      "chroot /tmp/tiny-linux mount -t tmpfs x /tmp; grep -c tiny-linux/tmp /proc/self/mountinfo; umount /tmp/tiny-linux/tmp; unshare --mount chroot /tmp/tiny-linux mount -t tmpfs x /tmp; grep -c tiny-linux/tmp /proc/self/mountinfo",
	Shows:    "1\n0",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	host := harness.Start(ctx, harness.New(namespace.Mount), harness.Named("the host"))
	mounted := func() bool {
		return strings.Contains(harness.Got(host.ReadFile("/proc/self/mountinfo")), " "+dir+"/tmp ")
	}
	contained := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount), harness.WithChroot(dir))
	harness.Must(contained.Mount("x", "/tmp", "tmpfs", 0, ""))
	private := mounted()
	jailed := harness.Start(ctx, harness.Under(host), harness.WithChroot(dir))
	harness.Must(jailed.Mount("x", "/tmp", "tmpfs", 0, ""))
	plain := mounted()
	claim.Evidence("host sees the mount of a plain chroot: %v; of a chroot with its own mount namespace: %v", plain, private)
	Expect(plain).To(BeTrue(), "%s/tmp in the host's mountinfo", dir)
	Expect(private).To(BeFalse(), "contrast: with an own private mount namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/rejects-non-directory",
	Text:     "A target that is not a directory is refused with ENOTDIR.",
	Source:   claim.Sources{claim.Man("chroot(2)", "ERRORS")},
	Contrast: "its directory is accepted",
	Try:      "chroot /etc/passwd",
	Shows:    "chroot: cannot change root directory to '/etc/passwd': Not a directory",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	sb := harness.Start(ctx)
	err := sb.Chroot(dir + "/marker")
	claim.Evidence("chroot to a file: %v", err)
	Expect(err).To(harness.FailWith(unix.ENOTDIR), "chroot(2) to a regular file")
	Expect(sb.Chroot(dir)).To(Succeed(), "contrast: its directory")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/mountinfo-hides-outside-mounts",
	Text:     "In a chroot, /proc/self/mountinfo lists only mounts reachable below the new root, with paths relative to it.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/pid/mountinfo fields 2 and 5")},
	Contrast: "an unchrooted reader sees many more",
	Try:      `mount -t proc proc /tmp/tiny-linux/proc; chroot /tmp/tiny-linux cat /proc/self/mountinfo | cut -d" " -f5 | grep proc; grep -c tiny-linux/proc /proc/self/mountinfo`,
	Shows:    "/proc\n1",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	harness.Must(sb.Bind(dir, dir, 0))
	harness.Must(sb.Mount("proc", dir+"/proc", "proc", 0, ""))
	points := func() []string {
		var list []string
		for _, line := range strings.Split(strings.TrimSpace(harness.Got(sb.ReadFile("/proc/self/mountinfo"))), "\n") {
			list = append(list, strings.Fields(line)[4])
		}
		return list
	}
	before := points()
	Expect(sb.Chroot(dir)).To(Succeed(), "chroot(2) to a directory")
	harness.Must(sb.Chdir("/"))
	claim.Evidence("mount points before: %d; in the chroot: %v", len(before), points())
	Expect(points()).To(ConsistOf("/", "/proc"), "mount points in the chroot's mountinfo")
	Expect(len(before)).To(BeNumerically(">", 2), "contrast: an unchrooted reader")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/absolute-symlink-resolved-inside",
	Text:     "An absolute symbolic link in the jail is followed relative to the jail's root.",
	Source:   claim.Sources{claim.Man("chroot(2)", "DESCRIPTION")},
	Contrast: "read from outside it yields the host's file",
	Try:      "echo outside > /tmp/file; mkdir -p /tmp/tiny-linux/tmp; echo inside > /tmp/tiny-linux/tmp/file; ln -s /tmp/file /tmp/tiny-linux/link; chroot /tmp/tiny-linux cat /link; cat /tmp/tiny-linux/link",
	Shows:    "inside\noutside",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	host := harness.Start(ctx)
	// The same path, with other contents, outside and inside.
	path := host.MkdirTemp()
	within := dir
	for _, part := range strings.Split(path, "/")[1:] {
		within += "/" + part
		if err := host.Mkdir(within); err != nil && !errors.Is(err, unix.EEXIST) {
			harness.Must(err)
		}
	}
	harness.Must(host.CreateFile(path+"/os-release", "ID=host\n"))
	harness.Must(host.CreateFile(within+"/os-release", "ID=jail\n"))
	harness.Must(host.Symlink(path+"/os-release", dir+"/link"))
	inside, err := harness.Start(ctx, harness.Under(host), harness.WithChroot(dir)).ReadFile("/link")
	Expect(err).NotTo(HaveOccurred(), "an absolute symbolic link followed in the chroot")
	outside := harness.Got(host.ReadFile(dir + "/link"))
	claim.Evidence("through the link inside: %q; outside: %q", inside, outside)
	Expect(inside).To(Equal("ID=jail\n"), "an absolute symbolic link followed in the chroot")
	Expect(outside).To(Equal("ID=host\n"), "contrast: followed outside")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/blocks-unshare-user",
	Text:     "A process whose root is not its mount namespace's root cannot create a user namespace (EPERM).",
	Source:   claim.Sources{claim.Man("unshare(2)", "ERRORS"), claim.Man("clone(2)", "ERRORS")},
	Needs:    claim.Needs{claim.Namespace(namespace.User)},
	Contrast: "the same call unchrooted succeeds",
	Try:      "mkdir /tmp/jail; for d in bin lib lib64 usr; do test -e /$d && mkdir -p /tmp/jail/$d && mount --bind /$d /tmp/jail/$d; done; chroot /tmp/jail unshare --user true; unshare --user echo outside works",
	Shows:    "unshare: unshare failed: Operation not permitted\noutside works",
}, func(ctx SpecContext) {
	dir := rootfs.Jail(ctx)
	jailed := enters(ctx, dir).Unshare(unix.CLONE_NEWUSER)
	free := harness.Start(ctx).Unshare(unix.CLONE_NEWUSER)
	claim.Evidence("in a chroot: %v; outside: %v", jailed, free)
	Expect(jailed).To(harness.FailWith(unix.EPERM), "unshare(CLONE_NEWUSER) in a chroot")
	Expect(free).To(Succeed(), "contrast: unchrooted")
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/command-uses-chroot-syscall",
	Text:     "The chroot(8) command does its work through the chroot(2) system call.",
	Source:   claim.Sources{claim.Article("Introduction to Chroot")},
	Needs:    claim.Needs{claim.Root, claim.SeccompFilters},
	Contrast: "a program run without it shows no such call",
	Try:      "strace -e trace=chroot chroot /tmp/tiny-linux /bin/true 2>&1 | grep ^chroot; strace -e trace=chroot true 2>&1 | grep -c ^chroot",
	Shows:    "chroot(\"/tmp/tiny-linux\") = 0\n0",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		run := func(refused bool) harness.Output {
			sb := harness.Start(ctx, harness.New(namespace.Mount), harness.WithChroot(root.Dir))
			if refused {
				refuse(sb, unix.SYS_CHROOT, unix.EXDEV)
			}
			return harness.Got(sb.Run(ctx, chrootCommand(root), "/", "/bin/echo", "inside"))
		}
		allowed, refused := run(false), run(true)
		claim.Evidence("%s: chroot(8) prints %q; with chroot(2) refused with EXDEV: %q, status %d", root.Name, allowed.Stdout, strings.TrimSpace(refused.Stderr), refused.Status.ExitStatus())
		Expect(refused.Status.ExitStatus()).NotTo(Equal(0), "%s: chroot(8) when chroot(2) is refused", root.Name)
		Expect(strings.ToLower(refused.Stderr)).To(Or(ContainSubstring("cross-device link")), "%s: chroot(8) reports the errno of chroot(2)", root.Name)
		Expect(allowed.Stdout).To(Equal("inside\n"), "%s, contrast: chroot(8) when the call is allowed; it said %s", root.Name, allowed.Stderr)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/os-release-from-new-root",
	Text:     "/etc/os-release read in the chroot is the container distribution's, not the host's.",
	Source:   claim.Sources{claim.Article("Using the Chroot User-space Tool")},
	Contrast: "the host file has another ID=",
	Try:      "chroot /tmp/tiny-linux cat /etc/os-release | grep ^ID; grep -c tiny-linux /etc/os-release",
	Shows:    "ID=tiny-linux\n0",
}, func(ctx SpecContext) {
	for _, root := range rootfs.Each(ctx) {
		sb := enters(ctx, root.Dir)
		inside := harness.Got(sb.ReadFile("/etc/os-release"))
		byTool := harness.Got(sb.Run(ctx, "/bin/cat", "/etc/os-release"))
		outside, err := harness.Host(ctx).ReadFile("/etc/os-release")
		claim.Evidence("%s inside: ID=%s; outside: %q %v", root.Name, root.ID, firstID(outside), err)
		Expect(inside).To(ContainSubstring("\nID="+root.ID+"\n"), "os-release of %s, read in the chroot", root.Name)
		Expect(byTool.Stdout).To(Equal(inside), "cat /etc/os-release in the chroot: %s", byTool.Stderr)
		Expect(firstID(outside)).NotTo(Equal("ID="+root.ID), "contrast: the host's os-release")
	}
})

var _ = claim.It(claim.Claim{
	ID:       "chroot/dynamic-binary-needs-loader-inside",
	Text:     "A dynamically linked program fails with ENOENT in a root that lacks its ELF interpreter, so the image must carry its dependencies.",
	Source:   claim.Sources{claim.Article("Introduction to Containers"), claim.Man("execve(2)", "ERRORS")},
	Contrast: "a static build of the same program runs",
	Try:      "mkdir /tmp/empty; cp /bin/ls /tmp/empty; chroot /tmp/empty /ls; cp /tmp/tiny-linux/bin/bb /tmp/empty/true; chroot /tmp/empty /true && echo static works",
	Shows:    "chroot: failed to run command '/ls': No such file or directory\nstatic works",
}, func(ctx SpecContext) {
	host := harness.Host(ctx)
	dir := host.MkdirTemp()
	const interpreter = "/lib/ld-bulkhead.so"
	harness.Must(host.CreateFile(dir+"/dynamic", dynamicELF(interpreter)))
	harness.Must(host.Chmod(dir+"/dynamic", 0o755))
	sb := harness.Start(ctx, harness.WithChroot(dir))
	_, missing := sb.Run(ctx, "/dynamic")
	static := rootfs.Tiny(ctx)
	runs, err := harness.Start(ctx, harness.WithChroot(static.Dir)).Run(ctx, "/bin/true")
	claim.Evidence("a program that names the loader %s: %v; a static program: status %d", interpreter, missing, runs.Status.ExitStatus())
	Expect(missing).To(harness.FailWith(unix.ENOENT), "execve(2) of a program whose ELF interpreter is not in the root")
	Expect(err).NotTo(HaveOccurred(), "contrast: a static program")
	Expect(runs.Status.ExitStatus()).To(Equal(0), "contrast: a static program")
})
