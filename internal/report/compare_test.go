package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// of is a result of one claim a verdict, by ID.
func of(release string, verdicts map[string]Verdict) *Matrix {
	r := sample(0)
	r.Kernel.Release = release
	for id, v := range verdicts {
		c := Claim{ID: id, Area: strings.Split(id, "/")[0], Text: "It is so.", Verdict: v}
		if v != Pass {
			c.Reason = "why " + string(v)
		}
		r.Claims = append(r.Claims, c)
	}
	r.Summary, r.Selected = Count(r.Claims), len(r.Claims)
	return one(r)
}

func changed(changes []Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, c.ID+" "+c.Kind())
	}
	return strings.Join(all, ", ")
}

func TestEveryChangeHasItsPlace(t *testing.T) {
	verdicts := []Verdict{Pass, Fail, Broken, Skip, Gone}
	want := map[string]string{}
	place := func(where string, kinds ...string) {
		for _, k := range kinds {
			want[k] = where
		}
	}
	place("regression", "pass fail", "pass broken", "pass skip", "pass gone", "skip fail", "skip broken")
	place("fix", "fail pass", "broken pass", "skip pass")
	place("news", "gone pass", "gone fail", "gone broken", "gone skip", "fail broken", "fail skip", "fail gone",
		"broken fail", "broken skip", "broken gone", "skip gone")
	for _, a := range verdicts {
		for _, b := range verdicts {
			old, new := map[string]Verdict{"x/kept": Pass}, map[string]Verdict{"x/kept": Pass}
			if a != Gone {
				old["x/y"] = a
			}
			if b != Gone {
				new["x/y"] = b
			}
			all, err := CompareFiles([]string{"old", "new"}, []*Matrix{of("6.1", old), of("6.1", new)})
			if err != nil {
				t.Fatal(err)
			}
			c := all[0]
			got := ""
			for where, list := range map[string][]Change{"regression": c.Regressions, "fix": c.Fixes, "news": c.News} {
				if len(list) > 0 {
					got += where
				}
			}
			if w := want[string(a)+" "+string(b)]; got != w {
				t.Errorf("%s to %s is %q, not %q", a, b, got, w)
			}
			if c.Regressed() != (got == "regression") {
				t.Errorf("%s to %s: regressed %v", a, b, c.Regressed())
			}
		}
	}
}

func TestARunThatBreaksIsARegression(t *testing.T) {
	old, new := of("6.1", map[string]Verdict{"x/y": Pass}), of("6.1", map[string]Verdict{"x/y": Pass})
	new.Rows[0].Result.Leftovers = []string{"mount /left"}
	all, err := CompareFiles([]string{"old", "new"}, []*Matrix{old, new})
	if err != nil || !all[0].Regressed() || !strings.Contains(strings.Join(all[0].Run, " "), "mount /left") {
		t.Errorf("%+v %v", all, err)
	}
	if all, _ = CompareFiles([]string{"old", "new"}, []*Matrix{new, new}); all[0].Regressed() {
		t.Errorf("what was broken before is no regression: %+v", all)
	}
	lost := &Matrix{Rows: []Row{{Kernel: "6.1", Error: "the guest panicked\nmore"}}}
	if all, _ = CompareFiles([]string{"old", "new"}, []*Matrix{old, lost}); !all[0].Regressed() {
		t.Errorf("a result that is gone is a regression: %+v", all)
	}
	if all, _ = CompareFiles([]string{"old", "new"}, []*Matrix{lost, old}); all[0].Regressed() {
		t.Errorf("a result that is new is none: %+v", all)
	}
}

func TestMatricesArePairedByKernel(t *testing.T) {
	two := func(a, b string, verdict Verdict) *Matrix {
		m := of("6.1", map[string]Verdict{"x/y": Pass})
		m.Add(of("6.12", map[string]Verdict{"x/y": verdict}))
		m.Rows[0].Kernel, m.Rows[1].Kernel = a, b
		return m
	}
	all, err := CompareFiles([]string{"old", "new"}, []*Matrix{two("debian:a", "debian:b", Pass), two("debian:a", "debian:b", Fail)})
	if err != nil || len(all) != 2 || all[0].Regressed() || !all[1].Regressed() || len(all[1].Differences) != 0 {
		t.Errorf("%+v %v", all, err)
	}
	all, err = CompareFiles([]string{"old", "new"}, []*Matrix{two("debian:a", "debian:b", Pass), two("debian:c", "debian:b", Pass)})
	if err != nil || len(all) != 3 || !all[0].Regressed() || all[1].Regressed() || all[2].Regressed() {
		t.Errorf("a kernel is gone and one is new: %+v %v", all, err)
	}
	single := of("6.1", map[string]Verdict{"x/y": Pass})
	if all, err = CompareFiles([]string{"old", "new", "newer"}, []*Matrix{single, two("a", "b", Pass), single}); err != nil || len(all) != 3 {
		t.Errorf("one against a matrix and a result: %d %v", len(all), err)
	}
	if _, err = CompareFiles([]string{"old", "new"}, []*Matrix{two("a", "b", Pass), single}); err == nil || !strings.Contains(err.Error(), "which of them") {
		t.Errorf("a matrix against one: %v", err)
	}
	if _, err = CompareFiles([]string{"old", "new"}, []*Matrix{two("a", "a", Pass), two("a", "b", Pass)}); err == nil || !strings.Contains(err.Error(), `two kernels named "a"`) {
		t.Errorf("one name twice: %v", err)
	}
}

func TestComparisonsAreWritten(t *testing.T) {
	old := of("6.1", map[string]Verdict{"x/a": Pass, "x/b": Fail, "x/c": Pass, "x/d": Pass})
	new := of("6.12|", map[string]Verdict{"x/a": Fail, "x/b": Pass, "x/c": Pass, "x/e": Pass})
	new.Rows[0].Result.Kernel.Cgroup = "hybrid"
	all, err := CompareFiles([]string{"old.json", "new.json"}, []*Matrix{old, new})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteComparisons(&b, all, "terminal", TerminalOptions{}); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	at := 0
	for _, want := range []string{"old.json", "new.json", "release 6.1 -> 6.12|; cgroup v2 -> hybrid", "Regressions", "pass -> fail", "x/a", "why fail",
		"pass -> gone", "x/d", "Fixes", "fail -> pass", "x/b", "was: why fail", "News", "new: pass", "x/e",
		"2 regressions, 1 fix, 1 other change, 1 claim as before"} {
		i := strings.Index(out[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing or out of order in\n%s", want, out)
		}
		at += i
	}
	b.Reset()
	if err := WriteComparisons(&b, all, "json", TerminalOptions{}); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Version     string
		Comparisons []Comparison
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Version != SchemaVersion || changed(back.Comparisons[0].Regressions) != "x/a pass -> fail, x/d pass -> gone" {
		t.Errorf("%v %+v", err, back)
	}
	b.Reset()
	if err := WriteComparisons(&b, all, "markdown", TerminalOptions{}); err != nil || !strings.Contains(b.String(), `6.12\|`) ||
		!strings.Contains(b.String(), "| pass -&gt; fail | x/a | why fail |") {
		t.Errorf("%v\n%s", err, b.String())
	}
}
