package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"bulkhead/docs"
	"bulkhead/internal/claim"
	"bulkhead/internal/lie"
)

func newProveCommand() *cobra.Command {
	var f runFlags
	var lies []string
	var all, verbose bool
	var learn string
	cmd := &cobra.Command{
		Use:   "prove [ID…]",
		Short: "Show that claims can fail, by letting the kernel lie to them",
		Long: `Run claims under a supervisor that misbehaves as a kernel with one bug would, one
lie at a time, and say which claims notice which lie. A claim that notices none is
a survivor. A claim is told the most telling lie that it is known to notice, and the
next as long as it notices none, or with --all every one that it is known to notice;
--lie chooses lies by name, for the claims that are known to notice them, for the
claims that are named too, or with --all for every claim.

It needs ptrace(2) and seccomp(2), and no more rights than bulkhead run.

Exit status: 0 every claim caught a lie or is an accepted survivor, 1 a survivor or
a lie that was never told, 2 wrong usage, 3 the claims could not be run.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.claims = args
			ids, err := f.selected()
			if err != nil {
				return usageError(err)
			}
			if f.procs < 0 || f.timeout <= 0 {
				return usageError(errors.New("--procs and --timeout must be positive"))
			}
			o := lie.Options{Claims: ids, All: all, Procs: f.procs, Timeout: f.timeout}
			for _, name := range lies {
				l, ok := lie.ByName(name)
				if !ok {
					return usageError(unknownLie(name))
				}
				o.Lies = append(o.Lies, l)
				// Who names both wants to see just that.
				o.All = o.All || len(args) > 0
			}
			if o.Accepted, err = acceptedSurvivors(docs.Survivors); err != nil {
				return err
			}
			if o.Env, err = fixtureEnv(&f); err != nil {
				return usageError(err)
			}
			var file *output
			if f.json != "" {
				if file, err = newOutput(f.json); err != nil {
					return usageError(err)
				}
				defer file.abandon()
			}
			ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
			defer cancel()
			if verbose {
				o.Progress = func(done, all int, p lie.Pair) {
					fmt.Fprintf(os.Stderr, "%d/%d %s: %s: %s\n", done, all, p.Claim, p.Lie, p.Outcome)
				}
			}
			if learn != "" {
				return learnLies(ctx, o, learn, verbose, cmd.OutOrStdout())
			}
			p, err := lie.Prove(ctx, o)
			if err != nil {
				return &statusError{err, 3}
			}
			writeProof(cmd.OutOrStdout(), p, verbose)
			if file != nil {
				enc := json.NewEncoder(file)
				enc.SetIndent("", " ")
				enc.SetEscapeHTML(false)
				if err := errors.Join(enc.Encode(p), file.Close()); err != nil {
					return &statusError{err, 3}
				}
			}
			if status := proofStatus(p, len(lies) > 0, len(lies) > 0 && all); status != 0 {
				return exitStatus(status)
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.areas, "area", nil, "only claims of these `AREAS`, as chroot,net")
	fl.StringSliceVar(&f.skips, "skip", nil, "not the claims with these `IDS`")
	fl.StringSliceVar(&lies, "lie", nil, "tell only the lies with these `NAMES`")
	fl.BoolVar(&all, "all", false, "tell every lie that a claim is known to notice, or those of --lie to every claim")
	fl.StringVar(&learn, "learn", "", "find lies that the claims notice, and append the pairs to `FILE`, as in internal/lie/noticed.txt")
	fl.IntVar(&f.procs, "procs", 0, "how many specs at a time (default two a core, fewer where pids.max or RLIMIT_NPROC is low)")
	fl.DurationVar(&f.timeout, "timeout", claim.DefaultTimeout, "what one claim may take")
	fl.StringVar(&f.alpine, "alpine", "", "Alpine minirootfs tarball `FILE` (default $BULKHEAD_ALPINE, then the cache)")
	fl.StringVar(&f.alpineSHA256, "alpine-sha256", "", "`SHA256` to accept for --alpine instead of the pinned ones")
	fl.StringVar(&f.json, "json", "", "write the proof as JSON to `FILE`")
	fl.BoolVarP(&verbose, "verbose", "v", false, "show every claim with every lie, and the messages")
	return cmd
}

func learnLies(ctx context.Context, o lie.Options, path string, verbose bool, out io.Writer) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return usageError(err)
	}
	defer file.Close()
	err = lie.Learn(ctx, o, func(p lie.Pair) {
		fmt.Fprintf(out, "%s %s: %s\n", p.Claim, p.Lie, p.Outcome)
		if verbose && p.Message != "" {
			fmt.Fprintln(out, indented(p.Message))
		}
		if p.Outcome == lie.Caught {
			fmt.Fprintf(file, "%s %s\n", p.Lie, p.Claim)
		}
	})
	if err != nil {
		return &statusError{err, 3}
	}
	return nil
}

func unknownLie(name string) error {
	for _, l := range lie.All() {
		if strings.Contains(l.Name, name) {
			return fmt.Errorf("no lie is named %q; did you mean %s?", name, l.Name)
		}
	}
	return fmt.Errorf("no lie is named %q", name)
}

// acceptedSurvivors reads the table of docs/survivors.md.
func acceptedSurvivors(text string) (map[string]string, error) {
	accepted := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		id, reason := strings.Trim(cells[1], " `"), strings.TrimSpace(cells[2])
		if !strings.Contains(id, "/") {
			continue
		}
		if _, ok := claim.Get(id); !ok || reason == "" {
			return nil, fmt.Errorf("docs/survivors.md: %q is no claim, or has no reason", id)
		}
		accepted[id] = reason
	}
	return accepted, nil
}

// proofStatus is the exit status: with chosen lies a survivor is no news, and with
// lies told to every claim neither is one that a claim cannot be told.
func proofStatus(p *lie.Proof, chosen, everywhere bool) int {
	status := 0
	if !chosen {
		for _, reason := range p.Survivors {
			if reason == "" {
				status = 1
			}
		}
	}
	for _, pair := range p.Pairs {
		if !everywhere && pair.Outcome == lie.NeverTold {
			status = 1
		}
	}
	if chosen && len(p.Pairs) == 0 {
		status = 1
	}
	if len(p.Dishonest) > 0 || len(p.Leftovers) > 0 || len(p.Claims) == 0 {
		status = 3
	}
	return status
}

// writeProof shows survivors first, then what went otherwise than known, then
// for each lie who noticed and the sums.
func writeProof(out io.Writer, p *lie.Proof, verbose bool) {
	byClaim, byLie := map[string][]string{}, map[string][]string{}
	var odd []lie.Pair
	for _, pair := range p.Pairs {
		if pair.Outcome == lie.Caught {
			byClaim[pair.Claim] = append(byClaim[pair.Claim], pair.Lie)
			byLie[pair.Lie] = append(byLie[pair.Lie], pair.Claim)
		} else {
			odd = append(odd, pair)
			if byLie[pair.Lie] == nil {
				byLie[pair.Lie] = []string{}
			}
		}
	}
	for _, id := range sortedKeys(p.Survivors) {
		reason := p.Survivors[id]
		if reason == "" {
			reason = "no lie makes it fail"
		} else {
			reason = "accepted: " + reason
		}
		fmt.Fprintf(out, "survivor %s: %s\n", id, reason)
	}
	for _, id := range p.Dishonest {
		fmt.Fprintf(out, "broken   %s: %s\n", id, p.Unproved[id])
	}
	for _, left := range p.Leftovers {
		fmt.Fprintf(out, "left     %s\n", left)
	}
	for _, pair := range odd {
		what := string(pair.Outcome)
		if pair.Outcome == lie.NeverTold {
			what = "never told: the claim does not make this call"
		}
		fmt.Fprintf(out, "%s: %s: %s\n", pair.Claim, pair.Lie, what)
		if pair.Message != "" && verbose {
			fmt.Fprintln(out, indented(pair.Message))
		}
	}
	for _, name := range sortedKeys(byLie) {
		l, _ := lie.ByName(name)
		fmt.Fprintf(out, "lie      %s: %s\n", name, l.Bug)
		for _, id := range byLie[name] {
			fmt.Fprintf(out, "           caught by %s\n", id)
		}
		if len(byLie[name]) == 0 {
			fmt.Fprintln(out, "           caught by nobody")
		}
	}
	for _, pair := range p.Pairs {
		if verbose && pair.Outcome == lie.Caught {
			fmt.Fprintf(out, "%s: %s:\n%s\n", pair.Claim, pair.Lie, indented(pair.Message))
		}
	}
	fmt.Fprintf(out, "\n%d of %d claims caught a lie; %d survivors; %d not proved here\n",
		len(byClaim), len(p.Claims), len(p.Survivors), len(p.Unproved))
	fmt.Fprintf(out, "%d lies told to %d claims in %s, without a lie in %s\n", len(byLie), len(p.Pairs),
		(time.Duration(p.DurationMS) * time.Millisecond).Round(100*time.Millisecond),
		(time.Duration(p.HonestMS) * time.Millisecond).Round(100*time.Millisecond))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
