package lie

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/internal/machine"
	"bulkhead/internal/report"
	"bulkhead/internal/run"
)

// probeName is the argv[0] of a worker that does nothing, to see whether one
// can be traced here.
const probeName = "bulkhead-traceable"

// Outcome is what became of a claim while the kernel told a lie.
type Outcome string

const (
	// Caught: the claim failed, as it should.
	Caught Outcome = "caught"
	// Missed: the claim passed.
	Missed Outcome = "missed"
	// Broken: the suite could not tell.
	Broken Outcome = "broken"
	// Skipped: the claim said that the kernel does not offer the feature.
	Skipped Outcome = "skipped"
	// NeverTold: the claim does not make the call that the lie is about.
	NeverTold Outcome = "never told"
)

// Pair is one claim with one lie.
type Pair struct {
	Lie     string  `json:"lie"`
	Claim   string  `json:"claim"`
	Outcome Outcome `json:"outcome"`
	// Told is how often the lie was told.
	Told int `json:"told"`
	// Message is what a user with that kernel bug reads.
	Message string `json:"message,omitempty"`
}

// Proof is what came of it.
type Proof struct {
	Version    string  `json:"version"`
	DurationMS float64 `json:"duration_ms"`
	// HonestMS is how long the claims took under a supervisor that tells no lie.
	HonestMS float64 `json:"honest_ms"`
	// Claims are the IDs of the claims that pass when nobody lies; each of
	// them is either proved or a survivor.
	Claims []string `json:"claims"`
	// Survivors are those that no lie made fail, with the reason for which a
	// survivor is accepted, or "".
	Survivors map[string]string `json:"survivors"`
	// Unproved are the claims that do not pass when nobody lies, and why.
	Unproved map[string]string `json:"unproved,omitempty"`
	// Dishonest are those of Unproved that failed or broke, rather than to be
	// skipped.
	Dishonest []string `json:"dishonest,omitempty"`
	Pairs     []Pair   `json:"pairs"`
	Leftovers []string `json:"leftovers,omitempty"`
}

// Options say what to prove.
type Options struct {
	// Claims are the IDs of the claims to prove.
	Claims []string
	// Lies are the lies to tell to the claims that are known to notice them; nil
	// is for each claim the most telling that it is known to notice, and the next
	// as long as it notices none.
	Lies []*Lie
	// All tells every lie that a claim is known to notice, or Lies to every claim.
	All     bool
	Procs   int
	Timeout time.Duration
	Env     []string
	// Progress is called for each pair, one call at a time; may be nil.
	Progress func(done, all int, p Pair)
	// Accepted are the reasons for accepted survivors, by claim.
	Accepted map[string]string
}

// Prove runs the claims first without a lie, then with each that is for them.
func Prove(ctx context.Context, o Options) (*Proof, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	if o.Procs <= 0 {
		o.Procs = run.DefaultProcs()
	}
	begun := time.Now()
	if err := machine.CleanStale(); err != nil {
		return nil, err
	}
	before, err := machine.Take()
	if err != nil {
		return nil, fmt.Errorf("look at the machine before the run: %w", err)
	}
	p := &Proof{Version: "1.0", Survivors: map[string]string{}, Unproved: map[string]string{}}
	if err := p.honest(ctx, o); err != nil {
		return nil, err
	}
	p.HonestMS = float64(time.Since(begun).Microseconds()) / 1000
	passing := map[string]bool{}
	for _, id := range p.Claims {
		passing[id] = true
	}
	caught := map[string]bool{}
	expected := 0
	tell := func(pairs []Pair) error {
		expected += len(pairs)
		return tellAll(ctx, o, pairs, func(pair Pair, _ account) {
			p.Pairs = append(p.Pairs, pair)
			caught[pair.Claim] = caught[pair.Claim] || pair.Outcome == Caught
			if o.Progress != nil {
				o.Progress(len(p.Pairs), expected, pair)
			}
		})
	}
	if o.Lies != nil || o.All {
		err = tell(o.pairs(passing))
	} else {
		err = p.tellUntilCaught(caught, tell)
	}
	if err != nil {
		return nil, err
	}
	for _, id := range p.Claims {
		if !caught[id] {
			p.Survivors[id] = o.Accepted[id]
		}
	}
	sort.Slice(p.Pairs, func(i, j int) bool {
		if p.Pairs[i].Claim != p.Pairs[j].Claim {
			return p.Pairs[i].Claim < p.Pairs[j].Claim
		}
		return p.Pairs[i].Lie < p.Pairs[j].Lie
	})
	// A lie may have kept a claim from removing what it made.
	if err := machine.CleanStale(); err != nil {
		return nil, err
	}
	after, err := machine.Take()
	if err != nil {
		return nil, fmt.Errorf("look at the machine after the run: %w", err)
	}
	p.Leftovers = machine.Compare(before, after)
	p.DurationMS = float64(time.Since(begun).Microseconds()) / 1000
	return p, nil
}

// tellUntilCaught tells each claim the most telling lie that it is known to notice,
// and one after the other the next to those that did not notice.
func (p *Proof) tellUntilCaught(caught map[string]bool, tell func([]Pair) error) error {
	for n := 0; ; n++ {
		var pairs []Pair
		for _, id := range p.Claims {
			if lies := noticed().lies[id]; !caught[id] && n < len(lies) {
				pairs = append(pairs, Pair{Lie: lies[n], Claim: id})
			}
		}
		if len(pairs) == 0 {
			return nil
		}
		if err := tell(pairs); err != nil {
			return err
		}
	}
}

// pairs are what is to be told to the claims when the lies are chosen, or all.
func (o Options) pairs(claims map[string]bool) []Pair {
	var pairs []Pair
	if o.Lies != nil {
		for _, l := range o.Lies {
			ids := l.Claims()
			if o.All {
				ids = o.Claims
			}
			for _, id := range ids {
				if claims[id] {
					pairs = append(pairs, Pair{Lie: l.Name, Claim: id})
				}
			}
		}
		return pairs
	}
	for _, id := range o.Claims {
		if !claims[id] {
			continue
		}
		for _, name := range noticed().lies[id] {
			pairs = append(pairs, Pair{Lie: name, Claim: id})
		}
	}
	return pairs
}

// busy are calls that every process makes all the time. A worker that stops at
// them is slow, so what is told about them is told by workers of its own.
var busy = []uintptr{unix.SYS_READ, unix.SYS_WRITE, unix.SYS_OPENAT, unix.SYS_STATX, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_WAIT4}

func isBusy(p Pair) bool {
	l, ok := ByName(p.Lie)
	return ok && slices.ContainsFunc(busy, l.concerns)
}

// tellAll tells each pair's lie to its claim, and calls found for each with the
// supervisor's account. Claims run once in a round, so there are as many rounds
// as one claim has pairs, of each kind.
func tellAll(ctx context.Context, o Options, pairs []Pair, found func(Pair, account)) error {
	seldom := slices.DeleteFunc(slices.Clone(pairs), isBusy)
	often := slices.DeleteFunc(slices.Clone(pairs), func(p Pair) bool { return !isBusy(p) })
	for _, left := range [][]Pair{seldom, often} {
		for len(left) > 0 {
			round, ids := plan{}, []string{}
			var rest []Pair
			for _, pair := range left {
				if _, has := round[pair.Claim]; has {
					rest = append(rest, pair)
					continue
				}
				round[pair.Claim] = pair.Lie
				ids = append(ids, pair.Claim)
			}
			if err := tellRound(ctx, o, ids, round, found); err != nil {
				return err
			}
			left = rest
		}
	}
	return nil
}

func tellRound(ctx context.Context, o Options, ids []string, round plan, found func(Pair, account)) error {
	var mu sync.Mutex
	accounts := map[string]account{}
	var troubles []error
	verdicts, err := run.Verify(ctx, run.Options{
		Claims: ids, Procs: o.Procs, Timeout: o.Timeout, Env: o.Env, StageEach: true,
		Wrap: func(cmd *exec.Cmd) (func() error, error) {
			end, err := supervise(cmd, round)
			if err != nil {
				return nil, err
			}
			return func() error {
				all, err := end()
				mu.Lock()
				defer mu.Unlock()
				for _, a := range all {
					accounts[a.Claim] = a
				}
				if err != nil && ctx.Err() == nil {
					// The claim that it was at has no verdict, and says why.
					troubles = append(troubles, err)
				}
				return nil
			}, nil
		},
	})
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	for _, c := range verdicts {
		pair := judge(Pair{Lie: round[c.ID], Claim: c.ID}, c, accounts[c.ID])
		if pair.Outcome == Broken && strings.HasPrefix(c.Reason, run.WorkerLost) {
			pair.Message = errors.Join(append([]error{errors.New(pair.Message)}, troubles...)...).Error()
		}
		found(pair, accounts[c.ID])
	}
	return nil
}

// judge says what became of a pair.
func judge(pair Pair, c report.Claim, a account) Pair {
	pair.Told, pair.Message = a.Told, c.Reason
	switch {
	case a.Err != "":
		pair.Outcome, pair.Message = Broken, a.Err
	case c.Verdict == report.Broken && strings.HasPrefix(c.Reason, run.WorkerLost):
		pair.Outcome = Broken
	case a.Told == 0:
		pair.Outcome = NeverTold
	default:
		pair.Outcome = map[report.Verdict]Outcome{report.Pass: Missed, report.Fail: Caught, report.Broken: Broken, report.Skip: Skipped}[c.Verdict]
	}
	return pair
}

// honest sorts the claims by whether they pass when nobody lies.
func (p *Proof) honest(ctx context.Context, o Options) error {
	verdicts := map[string]report.Claim{}
	found, err := run.Verify(ctx, run.Options{Claims: o.Claims, Procs: o.Procs, Timeout: o.Timeout, Env: o.Env,
		Wrap: func(cmd *exec.Cmd) (func() error, error) {
			end, err := supervise(cmd, plan{})
			if err != nil {
				return nil, err
			}
			return func() error { _, err := end(); return err }, nil
		}})
	if err != nil {
		return err
	}
	for _, c := range found {
		verdicts[c.ID] = c
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	for _, id := range o.Claims {
		switch c := verdicts[id]; c.Verdict {
		case report.Pass:
			p.Claims = append(p.Claims, id)
		case report.Skip:
			p.Unproved[id] = "skipped: " + c.Reason
		default:
			p.Unproved[id] = fmt.Sprintf("%s without a lie: %s", c.Verdict, c.Reason)
			p.Dishonest = append(p.Dishonest, id)
		}
	}
	return nil
}
