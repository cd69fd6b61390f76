package run

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/fixtures"
	"bulkhead/harness"
	"bulkhead/internal/advice"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
	"bulkhead/internal/machine"
	"bulkhead/internal/memory"
	"bulkhead/internal/report"
)

// Options say what to run and how.
type Options struct {
	// Claims are the IDs to verify.
	Claims []string
	// Procs is how many specs run at a time; 0 is DefaultProcs.
	Procs int
	// Seed is the seed of the random order; 0 picks one.
	Seed int64
	// Timeout is what one spec may take; 0 is claim.DefaultTimeout.
	Timeout time.Duration
	// StageEach gives each claim a stage of its own, so that what went wrong in
	// one is not seen in the next.
	StageEach bool
	// Env is added to the environment of the specs.
	Env []string
	// Version is the version of the tool, for the result.
	Version string
	// Event is called for everything that happens, one call at a time.
	Event func(report.Event)
	// Wrap may change the command line that starts a worker; the worker's own
	// must be started in the end, with the same descriptors. What it returns is
	// called when the command has ended. nil is no wrapping.
	Wrap func(*exec.Cmd) (func() error, error)
}

// WorkerLost begins the reason of a claim whose worker did not live to judge it.
const WorkerLost = "the worker process ended"

// graceTime is what a worker may take to clean up after an interrupt.
const graceTime = 10 * time.Second

// controller shares the claims out to workers and collects their verdicts.
type controller struct {
	options Options
	// shared is the environment of the workers beside options.Env.
	shared []string
	mu     sync.Mutex
	// open are the claims that no worker has asked for yet.
	open    map[string]bool
	running map[string]bool
	done    map[string]report.Claim
	result  *report.Result
	// err is the first error of what wraps the workers.
	err error
	// workers are all that were started; they end when end is closed.
	workers sync.WaitGroup
	end     chan struct{}
}

// Run verifies the claims and returns the result, also when ctx ended it
// early (the result is then partial). An error means that it could not begin.
func Run(ctx context.Context, o Options) (*report.Result, error) {
	c := newController(o)
	if err := machine.CleanStale(); err != nil {
		return nil, err
	}
	before, err := machine.Take()
	if err != nil {
		return nil, fmt.Errorf("look at the machine before the run: %w", err)
	}
	err = c.verify(ctx)
	// The workers, which have nothing left to do, hold network namespaces: while
	// the kernel takes those down nobody can look at links.
	after, lookErr := machine.Take()
	c.dismiss()
	if err := errors.Join(err, c.err); err != nil {
		return nil, err
	}
	if lookErr != nil {
		return nil, fmt.Errorf("look at the machine after the run: %w", lookErr)
	}
	o, r := c.options, c.result
	r.Leftovers = machine.Compare(before, after)
	r.Summary = report.Count(r.Claims)
	r.DurationMS = float64(time.Since(r.Started).Microseconds()) / 1000
	o.Event(report.Event{Event: "run-finished", Time: time.Now().UTC(), Result: r})
	return r, nil
}

// Verify is Run without the comparison of the machine, for a caller that makes
// it for many runs at once.
func Verify(ctx context.Context, o Options) ([]report.Claim, error) {
	c := newController(o)
	err := c.verify(ctx)
	c.dismiss()
	return c.result.Claims, errors.Join(err, c.err)
}

// DefaultProcs is how many specs run at a time if nobody says: two a core, for
// they mostly wait for the kernel, but fewer where there may be few tasks.
func DefaultProcs() int {
	// What the controller has of threads.
	const own = 20
	procs := 2 * runtime.NumCPU()
	if limit := kernel.Tasks(); limit != nil {
		procs = min(procs, (limit.Most-limit.Now-own)/workerTasks)
	}
	return max(1, procs)
}

// OpenFiles is how many the process of a run that has the most may have open: with
// 128 a claim or two are broken, with 160 none.
const OpenFiles = 192

// allowFiles sees to it that processes of a run may have OpenFiles.
func allowFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max >= OpenFiles {
		return err
	}
	// With CAP_SYS_RESOURCE it can be raised.
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: OpenFiles, Max: OpenFiles}) != nil {
		return fmt.Errorf("a run needs %d open files, and RLIMIT_NOFILE is %d here: %s", OpenFiles, limit.Max, advice.OpenFiles(OpenFiles))
	}
	return nil
}

// workerTasks is how many processes and threads a worker has in the largest
// topology.
const workerTasks = 80

// allowTasks is an error where not even one worker may have workerTasks.
func allowTasks() error {
	if limit := kernel.Tasks(); limit != nil && limit.Most-limit.Now < workerTasks {
		return fmt.Errorf("a run needs %d processes and threads, and %s leaves %d of %d here: %s", workerTasks, limit.Name, max(0, limit.Most-limit.Now), limit.Most, limit.Mend)
	}
	return nil
}

// shared is the environment by which workers find what is made once for all. An
// error is that of a bulkhead that was built without the programs it carries.
var shared = sync.OnceValues(func() (env []string, err error) {
	for _, file := range []*memory.File{harness.Program, fixtures.Image} {
		found, err := file.Share()
		if err != nil {
			return nil, err
		}
		env = append(env, found)
	}
	return env, nil
})

func newController(o Options) *controller {
	// While the caller looks at the machine.
	go shared()
	if o.Procs <= 0 {
		o.Procs = DefaultProcs()
	}
	if o.Seed == 0 {
		o.Seed = 1 + rand.Int63n(1<<31-1)
	}
	if o.Timeout <= 0 {
		o.Timeout = claim.DefaultTimeout
	}
	if o.Event == nil {
		o.Event = func(report.Event) {}
	}
	return &controller{
		options: o, end: make(chan struct{}), open: map[string]bool{}, running: map[string]bool{}, done: map[string]report.Claim{},
		result: &report.Result{
			Version: report.SchemaVersion, Tool: report.Tool{Name: "bulkhead", Version: o.Version},
			Kernel: kernel.Identify(), Started: time.Now().UTC(), Seed: o.Seed, Selected: len(o.Claims), Claims: []report.Claim{},
		},
	}
}

func (c *controller) verify(ctx context.Context) error {
	o, r := c.options, c.result
	var together, alone []string
	announced := *r
	for _, id := range o.Claims {
		registered, ok := claim.Get(id)
		if !ok {
			return fmt.Errorf("no claim has the ID %q", id)
		}
		announced.Claims = append(announced.Claims, registered.Model())
		if registered.Serial {
			alone = append(alone, id)
		} else {
			together = append(together, id)
		}
	}
	err := errors.Join(allowFiles(), allowTasks())
	if err == nil {
		c.shared, err = shared()
	}
	if err != nil {
		return err
	}
	o.Event(report.Event{Event: "run-started", Time: time.Now().UTC(), Result: &announced})
	c.phase(ctx, together, o.Procs)
	c.phase(ctx, alone, 1)
	for _, found := range c.done {
		r.Claims = append(r.Claims, found)
	}
	sort.Slice(r.Claims, func(i, j int) bool { return r.Claims[i].ID < r.Claims[j].ID })
	r.Partial = ctx.Err() != nil && len(r.Claims) < len(o.Claims)
	for id := range c.running {
		r.Interrupted = append(r.Interrupted, id)
	}
	sort.Strings(r.Interrupted)
	return nil
}

// dismiss ends the workers and waits for their end.
func (c *controller) dismiss() {
	close(c.end)
	c.workers.Wait()
}

// phase runs the claims with at most so many workers at a time, which then stay
// until they are dismissed.
func (c *controller) phase(ctx context.Context, ids []string, workers int) {
	for _, id := range ids {
		c.open[id] = true
	}
	var busy sync.WaitGroup
	for range min(workers, len(ids)) {
		busy.Add(1)
		c.workers.Go(func() {
			idle := sync.OnceFunc(busy.Done)
			defer idle()
			// A worker that dies takes its claim with it; another goes on.
			for c.left() && ctx.Err() == nil {
				if !c.work(ctx, ids, idle) {
					return
				}
			}
		})
	}
	busy.Wait()
}

func (c *controller) left() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) > 0
}

// work runs one worker process for the claims to its end and says whether it may
// be followed by another. It calls idle when the worker has nothing left to do.
func (c *controller) work(ctx context.Context, ids []string, idle func()) bool {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return c.giveUp(fmt.Errorf("socketpair: %w", err))
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "controller")
	defer ours.Close()
	var output bytes.Buffer
	cmd := &exec.Cmd{
		// A worker reads nothing; without a file os/exec would want /dev/null.
		Path: "/proc/self/exe", Args: []string{WorkerName}, Stdin: theirs, Stdout: &output, Stderr: &output,
		ExtraFiles: []*os.File{theirs},
		// Wherever the caller is, even in a directory that is gone.
		Dir: "/",
		Env: append(append(append(os.Environ(), c.options.Env...), c.shared...),
			seedVariable+"="+strconv.FormatInt(c.options.Seed, 10),
			claim.TimeoutVariable+"="+c.options.Timeout.String(),
			claim.OnlyVariable+"="+strings.Join(ids, ",")),
		// A Ctrl-C is for the controller to pass on.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if c.options.StageEach {
		cmd.Env = append(cmd.Env, stageEachVariable+"=1")
	}
	end := func() error { return nil }
	if c.options.Wrap != nil {
		if end, err = c.options.Wrap(cmd); err != nil {
			theirs.Close()
			return c.giveUp(fmt.Errorf("start a worker: %w", err))
		}
	}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		_ = end()
		return c.giveUp(fmt.Errorf("start a worker: %w", err))
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-ended:
		case <-ctx.Done():
			_ = cmd.Process.Signal(unix.SIGTERM)
			select {
			case <-ended:
			case <-time.After(graceTime):
				_ = cmd.Process.Kill()
			}
		}
	}()
	current, served := "", 0
	lines := bufio.NewScanner(ours)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var m Message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			break
		}
		switch {
		case m.Idle:
			idle()
			<-c.end
			_, _ = ours.WriteString("end\n")
		case m.Done != nil:
			current = ""
			c.finish(ctx, *m.Done)
		case m.Ask != "":
			answer := "no\n"
			if ctx.Err() == nil && c.grant(m.Ask) {
				current, answer = m.Ask, Yes
				served++
			}
			// A worker that is gone ends the loop at its next line.
			_, _ = ours.WriteString(answer)
		}
	}
	waitErr := cmd.Wait()
	close(ended)
	if err := end(); err != nil {
		c.mu.Lock()
		if c.err == nil && ctx.Err() == nil {
			c.err = err
		}
		c.mu.Unlock()
	}
	if current != "" && ctx.Err() == nil {
		registered, _ := claim.Get(current)
		lost := registered.Model()
		lost.Verdict = report.Broken
		lost.Reason = fmt.Sprintf("%s in the middle: %v\n%s", WorkerLost, waitErr, tail(output.String()))
		c.finish(ctx, lost)
		return true
	}
	if served == 0 && c.left() && ctx.Err() == nil {
		return c.giveUp(fmt.Errorf("a worker process ended without asking for work: %v\n%s", waitErr, tail(output.String())))
	}
	return true
}

// giveUp reports every claim that nobody has asked for as broken.
func (c *controller) giveUp(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.open {
		registered, _ := claim.Get(id)
		lost := registered.Model()
		lost.Verdict, lost.Reason = report.Broken, err.Error()
		c.done[id] = lost
		delete(c.open, id)
	}
	return false
}

func (c *controller) grant(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open[id] {
		return false
	}
	delete(c.open, id)
	c.running[id] = true
	c.options.Event(report.Event{Event: "claim-started", Time: time.Now().UTC(), ID: id})
	return true
}

func (c *controller) finish(ctx context.Context, found report.Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// What an interrupt stopped, or kept from beginning, has no verdict.
	if !c.running[found.ID] || ctx.Err() != nil && found.Verdict == report.Broken {
		return
	}
	delete(c.running, found.ID)
	c.done[found.ID] = found
	c.options.Event(report.Event{Event: "claim-finished", Time: time.Now().UTC(), ID: found.ID, Claim: &found})
}

func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
