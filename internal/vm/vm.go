package vm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	"bulkhead/harness"
	"bulkhead/internal/report"
	"bulkhead/internal/vm/guest"
)

// Options say how to boot a kernel and what to run in it.
type Options struct {
	Kernel *Kernel
	// Job is what the guest runs.
	Job guest.Job
	// Files are put into the guest below guest.FilesDir, by name.
	Files map[string][]byte
	// Append is added to the kernel's command line.
	Append string
	// MemoryMiB is the guest's memory; 0 is Memory of its processors.
	MemoryMiB int
	// SMP is the number of processors; 0 is Processors of the accelerator.
	SMP int
	// Timeout is what the guest may take in all; 0 is DefaultTimeout.
	Timeout time.Duration
	// Silence is how long the guest may say nothing; 0 is DefaultSilence. A
	// person at its console may take longer.
	Silence time.Duration
	// Console receives all that the guest's console says; nil for none.
	Console io.Writer
	// Accel is auto, kvm, hvf or tcg.
	Accel string
	// Ethernet is the guest's end of a Segment; nil for no network.
	Ethernet *os.File
	// Note is called with what the user should know.
	Note func(string)
	// Event is called for every event of the run inside.
	Event func(report.Event)
	// Program is the static bulkhead binary of the guest's architecture;
	// found when empty.
	Program string
}

const (
	// BaseMemory and ProcessorMemory are a guest's memory in MiB. With two
	// processors some 550 are in use at the end of a run on Linux 7.3; two more
	// workers for each processor are the greatest part of what it adds.
	BaseMemory, ProcessorMemory = 512, 256
	// DefaultSMP is the number of an emulated guest's processors: the fewest
	// with which everything can be verified.
	DefaultSMP = 2
	// DefaultTimeout is what a guest may take.
	DefaultTimeout = 30 * time.Minute
	// DefaultSilence is how long a guest may say nothing.
	DefaultSilence = 5 * time.Minute
	// helloPatience is what a guest under KVM may take to say hello before it
	// is tried with emulation.
	helloPatience = 30 * time.Second
)

// Outcome is what came of a guest.
type Outcome struct {
	// Result is that of the run inside; nil when it told nothing.
	Result *report.Result
	// Status is the exit status of the program inside; 3 when the guest did
	// not get that far.
	Status int
	// Complete is true when the program ended and said so.
	Complete bool
	// Why says what happened when it is not.
	Why string
	// Console is the tail of the console.
	Console string
	// Accel is what ran the guest, Boot the time to its first word.
	Accel string
	Boot  time.Duration
	// Lines are those lines of the program that are not events.
	Lines []json.RawMessage
}

// Processors is how many a guest has where nobody says: DefaultSMP with emulation,
// else up to 4.
func Processors(accel string) int {
	if accel == "tcg" {
		return DefaultSMP
	}
	return min(4, max(DefaultSMP, runtime.NumCPU()))
}

// Memory is what a guest with so many processors has, in MiB, where nobody says.
func Memory(processors int) int { return BaseMemory + processors*ProcessorMemory }

// Run boots the kernel, runs the job in it and returns what came of it. An
// error means that no guest could be started.
func Run(ctx context.Context, o Options) (*Outcome, error) {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Silence == 0 {
		o.Silence = DefaultSilence
	}
	if o.Job.Terminal {
		o.Silence = o.Timeout
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Event == nil {
		o.Event = func(report.Event) {}
	}
	if _, err := qemuProgram(o.Kernel.Arch); err != nil {
		return nil, err
	}
	accel, note, err := chooseAccel(ctx, o.Accel, o.Kernel.Arch)
	if err != nil {
		return nil, err
	}
	if note != "" {
		o.Note(note)
	}
	program, err := guestProgram(o.Program, o.Kernel.Arch)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, content := range o.Files {
		files[guest.FilesDir+"/"+name] = content
	}
	boot := func(accel string) (*Outcome, error) {
		job := o.Job
		if accel == "tcg" {
			job.Env = append(job.Env[:len(job.Env):len(job.Env)], harness.SlowVariable+"=1")
		}
		last, err := jobArchive(program, job, files)
		if err != nil {
			return nil, err
		}
		initramfs := append(append(make([]byte, 0, len(o.Kernel.Base)+len(last)), o.Kernel.Base...), last...)
		smp := cmp.Or(o.SMP, Processors(accel))
		memory := cmp.Or(o.MemoryMiB, Memory(smp))
		// The initramfs is there packed and unpacked, the program a third time
		// on the guest's root.
		need := (2*len(initramfs)+len(program)+4*len(o.Kernel.Image))>>20 + 40
		if memory < need {
			return nil, fmt.Errorf("--memory %d: too little for kernel %s, its modules and bulkhead: give at least %d", memory, o.Kernel.Name, need)
		}
		s := spec{kernel: o.Kernel, initramfs: initramfs, accel: accel, memory: memory, smp: smp, append: o.Append,
			ethernet: o.Ethernet, terminal: o.Job.Terminal}
		return watch(ctx, s, o)
	}
	out, err := boot(accel)
	if err == nil && out.Boot == 0 && accel == "kvm" && o.Accel != "kvm" && ctx.Err() == nil {
		o.Note("the guest said nothing under KVM (" + out.Why + "): software emulation")
		out, err = boot("tcg")
	}
	return out, err
}

// watch starts a guest and listens until it ends.
func watch(ctx context.Context, s spec, o Options) (*Outcome, error) {
	started := time.Now()
	p, err := start(s)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	out := &Outcome{Accel: s.accel, Status: 3}
	var console tail
	consoleEnded := make(chan struct{})
	go func() {
		defer close(consoleEnded)
		if p.console == nil {
			return
		}
		defer p.console.Close()
		var sink io.Writer = &console
		if o.Console != nil {
			sink = io.MultiWriter(&console, o.Console)
		}
		_, _ = io.Copy(sink, p.console)
	}()
	c := collector{word: make(chan struct{}, 1), outcome: out, event: o.Event, note: o.Note, started: started, hello: make(chan struct{}), done: make(chan struct{})}
	linesEnded := make(chan struct{})
	go func() {
		defer close(linesEnded)
		defer p.lines.Close()
		c.read(p.lines)
	}()
	patience := time.NewTimer(o.Timeout)
	defer patience.Stop()
	silence := time.NewTimer(o.Silence)
	defer silence.Stop()
	var hello <-chan time.Time
	if s.accel == "kvm" && o.Accel != "kvm" {
		timer := time.NewTimer(min(helloPatience, o.Timeout))
		defer timer.Stop()
		hello = timer.C
	}
	why := ""
wait:
	for {
		select {
		case <-c.hello:
			hello, c.hello = nil, nil
		case <-c.word:
			silence.Reset(o.Silence)
		case <-silence.C:
			why = fmt.Sprintf("it hung: nothing came from it for %s", o.Silence)
			break wait
		case <-c.done:
			break wait
		case <-p.ended:
			break wait
		case <-hello:
			why = fmt.Sprintf("nothing came from it for %s", helloPatience)
			break wait
		case <-patience.C:
			why = fmt.Sprintf("it had not ended after %s (--timeout)", o.Timeout)
			break wait
		case <-ctx.Done():
			why = "it was interrupted"
			break wait
		}
	}
	p.stop()
	<-linesEnded
	<-consoleEnded
	out.Console = consoleEnd(console.last(200))
	if !out.Complete {
		if why == "" {
			why = out.Why
		}
		out.Why = explain(why, out.Console, p)
	}
	c.finish(ctx)
	return out, nil
}

// signs are what consoles say of a bad end.
var signs = []string{"Kernel panic", "Out of memory", "bulkhead guest:", "Initramfs unpacking failed", "soft lockup", "BUG:"}

// consoleEnd is the end of the console's lines that says most: the last 25,
// or from the first sign of a bad end in what is given, when that is further
// up, for a trace of the kernel's stack is long.
func consoleEnd(lines string) string {
	all := strings.Split(lines, "\n")
	from := max(0, len(all)-25)
	for i := range all[:from] {
		for _, sign := range signs {
			if strings.Contains(all[i], sign) {
				return strings.Join(all[i:min(len(all), i+60)], "\n")
			}
		}
	}
	return strings.Join(all[from:], "\n")
}

// explain says why a guest ended before its time.
func explain(why, console string, p *process) string {
	lines := strings.Split(console, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		for _, sign := range signs {
			if at := strings.Index(lines[i], sign); at >= 0 {
				if why != "" {
					return why + "; the console says: " + lines[i][at:]
				}
				return "the console says: " + lines[i][at:]
			}
		}
	}
	if why != "" {
		return why
	}
	// QEMU warns of machines that run, too.
	said := slices.DeleteFunc(strings.Split(p.stderr.last(10), "\n"), func(line string) bool {
		return line == "" || strings.Contains(line, ": warning: ")
	})
	if n := len(said); n > 0 {
		return "QEMU says: " + strings.Join(said[max(0, n-2):], "; ")
	}
	if strings.TrimSpace(console) == "" {
		return "it ended without a word: too little memory, or a kernel without a serial console"
	}
	return "it ended in the middle"
}

// collector puts a result together from what comes over the port.
type collector struct {
	outcome *Outcome
	event   func(report.Event)
	note    func(string)
	started time.Time
	hello   chan struct{}
	done    chan struct{}
	// word gets something for what was read.
	word chan struct{}

	announced *report.Result
	finished  map[string]report.Claim
	running   map[string]bool
	last      *report.Result
	notes     []string
}

func (c *collector) read(r io.Reader) {
	c.finished, c.running = map[string]report.Claim{}, map[string]bool{}
	said := c.hello
	for in := bufio.NewReaderSize(r, 1<<20); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		select {
		case c.word <- struct{}{}:
		default:
		}
		line = bytes.TrimSpace(line)
		var m guest.Message
		var e report.Event
		switch {
		case json.Unmarshal(line, &m) != nil:
			// A line cut short by the guest's death; what it would have said
			// is missed below.
		case m.Guest == "hello":
			if said != nil {
				c.outcome.Boot = time.Since(c.started)
				close(said)
				said = nil
			}
		case m.Guest == "note":
			c.notes = append(c.notes, m.Note)
			c.note("guest: " + m.Note)
		case m.Guest == "exit":
			c.outcome.Status = m.Status
			c.outcome.Complete = m.Signal == ""
			if m.Signal != "" {
				c.outcome.Why = "bulkhead was ended in the guest by " + m.Signal
			}
			close(c.done)
			return
		case json.Unmarshal(line, &e) == nil && e.Event != "":
			c.take(e)
		default:
			c.outcome.Lines = append(c.outcome.Lines, line)
		}
	}
}

func (c *collector) take(e report.Event) {
	switch e.Event {
	case "run-started":
		c.announced = e.Result
	case "claim-started":
		c.running[e.ID] = true
	case "claim-finished":
		if e.Claim == nil {
			return
		}
		delete(c.running, e.Claim.ID)
		c.finished[e.Claim.ID] = *e.Claim
	case "run-finished":
		// Passed on when it is known that the guest ended as it should.
		c.last = e.Result
		return
	}
	c.event(e)
}

// finish decides what the result is. A guest that stopped in the middle gives
// a broken verdict to every claim that it did not finish.
func (c *collector) finish(ctx context.Context) {
	out := c.outcome
	switch {
	case c.last != nil && out.Complete:
		out.Result = c.last
	case c.announced != nil:
		if out.Complete {
			out.Why = fmt.Sprintf("bulkhead ended in the guest with status %d and without a result", out.Status)
		}
		out.Complete, out.Status = false, 3
		r := *c.announced
		r.Claims = nil
		r.Partial = ctx.Err() != nil
		for _, claim := range c.announced.Claims {
			if done, ok := c.finished[claim.ID]; ok {
				r.Claims = append(r.Claims, done)
				continue
			}
			if r.Partial {
				if c.running[claim.ID] {
					r.Interrupted = append(r.Interrupted, claim.ID)
				}
				continue
			}
			claim.Verdict = report.Broken
			if c.running[claim.ID] {
				claim.Reason = "the guest stopped while this claim was being verified: " + out.Why
				if out.Console != "" {
					claim.Reason += "\nthe end of its console:\n" + out.Console
				}
			} else {
				claim.Reason = "the guest stopped before this claim was verified: " + out.Why
			}
			r.Claims = append(r.Claims, claim)
			c.event(report.Event{Event: "claim-finished", Time: time.Now().UTC(), ID: claim.ID, Claim: &claim})
		}
		sort.Slice(r.Claims, func(i, j int) bool { return r.Claims[i].ID < r.Claims[j].ID })
		r.Summary = report.Count(r.Claims)
		r.DurationMS = float64(time.Since(c.started).Microseconds()) / 1000
		out.Result = &r
	default:
		if len(c.notes) > 0 && out.Why != "" {
			out.Why = c.notes[len(c.notes)-1] + "; " + out.Why
		}
		return
	}
	c.event(report.Event{Event: "run-finished", Time: time.Now().UTC(), Result: out.Result})
}

// guestProgram reads the static binary that becomes the guest's /init.
func guestProgram(path, arch string) ([]byte, error) {
	if path != "" {
		return os.ReadFile(path)
	}
	if arch == runtime.GOARCH {
		return os.ReadFile("/proc/self/exe")
	}
	name := "bulkhead-linux-" + arch
	var tried []string
	if exe, err := os.Executable(); err == nil {
		tried = append(tried, filepath.Join(filepath.Dir(exe), name), filepath.Join(filepath.Dir(exe), "bin", name))
	}
	tried = append(tried, filepath.Join("bin", name))
	for _, t := range tried {
		raw, err := os.ReadFile(t)
		if err == nil {
			return raw, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("a guest of %s needs bulkhead built for it, as %s (make builds it): looked for %s", arch, name, strings.Join(tried, ", "))
}
