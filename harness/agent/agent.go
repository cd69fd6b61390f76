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

// Ready is what a stage's first process says when it has set the stage up.
type Ready struct {
	// Arena is the address of the shared memory in every sandbox.
	Arena uint64
	// Scratch is the directory that holds the stage's own tmpfs.
	Scratch string
	// Err says what could not be set up; empty when all was.
	Err string
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
	life := os.NewFile(wire.ControlFD, "control")
	ready, err := prepare()
	if err == nil {
		err = forkFirst()
	}
	if err != nil {
		ready.Err = err.Error()
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

func setUp() (Ready, error) {
	ready, err := share()
	if err != nil {
		return ready, err
	}
	if ready.Scratch, err = mountStage(); err != nil {
		return ready, err
	}
	if err := unix.Sethostname([]byte("bulkhead-stage")); err != nil {
		return ready, fmt.Errorf("sethostname on the stage: %w", err)
	}
	return ready, nil
}

func forkFirst() error {
	// A sandbox inherits the arena and the program, and nothing else.
	for _, fd := range []int{wire.ControlFD, wire.ArenaFD, wire.ProgramFD, wire.RootFD} {
		unix.CloseOnExec(fd)
	}
	if _, err := bare.Fork(wire.RootFD); err != nil {
		return fmt.Errorf("fork the first sandbox: %w", err)
	}
	return unix.Close(wire.RootFD)
}

// mountStage makes the stage's mounts private, gives it a /proc of its own
// where the machine has one, and mounts a tmpfs for everything specs create.
func mountStage() (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make the stage's mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mount proc on the stage's /proc: %w", err)
	}
	// Any directory will do: what it holds is covered on the stage only.
	for _, dir := range []string{"/tmp", "/run", "/var/tmp", "/mnt", "/srv", "/media", "/opt", "/home"} {
		if err := unix.Mount("bulkhead", dir, "tmpfs", 0, "mode=0755"); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("mount tmpfs: none of /tmp, /run, /var/tmp, /mnt, /srv, /media, /opt, /home can be mounted on")
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
