package lie

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/harness/agent"
)

// part is what a process is to the supervisor.
type part int

const (
	// suite is the worker, its threads, and its children before they run a
	// program of their own: told the truth, as the harness is.
	suite part = iota
	// host is the first process of a stage, with its threads: told the truth.
	host
	// staged is everything on a stage: lied to.
	staged
)

type task struct {
	part part
	// known is false until the task's part has been found.
	known bool
	// stopped is true while a stop signal holds it.
	stopped bool
	// call is the one whose end is awaited.
	call *Call
	exit func(*Call) bool
	// again is true while a call is made once more, which is no lie's business.
	again bool
}

type tracer struct {
	worker int
	tasks  map[int]*task
	// stoppedGroups counts the tasks that a stop signal holds.
	stoppedGroups int

	// mu guards what changes with the claim, below; it is held while a stop is
	// served.
	mu      sync.Mutex
	lie     *Lie
	tell    func(*Call) bool
	account account
	err     error
	// held are the namespaces that the lie keeps, by inode.
	held map[uint64]*os.File
}

func newTracer(worker int) *tracer {
	t := &tracer{worker: worker, tasks: map[int]*task{worker: {known: true}}}
	t.begin("")
	return t
}

// begin tells a lie from now on; "" is none.
func (t *tracer) begin(name string) {
	if name == "" {
		name = quietName
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lie, t.account, t.err = single[quietName], account{}, nil
	for _, f := range t.held {
		f.Close()
	}
	t.held = map[uint64]*os.File{}
	l, ok := ByName(name)
	switch {
	case !ok:
		t.err = fmt.Errorf("no lie is named %q", name)
	case l.Name == honestName:
		t.lie, t.account.Could, t.tell = l, map[string]int{}, t.record
		return
	default:
		t.lie = l
	}
	t.tell = t.lie.start()
}

// end returns the account since begin, and tells no lie from now on.
func (t *tracer) end() account {
	t.mu.Lock()
	a := t.account
	if t.err != nil {
		a.Err = t.err.Error()
	}
	t.mu.Unlock()
	t.begin("")
	return a
}

const traceOptions = unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
	unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL

func (t *tracer) seize() error { return ptrace(unix.PTRACE_SEIZE, t.worker, 0, traceOptions) }

// run serves every stop until the worker and all it left behind have ended,
// and returns the worker's status.
func (t *tracer) run() (unix.WaitStatus, error) {
	var status unix.WaitStatus
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return status, nil
		case err != nil:
			return status, fmt.Errorf("wait4: %w", err)
		}
		if ws.Exited() || ws.Signaled() {
			if tk := t.tasks[tid]; tk != nil && tk.stopped {
				t.stoppedGroups--
			}
			delete(t.tasks, tid)
			if tid == t.worker {
				status = ws
			}
			continue
		}
		t.mu.Lock()
		t.stopped(tid, ws)
		t.mu.Unlock()
	}
}

// resume lets a stopped task go on. One that was killed meanwhile is gone.
func (t *tracer) resume(request, tid int, sig unix.Signal) {
	if err := ptrace(request, tid, 0, uintptr(sig)); err != nil && !errors.Is(err, unix.ESRCH) {
		t.fail(fmt.Errorf("resume a process: %w", err))
	}
}

func (t *tracer) fail(err error) {
	if t.err == nil && !errors.Is(err, unix.ESRCH) {
		t.err = err
	}
}

func (t *tracer) stopped(tid int, ws unix.WaitStatus) {
	tk := t.tasks[tid]
	if tk == nil {
		tk = &task{}
		t.tasks[tid] = tk
	}
	sig, event := ws.StopSignal(), int(ws>>16)
	switch event {
	case unix.PTRACE_EVENT_SECCOMP:
		t.entered(tid, tk)
		return
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
		if child, err := eventMessage(tid); err == nil {
			t.born(tk, child, event == unix.PTRACE_EVENT_CLONE)
		}
		t.goOn(tid, tk, 0)
		return
	case unix.PTRACE_EVENT_EXEC:
		if former, err := eventMessage(tid); err == nil && former != tid {
			// The thread that called execve(2) is the process now.
			if old := t.tasks[former]; old != nil {
				*tk = *old
				delete(t.tasks, former)
			}
		}
		t.executed(tid, tk)
		t.goOn(tid, tk, 0)
		return
	case unix.PTRACE_EVENT_STOP:
		switch sig {
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
			if !tk.stopped {
				tk.stopped = true
				t.stoppedGroups++
			}
			t.resume(unix.PTRACE_LISTEN, tid, 0)
		default:
			if !tk.known {
				t.adopt(tid)
			}
			if tk.stopped {
				tk.stopped = false
				t.stoppedGroups--
			}
			t.goOn(tid, tk, 0)
		}
		return
	}
	if sig == unix.SIGTRAP|0x80 {
		t.left(tid, tk)
		return
	}
	if sig == unix.SIGSTOP && sentFromInside(tid) {
		sig = 0
	}
	t.goOn(tid, tk, sig)
}

// sentFromInside says whether the signal that a task has stopped for comes to
// the init of a PID namespace from that namespace. The kernel drops such a
// SIGSTOP unless init is traced.
func sentFromInside(tid int) bool {
	// struct siginfo: three numbers, then, aligned, the sender's PID.
	var info [128]byte
	if ptrace(unix.PTRACE_GETSIGINFO, tid, 0, uintptr(unsafe.Pointer(&info))) != nil {
		return false
	}
	if binary.NativeEndian.Uint32(info[16:]) == 0 {
		return false
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	_, rest, _ := bytes.Cut(status, []byte("\nNSpid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	pids := bytes.Fields(line)
	return len(pids) > 1 && string(pids[len(pids)-1]) == "1"
}

// mend lets a process that is stopped be seen as stopped in its status file: a
// traced one shows as being traced.
func (t *tracer) mend(c *Call) {
	b := c.Read(c.Arg(1), c.Result())
	state := "S (sleeping)"
	if t.stoppedGroups > 0 {
		state = "T (stopped)"
	}
	mended := bytes.Replace(b, []byte("State:\tt (tracing stop)"), []byte("State:\t"+state), 1)
	mended = bytes.Replace(mended, []byte(") t "), []byte(") "+state[:1]+" "), 1)
	if !bytes.Equal(b, mended) {
		c.Write(c.Arg(1), mended)
		c.SetResult(len(mended))
	}
}

// goOn resumes a task, to the end of its call when that is awaited.
func (t *tracer) goOn(tid int, tk *task, sig unix.Signal) {
	if tk.call != nil {
		t.resume(unix.PTRACE_SYSCALL, tid, sig)
		return
	}
	t.resume(unix.PTRACE_CONT, tid, sig)
}

// adopt gives a part to a new task that has stopped before its parent has told of
// it; one that is killed meanwhile never does.
func (t *tracer) adopt(tid int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	number := func(name string) (n int) {
		_, rest, _ := bytes.Cut(status, []byte("\n"+name+":\t"))
		_, _ = fmt.Sscan(string(rest), &n)
		return n
	}
	leader, parent := number("Tgid"), number("PPid")
	thread := leader != tid && t.tasks[leader] != nil
	if thread {
		parent = leader
	}
	// The orphan of a process that nobody knows is of a stage.
	of := t.tasks[parent]
	if of == nil {
		of = &task{part: host}
	}
	t.born(of, tid, thread)
}

// born gives a new task its part.
func (t *tracer) born(parent *task, child int, thread bool) {
	tk := t.tasks[child]
	if tk == nil {
		tk = &task{}
		t.tasks[child] = tk
	}
	if tk.known {
		return
	}
	tk.known, tk.part = true, parent.part
	// What the stage's first process forks is its first sandbox.
	if parent.part == host && !thread {
		tk.part = staged
	}
	if tk.part == staged && !thread {
		t.hold(child)
	}
}

// hold keeps the namespace of a task that the lie does not let end.
func (t *tracer) hold(tid int) {
	if t.lie.keeps == "" {
		return
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", tid, t.lie.keeps))
	if err != nil {
		// The task has ended.
		return
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil || t.held[stat.Ino] != nil {
		f.Close()
		return
	}
	t.held[stat.Ino] = f
}

// executed gives a process that runs a new program its part.
func (t *tracer) executed(tid int, tk *task) {
	if tk.part != suite || tid == t.worker {
		return
	}
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", tid))
	name, _, _ := bytes.Cut(line, []byte{0})
	if n := string(name); n == agent.StageName || n == agent.CallerName {
		tk.part = host
	}
}

// entered is a call that the filter stopped, before it is carried out.
func (t *tracer) entered(tid int, tk *task) {
	if tk.part != staged {
		t.resume(unix.PTRACE_CONT, tid, 0)
		return
	}
	if tk.again {
		tk.again = false
		t.resume(unix.PTRACE_CONT, tid, 0)
		return
	}
	c := &Call{tid: tid}
	if err := unix.PtraceGetRegs(tid, &c.regs); err != nil {
		t.fail(fmt.Errorf("read registers: %w", err))
		t.resume(unix.PTRACE_CONT, tid, 0)
		return
	}
	c.Nr = uintptr(number(tid, &c.regs))
	for i := range c.args {
		c.args[i] = *argument(&c.regs, i)
	}
	told := t.lie.concerns(c.Nr) && t.tell(c)
	if !told && isFenced(c) && t.lie.Name != honestName && t.lie.Name != quietName {
		c.Answer(-int(unix.EPERM))
		told = c.after != nil && c.after(c)
	}
	if told {
		t.account.Told++
	}
	if c.Nr == unix.SYS_READ && !c.skipped && (behind(c, c.Arg(0), "status") || behind(c, c.Arg(0), "stat")) {
		after := c.after
		c.After(func(c *Call) bool {
			told := after != nil && after(c)
			t.mend(c)
			return told
		})
	}
	t.store(tid, c)
	if c.after != nil && !c.skipped {
		tk.call, tk.exit = c, c.after
		t.resume(unix.PTRACE_SYSCALL, tid, 0)
		return
	}
	t.resume(unix.PTRACE_CONT, tid, 0)
}

// left is the end of a call that a lie waited for.
func (t *tracer) left(tid int, tk *task) {
	c, exit := tk.call, tk.exit
	tk.call, tk.exit = nil, nil
	if c != nil {
		c.changed = false
		if err := unix.PtraceGetRegs(tid, &c.regs); err != nil {
			t.fail(fmt.Errorf("read registers: %w", err))
		} else if r := c.Result(); r > -512 || r < -530 {
			// Otherwise a signal interrupted it, and it is made again.
			if exit(c) {
				t.account.Told++
			}
			tk.again = c.again
			if c.Nr == unix.SYS_UNSHARE {
				t.hold(tid)
			}
			t.store(tid, c)
		}
	}
	t.resume(unix.PTRACE_CONT, tid, 0)
}

// store brings what a lie changed into the registers.
func (t *tracer) store(tid int, c *Call) {
	if c.changed {
		if err := unix.PtraceSetRegs(tid, &c.regs); err != nil {
			t.fail(fmt.Errorf("change registers: %w", err))
		}
	}
	if c.err != nil {
		t.fail(fmt.Errorf("tell the lie %s: %w", t.lie.Name, c.err))
		c.err = nil
	}
}
