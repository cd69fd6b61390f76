package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/joshdk/go-junit"
)

// sample is a result of n claims with every verdict among them, and text that
// each format has to escape.
func sample(n int) *Result {
	r := &Result{
		Version: SchemaVersion, Tool: Tool{"bulkhead", "devel"}, Started: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		Kernel: Kernel{Release: "6.12.1-test", Version: "#1", Arch: "x86_64", OS: "A <System> & more", Cgroup: "v2", Root: true, SecurityModules: []string{}},
		Seed:   7, DurationMS: 1234.5, Selected: n, Claims: []Claim{},
	}
	areas := []string{"chroot", "mount", "net", "pid", "user"}
	for i := range n {
		area := areas[i*len(areas)/n]
		c := Claim{
			ID: fmt.Sprintf("%s/claim-%03d", area, i), Area: area, Core: i%4 == 0, Verdict: Pass, DurationMS: 1.5 + float64(i),
			Text:   "A process in the `namespace` sees <only> what is # inside | of it.",
			Source: []string{"namespaces(7), DESCRIPTION"}, Needs: []string{"root"}, Contrast: "outside it sees \"all\"",
			Evidence: []string{"outside: 83 processes; inside: 2", "]]> </script><script>alert(1)</script>"},
			Try:      "unshare --pid --fork sh -c 'echo $$'",
		}
		switch i % 10 {
		case 3:
			c.Verdict, c.Reason = Fail, c.Text+"\nExpected\n    <int>: 2 # TODO\nto equal\n    <int>: 1\x00"
		case 5:
			c.Verdict, c.Reason = Broken, "the worker ended in the middle: signal: killed"
		case 7:
			c.Verdict, c.Reason, c.Remedy, c.Evidence = Skip, "CONFIG_VXLAN is not set # SKIP", "a kernel built with CONFIG_VXLAN", nil
		}
		r.Claims = append(r.Claims, c)
	}
	r.Summary = Count(r.Claims)
	return r
}

func TestReadTellsWhatIsBroken(t *testing.T) {
	var good bytes.Buffer
	if err := WriteJSON(&good, sample(10)); err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string { return strings.Replace(good.String(), old, new, 1) }
	for name, raw := range map[string]string{
		"empty": "", "blank": " \n", "no JSON": "hello", "list": "[]", "object": "{}", "other JSON": `{"version":"1.0"}`,
		"major": edit(`"`+SchemaVersion+`"`, `"2.0"`), "no version": edit(`"`+SchemaVersion+`"`, `""`), "word": edit(`"`+SchemaVersion+`"`, `"1.x"`),
		"verdict": edit(`"verdict": "pass"`, `"verdict": "maybe"`), "twice": edit(`claim-001"`, `claim-000"`),
		"summary": edit(`"fail": 1`, `"fail": 0`), "kernel": edit(`"release": "6.12.1-test"`, `"release": ""`),
		"more": good.String() + "{}", "type": edit(`"seed": 7`, `"seed": "7"`), "id": edit(`"chroot/claim-000"`, `"nothing"`),
		"empty matrix": `{"version":"1.1","matrix":[]}`, "row": `{"version":"1.1","matrix":[{"kernel":"x"}]}`,
	} {
		if _, err := Read([]byte(raw)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line", name, err)
		}
	}
	newer := edit(`"`+SchemaVersion+`"`, `"1.9", "invented": [1]`)
	if _, err := Read([]byte(newer)); err != nil {
		t.Errorf("a newer minor version is refused: %v", err)
	}
	for i := range good.Len() - 2 {
		if _, err := Read(good.Bytes()[:i]); err == nil || strings.Contains(err.Error(), "\n") {
			t.Fatalf("cut at byte %d: error %v, want one line", i, err)
		}
	}
}

func TestEventsCutAtEveryByte(t *testing.T) {
	t.Parallel()
	// Ten claims have every verdict among them.
	r := sample(10)
	var stream bytes.Buffer
	enc := json.NewEncoder(&stream)
	// ends[i] is where line i ends, without its newline.
	var ends []int
	emit := func(e Event) {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, stream.Len()-1)
	}
	announced := *r
	announced.Claims = append([]Claim(nil), r.Claims...)
	emit(Event{Event: "run-started", Time: r.Started, Result: &announced})
	type state struct {
		done    int
		running string
	}
	states := []state{{}}
	for i := range r.Claims {
		emit(Event{Event: "claim-started", Time: r.Started, ID: r.Claims[i].ID})
		states = append(states, state{i, r.Claims[i].ID})
		emit(Event{Event: "claim-finished", Time: r.Started.Add(time.Second), ID: r.Claims[i].ID, Claim: &r.Claims[i]})
		states = append(states, state{i + 1, ""})
	}
	emit(Event{Event: "run-finished", Time: r.Started, Result: r})
	for cut := range stream.Len() + 1 {
		lines := 0
		for lines < len(ends) && cut >= ends[lines] {
			lines++
		}
		m, err := Read(stream.Bytes()[:cut])
		if lines == 0 {
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("cut at byte %d, before the run began: error %v", cut, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
		got := m.Single()
		if lines == len(ends) {
			if got.Partial || len(got.Claims) != len(r.Claims) {
				t.Fatalf("cut at byte %d, after the end: partial %v with %d claims", cut, got.Partial, len(got.Claims))
			}
			continue
		}
		want := states[lines-1]
		if !got.Partial || len(got.Claims) != want.done || got.Selected != len(r.Claims) || strings.Join(got.Interrupted, " ") != want.running {
			t.Fatalf("cut at byte %d: partial %v, %d claims, running %v; want %+v", cut, got.Partial, len(got.Claims), got.Interrupted, want)
		}
		for i, c := range got.Claims {
			if c.Verdict != r.Claims[i].Verdict {
				t.Fatalf("cut at byte %d: %s is %s", cut, c.ID, c.Verdict)
			}
		}
	}
	for name, raw := range map[string]string{
		"a line in the middle": stream.String()[:ends[3]+1] + "{\"ev\n" + stream.String()[ends[3]+1:],
		"no beginning":         stream.String()[ends[0]+1:],
		"twice":                stream.String() + stream.String(),
	} {
		if _, err := Read([]byte(raw)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line", name, err)
		}
	}
}

func TestJUnitAsParsersReadIt(t *testing.T) {
	r := sample(40)
	r.Leftovers = []string{"a link"}
	var b bytes.Buffer
	if err := WriteJUnit(&b, r); err != nil {
		t.Fatal(err)
	}
	suites, err := junit.Ingest(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var sum junit.Totals
	for _, s := range suites {
		s.Aggregate()
		sum.Passed += s.Totals.Passed
		sum.Failed += s.Totals.Failed
		sum.Error += s.Totals.Error
		sum.Skipped += s.Totals.Skipped
	}
	// What was left over is an error of the run's own.
	if want := r.Summary; sum.Passed != want.Pass || sum.Failed != want.Fail || sum.Error != want.Broken+1 || sum.Skipped != want.Skip {
		t.Errorf("go-junit counts %+v, want %+v and one error", sum, want)
	}
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import junitparser").Run() != nil {
		t.Skip("python3-junitparser is missing")
	}
	file := filepath.Join(t.TempDir(), "r.xml")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", `
import sys, junitparser
x = junitparser.JUnitXml.fromfile(sys.argv[1])
told = (x.tests, x.failures, x.errors, x.skipped)
x.update_statistics()
print(told == (x.tests, x.failures, x.errors, x.skipped), *told)`, file).CombinedOutput()
	want := fmt.Sprintf("True %d %d %d %d\n", len(r.Claims)+1, r.Summary.Fail, r.Summary.Broken+1, r.Summary.Skip)
	if err != nil || string(out) != want {
		t.Errorf("junitparser says %q (%v), want %q", out, err, want)
	}
}

// tap is what perl's TAP::Parser makes of a text.
func tap(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.Command("perl", "-MTAP::Parser", "-e", `
my $p = TAP::Parser->new({tap => do {local $/; <STDIN>}});
$p->run;
print join(" ", scalar $p->passed, scalar $p->failed, scalar $p->skipped, scalar $p->todo, $p->tests_planned, scalar $p->parse_errors), "\n";`)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestKTAPAsATAPParserReadsIt(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("perl is missing")
	}
	r := sample(40)
	r.Leftovers = []string{"a link"}
	var b bytes.Buffer
	if err := WriteKTAP(&b, r); err != nil {
		t.Fatal(err)
	}
	areas := byArea(r.Claims)
	if got, want := tap(t, b.String()), fmt.Sprintf("0 %d 0 0 %d 0", len(areas)+1, len(areas)+1); got != want {
		t.Errorf("the areas: %q, want %q", got, want)
	}
	nested := map[int]*strings.Builder{}
	for line := range strings.Lines(b.String()) {
		if inner, ok := strings.CutPrefix(line, "  "); ok {
			if strings.HasPrefix(inner, "KTAP") {
				nested[len(nested)] = &strings.Builder{}
			}
			nested[len(nested)-1].WriteString(inner)
		}
	}
	for i, a := range areas {
		s := Count(a)
		want := fmt.Sprintf("%d %d %d 0 %d 0", s.Pass+s.Skip, s.Fail+s.Broken, s.Skip, len(a))
		if got := tap(t, nested[i].String()); got != want {
			t.Errorf("%s: %q, want %q", a[0].Area, got, want)
		}
	}
}

func TestEveryFormatTakesEveryResult(t *testing.T) {
	cut := sample(10)
	cut.Partial, cut.Interrupted, cut.Claims = true, []string{"pid/claim-011"}, cut.Claims[:4]
	cut.Summary = Count(cut.Claims)
	nothing := sample(1)
	nothing.Claims, nothing.Summary = []Claim{}, Summary{}
	many := &Matrix{Version: SchemaVersion, Rows: []Row{
		{Kernel: "a", Result: sample(10)}, {Kernel: "b", Status: 3, Error: "the guest\ndied"}, {Kernel: "c", Result: cut}}}
	for name, m := range map[string]*Matrix{"one": one(sample(40)), "cut": one(cut), "nothing": one(nothing), "many": many} {
		for _, format := range Formats {
			var b bytes.Buffer
			err := m.Write(&b, format, TerminalOptions{Width: 80, Color: true, Verbose: true})
			if name == "many" && (format == "junit" || format == "ktap") {
				if err != ErrOneKernel {
					t.Errorf("%s of many kernels: %v", format, err)
				}
				continue
			}
			if err != nil || b.Len() == 0 {
				t.Errorf("%s as %s: %d bytes, %v", name, format, b.Len(), err)
			}
		}
	}
	var b bytes.Buffer
	if err := many.Write(&b, "json", TerminalOptions{}); err != nil {
		t.Fatal(err)
	}
	again, err := Read(b.Bytes())
	if err != nil || len(again.Rows) != 3 || again.Rows[1].Error != "the guest\ndied" {
		t.Errorf("a matrix read back: %+v, %v", again, err)
	}
}

// TestKTAPAsTheKernelsOwnParserReadsIt needs the folder tools/testing/kunit of
// a kernel tree, which no package of Debian's has without all the rest.
func TestKTAPAsTheKernelsOwnParserReadsIt(t *testing.T) {
	folder := os.Getenv("KUNIT")
	if folder == "" {
		t.Skip("KUNIT names no folder tools/testing/kunit of a kernel tree")
	}
	r := sample(40)
	r.Claims[13].Accepted = &Acceptance{"known # SKIP", "2999-01-01"}
	file := filepath.Join(t.TempDir(), "r.ktap")
	var b bytes.Buffer
	if err := errors.Join(WriteKTAP(&b, r), os.WriteFile(file, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("python3", filepath.Join(folder, "kunit.py"), "parse", file).CombinedOutput()
	s := r.Summary
	want := fmt.Sprintf("Ran 40 tests: passed: %d, failed: %d, skipped: %d", s.Pass+1, s.Fail-1+s.Broken, s.Skip)
	if err == nil || !strings.Contains(string(out), want) || strings.Contains(strings.ToLower(string(out)), "error") {
		t.Errorf("%v, want a status that is not 0 and %q in\n%s", err, want, out)
	}
}

func TestOneKernelOfAMatrix(t *testing.T) {
	m := &Matrix{Version: SchemaVersion, Rows: []Row{{Kernel: "debian:a", Result: sample(3)}, {Kernel: "debian:b", Error: "no guest"}}}
	for name, want := range map[string]string{"debian:a": "debian:a", "6.12.1-test": "debian:a", "debian:b": "debian:b"} {
		some := *m
		if err := some.Keep(name); err != nil || len(some.Rows) != 1 || some.Rows[0].Kernel != want {
			t.Errorf("%s: %v, %v", name, some.Rows, err)
		}
	}
	if err := m.Keep("debian:c"); err == nil || err.Error() != `no kernel is named "debian:c": there are debian:a, debian:b` || len(m.Rows) != 2 {
		t.Errorf("a kernel that is not there: %v", err)
	}
}

// TestAMatrixSaysWhy looks for the reasons, what mends them and the kernels in
// what people read of several kernels.
func TestAMatrixSaysWhy(t *testing.T) {
	a, b := sample(10), sample(10)
	b.Kernel.Release = "6.1.0-other"
	b.Claims[7].Verdict, b.Claims[7].Reason, b.Claims[7].Remedy = Pass, "", ""
	b.Claims[5].Reason = "another reason"
	b.Claims[3].Remedy, b.Claims[3].Accepted = "another kernel", &Acceptance{"known", "2999-01-01"}
	b.Summary = Count(b.Claims)
	m := &Matrix{Version: SchemaVersion, Rows: []Row{{Kernel: "a", Result: a}, {Kernel: "b", Result: b}, {Kernel: "c", Error: "no guest"}}}
	for format, wants := range map[string][]string{
		"terminal": {"FAIL mount/claim-003 on every kernel", "BROKEN net/claim-005 on 6.1.0-other x86_64\n  another reason", "1: CONFIG_VXLAN is not set # SKIP\n       -> a kernel built with CONFIG_VXLAN"},
		"markdown": {`### fail: mount/claim-003 on every kernel`, "### broken: net/claim-005 on 6.1.0-other x86\\_64", `a kernel built with CONFIG\_VXLAN`},
		"html":     {"6.1.0-other x86_64: another reason", "mended by: a kernel built with CONFIG_VXLAN"},
	} {
		var out bytes.Buffer
		if err := m.Write(&out, format, TerminalOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s lacks %q:\n%s", format, want, out.String())
			}
		}
	}
}

// TestOneCauseOfManyIsToldOnce: of what is broken for one reason each format for
// people says the reason once, and of several kernels only together what is broken
// on the same ones.
func TestOneCauseOfManyIsToldOnce(t *testing.T) {
	broken := func(release string, from, to int) *Result {
		r := &Result{Kernel: Kernel{Release: release, Arch: "x86_64"}}
		for i := range 12 {
			c := Claim{ID: fmt.Sprintf("uts/c%02d", i), Area: "uts", Verdict: Pass}
			if from <= i && i < to {
				c.Verdict, c.Reason = Broken, "no stage"
			}
			r.Claims = append(r.Claims, c)
		}
		r.Summary = Count(r.Claims)
		return r
	}
	a, b := broken("a", 0, 12), broken("b", 0, 5)
	for _, c := range []struct {
		m      *Matrix
		format string
		wants  []string
	}{
		{&Matrix{Rows: []Row{{Result: a}}}, "terminal", []string{"BROKEN 12 claims, for one reason\n  no stage\n  all of them\n"}},
		{&Matrix{Rows: []Row{{Result: a}}}, "markdown", []string{"### broken: 12 claims, for one reason\n\nall of them\n\n```\nno stage\n```\n"}},
		{&Matrix{Rows: []Row{{Result: a}, {Result: b}}}, "terminal",
			[]string{"BROKEN 5 claims on every kernel, for one reason\n  no stage\n  uts/c00, uts/c01, uts/c02, uts/c03, uts/c04\n", "BROKEN 7 claims on a x86_64, for one reason\n  no stage\n  uts/c05,"}},
		{&Matrix{Rows: []Row{{Result: a}, {Result: b}}}, "markdown",
			[]string{"### broken: 5 claims on every kernel, for one reason\n\nuts/c00,", "### broken: 7 claims on a x86\\_64, for one reason\n\nuts/c05,"}},
	} {
		var out bytes.Buffer
		if err := c.m.Write(&out, c.format, TerminalOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s of %d kernels lacks %q:\n%s", c.format, len(c.m.Rows), want, out.String())
			}
		}
		if n := strings.Count(out.String(), "no stage"); n != len(c.wants) {
			t.Errorf("%s of %d kernels says the reason %d times:\n%s", c.format, len(c.m.Rows), n, out.String())
		}
	}
}

// TestAcceptedVerdicts looks at how each format tells what is accepted from
// what is not.
func TestAcceptedVerdicts(t *testing.T) {
	r := sample(10)
	r.Claims[3].Accepted = &Acceptance{"issue 7", "2999-01-01"}
	r.Baseline = &Baseline{File: "known.yaml", Notes: []BaselineNote{{4, "pid/gone", "no claim has this ID"}}}
	for format, wants := range map[string][]string{
		"terminal": {"1 failed, 1 broken, 1 skipped (1 accepted)", "Accepted by known.yaml:\n  fail   mount/claim-003, until 2999-01-01\n         issue 7", "line 4, pid/gone\n    no claim has this ID"},
		"json":     {`"expires": "2999-01-01"`, `"why": "no claim has this ID"`},
		"markdown": {`| mount/claim-003 | fail | 2999-01-01 | issue 7 |`, "- line 4, pid/gone: no claim has this ID"},
		"html":     {"until 2999-01-01: issue 7", "no claim has this ID"},
		"ktap":     {"ok 2 claim-003 # XFAIL issue 7 (until 2999-01-01)\n", "ok 2 mount\n"},
		"junit":    {`<skipped message="fail, accepted until 2999-01-01: issue 7">`, `failures="0"`},
	} {
		var out bytes.Buffer
		if err := one(r).Write(&out, format, TerminalOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s lacks %q:\n%s", format, want, out.String())
			}
		}
		if format == "terminal" && strings.Contains(out.String(), "FAIL") {
			t.Errorf("an accepted failure is told as one that counts:\n%s", out.String())
		}
	}
}
