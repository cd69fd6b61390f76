package lie

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bulkhead/internal/run"
)

const (
	// supervisorName is the argv[0] of a supervisor, whose further arguments are
	// the argv of the worker.
	supervisorName = "bulkhead-supervisor"
	// launcherName is the argv[0] of the process that becomes the worker: it
	// installs the filter, with the worker's argv behind.
	launcherName = "bulkhead-launcher"
	// controllerFD is the worker's socket to its controller, reportFD is where
	// the supervisor tells what it did, planFD is where it reads its plan, and
	// the launcher the system calls to stop at.
	controllerFD = 3
	reportFD     = 4
	planFD       = 5
	callsFD      = 4
)

// plan says which lie is told to which claim, by the claim's ID; to others none.
type plan map[string]string

// calls are the system calls that the plan's lies have to look at.
func (p plan) calls() ([]uintptr, error) {
	all := append([]uintptr{}, fenced...)
	for _, name := range p {
		l, ok := ByName(name)
		if !ok {
			return nil, fmt.Errorf("no lie is named %q", name)
		}
		all = append(all, l.calls...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// account is what a supervisor reports of each claim that its worker ran.
type account struct {
	Claim string `json:"claim"`
	// Told is how often the lie was told.
	Told int `json:"told"`
	// Could are the lies that could have been told, and how often; only of an
	// honest run.
	Could map[string]int `json:"could,omitempty"`
	// Err is why the supervisor could not do its work.
	Err string `json:"err,omitempty"`
}

// Supervise changes cmd, a worker's command line with the controller's
// descriptor as its only extra file, so that it runs under a supervisor that
// tells the lies of the plan. The function it returns is called when the command
// has ended and returns the supervisor's accounts.
func supervise(cmd *exec.Cmd, p plan) (func() ([]account, error), error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	planR, planW, err := os.Pipe()
	if err != nil {
		r.Close()
		w.Close()
		return nil, err
	}
	cmd.Args = append([]string{supervisorName}, cmd.Args...)
	cmd.ExtraFiles = append(cmd.ExtraFiles, w, planR)
	go func() {
		// A supervisor that ends early closes the other side.
		_ = json.NewEncoder(planW).Encode(p)
		planW.Close()
	}()
	type result struct {
		accounts []account
		err      error
	}
	read := make(chan result, 1)
	go func() {
		var all result
		for dec := json.NewDecoder(r); ; {
			var a account
			if err := dec.Decode(&a); err != nil {
				if err != io.EOF {
					all.err = fmt.Errorf("the supervisor's account: %w", err)
				}
				break
			}
			all.accounts = append(all.accounts, a)
		}
		read <- all
	}()
	return func() ([]account, error) {
		w.Close()
		planR.Close()
		all := <-read
		r.Close()
		// The last is of the supervisor itself.
		n := len(all.accounts)
		switch {
		case all.err != nil:
		case n == 0 || all.accounts[n-1].Claim != "":
			all.err = errors.New("the supervisor ended before its time")
		case all.accounts[n-1].Err != "":
			all.err = errors.New(all.accounts[n-1].Err)
		default:
			all.accounts = all.accounts[:n-1]
		}
		return all.accounts, all.err
	}, nil
}

// Main takes over when this process is a supervisor or a launcher.
func Main() {
	switch os.Args[0] {
	case supervisorName:
		os.Exit(supervisorMain())
	case probeName:
		os.Exit(0)
	case launcherName:
		fmt.Fprintln(os.Stderr, "bulkhead:", launch())
		os.Exit(3)
	}
}

func init() {
	// The tracer knows the launcher's first thread alone, so that one must be
	// the one that becomes the worker.
	if os.Args[0] == launcherName {
		runtime.LockOSThread()
	}
}

// launch waits for the tracer, installs the filter and becomes the worker.
func launch() error {
	var calls []uintptr
	if err := json.NewDecoder(os.NewFile(callsFD, "supervisor")).Decode(&calls); err != nil {
		return fmt.Errorf("the supervisor is gone: %w", err)
	}
	if err := installFilter(calls); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args[1:], os.Environ())
}

func supervisorMain() int {
	runtime.LockOSThread()
	for _, fd := range []int{controllerFD, reportFD, planFD} {
		unix.CloseOnExec(fd)
	}
	out := json.NewEncoder(os.NewFile(reportFD, "account"))
	status, a, err := attend(out)
	if err != nil {
		a.Err = err.Error()
		status = 3
	}
	_ = out.Encode(a)
	return status
}

// attend starts the worker and traces it, and all it starts, to the end. It
// returns the worker's status and, without a claim, the account of what was done
// outside of claims.
func attend(out *json.Encoder) (status int, _ account, err error) {
	var none account
	var p plan
	if err := json.NewDecoder(os.NewFile(planFD, "plan")).Decode(&p); err != nil {
		return 0, none, fmt.Errorf("the supervisor's plan: %w", err)
	}
	calls, err := p.calls()
	if err != nil {
		return 0, none, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, none, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, none, fmt.Errorf("socketpair: %w", err)
	}
	inner, theirs := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "controller")
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	worker, err := os.StartProcess("/proc/self/exe", append([]string{launcherName}, os.Args[1:]...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, theirs, r},
		Sys:   &syscall.SysProcAttr{},
	})
	if err != nil {
		return 0, none, fmt.Errorf("start the worker: %w", err)
	}
	theirs.Close()
	r.Close()
	pid := worker.Pid
	// The tracer reaps it: os.Process never waits.
	go func() {
		for s := range signals {
			_ = unix.Kill(pid, s.(unix.Signal))
		}
	}()
	t := newTracer(pid)
	if err := t.seize(); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		return 0, none, fmt.Errorf("ptrace(PTRACE_SEIZE) is not permitted here: %w", err)
	}
	if err := errors.Join(json.NewEncoder(w).Encode(calls), w.Close()); err != nil {
		return 0, none, err
	}
	relayed := make(chan struct{})
	go func() {
		t.relay(os.NewFile(controllerFD, "controller"), inner, p, out)
		close(relayed)
	}()
	ws, err := t.run()
	<-relayed
	if ws.Signaled() {
		status = 128 + int(ws.Signal())
	} else {
		status = ws.ExitStatus()
	}
	return status, t.end(), err
}

// relay passes the worker's lines on to its controller, and the answers back,
// and changes the lie with the claim. Each claim has a stage of its own, so that
// nothing that is lied to is there meanwhile.
func (t *tracer) relay(controller, worker *os.File, p plan, out *json.Encoder) {
	// A side that is gone ends the other.
	defer controller.Close()
	defer worker.Close()
	answers, lines := bufio.NewReader(controller), bufio.NewReader(worker)
	current := ""
	finish := func() {
		if current != "" {
			a := t.end()
			a.Claim = current
			_ = out.Encode(a)
		}
		current = ""
	}
	defer finish()
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m run.Message
		if json.Unmarshal(line, &m) != nil {
			return
		}
		if m.Done != nil {
			finish()
		}
		if _, err := controller.Write(line); err != nil {
			return
		}
		if m.Ask == "" && !m.Idle {
			continue
		}
		answer, err := answers.ReadString('\n')
		if err != nil {
			return
		}
		if answer == run.Yes {
			current = m.Ask
			t.begin(p[current])
		}
		if _, err := worker.WriteString(answer); err != nil {
			return
		}
	}
}

// Supported says why lies cannot be told here; nil when they can.
func Supported() error {
	if auditArch == 0 {
		return fmt.Errorf("lies are told on amd64 and arm64, not on %s", runtime.GOARCH)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Path = "/proc/self/exe"
	cmd.Args = []string{probeName}
	controller, err := os.Open("/")
	if err != nil {
		return err
	}
	defer controller.Close()
	cmd.ExtraFiles = []*os.File{controller}
	account, err := supervise(cmd, plan{})
	if err != nil {
		return err
	}
	text, runErr := cmd.CombinedOutput()
	if _, err := account(); err != nil {
		return fmt.Errorf("lies cannot be told here: %w", err)
	}
	if runErr != nil {
		return fmt.Errorf("lies cannot be told here: %s", strings.TrimPrefix(strings.TrimSpace(string(text)), "bulkhead: "))
	}
	return nil
}
