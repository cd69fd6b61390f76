package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

// What root of a user namespace may not do to the machine.

const absent = "/bulkhead-missing"

// machineCalls change nothing for whoever may make them: what they name is not
// there.
var machineCalls = []struct {
	name string
	nr   uintptr
	args []any
	// told is what root hears of the arguments.
	told unix.Errno
}{
	{"swapon(2)", unix.SYS_SWAPON, []any{absent, 0}, unix.ENOENT},
	{"swapoff(2)", unix.SYS_SWAPOFF, []any{absent}, unix.ENOENT},
	{"acct(2)", unix.SYS_ACCT, []any{absent}, unix.ENOENT},
	{"delete_module(2)", unix.SYS_DELETE_MODULE, []any{"bulkhead_missing", unix.O_NONBLOCK}, unix.ENOENT},
	{"init_module(2)", unix.SYS_INIT_MODULE, []any{[]byte{0}, 0, ""}, unix.ENOEXEC},
}

var (
	// machineCallNeed is that the kernel has any of them; swap is the first.
	machineCallNeed = claim.Feature("swap or another call that changes the machine", "", []string{"CONFIG_SWAP"}, func(ctx context.Context) error {
		return machineCallsBut(ctx, unix.ENOSYS)
	})
	// machineRoot is that the suite's root may make one, which root of a
	// container may not.
	machineRoot = &claim.Need{
		Name: "root that may change the machine",
		Try: func(ctx context.Context) error {
			return machineCallsBut(ctx, unix.ENOSYS, unix.EPERM)
		},
	}
)

// machineCallsBut is nil when the host gets another answer than these to one of
// the machineCalls, and the last of the answers otherwise.
func machineCallsBut(ctx context.Context, answers ...error) (err error) {
	for _, c := range machineCalls {
		_, err = harness.Host(ctx).Syscall(c.name, c.nr, c.args...)
		if !slices.ContainsFunc(answers, func(a error) bool { return errors.Is(err, a) }) {
			return nil
		}
	}
	return err
}

var _ = claim.It(claim.Claim{
	ID:       "user/machine-wide-calls-refused",
	Text:     "What changes the whole machine (modules, swap, accounting) is refused to root of a user namespace with EPERM, whatever its arguments.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities within a user namespace"), claim.Man("capabilities(7)", "Capabilities list")},
	Needs:    claim.Needs{claim.Root, machineCallNeed, machineRoot, userNeed},
	Contrast: "the machine's root is told of the arguments",
	Try:      "unshare --user --map-root-user swapon /missing; swapon /missing",
	Shows:    "swapon: …\nswapon: cannot open /missing: No such file or directory",
}, func(ctx SpecContext) {
	root := harness.Start(ctx)
	inside := harness.Start(ctx, harness.Under(root), harness.New(namespace.User))
	told := []string{}
	for _, c := range machineCalls {
		_, outside := root.Syscall(c.name, c.nr, c.args...)
		_, refused := inside.Syscall(c.name, c.nr, c.args...)
		claim.Evidence("as root: %v; as root of a user namespace: %v", outside, refused)
		if errors.Is(outside, unix.ENOSYS) {
			continue // The kernel is built without it.
		}
		// A machine may refuse modules to its own root, too.
		if !errors.Is(outside, unix.EPERM) {
			Expect(outside).To(harness.FailWith(c.told), "contrast: %s of what is not there, as root", c.name)
			told = append(told, c.name)
		}
		Expect(refused).To(harness.FailWith(unix.EPERM), "%s as root of a user namespace", c.name)
	}
	Expect(told).NotTo(BeEmpty(), "contrast: calls that root is not refused")
})

// fileHandles is that the stage's files have handles.
var fileHandles = claim.Feature("file handles", "", []string{"CONFIG_FHANDLE"}, func(ctx context.Context) error {
	_, err := fileHandle(harness.Host(ctx), harness.Host(ctx).Scratch())
	return err
})

// fileHandle is what name_to_handle_at(2) says of a path: a struct file_handle.
func fileHandle(sb *harness.Sandbox, path string) ([]byte, error) {
	handle, mount := make([]byte, 8+128), make([]byte, 8)
	binary.NativeEndian.PutUint32(handle, 128)
	_, err := sb.Syscall("name_to_handle_at "+path, unix.SYS_NAME_TO_HANDLE_AT, unix.AT_FDCWD, path, handle, mount, 0)
	return handle, err
}

var _ = claim.It(claim.Claim{
	ID:       "user/file-handles-open-nothing",
	Text:     "open_by_handle_at(2), which reaches files past every mount and root directory, is refused to root of a user namespace with EPERM.",
	Source:   claim.Sources{claim.Man("open_by_handle_at(2)", "ERRORS"), claim.Man("capabilities(7)", "CAP_DAC_READ_SEARCH")},
	Needs:    claim.Needs{claim.Root, userNeed, fileHandles},
	Contrast: "the machine's root opens the file, and without CAP_DAC_READ_SEARCH is refused too",
}, func(ctx SpecContext) {
	root := harness.Start(ctx)
	dir := root.MkdirTemp()
	harness.Must(root.CreateFile(dir+"/file", "content"))
	handle := harness.Got(fileHandle(root, dir+"/file"))
	open := func(sb *harness.Sandbox) error {
		at := harness.Got(sb.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0))
		_, err := sb.Syscall("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, at, handle, unix.O_RDONLY)
		return err
	}
	inside := open(harness.Start(ctx, harness.Under(root), harness.New(namespace.User)))
	dropped := open(harness.Start(ctx, harness.Under(root), harness.WithoutCapability(unix.CAP_DAC_READ_SEARCH, unix.CAP_SYS_ADMIN)))
	outside := open(root)
	claim.Evidence("root of a user namespace: %v; UID 0 without CAP_DAC_READ_SEARCH: %v; root: %v", inside, dropped, outside)
	Expect(inside).To(harness.FailWith(unix.EPERM), "open_by_handle_at(2) as root of a user namespace")
	Expect(dropped).To(harness.FailWith(unix.EPERM), "open_by_handle_at(2) as UID 0 without CAP_DAC_READ_SEARCH")
	Expect(outside).NotTo(HaveOccurred(), "contrast: open_by_handle_at(2) as root")
})

var _ = claim.It(claim.Claim{
	ID:       "user/socket-credentials-translated",
	Text:     "The PID and the UID of the peer of a UNIX socket (SO_PEERCRED) read in the numbers of the reader's PID and user namespaces.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Miscellaneous"), claim.Man("pid_namespaces(7)", "Miscellaneous"), claim.Man("unix(7)", "SO_PEERCRED")},
	Needs:    claim.Needs{userNeed, claim.Namespace(namespace.PID)},
	Contrast: "outside they are the numbers of outside",
}, func(ctx SpecContext) {
	ids := []harness.Mapping{{Inside: 7, Outside: 0, Size: 1}}
	outside := harness.Start(ctx)
	name := append(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX), outside.MkdirTemp()+"/peer\x00"...)
	listener := harness.Got(outside.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	harness.Got(outside.Syscall("bind", unix.SYS_BIND, listener, name, len(name)))
	harness.Got(outside.Syscall("listen", unix.SYS_LISTEN, listener, 2))
	// The listener is inherited, so that both sides accept.
	inside := harness.Start(ctx, harness.Under(outside), harness.New(namespace.User, namespace.PID), harness.WithIDs(ids, ids))
	member := inside.Fork(ctx)
	peer := func(sb *harness.Sandbox) (pid, uid int) {
		fd := harness.Got(member.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
		harness.Got(member.Syscall("connect", unix.SYS_CONNECT, fd, name, len(name)))
		accepted := harness.Got(sb.Syscall("accept", unix.SYS_ACCEPT, listener, nil, nil))
		cred := make([]byte, 12)
		harness.Got(sb.Syscall("getsockopt(SO_PEERCRED)", unix.SYS_GETSOCKOPT, accepted, unix.SOL_SOCKET, unix.SO_PEERCRED, cred, binary.NativeEndian.AppendUint32(nil, 12)))
		return int(le32(cred)), int(le32(cred[4:]))
	}
	pidIn, uidIn := peer(inside)
	pidOut, uidOut := peer(outside)
	claim.Evidence("PID and UID of the peer, read inside: %d, %d; outside: %d, %d", pidIn, uidIn, pidOut, uidOut)
	Expect([]int{pidIn, uidIn}).To(Equal([]int{2, 7}), "PID and UID of a member of the reader's own PID and user namespace, by SO_PEERCRED")
	Expect([]int{pidOut, uidOut}).To(Equal([]int{pidBySelf(outside, member), 0}), "contrast: PID and UID of the same peer, read outside")
})
