package lie

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// supervisorName is the argv[0] of a supervisor, whose further arguments are
	// the lie's name and the argv of the worker.
	supervisorName = "bulkhead-supervisor"
	// launcherName is the argv[0] of the process that becomes the worker: it
	// installs the filter, with the lie's name and the worker's argv behind.
	launcherName = "bulkhead-launcher"
	// controllerFD is handed through to the worker, reportFD is where the
	// supervisor tells what it did, goFD is the launcher's word to begin.
	controllerFD = 3
	reportFD     = 4
	goFD         = 4
)

// account is what a supervisor reports when its worker has ended.
type account struct {
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
// tells the lie. The function it returns is called when the command has ended
// and returns the supervisor's account.
func supervise(cmd *exec.Cmd, name string) (func() (account, error), error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Args = append([]string{supervisorName, name}, cmd.Args...)
	cmd.ExtraFiles = append(cmd.ExtraFiles, w)
	return func() (account, error) {
		w.Close()
		defer r.Close()
		var a account
		if err := json.NewDecoder(r).Decode(&a); err != nil {
			return a, fmt.Errorf("the supervisor's account: %w", err)
		}
		if a.Err != "" {
			return a, errors.New(a.Err)
		}
		return a, nil
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
	l, ok := ByName(os.Args[1])
	if !ok {
		return fmt.Errorf("no lie is named %q", os.Args[1])
	}
	if n, err := os.NewFile(goFD, "supervisor").Read(make([]byte, 1)); n != 1 {
		return fmt.Errorf("the supervisor is gone: %w", err)
	}
	if err := installFilter(append(l.calls, fenced...)); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args[2:], os.Environ())
}

func supervisorMain() int {
	runtime.LockOSThread()
	out := os.NewFile(reportFD, "account")
	unix.CloseOnExec(reportFD)
	status, a, err := attend()
	if err != nil {
		a.Err = err.Error()
		status = 3
	}
	_ = json.NewEncoder(out).Encode(a)
	return status
}

// attend starts the worker and traces it, and all it starts, to the end.
func attend() (status int, a account, err error) {
	l, ok := ByName(os.Args[1])
	if !ok {
		return 0, a, fmt.Errorf("no lie is named %q", os.Args[1])
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, a, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	worker, err := os.StartProcess("/proc/self/exe", append([]string{launcherName}, os.Args[1:]...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, os.NewFile(controllerFD, "controller"), r},
		Sys:   &syscall.SysProcAttr{},
	})
	if err != nil {
		return 0, a, fmt.Errorf("start the worker: %w", err)
	}
	pid := worker.Pid
	// The tracer reaps it: os.Process never waits.
	go func() {
		for s := range signals {
			_ = unix.Kill(pid, s.(unix.Signal))
		}
	}()
	t := newTracer(l, pid)
	if err := t.seize(); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		return 0, a, fmt.Errorf("ptrace(PTRACE_SEIZE) is not permitted here: %w", err)
	}
	if _, err := w.Write([]byte{1}); err != nil {
		return 0, a, err
	}
	ws, err := t.run()
	if ws.Signaled() {
		status = 128 + int(ws.Signal())
	} else {
		status = ws.ExitStatus()
	}
	return status, t.account, err
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
	account, err := supervise(cmd, quietName)
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
