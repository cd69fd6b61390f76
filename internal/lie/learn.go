package lie

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"bulkhead/internal/run"
)

const (
	// enough caught lies are looked for in each claim, among at most so many.
	enough = 3
	atMost = 30
)

// Learn finds for each claim lies that it notices: it watches what the claim
// calls and tries one after another what could be told about that and is not known
// to be noticed. With Lies, only those are tried, and all of them. found is called
// for each attempt, one call at a time.
func Learn(ctx context.Context, o Options, found func(Pair)) error {
	if err := Supported(); err != nil {
		return err
	}
	if o.Procs <= 0 {
		o.Procs = run.DefaultProcs()
	}
	// One that does not pass to begin with would seem to notice everything.
	passing := &Proof{Unproved: map[string]string{}}
	if err := passing.honest(ctx, o); err != nil {
		return err
	}
	o.Claims = passing.Claims
	var watched []Pair
	for _, id := range o.Claims {
		watched = append(watched, Pair{Lie: honestName, Claim: id})
	}
	untried := map[string][]string{}
	err := tellAll(ctx, o, watched, func(p Pair, a account) {
		untried[p.Claim] = slices.DeleteFunc(candidates(a.Could), func(name string) bool {
			chosen := o.Lies == nil || slices.ContainsFunc(o.Lies, func(l *Lie) bool { return l.Name == name })
			return !chosen || slices.Contains(noticed().lies[p.Claim], name)
		})
	})
	caught := map[string]int{}
	for n := 0; err == nil && (n < atMost || o.Lies != nil); n++ {
		var round []Pair
		for _, id := range o.Claims {
			if rest := untried[id]; len(rest) > 0 && (caught[id] < enough || o.Lies != nil) {
				round = append(round, Pair{Lie: rest[0], Claim: id})
				untried[id] = rest[1:]
			}
		}
		if len(round) == 0 {
			break
		}
		err = tellAll(ctx, o, round, func(p Pair, _ account) {
			if p.Outcome == Caught {
				caught[p.Claim]++
			}
			found(p)
		})
	}
	return err
}

// candidates orders lies by how well they stand for a bug: those of their own,
// then the families, then single calls.
func candidates(could map[string]int) []string {
	var names []string
	for name, n := range could {
		if _, ok := ByName(name); !ok {
			continue
		}
		names = append(names, name)
		if single[name] == nil && n > 1 {
			for k := 1; k <= min(n, 6); k++ {
				names = append(names, fmt.Sprintf("%s:%d", name, k))
			}
		}
	}
	sort.Slice(names, func(i, j int) bool {
		if a, b := rank(names[i]), rank(names[j]); a != b {
			return a < b
		}
		return names[i] < names[j]
	})
	return names
}

// ownCalls are calls that the harness itself cannot do without.
var ownCalls = []string{"clone", "wait4", "ioctl", "socket", "mkdirat", "getsockname"}

// rank orders lies by how well they stand for a bug.
func rank(name string) int {
	call, _, _ := strings.Cut(name, ":")
	switch {
	case strings.HasSuffix(name, "-refused"):
		return 4
	case strings.HasSuffix(name, ":without:linkinfo"), strings.HasSuffix(name, ":without:linkinfo.1"), strings.HasSuffix(name, ":without:ifname"):
		// The kernel refuses what is left, or names the interface itself.
		return 5
	case single[name] != nil, strings.HasSuffix(name, ":elsewhere"), strings.Contains(name, ":without:"), name == "packets:everywhere", name == "packets:back":
		return 0
	case slices.Contains(ownCalls, call) && !strings.Contains(name, ":allowed:"), strings.HasPrefix(name, "open:hpage_pmd_size:"):
		// What the harness itself cannot do without.
		return 7
	case strings.Contains(name, ":allowed:"):
		return 1
	case strings.HasSuffix(name, ":lost"):
		return 2
	case strings.HasSuffix(name, ":changed"), strings.HasSuffix(name, ":output"), strings.HasSuffix(name, ":halved"):
		return 3
	case name[len(name)-1] > '9':
		return 4
	case strings.Contains(name, ":changed:"), strings.Contains(name, ":output:"):
		return 5
	}
	return 6
}
