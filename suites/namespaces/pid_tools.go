package namespaces

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/harness"
)

// settle bounds the wait for what a signal causes.
var settle = harness.Scaled(5 * time.Second)

// statusField is a field of /proc/PID/status, "" without one.
func statusField(reader *harness.Sandbox, pid int, field string) string {
	for _, line := range strings.Split(harness.Got(reader.ReadFile(fmt.Sprintf("/proc/%d/status", pid))), "\n") {
		if v, ok := strings.CutPrefix(line, field+":\t"); ok {
			return v
		}
	}
	return ""
}

// nspid is NSpid of a process: its PIDs with tabs between, outermost first.
func nspid(reader *harness.Sandbox, pid int) string { return statusField(reader, pid, "NSpid") }

// ppid is the parent of a process as the reader sees it.
func ppid(reader *harness.Sandbox, pid int) int {
	var n int
	if _, err := fmt.Sscan(statusField(reader, pid, "PPid"), &n); err != nil {
		harness.Broken("PPid of %d: %v", pid, err)
	}
	return n
}

// state is the letter of a process's state, "gone" without a process.
func state(reader *harness.Sandbox, pid int) string {
	if _, err := reader.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
		return "gone"
	}
	raw, err := reader.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "gone"
	}
	// The name before may hold spaces and brackets.
	return raw[strings.LastIndexByte(raw, ')')+2:][:1]
}

// ignore sets a signal's disposition to SIG_IGN.
func ignore(sb *harness.Sandbox, sig unix.Signal) error {
	action := make([]byte, 32)
	binary.NativeEndian.PutUint64(action, 1)
	_, err := sb.Syscall("rt_sigaction(SIG_IGN)", unix.SYS_RT_SIGACTION, sig, action, nil, 8)
	return err
}

func sigset(sig unix.Signal) []byte {
	return binary.NativeEndian.AppendUint64(nil, 1<<(uint(sig)-1))
}

// block keeps a signal pending until it is waited for.
func block(sb *harness.Sandbox, sig unix.Signal) {
	const sigBlock = 0
	harness.Got(sb.Syscall("rt_sigprocmask(SIG_BLOCK)", unix.SYS_RT_SIGPROCMASK, sigBlock, sigset(sig), nil, 8))
}

// harmless is a signal that does nothing to a process that does not wait for it.
const harmless = unix.SIGURG

// pending says whether a signal that the process blocks has come.
func pending(sb *harness.Sandbox, sig unix.Signal) bool {
	set := make([]byte, 8)
	harness.Got(sb.Syscall("rt_sigpending", unix.SYS_RT_SIGPENDING, set, 8))
	return binary.NativeEndian.Uint64(set)>>(uint(sig)-1)&1 == 1
}

// signalAll makes a harmless kill(-1) by one process and says which of the
// others it reached. What ends all that it reaches is not tried before it is
// known whom kill(-1) reaches: on a kernel that does not keep it inside it
// would end the machine's processes.
func signalAll(by *harness.Sandbox, others ...*harness.Sandbox) (reached []bool, err error) {
	for _, sb := range others {
		block(sb, harmless)
	}
	err = by.Signal(-1, harmless)
	for _, sb := range others {
		reached = append(reached, pending(sb, harmless))
	}
	return reached, err
}

// sender waits for a blocked signal and returns its si_pid.
func sender(sb *harness.Sandbox, sig unix.Signal) int {
	info, timeout := make([]byte, 128), make([]byte, 16)
	binary.NativeEndian.PutUint64(timeout, uint64(settle/time.Second))
	harness.Got(sb.Syscall("rt_sigtimedwait", unix.SYS_RT_SIGTIMEDWAIT, sigset(sig), info, timeout, 8))
	return int(int32(le32(info[16:])))
}

// agentInit starts an agent that is PID 1 of a new PID namespace, and a member.
func agentInit(ctx context.Context) (*harness.Agent, *harness.Sandbox) {
	outer := harness.Start(ctx)
	harness.Must(outer.Unshare(unix.CLONE_NEWPID))
	agent := outer.Agent(ctx)
	return agent, outer.Fork(ctx)
}

// depth is how many PID namespaces the stage is below the initial one; when
// that cannot be told it is how many there are at least.
type depth struct {
	depth int
	known bool
}

func (d depth) String() string {
	if d.known {
		return fmt.Sprintf("%d below the initial one", d.depth)
	}
	return fmt.Sprintf("at least %d below the initial one", d.depth)
}

// initialPIDNamespace is the inode of the initial PID namespace, a constant of
// the kernel (PROC_PID_INIT_INO).
const initialPIDNamespace = 0xEFFFFFFC

// pidDepth finds out how deep the stage is: the suite's own process is in the
// initial namespace or not, and the stage is one below.
func pidDepth(context.Context) depth {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err == nil && st.Ino == initialPIDNamespace {
		return depth{1, true}
	}
	return depth{2, false}
}

// credentialsPID receives a message with SCM_CREDENTIALS and returns the
// sender's PID.
func credentialsPID(sb *harness.Sandbox, fd int) int {
	control := sb.ReceiveControl(fd)
	messages, err := unix.ParseSocketControlMessage(control)
	harness.Must(err)
	for _, m := range messages {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			return int(cred.Pid)
		}
	}
	harness.Broken("no credentials came with the message")
	return 0
}
