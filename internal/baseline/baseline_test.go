package baseline

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"bulkhead/internal/report"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const good = `# What we know of.
accepted:
  - claim: net/a
    verdict: fail
    reason: issue 1
    expires: 2027-01-31
  - claim: net/b
    verdict: skip
    reason: >
      the module comes
      with 6.20
    expires: 2026-06-01
`

func TestReadTellsWhichEntryIsWrong(t *testing.T) {
	l, err := Read(write(t, good))
	if err != nil {
		t.Fatal(err)
	}
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	want := []Entry{{3, "net/a", report.Fail, "issue 1", day(2027, 1, 31)}, {7, "net/b", report.Skip, "the module comes with 6.20", day(2026, 6, 1)}}
	if !reflect.DeepEqual(l.Entries, want) {
		t.Errorf("read: %+v", l.Entries)
	}
	if l, err := Read(write(t, "accepted: []\n")); err != nil || len(l.Entries) != 0 {
		t.Errorf("an empty list: %+v, %v", l, err)
	}
	const entry = ":7: entry 2 (net/b): "
	for name, c := range map[string]struct{ text, says string }{
		"no reason":     {strings.Replace(good, "reason: >\n      the module comes\n      with 6.20", "# none", 1), entry + "has no reason"},
		"blank reason":  {strings.Replace(good, "reason: issue 1", `reason: " "`, 1), ":3: entry 1 (net/a): has no reason"},
		"null reason":   {strings.Replace(good, "reason: issue 1", `reason: ~`, 1), ":3: entry 1 (net/a): has no reason"},
		"no expiry":     {strings.Replace(good, "    expires: 2026-06-01\n", "", 1), entry + "has no expires"},
		"no verdict":    {strings.Replace(good, "    verdict: skip\n", "", 1), entry + "has no verdict"},
		"no claim":      {strings.Replace(good, "claim: net/b\n    verdict", "verdict", 1), ":7: entry 2: has no claim"},
		"no such day":   {strings.Replace(good, "2026-06-01", "2026-06-31", 1), entry + `expires "2026-06-31" is no date`},
		"no date":       {strings.Replace(good, "2026-06-01", "never", 1), entry + `expires "never" is no date`},
		"broken":        {strings.Replace(good, "skip", "broken", 1), entry + `verdict "broken" cannot be accepted`},
		"pass":          {strings.Replace(good, "skip", "pass", 1), entry + `verdict "pass" cannot be accepted`},
		"twice":         {strings.Replace(good, "net/b", "net/a", 1), ":7: entry 2 (net/a): the claim stands on line 3 already"},
		"unknown field": {strings.Replace(good, "reason: issue", "because: issue", 1), `:3: entry 1 (net/a): has a field "because"`},
		"field twice":   {strings.Replace(good, "reason: issue 1", "reason: issue 1\n    reason: issue 2", 1), ":3: entry 1 (net/a): has reason twice"},
		"reason a list": {strings.Replace(good, "reason: issue 1", "reason: [issue]", 1), ":3: entry 1 (net/a): reason is not a text"},
		"a word":        {"accepted:\n  - net/a\n", ":2: entry 1: is not a claim"},
		"other list":    {"known: []\n", ":1: needs a list named accepted"},
		"not a list":    {"accepted: net/a\n", ":1: needs a list named accepted"},
		"more fields":   {good + "other: 1\n", ":2: needs a list named accepted, and nothing else"},
		"empty":         {"", ": has no list named accepted"},
		"comment":       {"# nothing\n", ": has no list named accepted"},
		"a list":        {"- a\n", ": has no list named accepted"},
		"no YAML":       {"accepted: [\n", ": is not YAML: "},
		"binary":        {"\x00\xff", ": is not YAML: "},
		"second":        {good + "---\n" + good, ": more follows"},
	} {
		path := write(t, c.text)
		_, err := Read(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if _, err := Read("/no/such/file"); err == nil {
		t.Error("a file that is not there is read")
	}
	// Cut anywhere, a file is read as less or refused in one line.
	for i := range len(good) {
		if _, err := Read(write(t, good[:i])); err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("cut at byte %d: %v", i, err)
		}
	}
}

func TestApply(t *testing.T) {
	const started, before, after = "2026-05-01", "2026-04-30", "2026-05-01"
	for _, c := range []struct {
		name, expires, claim string
		accepts, is          report.Verdict
		core, strict         bool
		status               int
		note                 string
	}{
		{name: "a known failure", expires: after, accepts: report.Fail, is: report.Fail},
		{name: "an expired one", expires: before, accepts: report.Fail, is: report.Fail, status: 1, note: "expired on 2026-04-30 and accepts nothing any more: because"},
		{name: "a known skip", expires: after, accepts: report.Skip, is: report.Skip, core: true, strict: true},
		{name: "an expired skip", expires: before, accepts: report.Skip, is: report.Skip, core: true, strict: true, status: 1, note: "expired"},
		{name: "an expired skip of no weight", expires: before, accepts: report.Skip, is: report.Skip, note: "expired"},
		{name: "a failure where a skip is known", expires: after, accepts: report.Skip, is: report.Fail, status: 1, note: "accepts skip, and the verdict is fail"},
		{name: "a skip where a failure is known", expires: after, accepts: report.Fail, is: report.Skip, core: true, strict: true, status: 1, note: "accepts fail, and the verdict is skip"},
		{name: "broken", expires: after, accepts: report.Fail, is: report.Broken, status: 3, note: "accepts fail, and the verdict is broken"},
		{name: "kept", expires: after, accepts: report.Fail, is: report.Pass, note: "the claim is kept: the entry can go"},
		{name: "kept and expired", expires: before, accepts: report.Fail, is: report.Pass, note: "the claim is kept: the entry can go"},
		{name: "unknown", expires: after, claim: "net/unknown", accepts: report.Fail, is: report.Pass, note: "no claim has this ID"},
		{name: "not asked for", expires: after, claim: "net/other", accepts: report.Fail, is: report.Pass},
	} {
		id := c.claim
		if id == "" {
			id = "net/this"
		}
		l, err := Read(write(t, fmt.Sprintf("accepted:\n  - {claim: %s, verdict: %s, reason: because, expires: %s}\n", id, c.accepts, c.expires)))
		if err != nil {
			t.Fatal(err)
		}
		day, err := time.Parse("2006-01-02", started)
		if err != nil {
			t.Fatal(err)
		}
		// Late in the day it is the same day.
		r := &report.Result{Started: day.Add(23 * time.Hour), Claims: []report.Claim{
			{ID: "net/kept", Verdict: report.Pass}, {ID: "net/this", Verdict: c.is, Core: c.core}}}
		for range 2 {
			l.Apply(r, func(id string) bool { return id != "net/unknown" })
			if got := r.ExitStatus(c.strict); got != c.status {
				t.Errorf("%s: exit status %d, want %d", c.name, got, c.status)
			}
			if accepted := r.Claims[1].Accepted != nil; accepted != (c.note == "" && c.claim == "") {
				t.Errorf("%s: accepted %v", c.name, accepted)
			}
			var notes []string
			for _, n := range r.Baseline.Notes {
				if n.Line != 2 || n.Claim != id {
					t.Errorf("%s: a note on %+v", c.name, n)
				}
				notes = append(notes, n.Why)
			}
			if got := strings.Join(notes, "; "); !strings.HasPrefix(got, c.note) || c.note == "" && got != "" {
				t.Errorf("%s: notes %q, want %q", c.name, got, c.note)
			}
		}
	}
}
