package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bulkhead/internal/report"
	"bulkhead/internal/run"
)

// matrixRow is one kernel of a matrix, what came of it, and how far it is.
type matrixRow struct {
	report.Row

	total, done int
	now         string
	ended       bool
	seconds     float64
}

func newMatrixCommand() *cobra.Command {
	var f vmFlags
	r := runFlags{}
	var file string
	var jobs int
	cmd := &cobra.Command{
		Use:   "matrix KERNEL... | matrix --file matrix.yaml",
		Short: "Check several kernels, in QEMU, side by side",
		Long: `Run the claims on several kernels, each in a guest of its own, as many at a time
as processors and memory allow. KERNEL is as for "bulkhead vm". The exit status
is the worst: 1 if a claim failed anywhere, else 3 if something was broken.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			kernels := args
			if file != "" {
				listed, err := readMatrix(file)
				if err != nil {
					return usageError(err)
				}
				kernels = append(listed, args...)
			}
			if len(kernels) == 0 {
				return usageError(errors.New("matrix needs kernels, or --file with a list of them"))
			}
			if err := f.check(); err != nil {
				return usageError(err)
			}
			if jobs < 0 || r.procs < 0 || r.timeout <= 0 {
				return usageError(errors.New("--jobs, --procs and --claim-timeout must be positive"))
			}
			if jobs == 0 {
				jobs = guestsAtATime(runtime.NumCPU(), freeMemory(), f.guestMiB())
			}
			return runMatrix(cmd, &f, &r, kernels, jobs)
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "a YAML `FILE` with a list named kernels")
	cmd.Flags().IntVar(&jobs, "jobs", 0, "how many guests at a time (default what processors and memory allow)")
	f.register(cmd.Flags())
	registerRun(&r, cmd.Flags())
	for _, own := range []string{"junit", "events"} {
		cmd.Flags().Lookup(own).Hidden = true
	}
	return cmd
}

// readMatrix reads the list of kernels from a file.
func readMatrix(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var content struct {
		Kernels []string `yaml:"kernels"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&content); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(content.Kernels) == 0 {
		return nil, fmt.Errorf("%s: has no list named kernels", path)
	}
	return content.Kernels, nil
}

// freeMemory is MemAvailable in MiB, 0 when unknown.
func freeMemory() int {
	raw, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(raw)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib >> 10
		}
	}
	return 0
}

// guestsAtATime is one a processor, and no more than fit in memory with
// QEMU's own 100 MiB.
func guestsAtATime(cpus, freeMiB, guestMiB int) int {
	n := cpus
	if freeMiB > 0 {
		n = min(n, freeMiB/(guestMiB+100))
	}
	return max(1, n)
}

func runMatrix(cmd *cobra.Command, f *vmFlags, r *runFlags, kernels []string, jobs int) error {
	ids, err := r.selected()
	if err != nil {
		return usageError(err)
	}
	accept, err := r.acceptance()
	if err != nil {
		return usageError(err)
	}
	env, err := fixtureEnv(r)
	if err != nil {
		return usageError(err)
	}
	var jsonFile *output
	if r.json != "" {
		if jsonFile, err = newOutput(r.json); err != nil {
			return usageError(err)
		}
		defer jsonFile.abandon()
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer cancel()
	table := newMatrixTable(cmd.OutOrStdout(), kernels)
	var all sync.WaitGroup
	slots := make(chan struct{}, jobs)
	for _, row := range table.rows {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			started := time.Now()
			o := run.Options{Claims: ids, Procs: r.procs, Seed: r.seed, Timeout: r.timeout, Env: append([]string(nil), env...),
				Version: version, Event: func(e report.Event) { table.event(row, e) }}
			result, err := f.matrixKernel(ctx, row.Kernel, o)
			if err == nil {
				accept(result)
			}
			table.end(row, result, err, r.strict, time.Since(started))
		})
	}
	all.Wait()
	m := table.finish(r.verbose)
	if jsonFile != nil {
		err := m.WriteJSON(jsonFile)
		if err == nil {
			err = jsonFile.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bulkhead:", err)
			return exitStatus(3)
		}
	}
	if worst := worstStatus(table.rows); worst != 0 {
		return exitStatus(worst)
	}
	return nil
}

// matrixKernel checks one kernel.
func (f *vmFlags) matrixKernel(ctx context.Context, kernel string, o run.Options) (*report.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, errors.New("interrupted before it began")
	}
	out, err := f.boot(ctx, kernel, o, nil, func(string) {})
	if err != nil {
		return nil, err
	}
	if out.Result == nil {
		return nil, out.failure(kernel)
	}
	return out.Result, nil
}

// worstStatus orders the statuses of a run by what they mean: a failure is
// worse than something broken, that is worse than nothing.
func worstStatus(rows []*matrixRow) int {
	worst := 0
	for _, r := range rows {
		if r.Status == 1 || worst == 0 {
			worst = r.Status
		}
		if worst == 1 {
			break
		}
	}
	return worst
}

// matrixTable shows the kernels while they are checked.
type matrixTable struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	drawn    int
	rows     []*matrixRow
}

func newMatrixTable(out io.Writer, kernels []string) *matrixTable {
	t := &matrixTable{out: out}
	if file, ok := out.(*os.File); ok {
		t.terminal = term.IsTerminal(int(file.Fd()))
	}
	for _, k := range kernels {
		t.rows = append(t.rows, &matrixRow{Row: report.Row{Kernel: k}, now: "waits"})
	}
	t.draw()
	return t
}

func (t *matrixTable) event(row *matrixRow, e report.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Event {
	case "run-started":
		row.total = len(e.Result.Claims)
	case "claim-started":
		row.now = e.ID
	case "claim-finished":
		row.done++
	}
	t.draw()
}

func (t *matrixTable) end(row *matrixRow, result *report.Result, err error, strict bool, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row.ended, row.seconds, row.Result = true, took.Seconds(), result
	if err != nil {
		row.Status, row.Error = 3, err.Error()
	} else {
		row.Status = result.ExitStatus(strict)
	}
	t.draw()
	if !t.terminal {
		fmt.Fprintln(t.out, row.line())
	}
}

func (r *matrixRow) line() string {
	name := fmt.Sprintf("%-38s", r.Kernel)
	switch {
	case r.Error != "":
		first, _, _ := strings.Cut(r.Error, "\n")
		return fmt.Sprintf("%s broken: %s", name, first)
	case r.ended:
		s := r.Result.Summary
		return fmt.Sprintf("%s %-26s %4d pass %3d fail %3d broken %3d skip  %.1f s", name, r.Result.Kernel.Release, s.Pass, s.Fail, s.Broken, s.Skip, r.seconds)
	case r.total > 0:
		return fmt.Sprintf("%s %d/%d %s", name, r.done, r.total, r.now)
	}
	return name + " " + r.now
}

// draw draws the table over its last state, on a terminal only. The lock is
// held.
func (t *matrixTable) draw() {
	if !t.terminal {
		return
	}
	width := 80
	if w, _, err := term.GetSize(int(t.out.(*os.File).Fd())); err == nil && w > 20 {
		width = w
	}
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", t.drawn)
	}
	for _, r := range t.rows {
		line := r.line()
		fmt.Fprintf(&b, "\r\x1b[K%s\n", line[:min(len(line), width-1)])
	}
	t.drawn = len(t.rows)
	io.WriteString(t.out, b.String())
}

// finish prints what the kernels differ in and returns their results.
func (t *matrixTable) finish(verbose bool) *report.Matrix {
	m := &report.Matrix{Version: report.SchemaVersion}
	for _, r := range t.rows {
		m.Rows = append(m.Rows, r.Row)
	}
	color, width := terminal(t.out)
	if t.drawn > 0 {
		// The report begins with the same kernels.
		fmt.Fprintf(t.out, "\x1b[%dA\r\x1b[J", t.drawn)
	} else {
		fmt.Fprintln(t.out)
	}
	report.WriteMatrixTerminal(t.out, m, report.TerminalOptions{Color: color, Width: width, Verbose: verbose})
	return m
}
