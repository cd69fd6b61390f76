package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"bulkhead/internal/baseline"
	"bulkhead/internal/claim"
	"bulkhead/internal/report"
	"bulkhead/internal/run"
)

type runFlags struct {
	areas, claims, skips, fixtures []string
	core, strict, verbose          bool
	procs                          int
	seed                           int64
	timeout                        time.Duration
	json, junit, events            string
	alpine, alpineSHA256           string
	baseline                       string
	// carryOut runs the claims: here, or on another kernel.
	carryOut func(context.Context, run.Options) (*report.Result, error)
}

func newRunCommand() *cobra.Command {
	f := runFlags{carryOut: run.Run}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Check the running kernel",
		Long: `Check the running kernel, as root for every claim or as an ordinary user for
what a user namespace allows. Nothing on the machine is changed.

Exit status: 0 nothing failed, 1 a claim failed, 2 wrong usage, 3 something was
broken when nothing failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd) },
	}
	f.register(cmd.Flags())
	return cmd
}

func (f *runFlags) register(fl *pflag.FlagSet) {
	fl.StringSliceVar(&f.areas, "area", nil, "only claims of these `AREAS`, as chroot,net")
	fl.StringSliceVar(&f.claims, "claim", nil, "only the claims with these `IDS`")
	fl.StringSliceVar(&f.skips, "skip", nil, "not the claims with these `IDS`")
	fl.StringSliceVar(&f.fixtures, "fixture", nil, "only these `FIXTURES` (tiny-linux, alpine-linux)")
	fl.StringVar(&f.alpine, "alpine", "", "Alpine minirootfs tarball `FILE` (default $BULKHEAD_ALPINE, then the cache)")
	fl.StringVar(&f.alpineSHA256, "alpine-sha256", "", "`SHA256` to accept for --alpine instead of the pinned ones")
	fl.BoolVar(&f.core, "core", false, "only the core claims, those that containers break without")
	fl.BoolVar(&f.strict, "strict", false, "count a skipped core claim as failed")
	fl.StringVar(&f.baseline, "baseline", "", "a YAML `FILE` of failures and skips that are accepted (docs/baseline.md)")
	fl.IntVar(&f.procs, "procs", 0, "how many specs at a time (default two a core, fewer where pids.max or RLIMIT_NPROC is low)")
	fl.Int64Var(&f.seed, "seed", 0, "seed of the random order (default random, printed)")
	fl.DurationVar(&f.timeout, "timeout", claim.DefaultTimeout, "what one claim may take")
	fl.StringVar(&f.json, "json", "", "write the result as JSON to `FILE`")
	fl.StringVar(&f.junit, "junit", "", "write the result as JUnit XML to `FILE`")
	fl.StringVar(&f.events, "events", "", "write a JSON line for everything that happens to `FILE`, - is standard output")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "show every claim, with its evidence")
}

// selected are the IDs that the flags ask for; an error is wrong usage.
func (f *runFlags) selected() ([]string, error) {
	areas := map[string]bool{}
	for _, a := range f.areas {
		areas[a] = true
	}
	for _, a := range f.areas {
		if !contains(claim.Areas(), a) {
			return nil, fmt.Errorf("no area is named %q: the areas are %s", a, strings.Join(claim.Areas(), ", "))
		}
	}
	wanted, skipped := map[string]bool{}, map[string]bool{}
	for ids, set := range map[*[]string]map[string]bool{&f.claims: wanted, &f.skips: skipped} {
		for _, id := range *ids {
			if _, ok := claim.Get(id); !ok {
				return nil, unknownID(id)
			}
			set[id] = true
		}
	}
	var ids []string
	for _, c := range claim.All() {
		switch {
		case len(wanted) > 0 && !wanted[c.ID], len(areas) > 0 && !areas[c.Area()], f.core && !c.Core, skipped[c.ID]:
		default:
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("the flags select no claim")
	}
	return ids, nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func (f *runFlags) run(cmd *cobra.Command) error {
	ids, err := f.selected()
	if err != nil {
		return usageError(err)
	}
	if f.procs < 0 || f.timeout <= 0 {
		return usageError(errors.New("--procs and --timeout must be positive"))
	}
	accept, err := f.acceptance()
	if err != nil {
		return usageError(err)
	}
	// Files are opened first: a run whose result cannot be kept is not begun.
	files := map[string]io.WriteCloser{}
	for _, path := range []string{f.json, f.junit} {
		if path != "" {
			file, err := newOutput(path)
			if err != nil {
				return usageError(err)
			}
			defer file.abandon()
			files[path] = file
		}
	}
	live := newProgress(cmd.OutOrStdout(), f.verbose, len(ids))
	emit := live.event
	if f.events != "" {
		sink, closeSink, err := eventSink(f.events, cmd.OutOrStdout())
		if err != nil {
			return usageError(err)
		}
		defer closeSink()
		if f.events == "-" {
			emit = sink
			live = newProgress(os.Stderr, f.verbose, len(ids))
		}
		show := live.event
		emit = func(e report.Event) { sink(e); show(e) }
	}
	// The result goes out with the last event, so it is held against the
	// baseline before.
	emitted := emit
	emit = func(e report.Event) {
		if e.Event == "run-finished" {
			accept(e.Result)
		}
		emitted(e)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer cancel()
	env, err := fixtureEnv(f)
	if err != nil {
		return usageError(err)
	}
	result, err := f.carryOut(ctx, run.Options{
		Claims: ids, Procs: f.procs, Seed: f.seed, Timeout: f.timeout, Env: env, Version: version, Event: emit,
	})
	if err != nil {
		live.clear()
		fmt.Fprintln(os.Stderr, "bulkhead:", err)
		return exitStatus(3)
	}
	accept(result)
	live.finish(result)
	for path, write := range map[string]func(io.Writer, *report.Result) error{f.json: report.WriteJSON, f.junit: report.WriteJUnit} {
		if path == "" {
			continue
		}
		err := write(files[path], result)
		if err == nil {
			err = files[path].Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bulkhead:", err)
			return exitStatus(3)
		}
	}
	if status := result.ExitStatus(f.strict); status != 0 {
		return exitStatus(status)
	}
	return nil
}

// acceptance returns what marks the verdicts of a result that --baseline accepts.
func (f *runFlags) acceptance() (func(*report.Result), error) {
	if f.baseline == "" {
		return func(*report.Result) {}, nil
	}
	list, err := baseline.Read(f.baseline)
	if err != nil {
		return nil, err
	}
	known := func(id string) bool {
		_, ok := claim.Get(id)
		return ok
	}
	return func(r *report.Result) { list.Apply(r, known) }, nil
}

// output is a file that appears whole or not at all.
type output struct {
	*os.File
	path string
	done bool
}

func newOutput(path string) (*output, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		// A device or pipe is written as it is.
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &output{File: file}, err
	}
	file, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	return &output{File: file, path: path}, nil
}

// Close moves the file into its place.
func (o *output) Close() error {
	o.done = true
	if err := o.File.Close(); err != nil || o.path == "" {
		return err
	}
	return os.Rename(o.path+".part", o.path)
}

func (o *output) abandon() {
	if !o.done {
		o.File.Close()
		if o.path != "" {
			os.Remove(o.path + ".part")
		}
	}
}
