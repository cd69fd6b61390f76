// Package harness starts isolated processes and makes them act: a stage that
// keeps the real host out of every spec, sandboxes on it that make single
// system calls or run programs, and agents in them that answer typed probes.
// It knows nothing of claims.
package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/harness/agent"
	"bulkhead/harness/internal/wire"
	"bulkhead/harness/namespace"
	"bulkhead/internal/kernel"
)

// settleTime bounds every wait for the end of something that was killed.
var settleTime = Scaled(5 * time.Second)

// Stage is the private set of namespaces that holds the host side of every
// spec: its own mounts (private, with a tmpfs at Scratch), PIDs, network, host
// name and System V IPC, and a user namespace when the caller is not root.
// User, cgroup and time namespaces are otherwise the machine's own; where the
// caller's clocks have offsets, it has a time namespace without.
type Stage struct {
	// Scratch is the absolute path of the stage's own tmpfs.
	Scratch string

	cmd     *exec.Cmd
	life    *os.File
	arena   []byte
	base    uint64
	root    *Sandbox
	scratch *os.File

	mu    sync.Mutex
	slots []int
	names int
}

var (
	stageMu sync.Mutex
	// current is the stage; caller is what Caller's process lives on, which has
	// no namespaces of its own.
	current, caller *Stage
)

// CurrentStage is the process's stage; it is set up when it is first asked
// for, and anew when it has died.
func CurrentStage() (*Stage, error) { return keep(&current, newStage) }

func keep(held **Stage, set func() (*Stage, error)) (*Stage, error) {
	stageMu.Lock()
	defer stageMu.Unlock()
	if *held != nil && (*held).root.lost != nil {
		(*held).close()
		*held = nil
	}
	if *held == nil {
		s, err := set()
		if err != nil {
			return nil, err
		}
		*held = s
	}
	return *held, nil
}

// Close ends the process's stage and everything on it, and waits for the end.
func Close() {
	stageMu.Lock()
	defer stageMu.Unlock()
	for _, held := range []**Stage{&current, &caller} {
		if *held != nil {
			(*held).close()
			*held = nil
		}
	}
}

// Privileged says whether this process may make any namespace, and do in it what
// specs do, without owning the user namespace of it.
func Privileged() bool { return len(kernel.Lacking()) == 0 }

// stageFlags are those of StageTypes.
var stageFlags = namespace.Flags(StageTypes()...)

// StageTypes are the namespaces that a stage has of its own. A kernel built without
// System V IPC and without POSIX message queues has no IPC namespaces, and nothing
// to put into them.
func StageTypes() []namespace.Type {
	types := []namespace.Type{namespace.Mount, namespace.PID, namespace.Network, namespace.UTS}
	if kernel.HasIPC() {
		types = append(types, namespace.IPC)
	}
	return types
}

func newStage() (*Stage, error) {
	attr := &syscall.SysProcAttr{Cloneflags: stageFlags}
	if !Privileged() {
		attr.Cloneflags |= namespace.User.Flag
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	s, err := begin(agent.StageName, attr, attr.Cloneflags)
	if err != nil {
		var shared *SharedNamespace
		if errors.As(err, &shared) {
			return nil, err
		}
		if refused := refusedNamespace(attr); refused != nil {
			err = refused
		}
		return nil, fmt.Errorf("start the stage in new namespaces: %w", err)
	}
	if err := s.prepare(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// RefusedNamespace is that the kernel does not even make a namespace of the type
// alone. The error is that of clone(2).
type RefusedNamespace struct {
	Type  namespace.Type
	cause Error
}

func (r *RefusedNamespace) Error() string { return r.cause.Error() }

// Unwrap is the errno.
func (r *RefusedNamespace) Unwrap() error { return r.cause.Errno }

// setUpError is what a stage's first process says that it could not do.
type setUpError struct {
	text  string
	errno unix.Errno
}

func (s *setUpError) Error() string { return s.text }

// Unwrap is the errno.
func (s *setUpError) Unwrap() error {
	if s.errno == 0 {
		return nil
	}
	return s.errno
}

// SharedNamespace is that clone(2) with the flag of the type succeeded and left
// the child in its parent's namespace.
type SharedNamespace struct{ Type namespace.Type }

func (s *SharedNamespace) Error() string {
	return fmt.Sprintf("clone(%s) succeeded and left the child in its parent's %s namespace", s.Type.Const, s.Type.Name)
}

// outside is agent.OutsideVariable for the types of the flags.
func outside(flags uintptr) string {
	var all []string
	for _, t := range namespace.All() {
		var st unix.Stat_t
		if flags&t.Flag != 0 && unix.Stat("/proc/self/ns/"+t.Name, &st) == nil {
			all = append(all, fmt.Sprintf("%s=%d", t.Name, st.Ino))
		}
	}
	return agent.OutsideVariable + "=" + strings.Join(all, " ")
}

// refusedNamespace finds the type for whose sake the stage could not be cloned,
// by cloning with one type at a time; nil when each alone can be made.
func refusedNamespace(stage *syscall.SysProcAttr) *RefusedNamespace {
	for _, t := range namespace.All() {
		if stageFlags&t.Flag == 0 {
			continue
		}
		attr := *stage
		attr.Cloneflags = t.Flag | stage.Cloneflags&namespace.User.Flag
		// There is no program of no name: ENOENT is from execve(2), in a child
		// that could be cloned.
		_, err := syscall.ForkExec("", []string{""}, &syscall.ProcAttr{Sys: &attr})
		if errno, is := err.(syscall.Errno); is && errno != syscall.ENOENT {
			return &RefusedNamespace{t, Error{Op: "clone(" + t.Const + ")", Errno: errno}}
		}
	}
	return nil
}

func newCaller() (*Stage, error) {
	if Privileged() {
		return nil, errors.New("root has no business outside of the stage")
	}
	return begin(agent.CallerName, &syscall.SysProcAttr{}, 0)
}

// begin starts the agent under a name as the first process of a stage, with
// its first sandbox. It does nothing in namespaces of the types of own that
// turn out to be those of the suite.
func begin(name string, attr *syscall.SysProcAttr, own uintptr) (_ *Stage, err error) {
	// A spec's terminal signals are not the suite's.
	attr.Setsid = true
	prog, err := Program.Get()
	if err != nil {
		return nil, err
	}
	arenaFD, err := unix.MemfdCreate("bulkhead-arena", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	arenaFile := os.NewFile(uintptr(arenaFD), "arena")
	defer arenaFile.Close()
	if err := arenaFile.Truncate(wire.Slot * wire.Slots); err != nil {
		return nil, fmt.Errorf("size shared memory: %w", err)
	}
	arena, err := unix.Mmap(arenaFD, 0, wire.Slot*wire.Slots, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap shared memory: %w", err)
	}
	life, theirLife, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirLife.Close()
	control, theirControl, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirControl.Close()

	cmd := &exec.Cmd{
		// prog's number in the child, after ExtraFiles are in place: its number
		// here may be another file there.
		Path: "/proc/self/fd/5",
		Args: []string{name},
		Env:  []string{"PATH=/bin", outside(own)},
		Dir:  "/",
		// The shared memory, which nobody reads there, for a machine without
		// /dev/null, which os/exec would open.
		Stdin:       arenaFile,
		Stdout:      os.Stderr,
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{theirLife, arenaFile, prog, theirControl},
		SysProcAttr: attr,
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Stage{cmd: cmd, life: life, arena: arena}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	theirLife.Close()
	var ready agent.Ready
	buf := make([]byte, 4096)
	_ = life.SetReadDeadline(time.Now().Add(settleTime))
	n, err := life.Read(buf)
	if err != nil {
		return nil, fmt.Errorf("wait for the stage: %w", err)
	}
	if err := json.Unmarshal(buf[:n], &ready); err != nil {
		return nil, fmt.Errorf("the stage's first word: %w", err)
	}
	for _, t := range namespace.All() {
		if slices.Contains(ready.Shared, t.Name) {
			return nil, &SharedNamespace{t}
		}
	}
	if ready.Err != "" {
		return nil, &setUpError{ready.Err, ready.Errno}
	}
	s.base, s.Scratch = ready.Arena, ready.Scratch
	for i := wire.Slots - 1; i > 0; i-- {
		s.slots = append(s.slots, i)
	}
	conn, err := net.FileConn(control)
	control.Close()
	if err != nil {
		return nil, fmt.Errorf("the first sandbox's socket: %w", err)
	}
	s.root = &Sandbox{stage: s, conn: conn.(*net.UnixConn), control: wire.RootFD, name: name, env: DefaultEnv, ctx: context.Background()}
	for _, fd := range []int{wire.ControlFD, wire.ArenaFD} {
		if err := s.root.Close(fd); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// prepare takes a descriptor of the scratch directory, sees that the clocks are
// the machine's and raises lo.
func (s *Stage) prepare() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("prepare the stage: %v", r)
		}
	}()
	fd, err := s.root.Open(s.Scratch, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	s.scratch, err = s.root.Export(fd)
	if err != nil {
		return err
	}
	if err := s.root.Close(fd); err != nil {
		return err
	}
	if err := s.root.resetClocks(); err != nil {
		return err
	}
	// The lines of /proc/net and 127.0.0.1 are there on every host.
	return s.root.raiseLoopback()
}

// close ends PID 1 of the stage, and with it every process on the stage.
func (s *Stage) close() {
	s.life.Close()
	if s.root != nil {
		s.root.conn.Close()
	}
	if s.scratch != nil {
		s.scratch.Close()
	}
	ended := make(chan struct{})
	go func() {
		_ = s.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(settleTime):
		_ = s.cmd.Process.Kill()
		<-ended
	}
	_ = unix.Munmap(s.arena)
}

// Outside is the path by which the suite's own process reaches a path below
// the stage's Scratch.
func (s *Stage) Outside(path string) string {
	rel := path[len(s.Scratch):]
	return fmt.Sprintf("/proc/self/fd/%d%s", s.scratch.Fd(), rel)
}

func (s *Stage) takeSlot() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.slots) == 0 {
		return 0, fmt.Errorf("more than %d sandboxes at a time", wire.Slots)
	}
	slot := s.slots[len(s.slots)-1]
	s.slots = s.slots[:len(s.slots)-1]
	return slot, nil
}

func (s *Stage) freeSlot(slot int) {
	s.mu.Lock()
	s.slots = append(s.slots, slot)
	s.mu.Unlock()
}

// unique is a name that nothing else on the stage has.
func (s *Stage) unique(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names++
	return fmt.Sprintf("%s%d", prefix, s.names)
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	// Only the suite's end may be non-blocking: a sandbox waits in read(2).
	if err := unix.SetNonblock(fds[1], false); err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// Host is the stage's first sandbox: the process that plays the host in
// contrasts. It lives as long as the stage, so a spec changes nothing in it; a
// spec that wants a host to change starts one of its own.
func Host(ctx context.Context) *Sandbox {
	s, err := CurrentStage()
	if err != nil {
		Broken("%v", err)
	}
	s.root.bind(ctx)
	return s.root
}

// Caller is a process with the IDs, the privileges and the namespaces of the
// ordinary user who runs the suite, for what such a user may do to begin with.
// For root, who could change the machine there, it ends the spec as broken.
func Caller(ctx context.Context) *Sandbox {
	s, err := keep(&caller, newCaller)
	if err != nil {
		Broken("start a process outside of the stage: %v", err)
	}
	s.root.bind(ctx)
	return s.root
}

// Outermost is the outermost process that specs may act in: the stage's first
// for root, Caller for anybody else.
func Outermost(ctx context.Context) *Sandbox {
	if Privileged() {
		return Host(ctx)
	}
	return Caller(ctx)
}

// Nobody starts a process of an ordinary user in namespaces that the user does
// not own: with UID and GID 65534 where the suite may take them, or as the user
// who runs the suite.
func Nobody(ctx context.Context) *Sandbox {
	return Got(TryNobody(ctx))
}

// TryNobody is Nobody where there may be no such user to become.
func TryNobody(ctx context.Context) (*Sandbox, error) {
	sb := Outermost(ctx).Fork(ctx)
	if os.Geteuid() == 0 {
		if err := sb.SetIDs(65534, 65534); err != nil {
			return nil, err
		}
		// A change of IDs takes the process's files in /proc from it.
		Got(sb.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
	}
	return sb, nil
}
