package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/harness/internal/wire"
	"bulkhead/harness/namespace"
)

// Sandbox is a process that makes the system calls it is told to, one at a
// time and without a runtime of its own: it is single-threaded, so that it
// may enter every kind of namespace, and no wrapper hides an errno.
//
// A failed call returns an *Error. When the process itself is lost (killed,
// stuck until the spec's time ran out) the spec ends as broken.
type Sandbox struct {
	stage  *Stage
	parent *Sandbox
	name   string
	conn   *net.UnixConn
	// control is the descriptor of the other end of conn, in the sandbox.
	control int
	slot    int
	pidfd   *os.File
	// pid is the process's PID as its parent sees it.
	pid    int
	reaped bool
	env    []string
	// lost is why the process answers no more.
	lost error
	ctx  context.Context
	// binding guards against the end of a context that the sandbox is no
	// longer bound to: a stopped AfterFunc may be running already.
	mu      sync.Mutex
	binding int
	unbind  func() bool
}

// Mapping is one line of a uid_map or gid_map.
type Mapping struct{ Inside, Outside, Size int }

type config struct {
	parent     *Sandbox
	types      []namespace.Type
	uids, gids []Mapping
	unmapped   bool
	mounts     []mountSpec
	chroot     string
	pivot      string
	dir        string
	setIDs     bool
	uid, gid   int
	drop       []uintptr
	env        []string
	name       string
	held       bool
}

type mountSpec struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

// Option is one property of a sandbox.
type Option func(*config)

// New puts the sandbox into new namespaces of these types, as clone(2) makes
// them. A new user namespace maps ID 0 to its parent's ID 0 unless WithIDs or
// WithoutIDs says otherwise.
func New(types ...namespace.Type) Option {
	return func(c *config) { c.types = append(c.types, types...) }
}

// Under makes the sandbox a child of parent, in parent's namespaces but for
// the New ones. Without it the parent is the stage.
func Under(parent *Sandbox) Option { return func(c *config) { c.parent = parent } }

// WithIDs writes uid_map and gid_map of a new user namespace, from outside.
func WithIDs(uids, gids []Mapping) Option {
	return func(c *config) { c.uids, c.gids = uids, gids }
}

// WithoutIDs leaves the maps of a new user namespace empty.
func WithoutIDs() Option { return func(c *config) { c.unmapped = true } }

// WithMount mounts inside the sandbox before its root is changed.
func WithMount(source, target, fstype string, flags uintptr, data string) Option {
	return func(c *config) { c.mounts = append(c.mounts, mountSpec{source, target, fstype, flags, data}) }
}

// WithChroot makes dir the sandbox's root with chroot(2), and its cwd.
func WithChroot(dir string) Option { return func(c *config) { c.chroot = dir } }

// WithPivotRoot makes dir the root of the sandbox's mount namespace, which
// must be new, and detaches the old one.
func WithPivotRoot(dir string) Option { return func(c *config) { c.pivot = dir } }

// WithDir is the sandbox's working directory.
func WithDir(dir string) Option { return func(c *config) { c.dir = dir } }

// As gives the sandbox these IDs, no supplementary groups and, unless uid is
// 0, no capabilities.
func As(uid, gid int) Option { return func(c *config) { c.setIDs, c.uid, c.gid = true, uid, gid } }

// WithoutCapability drops capabilities from the effective, permitted,
// inheritable and bounding sets.
func WithoutCapability(caps ...uintptr) Option {
	return func(c *config) { c.drop = append(c.drop, caps...) }
}

// WithEnv is the environment of programs that Run starts, instead of a PATH.
func WithEnv(env ...string) Option { return func(c *config) { c.env = env } }

// Held keeps the sandbox's new network namespace when the sandbox has ended, for
// specs that do not care when it goes. The kernel takes a namespace down in the
// background, and nobody makes one meanwhile; that takes it as long for many as
// for one. So they are let go together, when there are many or the process ends.
func Held() Option { return func(c *config) { c.held = true } }

// Named is the sandbox's name in messages.
func Named(name string) Option { return func(c *config) { c.name = name } }

// DefaultEnv is the environment of programs in a sandbox.
var DefaultEnv = []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root", "TERM=dumb"}

// Start starts a sandbox that ends, killed and waited for, with the spec.
// What cannot be set up ends the spec as broken.
func Start(ctx context.Context, options ...Option) *Sandbox {
	sb, err := TryStart(ctx, options...)
	if err != nil {
		Broken("start a sandbox: %v", err)
	}
	return sb
}

// TryStart is Start for a spec that expects the kernel to refuse: the error
// unwraps to the errno of the step that failed.
func TryStart(ctx context.Context, options ...Option) (*Sandbox, error) {
	c := config{env: DefaultEnv}
	for _, o := range options {
		o(&c)
	}
	if c.parent == nil {
		c.parent = Host(ctx)
	}
	sb, err := c.parent.Clone(ctx, namespace.Flags(c.types...))
	if err != nil {
		return nil, err
	}
	sb.env = c.env
	if c.name != "" {
		sb.name = c.name
	}
	if c.held {
		if err := sb.holdNetwork(); err != nil {
			return nil, err
		}
	}
	return sb, sb.configure(c)
}

func (sb *Sandbox) configure(c config) error {
	hasUser := namespace.Flags(c.types...)&namespace.User.Flag != 0
	if hasUser && !c.unmapped {
		if c.uids == nil {
			c.uids = []Mapping{{0, 0, 1}}
		}
		if c.gids == nil {
			c.gids = []Mapping{{0, 0, 1}}
		}
		if err := sb.WriteMaps(c.uids, c.gids); err != nil {
			return err
		}
	}
	for _, m := range c.mounts {
		if err := sb.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			return err
		}
	}
	if c.pivot != "" {
		if err := sb.PivotInto(c.pivot); err != nil {
			return err
		}
	}
	if c.chroot != "" {
		if err := sb.Chroot(c.chroot); err != nil {
			return err
		}
		if err := sb.Chdir("/"); err != nil {
			return err
		}
	}
	if c.dir != "" {
		if err := sb.Chdir(c.dir); err != nil {
			return err
		}
	}
	if len(c.drop) > 0 {
		if err := sb.DropCapability(c.drop...); err != nil {
			return err
		}
	}
	if c.setIDs {
		return sb.SetIDs(c.uid, c.gid)
	}
	return nil
}

// Fork starts a child of sb as fork(2) does.
func (sb *Sandbox) Fork(ctx context.Context) *Sandbox {
	return Got(sb.Clone(ctx, 0))
}

// Clone starts a child of sb with the given CLONE_NEW* flags, by clone(2),
// or by clone3(2) for CLONE_NEWTIME, which clone(2) has no room for.
func (sb *Sandbox) Clone(ctx context.Context, flags uintptr) (*Sandbox, error) {
	if flags&unix.CLONE_NEWTIME != 0 {
		return sb.Clone3(ctx, CloneArgs{Flags: uint64(flags)})
	}
	return sb.spawn(ctx, fmt.Sprintf("clone(%s)", FlagNames(flags)), flags, func(s *call) (uintptr, error) {
		return s.do(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD)|unix.CLONE_PIDFD, 0, s.pidfd, 0, 0)
	})
}

// CloneSignal is Clone by the bare clone(2) with bits that are part of its exit
// signal, which is then not SIGCHLD.
func (sb *Sandbox) CloneSignal(ctx context.Context, bits uintptr) (*Sandbox, error) {
	return sb.spawn(ctx, fmt.Sprintf("clone(%#x)", bits), 0, func(s *call) (uintptr, error) {
		return s.do(unix.SYS_CLONE, bits|uintptr(unix.SIGCHLD)|unix.CLONE_PIDFD, 0, s.pidfd, 0, 0)
	})
}

// CloneArgs are the fields of clone3(2)'s struct clone_args that specs set.
type CloneArgs struct {
	// Flags without CLONE_PIDFD, which the harness adds.
	Flags uint64
	// SetTID are PIDs to take, innermost namespace first.
	SetTID []int32
	// Cgroup is a descriptor for CLONE_INTO_CGROUP.
	Cgroup int
}

// Clone3 starts a child of sb by clone3(2).
func (sb *Sandbox) Clone3(ctx context.Context, args CloneArgs) (*Sandbox, error) {
	return sb.spawn(ctx, fmt.Sprintf("clone3(%s)", FlagNames(uintptr(args.Flags))), uintptr(args.Flags), func(s *call) (uintptr, error) {
		raw := make([]byte, 88)
		put := func(i int, v uint64) { binary.NativeEndian.PutUint64(raw[i*8:], v) }
		put(0, args.Flags|unix.CLONE_PIDFD)
		put(1, uint64(s.pidfd))
		put(4, uint64(unix.SIGCHLD))
		if len(args.SetTID) > 0 {
			tids := make([]byte, 4*len(args.SetTID))
			for i, t := range args.SetTID {
				binary.NativeEndian.PutUint32(tids[i*4:], uint32(t))
			}
			put(8, uint64(s.bytes(tids)))
			put(9, uint64(len(args.SetTID)))
		}
		put(10, uint64(args.Cgroup))
		return s.do(unix.SYS_CLONE3, s.bytes(raw), uintptr(len(raw)))
	})
}

// spawn makes the socket pair of a new sandbox in its parent, forks by the
// given call and brings both descriptors over here. flags are those of the call
// that make namespaces.
func (sb *Sandbox) spawn(ctx context.Context, op string, flags uintptr, fork func(*call) (uintptr, error)) (*Sandbox, error) {
	slot, err := sb.stage.takeSlot()
	if err != nil {
		return nil, err
	}
	child := &Sandbox{stage: sb.stage, parent: sb, slot: slot, env: sb.env, name: sb.stage.unique("sandbox ")}
	fds := make([]byte, 8)
	if _, err := sb.Syscall("socketpair", unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, fds); err != nil {
		sb.stage.freeSlot(slot)
		return nil, err
	}
	ours, theirs := int(binary.NativeEndian.Uint32(fds)), int(binary.NativeEndian.Uint32(fds[4:]))
	c := sb.begin(op)
	c.pidfd = c.bytes(make([]byte, 8))
	c.child, c.close = uint64(theirs), uint64(ours)
	child.control = theirs
	pid, err := fork(c)
	if err != nil {
		Must(sb.Close(ours))
		Must(sb.Close(theirs))
		sb.stage.freeSlot(slot)
		return nil, err
	}
	pidfd := int(int32(binary.NativeEndian.Uint32(c.view(c.pidfd, 4))))
	child.pid = int(pid)
	files, err := sb.export(ours, pidfd)
	if err != nil {
		Broken("take over the new sandbox: %v", err)
	}
	for _, fd := range []int{ours, theirs, pidfd} {
		Must(sb.Close(fd))
	}
	conn, err := net.FileConn(files[0])
	files[0].Close()
	if err != nil {
		Broken("the new sandbox's socket: %v", err)
	}
	child.conn, child.pidfd = conn.(*net.UnixConn), files[1]
	child.bind(ctx)
	child.cloned(flags)
	onCleanup(child.end)
	return child, nil
}

// bind lets the end of ctx end every call that the sandbox is stuck in.
func (sb *Sandbox) bind(ctx context.Context) {
	if sb.unbind != nil {
		sb.unbind()
	}
	sb.ctx = ctx
	sb.mu.Lock()
	defer sb.mu.Unlock()
	sb.binding++
	mine := sb.binding
	_ = sb.conn.SetDeadline(time.Time{})
	sb.unbind = context.AfterFunc(ctx, func() {
		sb.mu.Lock()
		defer sb.mu.Unlock()
		if sb.binding == mine {
			_ = sb.conn.SetDeadline(time.Unix(1, 0))
		}
	})
}

// end kills the sandbox's process, waits for it and lets its parent reap it.
func (sb *Sandbox) end() error {
	sb.unbind()
	sb.forget()
	defer sb.stage.freeSlot(sb.slot)
	defer sb.conn.Close()
	defer sb.pidfd.Close()
	if err := sb.Kill(unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%skill %s: %w", BrokenPrefix, sb.name, err)
	}
	// A killed PID 1 ends only when its whole namespace has; with a living
	// parent wait4 returns then, else the descriptor says so.
	p := sb.parent
	if p.lost == nil && !sb.reaped {
		p.bind(context.Background())
		_ = p.conn.SetDeadline(time.Now().Add(settleTime))
		if _, err := p.Wait4(sb.pid, 0); err == nil || errors.Is(err, unix.ECHILD) {
			return nil
		}
	}
	if !sb.WaitExit(settleTime) {
		return fmt.Errorf("%s%s was killed and did not end within %s", BrokenPrefix, sb.name, settleTime)
	}
	return nil
}

// Kill sends sig to the sandbox's process from the suite's side: through its
// pidfd, so that no other process can be hit.
func (sb *Sandbox) Kill(sig unix.Signal) error {
	if err := unix.PidfdSendSignal(int(sb.pidfd.Fd()), sig, nil, 0); err != nil {
		return &Error{"pidfd_send_signal", err.(unix.Errno)}
	}
	return nil
}

// WaitExit waits until the sandbox's process has exited, reaped or not, and
// says whether it did within the time.
func (sb *Sandbox) WaitExit(within time.Duration) bool { return readable(sb.pidfd.Fd(), within) }

// readable waits for a descriptor to have something to read and says whether it
// had within the time.
func readable(fd uintptr, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, time.Until(deadline)).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n == 1
	}
}

// PID is the sandbox's process ID as its parent sees it.
func (sb *Sandbox) PID() int { return sb.pid }

// Parent is the sandbox that started this one; nil for the stage's own.
func (sb *Sandbox) Parent() *Sandbox { return sb.parent }

// Scratch is the stage's tmpfs, as the sandbox sees it unless its root or
// mounts were changed.
func (sb *Sandbox) Scratch() string { return sb.stage.Scratch }

// String names the sandbox in messages.
func (sb *Sandbox) String() string { return sb.name }

// call is one system call being put together in the sandbox's shared memory.
type call struct {
	sb           *Sandbox
	op           string
	used         int
	child, close uint64
	pidfd        uintptr
}

func (sb *Sandbox) begin(op string) *call { return &call{sb: sb, op: op} }

// bytes copies b into shared memory and returns its address in the sandbox.
func (c *call) bytes(b []byte) uintptr {
	if c.used+len(b) > wire.Slot {
		Broken("%s: arguments of more than %d bytes", c.op, wire.Slot)
	}
	start := c.sb.slot*wire.Slot + c.used
	copy(c.sb.stage.arena[start:], b)
	c.used += (len(b) + 15) &^ 15
	return uintptr(c.sb.stage.base) + uintptr(start)
}

// view is the shared memory at an address that bytes returned.
func (c *call) view(addr uintptr, n int) []byte {
	start := int(addr - uintptr(c.sb.stage.base))
	return c.sb.stage.arena[start : start+n]
}

// do makes the call. An error is an *Error; a lost sandbox ends the spec.
func (c *call) do(nr uintptr, args ...uintptr) (uintptr, error) {
	sb := c.sb
	req := wire.Request{Nr: uint64(nr), Child: c.child, Close: c.close}
	for i, a := range args {
		req.Args[i] = uint64(a)
	}
	if sb.lost != nil {
		Broken("%s in %s: %v", c.op, sb.name, sb.lost)
	}
	if _, err := sb.conn.Write((*[wire.RequestSize]byte)(unsafe.Pointer(&req))[:]); err != nil {
		return 0, sb.lose(c.op, err)
	}
	return c.wait()
}

func (c *call) wait() (uintptr, error) {
	var rep wire.Reply
	n, err := c.sb.conn.Read((*[wire.ReplySize]byte)(unsafe.Pointer(&rep))[:])
	if err == nil && n != wire.ReplySize {
		err = fmt.Errorf("a reply of %d bytes instead of %d", n, wire.ReplySize)
	}
	if err != nil {
		return 0, c.sb.lose(c.op, err)
	}
	if rep.Errno != 0 {
		return uintptr(rep.Ret), &Error{c.op, unix.Errno(rep.Errno)}
	}
	return uintptr(rep.Ret), nil
}

// lose marks the sandbox as gone and ends the spec as broken. Without a spec
// behind it (clean-up) the error is the caller's.
func (sb *Sandbox) lose(op string, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errors.New("no answer: time ran out")
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		err = errors.New("its process has ended")
	}
	sb.lost = err
	if sb.ctx == context.Background() {
		return err
	}
	Broken("%s in %s: %v", op, sb.name, err)
	return err
}

// Syscall makes one system call in the sandbox and returns its result. op
// names it in errors. Arguments are integers, strings (passed as pointers to
// NUL-terminated copies) and byte slices (passed as pointers, and filled with
// what the kernel wrote).
func (sb *Sandbox) Syscall(op string, nr uintptr, args ...any) (uintptr, error) {
	c := sb.begin(op)
	regs, filled := c.marshal(args)
	ret, err := c.do(nr, regs...)
	for addr, b := range filled {
		copy(b, c.view(addr, len(b)))
	}
	return ret, err
}

func (c *call) marshal(args []any) (regs []uintptr, filled map[uintptr][]byte) {
	for _, a := range args {
		switch v := a.(type) {
		case int:
			regs = append(regs, uintptr(v))
		case int32:
			regs = append(regs, uintptr(v))
		case uint32:
			regs = append(regs, uintptr(v))
		case int64:
			regs = append(regs, uintptr(v))
		case uint64:
			regs = append(regs, uintptr(v))
		case uintptr:
			regs = append(regs, v)
		case unix.Signal:
			regs = append(regs, uintptr(v))
		case nil:
			regs = append(regs, 0)
		case string:
			regs = append(regs, c.bytes(append([]byte(v), 0)))
		case []byte:
			if len(v) == 0 {
				regs = append(regs, 0)
				continue
			}
			addr := c.bytes(v)
			regs = append(regs, addr)
			if filled == nil {
				filled = map[uintptr][]byte{}
			}
			filled[addr] = v
		default:
			Broken("%s: cannot pass a %T to the kernel", c.op, a)
		}
	}
	return regs, filled
}

// Ongoing is a system call that a sandbox is in.
type Ongoing struct {
	c      *call
	filled map[uintptr][]byte
}

// Begin starts a system call that may block, so that the spec can go on
// meanwhile. The sandbox takes no other call until Wait has returned.
func (sb *Sandbox) Begin(op string, nr uintptr, args ...any) *Ongoing {
	c := sb.begin(op)
	regs, filled := c.marshal(args)
	req := wire.Request{Nr: uint64(nr)}
	for i, a := range regs {
		req.Args[i] = uint64(a)
	}
	if _, err := sb.conn.Write((*[wire.RequestSize]byte)(unsafe.Pointer(&req))[:]); err != nil {
		_ = sb.lose(op, err)
	}
	return &Ongoing{c, filled}
}

// Wait returns the result of the call.
func (p *Ongoing) Wait() (uintptr, error) {
	ret, err := p.c.wait()
	for addr, b := range p.filled {
		copy(b, p.c.view(addr, len(b)))
	}
	return ret, err
}

// Returns waits for the call to return and says whether it did within the time.
func (p *Ongoing) Returns(within time.Duration) bool {
	raw, err := p.c.sb.conn.SyscallConn()
	if err != nil {
		return false
	}
	returned := false
	_ = raw.Control(func(fd uintptr) { returned = readable(fd, within) })
	return returned
}

// Export brings a copy of a sandbox's descriptor into the suite's process.
func (sb *Sandbox) Export(fd int) (*os.File, error) {
	files, err := sb.export(fd)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// export sends descriptors over the control socket, by a sendmsg(2) that the
// sandbox makes on it.
func (sb *Sandbox) export(fds ...int) ([]*os.File, error) {
	c := sb.begin("sendmsg")
	rights := unix.UnixRights(fds...)
	iov := make([]byte, 16)
	binary.NativeEndian.PutUint64(iov, uint64(c.bytes([]byte("F"))))
	binary.NativeEndian.PutUint64(iov[8:], 1)
	msg := make([]byte, 56)
	binary.NativeEndian.PutUint64(msg[16:], uint64(c.bytes(iov)))
	binary.NativeEndian.PutUint64(msg[24:], 1)
	binary.NativeEndian.PutUint64(msg[32:], uint64(c.bytes(rights)))
	binary.NativeEndian.PutUint64(msg[40:], uint64(len(rights)))
	req := wire.Request{Nr: uint64(unix.SYS_SENDMSG)}
	req.Args[0], req.Args[1] = uint64(sb.control), uint64(c.bytes(msg))
	if _, err := sb.conn.Write((*[wire.RequestSize]byte)(unsafe.Pointer(&req))[:]); err != nil {
		return nil, sb.lose(c.op, err)
	}
	oob := make([]byte, unix.CmsgSpace(4*len(fds)))
	buf := make([]byte, wire.ReplySize)
	n, oobn, _, _, err := sb.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, sb.lose(c.op, err)
	}
	if n != 1 {
		rep := (*wire.Reply)(unsafe.Pointer(&buf[0]))
		return nil, &Error{"sendmsg(SCM_RIGHTS)", unix.Errno(rep.Errno)}
	}
	if _, err := c.wait(); err != nil {
		return nil, err
	}
	cmsgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, fmt.Errorf("descriptors from %s: %w", sb.name, err)
	}
	if len(cmsgs) != 1 {
		return nil, fmt.Errorf("descriptors from %s: %d control messages, not one", sb.name, len(cmsgs))
	}
	got, err := unix.ParseUnixRights(&cmsgs[0])
	if err != nil {
		return nil, fmt.Errorf("descriptors from %s: %w", sb.name, err)
	}
	files := make([]*os.File, len(got))
	for i, fd := range got {
		unix.CloseOnExec(fd)
		files[i] = os.NewFile(uintptr(fd), "from "+sb.name)
	}
	return files, nil
}

// FlagNames is the CLONE_* names of flags, as in clone(CLONE_NEWPID|CLONE_NEWNS).
func FlagNames(flags uintptr) string {
	var names []string
	for _, t := range namespace.All() {
		if flags&t.Flag != 0 {
			names = append(names, t.Const)
			flags &^= t.Flag
		}
	}
	for _, f := range otherFlags {
		if flags&f.flag != 0 {
			names = append(names, f.name)
			flags &^= f.flag
		}
	}
	if flags != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(names, "|")
}

// otherFlags are the flags of clone(2) that make no namespace.
var otherFlags = []struct {
	flag uintptr
	name string
}{
	{unix.CLONE_FS, "CLONE_FS"}, {unix.CLONE_PARENT, "CLONE_PARENT"}, {unix.CLONE_SYSVSEM, "CLONE_SYSVSEM"},
	{unix.CLONE_PTRACE, "CLONE_PTRACE"}, {unix.CLONE_VFORK, "CLONE_VFORK"}, {unix.CLONE_INTO_CGROUP, "CLONE_INTO_CGROUP"},
}

// heldNetworks is how many network namespaces are kept at most: some 200 to
// 400 KB each.
const heldNetworks = 256

var (
	heldMu sync.Mutex
	held   []*os.File
)

func (sb *Sandbox) holdNetwork() error {
	fd, err := sb.OpenNamespace(namespace.Network)
	if err != nil {
		return err
	}
	file, err := sb.Export(fd)
	if err != nil {
		return err
	}
	if err := sb.Close(fd); err != nil {
		return err
	}
	heldMu.Lock()
	defer heldMu.Unlock()
	held = append(held, file)
	if len(held) < heldNetworks {
		return nil
	}
	for _, f := range held {
		f.Close()
	}
	held = []*os.File{}
	return nil
}
