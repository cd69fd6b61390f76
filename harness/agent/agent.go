// Package agent is the program inside: PID 1 of a stage, and the process in a
// sandbox that answers typed probes. It is linked into a small binary of its
// own, which the harness runs from memory, and knows nothing of Ginkgo or of
// claims.
package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/harness/internal/bare"
	"bulkhead/harness/internal/wire"
	"bulkhead/harness/probe"
)

// StageName, CallerName and ProbeName are the argv[0] by which the program
// knows its part.
const (
	StageName  = "bulkhead-stage"
	CallerName = "bulkhead-caller"
	ProbeName  = "bulkhead-agent"
)

// OutsideVariable holds the suite's own namespaces of the types that the stage
// is to have of its own, as "mnt=4026531840 uts=4026531838": the name in
// /proc/self/ns and the inode of each.
const OutsideVariable = "BULKHEAD_OUTSIDE"

// Ready is what a stage's first process says when it has set the stage up.
type Ready struct {
	// Arena is the address of the shared memory in every sandbox.
	Arena uint64
	// Scratch is the directory that holds the stage's own tmpfs.
	Scratch string
	// Err says what could not be set up; empty when all was.
	Err string
	// Errno is that of Err, 0 where it is of no system call.
	Errno unix.Errno
	// Shared names the namespaces that are still the suite's, in which the
	// stage has touched nothing.
	Shared []string
}

// Stage is PID 1 of a stage: it sets the stage up, forks the first sandbox
// and reaps whatever is orphaned, until the suite goes away. Its end is the
// end of every process on the stage.
func Stage() int { return host(setUp) }

// Caller is Stage without namespaces of its own: it sets up nothing but the
// shared memory, and at its end kills its process group, since no PID
// namespace does.
func Caller() int {
	status := host(share)
	_ = unix.Kill(0, unix.SIGKILL)
	return status
}

func host(prepare func() (Ready, error)) int {
	runtime.LockOSThread()
	// Files of the specs are not to have the modes that the caller's shell chose.
	unix.Umask(0o022)
	life := os.NewFile(wire.ControlFD, "control")
	ready, err := prepare()
	if err == nil {
		err = forkFirst()
	}
	if err != nil {
		ready.Err = err.Error()
		errors.As(err, &ready.Errno)
	}
	line, _ := json.Marshal(ready)
	if _, werr := life.Write(line); werr != nil || err != nil {
		return 1
	}
	go func() {
		// Orphans only: the sandboxes' parents wait for their own children.
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); errors.Is(err, unix.ECHILD) {
				return
			}
		}
	}()
	buf := make([]byte, 1)
	for {
		if _, err := unix.Read(wire.ControlFD, buf); err != unix.EINTR {
			return 0
		}
	}
}

// share maps the shared memory.
func share() (Ready, error) {
	var ready Ready
	arena, err := unix.Mmap(wire.ArenaFD, 0, wire.Slot*wire.Slots, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return ready, fmt.Errorf("mmap shared memory: %w", err)
	}
	ready.Arena = uint64(address(arena))
	return ready, nil
}

// shared are the types of namespace that a successful clone(2) has not made
// anew.
func shared() (names []string) {
	for _, outside := range strings.Fields(os.Getenv(OutsideVariable)) {
		name, inode, _ := strings.Cut(outside, "=")
		var st unix.Stat_t
		if unix.Stat("/proc/self/ns/"+name, &st) == nil && fmt.Sprint(st.Ino) == inode {
			names = append(names, name)
		}
	}
	return names
}

func setUp() (Ready, error) {
	// What comes below changes mounts and the host name.
	if names := shared(); len(names) > 0 {
		return Ready{Shared: names}, fmt.Errorf("the stage is in the machine's own namespaces: %s", strings.Join(names, ", "))
	}
	ready, err := share()
	if err != nil {
		return ready, err
	}
	// Root's groups are the caller's choice (sudo -g). Where setgroups(2) is
	// denied, in a user namespace of the stage's own, they stay.
	if err := unix.Setgroups(nil); err != nil && !errors.Is(err, unix.EPERM) {
		return ready, fmt.Errorf("setgroups on the stage: %w", err)
	}
	if err := unix.Setresgid(0, 0, 0); err != nil {
		return ready, fmt.Errorf("setresgid on the stage: %w", err)
	}
	// A change of group takes the process's files in /proc from it.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return ready, fmt.Errorf("prctl(PR_SET_DUMPABLE) on the stage: %w", err)
	}
	if ready.Scratch, err = mountStage(); err != nil {
		return ready, err
	}
	if err := unix.Sethostname([]byte("bulkhead-stage")); err != nil {
		return ready, fmt.Errorf("sethostname on the stage: %w", err)
	}
	return ready, nil
}

// shed keeps the runtime's memory from the sandboxes, which never look at it and
// would copy its page tables with every fork. What it cannot keep from them does
// no harm.
func shed() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	var here byte
	stack := uint64(uintptr(unsafe.Pointer(&here)))
	// program is the end of the last mapping with a name: the variables of the
	// program are behind it, without one.
	var program uint64
	for line := range strings.Lines(string(maps)) {
		var start, end uint64
		if n, _ := fmt.Sscanf(line, "%x-%x", &start, &end); n != 2 {
			continue
		}
		switch named := len(strings.Fields(line)) > 5; {
		case named || start == program:
			program = end
		case start <= stack && stack < end:
		default:
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTFORK)
		}
	}
}

func forkFirst() error {
	// A sandbox inherits the arena and the program, and nothing else.
	for _, fd := range []int{wire.ControlFD, wire.ArenaFD, wire.ProgramFD, wire.RootFD} {
		unix.CloseOnExec(fd)
	}
	shed()
	if _, err := bare.Fork(wire.RootFD); err != nil {
		return fmt.Errorf("fork the first sandbox: %w", err)
	}
	return unix.Close(wire.RootFD)
}

// mountStage makes the stage's mounts private, gives it a /proc of its own
// where the machine has one, and mounts a tmpfs for everything specs create.
func mountStage() (string, error) {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if errors.Is(err, unix.EINVAL) {
		// The root is no mount point: the suite runs in a chroot.
		err = leaveChroot()
	}
	if err != nil {
		return "", fmt.Errorf("make the stage's mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mount proc on the stage's /proc: %w", err)
	}
	if _, err := os.Stat("/sys/kernel"); err != nil {
		// For specs that read it; without a /sys they say so.
		_ = unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	// Any directory will do: what it holds is covered on the stage only.
	dirs := []string{"/tmp", "/run", "/var/tmp", "/mnt", "/srv", "/media", "/opt", "/home"}
	entries, _ := os.ReadDir("/")
	for _, e := range entries {
		if name := "/" + e.Name(); e.IsDir() && name != "/proc" && name != "/sys" && name != "/dev" {
			dirs = append(dirs, name)
		}
	}
	for _, dir := range dirs {
		if err := unix.Mount("bulkhead", dir, "tmpfs", 0, "mode=0755"); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("mount tmpfs: the root has no directory that can be mounted on")
}

// leaveChroot makes the directory that is the process's root the root of its
// mount namespace too, with all mounts private: what a chroot may not do (make
// a user namespace, pivot_root) is to work on the stage.
func leaveChroot() error {
	// setns(2) puts root and cwd at the root of the mount namespace, for a
	// thread that shares them with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare(CLONE_FS): %w", err)
	}
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /proc/thread-self/ns/mnt: %w", err)
	}
	defer unix.Close(ns)
	jail, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the root: %w", err)
	}
	defer unix.Close(jail)
	mounted := -1
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"setns to the own mount namespace", func() error { return unix.Setns(ns, unix.CLONE_NEWNS) }},
		{"make all mounts private", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"enter the chroot's directory", func() error { return unix.Fchdir(jail) }},
		{"bind it onto itself", func() error { return unix.Mount(".", ".", "", unix.MS_BIND|unix.MS_REC, "") }},
		{"chroot to it", func() error { return unix.Chroot(".") }},
		// A lookup of / stays below what is mounted on the root; one of /..
		// does not.
		{"open the mount on it", func() (err error) {
			mounted, err = unix.Open("/..", unix.O_PATH|unix.O_CLOEXEC, 0)
			return err
		}},
		{"setns once more", func() error { return unix.Setns(ns, unix.CLONE_NEWNS) }},
		{"enter the mount", func() error { return unix.Fchdir(mounted) }},
		{"pivot_root to it", func() error { return unix.PivotRoot(".", ".") }},
		{"detach the old root", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"chdir to the new root", func() error { return unix.Chdir("/") }},
		{"close", func() error { return unix.Close(mounted) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("leave the chroot that the suite runs in: %s: %w", step.what, err)
		}
	}
	return nil
}

// Serve answers probes on wire.AgentFD until the suite closes it.
func Serve() int {
	// Probes run on the main thread, so that what they unshare shows in
	// /proc/PID and is inherited by what they start.
	runtime.LockOSThread()
	unix.CloseOnExec(wire.AgentFD)
	conn := os.NewFile(wire.AgentFD, "control")
	dec, enc := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var call probe.Call
		if err := dec.Decode(&call); err != nil {
			return 0
		}
		if err := enc.Encode(answer(call)); err != nil {
			return 1
		}
	}
}

func answer(call probe.Call) (a probe.Answer) {
	defer func() {
		if r := recover(); r != nil {
			a = probe.Answer{Panic: fmt.Sprintf("%v\n%s", r, debug.Stack())}
		}
	}()
	return probe.Run(call)
}
