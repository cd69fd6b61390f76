package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
	"bulkhead/suites/rootfs"
)

// user is the UID and GID of an ordinary user, stranger those of another.
const (
	user     = 1000
	stranger = 1001
)

var userNeed = claim.Namespace(namespace.User)

// unprivileged is that no switch keeps ordinary users from user namespaces.
var unprivileged = claim.UnprivilegedUserNamespaces

// setgroupsNeed is that nobody has denied setgroups(2) to the suite itself,
// setgroupsOnStage that it is not denied on the stage either, as it is on that
// of an ordinary user: the denial reaches every namespace below.
var (
	setgroupsNeed    = setgroupsAllowed("the suite runs in", harness.Outermost)
	setgroupsOnStage = setgroupsAllowed("the stage is in", harness.Host)
)

func setgroupsAllowed(where string, who func(context.Context) *harness.Sandbox) *claim.Need {
	return &claim.Need{
		Name: "setgroups(2) not denied",
		Try: func(ctx context.Context) error {
			said, err := who(ctx).ReadFile("/proc/self/setgroups")
			if err == nil && strings.TrimSpace(said) != "allow" {
				err = errors.New("setgroups(2) is denied in the user namespace that " + where)
			}
			return err
		},
	}
}

// foreignRoot is that the machine's root is nobody whom an ordinary user of the
// stage could map, as it is where the suite itself is root of a container.
var foreignRoot = &claim.Need{
	Name: "the machine's root apart from the suite's user",
	Try: func(ctx context.Context) error {
		if kernel.IsRoot() {
			return nil
		}
		version, err := harness.Host(ctx).Stat("/proc/version")
		if err == nil && version.UID == 0 {
			err = errors.New("the suite runs as the machine's root, without its privileges")
		}
		return err
	},
}

// newPrivileges is that execve(2) may give privileges at all.
var newPrivileges = &claim.Need{
	Name: "no_new_privs not set",
	Try: func(ctx context.Context) error {
		set, err := harness.Host(ctx).Prctl(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		if err == nil && set != 0 {
			err = errors.New("no_new_privs is set for the suite itself")
		}
		return err
	},
}

// setUserID is that set-user-ID programs work at all, as they do on a machine
// with more than one user. A sandboxed kernel may switch them off.
var setUserID = &claim.Need{
	Name: "set-user-ID programs",
	Try: func(ctx context.Context) error {
		host := harness.Start(ctx)
		cat := copyCat(ctx, host)
		harness.Must(host.Chown(cat, 5, 5))
		harness.Must(host.Chmod(cat, 0o4755))
		if uid := euidAfterExec(ctx, become(harness.Start(ctx), user), cat); uid != "5" {
			return fmt.Errorf("one of UID 5, executed by UID %d in the initial user namespace, runs as UID %s", user, uid)
		}
		return nil
	},
	Options: []string{"CONFIG_MULTIUSER"},
}

// ordinary starts a process of an ordinary user without capabilities. On the
// stage of an ordinary user, who has no second ID, it is in a user namespace
// in which that user's ID reads 1000.
func ordinary(ctx context.Context) *harness.Sandbox {
	if kernel.IsRoot() {
		return become(harness.Start(ctx), user)
	}
	ids := []harness.Mapping{{Inside: user, Outside: 0, Size: 1}}
	sb := harness.Start(ctx, harness.New(namespace.User), harness.WithIDs(ids, ids))
	harness.Must(sb.Capset(harness.Capabilities{}))
	return sb
}

// become gives the process an ID, user and group, and keeps its files in /proc
// its own, which a change of IDs takes from it.
func become(sb *harness.Sandbox, id int) *harness.Sandbox {
	harness.Must(sb.SetIDs(id, id))
	harness.Got(sb.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
	return sb
}

// rootless makes a process root of a user namespace of its own, as an ordinary
// user can: outside is the ID it had.
func rootless(sb *harness.Sandbox, outside int) *harness.Sandbox {
	harness.Must(sb.Unshare(unix.CLONE_NEWUSER))
	mapSelf(sb, 0, outside)
	return sb
}

// mapSelf maps one ID in the process's new user namespace.
func mapSelf(sb *harness.Sandbox, inside, outside int) {
	line := oneID(inside, outside)
	harness.Must(sb.WriteFile("/proc/self/setgroups", "deny"))
	harness.Must(sb.WriteFile("/proc/self/uid_map", line))
	harness.Must(sb.WriteFile("/proc/self/gid_map", line))
}

func oneID(inside, outside int) string { return fmt.Sprintf("%d %d 1\n", inside, outside) }

// uidMap is the path of a process's uid_map for its parent.
func uidMap(sb *harness.Sandbox) string { return fmt.Sprintf("/proc/%d/uid_map", sb.PID()) }

func setgroupsFile(sb *harness.Sandbox) string { return fmt.Sprintf("/proc/%d/setgroups", sb.PID()) }

// unmapped starts a child of parent in a user namespace without maps.
func unmapped(ctx context.Context, parent *harness.Sandbox) *harness.Sandbox {
	return harness.Start(ctx, harness.Under(parent), harness.New(namespace.User), harness.WithoutIDs())
}

// sysctlNumber is the number in a file of /proc/sys.
func sysctlNumber(name string) int {
	n, err := strconv.Atoi(kernelSysctl(name))
	harness.Must(err)
	return n
}

// allCapabilities has a bit for every capability that the kernel knows.
func allCapabilities() uint64 { return 1<<(sysctlNumber("kernel.cap_last_cap")+1) - 1 }

// capsOf are a process's capability sets as a reader of /proc has them.
type capsOf struct{ prm, eff, bnd uint64 }

func (c capsOf) String() string {
	return fmt.Sprintf("CapPrm %x, CapEff %x, CapBnd %x", c.prm, c.eff, c.bnd)
}

// afterExec is /proc/self/status of a program that the sandbox's child
// executes: cat, or a copy of it.
func afterExec(ctx context.Context, sb *harness.Sandbox, cat string) map[string]string {
	out := harness.Got(sb.Run(ctx, cat, "/proc/self/status"))
	if out.Status.ExitStatus() != 0 {
		harness.Broken("%s /proc/self/status: status %d, says %q", cat, out.Status.ExitStatus(), out.Stderr)
	}
	fields := map[string]string{}
	for _, line := range strings.Split(out.Stdout, "\n") {
		if name, value, ok := strings.Cut(line, ":\t"); ok {
			fields[name] = value
		}
	}
	return fields
}

// capsAfterExec are the capability sets of a program that the sandbox's child
// executes.
func capsAfterExec(ctx context.Context, sb *harness.Sandbox, cat string) capsOf {
	fields := afterExec(ctx, sb, cat)
	set := func(name string) uint64 {
		v, err := strconv.ParseUint(fields[name], 16, 64)
		harness.Must(err)
		return v
	}
	return capsOf{set("CapPrm"), set("CapEff"), set("CapBnd")}
}

// euidAfterExec is the effective UID of a program that the sandbox's child
// executes, in the child's user namespace.
func euidAfterExec(ctx context.Context, sb *harness.Sandbox, cat string) string {
	return strings.Fields(afterExec(ctx, sb, cat)["Uid"])[1]
}

// plainCat is a program without any privileges of its own.
func plainCat(ctx context.Context) string { return rootfs.Tiny(ctx).Dir + "/bin/cat" }

// copyCat makes a copy of cat that a spec may give privileges to, owned by the
// sandbox, with mode 0755.
func copyCat(ctx context.Context, sb *harness.Sandbox) string {
	path := sb.MkdirTemp() + "/cat"
	in := harness.Got(sb.Open(plainCat(ctx), unix.O_RDONLY, 0))
	out := harness.Got(sb.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o755))
	for harness.Got(sb.Syscall("sendfile", unix.SYS_SENDFILE, out, in, nil, 1<<24)) > 0 {
	}
	harness.Must(sb.Close(in))
	harness.Must(sb.Close(out))
	harness.Must(sb.Chmod(path, 0o755))
	return path
}

const capabilityAttribute = "security.capability"

// setFileCapability gives a file one capability, permitted and effective, in
// the form of capabilities(7) that names no user namespace (VFS_CAP_REVISION_2
// with VFS_CAP_FLAGS_EFFECTIVE; always little-endian).
func setFileCapability(sb *harness.Sandbox, path string, capability int) error {
	raw := make([]byte, 20)
	binary.LittleEndian.PutUint32(raw, 0x02000001)
	binary.LittleEndian.PutUint32(raw[4+8*(capability/32):], 1<<(capability%32))
	_, err := sb.Syscall("setxattr "+capabilityAttribute, unix.SYS_SETXATTR, path, capabilityAttribute, raw, len(raw), 0)
	return err
}

func fileCapability(sb *harness.Sandbox, path string) []byte {
	raw := make([]byte, 64)
	n := harness.Got(sb.Syscall("getxattr "+capabilityAttribute, unix.SYS_GETXATTR, path, capabilityAttribute, raw, len(raw)))
	return raw[:n]
}

func removeFileCapability(sb *harness.Sandbox, path string) {
	harness.Got(sb.Syscall("removexattr "+capabilityAttribute, unix.SYS_REMOVEXATTR, path, capabilityAttribute))
}

// fileCapabilities is the possibility to give a file on tmpfs capabilities.
var fileCapabilities = claim.Feature("file capabilities on tmpfs", "", []string{"CONFIG_TMPFS_XATTR"}, func(ctx context.Context) error {
	sb := harness.Start(ctx)
	path := sb.MkdirTemp() + "/file"
	if err := sb.CreateFile(path, ""); err != nil {
		return err
	}
	return setFileCapability(sb, path, unix.CAP_NET_RAW)
})

// newLink asks for a network link of a kind that there is not, so that nothing
// is made: the kernel answers EPERM before it looks at the kind.
func newLink(sb *harness.Sandbox) error {
	fd := harness.Got(sb.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE))
	const kind = "bulkhead"
	request := make([]byte, 16+16, 64)
	binary.NativeEndian.PutUint16(request[4:], unix.RTM_NEWLINK)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	request = binary.NativeEndian.AppendUint16(request, uint16(8+len(kind)))
	request = binary.NativeEndian.AppendUint16(request, unix.IFLA_LINKINFO)
	request = binary.NativeEndian.AppendUint16(request, uint16(4+len(kind)))
	request = binary.NativeEndian.AppendUint16(request, unix.IFLA_INFO_KIND)
	request = append(request, kind...)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	harness.Must(sb.Write(fd, request))
	answer := harness.Got(sb.Read(fd, 4096))
	harness.Must(sb.Close(fd))
	if len(answer) < 20 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		harness.Broken("answer to RTM_NEWLINK: % x", answer)
	}
	if errno := -int32(le32(answer[16:])); errno != 0 {
		return &harness.Error{Op: "RTM_NEWLINK", Errno: unix.Errno(errno)}
	}
	return nil
}

// filesystems are those that the kernel has now, and whether they want a block
// device.
func filesystems(sb *harness.Sandbox) map[string]bool {
	found := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(harness.Got(sb.ReadFile("/proc/filesystems"))), "\n") {
		mark, name, _ := strings.Cut(line, "\t")
		found[name] = mark != "nodev"
	}
	return found
}

// sysfsMounted is the sysfs that has to be in sight for another to be mounted
// in a user namespace.
var sysfsMounted = claim.File("/sys/kernel")

// initialUserNamespace is the inode of the initial user namespace, a constant
// of the kernel (PROC_USER_INIT_INO).
const initialUserNamespace = 0xEFFFFFFD

// userDepth is how many user namespaces the stage is below the initial one.
func userDepth() depth {
	var st unix.Stat_t
	known := unix.Stat("/proc/self/ns/user", &st) == nil && st.Ino == initialUserNamespace
	d := depth{known: known}
	if !known {
		d.depth++
	}
	if !harness.Privileged() {
		d.depth++
	}
	return d
}

// keyring is the serial of the process's user keyring.
func keyring(sb *harness.Sandbox) (int32, error) {
	serial, err := sb.Syscall("keyctl(KEYCTL_GET_KEYRING_ID)", unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_USER_KEYRING, 1)
	return int32(serial), err
}

var keysNeed = claim.Feature("keyrings", "", []string{"CONFIG_KEYS"}, func(ctx context.Context) error {
	_, err := keyring(harness.Start(ctx, harness.New(namespace.User)))
	return err
})

// undumpable is that a program which its user cannot read makes a process that
// is not dumpable.
var undumpable = &claim.Need{
	Name: "fs.suid_dumpable not 1",
	Try: func(context.Context) error {
		if sysctlNumber("fs.suid_dumpable") == 1 {
			return errors.New("fs.suid_dumpable is 1: every process is dumpable")
		}
		return nil
	},
}

// echoes turns the sandbox's process into a cat that has echoed a byte: what
// execve(2) does to the process is then done. It waits for more.
func echoes(ctx context.Context, sb *harness.Sandbox, cat string) {
	in, inW, err := sb.Pipe()
	harness.Must(err)
	outR, out, err := sb.Pipe()
	harness.Must(err)
	to, from := harness.Got(sb.Export(inW)), harness.Got(sb.Export(outR))
	DeferCleanup(to.Close)
	DeferCleanup(from.Close)
	harness.Must(sb.Close(inW))
	harness.Must(sb.Dup(in, 0))
	harness.Must(sb.Dup(out, 1))
	harness.Must(sb.Exec(cat, []string{cat}, nil))
	defer context.AfterFunc(ctx, func() { _ = sb.Kill(unix.SIGKILL) })()
	harness.Got(to.Write([]byte("x")))
	harness.Got(from.Read(make([]byte, 1)))
}

// joins says what setns(2) answers a process that opened a namespace as root
// and then became another user.
func joins(ctx SpecContext, pid, id int, t namespace.Type) (*harness.Sandbox, error) {
	sb := harness.Start(ctx)
	fd := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, t.Name), unix.O_RDONLY, 0))
	become(sb, id)
	return sb, sb.Setns(fd, t.Flag)
}

// noNicer takes from the sandbox's process what RLIMIT_NICE lets anybody do.
func noNicer(sb *harness.Sandbox) error {
	_, err := sb.Syscall("prlimit64(RLIMIT_NICE)", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NICE, make([]byte, 16), nil)
	return err
}

// niceLimit is that RLIMIT_NICE can be lowered.
var niceLimit = claim.Feature("RLIMIT_NICE", "", nil, func(ctx context.Context) error {
	return noNicer(harness.Start(ctx))
})
