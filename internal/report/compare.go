package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// CompareFormats are the names that WriteComparisons knows.
var CompareFormats = []string{"terminal", "json", "markdown"}

// Gone is the verdict that a change has where a result lacks the claim.
const Gone Verdict = "gone"

// Change is a claim whose verdict is not what it was.
type Change struct {
	ID   string `json:"id"`
	Core bool   `json:"core"`
	Text string `json:"text"`
	// Old and New are the verdicts, "gone" where the result has no such claim.
	Old Verdict `json:"old"`
	New Verdict `json:"new"`
	// Reason and Remedy are those of the new result, or of the old one where
	// the claim is kept now or gone.
	Reason string `json:"reason,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	Try    string `json:"try,omitempty"`
}

// Comparison is what became of one result's claims in another.
type Comparison struct {
	// Old and New name the results: kernel, counts.
	Old Side `json:"old"`
	New Side `json:"new"`
	// Differences are what changed of the kernel, its configuration, the rights
	// and the tool, each in a few words.
	Differences []string `json:"differences"`
	// Run are problems of the new run itself that the old one did not have. They
	// are regressions.
	Run []string `json:"run"`
	// Regressions are claims that were kept and are not, or that were skipped
	// and fail or break. Fixes are claims that are kept and were not. News is
	// every other change: claims that are new, or gone without having been kept,
	// or not kept in another way than before.
	Regressions []Change `json:"regressions"`
	Fixes       []Change `json:"fixes"`
	News        []Change `json:"news"`
	// Same is how many claims have the verdict they had.
	Same int `json:"same"`
}

// Side is one of the two results of a comparison.
type Side struct {
	// Name is the file, and the kernel's name in it when the file has several.
	Name    string  `json:"name"`
	Kernel  *Kernel `json:"kernel,omitempty"`
	Summary Summary `json:"summary"`
}

func (s Side) title() string {
	if s.Kernel == nil {
		return "no result"
	}
	return "Linux " + s.Kernel.Release + " " + s.Kernel.Arch
}

// Regressed says whether anything is worse than it was.
func (c *Comparison) Regressed() bool { return len(c.Run)+len(c.Regressions) > 0 }

// CompareFiles compares what the first file holds with what each other one
// does. Two results are compared whichever kernels they are of; the kernels of
// two matrices are paired by the names that they were asked for by.
func CompareFiles(names []string, files []*Matrix) ([]Comparison, error) {
	var all []Comparison
	old := files[0]
	for i, m := range files[1:] {
		name := names[i+1]
		if len(old.Rows) == 1 {
			for j := range m.Rows {
				all = append(all, compareRows(names[0], &old.Rows[0], rowName(name, m, j), &m.Rows[j]))
			}
			continue
		}
		if len(m.Rows) == 1 {
			return nil, fmt.Errorf("%s holds %d kernels and %s one: nothing says which of them to compare it with", names[0], len(old.Rows), name)
		}
		where := map[string]int{}
		for j, row := range m.Rows {
			if _, twice := where[row.Kernel]; twice {
				return nil, fmt.Errorf("%s has two kernels named %q: nothing says which of them to compare with", name, row.Kernel)
			}
			where[row.Kernel] = j
		}
		was := map[string]bool{}
		for j := range old.Rows {
			row := &old.Rows[j]
			if was[row.Kernel] {
				return nil, fmt.Errorf("%s has two kernels named %q: nothing says which of them to compare with", names[0], row.Kernel)
			}
			was[row.Kernel] = true
			if k, ok := where[row.Kernel]; ok {
				all = append(all, compareRows(rowName(names[0], old, j), row, rowName(name, m, k), &m.Rows[k]))
			} else {
				all = append(all, compareRows(rowName(names[0], old, j), row, name, &Row{Kernel: row.Kernel, Error: "the kernel is gone from the matrix"}))
			}
		}
		for k := range m.Rows {
			if !was[m.Rows[k].Kernel] {
				all = append(all, compareRows(names[0], &Row{Kernel: m.Rows[k].Kernel, Error: "the kernel is new in the matrix"}, rowName(name, m, k), &m.Rows[k]))
			}
		}
	}
	return all, nil
}

func rowName(file string, m *Matrix, i int) string {
	if len(m.Rows) == 1 {
		return file
	}
	return file + " " + m.Rows[i].Kernel
}

func compareRows(oldName string, old *Row, newName string, new *Row) Comparison {
	c := Comparison{Old: Side{Name: oldName}, New: Side{Name: newName}, Differences: []string{}, Run: []string{},
		Regressions: []Change{}, Fixes: []Change{}, News: []Change{}}
	switch {
	case old.Result == nil && new.Result == nil:
		if old.Error != new.Error {
			c.Differences = append(c.Differences, "the error was: "+firstOf(old.Error), "and is: "+firstOf(new.Error))
		}
		return c
	case new.Result == nil:
		c.Run = append(c.Run, "there is no result: "+firstOf(new.Error))
		c.Old.Kernel, c.Old.Summary = &old.Result.Kernel, old.Result.Summary
		return c
	case old.Result == nil:
		c.Differences = append(c.Differences, "there was no result: "+firstOf(old.Error))
		old = &Row{Result: &Result{Kernel: new.Result.Kernel, Tool: new.Result.Tool}}
	default:
		c.Old.Kernel, c.Old.Summary = &old.Result.Kernel, old.Result.Summary
	}
	c.New.Kernel, c.New.Summary = &new.Result.Kernel, new.Result.Summary
	c.Differences = append(c.Differences, differences(old.Result, new.Result)...)
	had := map[string]bool{}
	for _, l := range old.Result.wholeProblems() {
		had[l] = true
	}
	for _, l := range new.Result.wholeProblems() {
		if !had[l] {
			c.Run = append(c.Run, l)
		}
	}
	c.claims(old.Result.Claims, new.Result.Claims)
	return c
}

// differences are what changed around the claims, in the order a reader asks.
func differences(old, new *Result) []string {
	d := []string{}
	say := func(what, a, b string) {
		if a != b {
			d = append(d, what+" "+orElse(a, "unknown")+" -> "+orElse(b, "unknown"))
		}
	}
	a, b := old.Kernel, new.Kernel
	say("release", a.Release, b.Release)
	if a.Release == b.Release {
		say("build", a.Version, b.Version)
	}
	say("architecture", a.Arch, b.Arch)
	short := func(sum string) string { return sum[:min(12, len(sum))] }
	say("configuration", short(a.ConfigSHA256), short(b.ConfigSHA256))
	say("system", a.OS, b.OS)
	say("cgroup", a.Cgroup, b.Cgroup)
	say("security modules", strings.Join(a.SecurityModules, ","), strings.Join(b.SecurityModules, ","))
	rights := map[bool]string{true: "root", false: "ordinary user"}
	say("rights", rights[a.Root], rights[b.Root])
	say("command line", a.Cmdline, b.Cmdline)
	say("bulkhead", old.Tool.Version, new.Tool.Version)
	return d
}

func (c *Comparison) claims(old, new []Claim) {
	was, is := map[string]*Claim{}, map[string]*Claim{}
	var ids []string
	for i := range old {
		was[old[i].ID] = &old[i]
		ids = append(ids, old[i].ID)
	}
	for i := range new {
		is[new[i].ID] = &new[i]
		if was[new[i].ID] == nil {
			ids = append(ids, new[i].ID)
		}
	}
	sort.Strings(ids)
	for _, id := range ids {
		a, b := was[id], is[id]
		ch := Change{Old: Gone, New: Gone}
		if a != nil {
			ch = Change{ID: id, Core: a.Core, Text: a.Text, Old: a.Verdict, New: Gone, Reason: a.Reason, Remedy: a.Remedy, Try: a.Try}
		}
		if b != nil {
			ch.ID, ch.Core, ch.Text, ch.New, ch.Try = id, b.Core, b.Text, b.Verdict, b.Try
			if b.Verdict != Pass {
				ch.Reason, ch.Remedy = b.Reason, b.Remedy
			}
		}
		switch {
		case ch.Old == ch.New:
			c.Same++
		case ch.Old == Pass, ch.Old == Skip && (ch.New == Fail || ch.New == Broken):
			c.Regressions = append(c.Regressions, ch)
		case ch.New == Pass && ch.Old != Gone:
			c.Fixes = append(c.Fixes, ch)
		default:
			c.News = append(c.News, ch)
		}
	}
	for _, list := range [][]Change{c.Regressions, c.Fixes, c.News} {
		sort.SliceStable(list, func(i, j int) bool { return list[i].weight() < list[j].weight() })
	}
}

// weight orders changes: what is worst now first, then what was worst.
func (c Change) weight() int {
	order := map[Verdict]int{Fail: 0, Broken: 1, Skip: 2, Gone: 3, Pass: 4}
	return order[c.New]*10 + order[c.Old]
}

// Kind is the change in words, as "pass -> fail".
func (c Change) Kind() string {
	switch {
	case c.Old == Gone:
		return "new: " + string(c.New)
	case c.New == Gone:
		return string(c.Old) + " -> gone"
	}
	return string(c.Old) + " -> " + string(c.New)
}

// changeGroup is claims that changed in the same way for the same reason.
type changeGroup struct {
	Change
	ids []string
}

// why is the reason in lines: whole where the claim is not kept now, and the
// first line of what was where it is kept or gone.
func (g *changeGroup) why() []string {
	switch {
	case g.Reason == "":
		return nil
	case g.New == Pass || g.New == Gone:
		return []string{"was: " + firstOf(g.Reason)}
	}
	lines := strings.Split(strings.TrimSpace(g.Reason), "\n")
	if g.Remedy != "" {
		lines = append(lines, "-> "+g.Remedy)
	}
	return lines
}

func groupChanges(changes []Change) []*changeGroup {
	var groups []*changeGroup
	at := map[string]*changeGroup{}
	for _, c := range changes {
		name := c.ID
		if c.Core {
			name += " (core)"
		}
		key := c.Kind() + "\x00" + c.Reason + "\x00" + c.Remedy
		if g := at[key]; g != nil {
			g.ids = append(g.ids, name)
			continue
		}
		g := &changeGroup{c, []string{name}}
		at[key] = g
		groups = append(groups, g)
	}
	return groups
}

type changeList struct {
	name    string
	changes []Change
}

func (c *Comparison) lists() []changeList {
	return []changeList{{"Regressions", c.Regressions}, {"Fixes", c.Fixes}, {"News", c.News}}
}

// change is the line on what changed around the claims.
func (c *Comparison) change() string {
	if len(c.Differences) == 0 {
		return "kernel, configuration and rights are the same"
	}
	return strings.Join(c.Differences, "; ")
}

func (c *Comparison) counts() string {
	word := func(n int, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprint(n, " ", many)
	}
	return word(len(c.Regressions)+len(c.Run), "regression", "regressions") + ", " + word(len(c.Fixes), "fix", "fixes") + ", " +
		word(len(c.News), "other change", "other changes") + ", " + word(c.Same, "claim", "claims") + " as before"
}

// WriteComparisons writes comparisons in one of CompareFormats.
func WriteComparisons(w io.Writer, all []Comparison, format string, o TerminalOptions) error {
	switch format {
	case "terminal":
		for i := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			all[i].writeTerminal(w, o)
		}
		return nil
	case "json":
		return writeJSON(w, struct {
			Version     string       `json:"version"`
			Comparisons []Comparison `json:"comparisons"`
		}{SchemaVersion, all})
	case "markdown":
		b := bufio.NewWriter(w)
		for i := range all {
			all[i].writeMarkdown(b)
		}
		return b.Flush()
	}
	return errors.New("no format is named " + format)
}

func (c *Comparison) writeTerminal(w io.Writer, o TerminalOptions) {
	for _, s := range []struct {
		word string
		side Side
	}{{"old", c.Old}, {"new", c.New}} {
		line := s.side.title()
		if s.side.Kernel != nil {
			line += ": " + SummaryLine(s.side.Summary, false)
		}
		gap := "  "
		if o.Width > 0 && len("old  ")+len(line)+len(gap)+len(s.side.Name) >= o.Width {
			gap = "\n     "
		}
		fmt.Fprintf(w, "%s  %s", s.word, s.side.title())
		if s.side.Kernel != nil {
			fmt.Fprintf(w, ": %s", SummaryLine(s.side.Summary, o.Color))
		}
		fmt.Fprintln(w, gap+dim(s.side.Name, o.Color))
	}
	fmt.Fprintf(w, "     %s\n", wrap(c.change(), 5, o.Width))
	if len(c.Run) > 0 {
		fmt.Fprintf(w, "\n%s\n", paint(Broken, "The new run itself is broken", o.Color))
		for _, l := range c.Run {
			fmt.Fprintf(w, "  %s\n", wrap(l, 2, o.Width))
		}
	}
	for _, list := range c.lists() {
		if len(list.changes) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", list.name)
		for _, g := range groupChanges(list.changes) {
			kind := fmt.Sprintf("%-14s", g.Kind())
			if g.New != Gone {
				kind = paint(g.New, kind, o.Color)
			}
			fmt.Fprintf(w, "  %s  %s\n", kind, wrap(strings.Join(g.ids, ", "), 18, o.Width))
			for _, l := range g.why() {
				indent := 18
				if strings.HasPrefix(l, "-> ") {
					indent = 21
				}
				fmt.Fprintf(w, "                  %s\n", wrap(l, indent, o.Width))
			}
		}
	}
	fmt.Fprintf(w, "\n%s\n", c.counts())
}

func (c *Comparison) writeMarkdown(w io.Writer) {
	fmt.Fprintf(w, "## bulkhead: %s\n\n| | kernel | verdicts | file |\n|---|---|---|---|\n", md(c.counts()))
	for _, s := range []struct {
		word string
		side Side
	}{{"old", c.Old}, {"new", c.New}} {
		sum := ""
		if s.side.Kernel != nil {
			sum = SummaryLine(s.side.Summary, false)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", s.word, md(s.side.title()), sum, md(s.side.Name))
	}
	fmt.Fprintf(w, "\n%s\n", md(c.change()))
	for _, l := range c.Run {
		fmt.Fprintf(w, "\n**The new run itself is broken**: %s\n", md(l))
	}
	for _, list := range c.lists() {
		if len(list.changes) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n### %s\n\n| change | claims | why |\n|---|---|---|\n", list.name)
		for _, g := range groupChanges(list.changes) {
			fmt.Fprintf(w, "| %s | %s | %s |\n", md(g.Kind()), md(strings.Join(g.ids, ", ")), md(strings.Join(g.why(), "\n")))
		}
	}
	fmt.Fprintln(w)
}

func firstOf(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}
