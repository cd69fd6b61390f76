package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// md is text that Markdown leaves as it is.
func md(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "|", "\\|", "\n", "<br>").Replace(s)
}

// fence is text as a code block that its own backticks cannot end.
func fence(s string) string {
	ticks := "```"
	for strings.Contains(s, ticks) {
		ticks += "`"
	}
	return ticks + "\n" + strings.TrimRight(s, "\n") + "\n" + ticks + "\n"
}

var words = map[Verdict]string{Pass: "passed", Fail: "failed", Broken: "broken", Skip: "skipped"}

// WriteMarkdown writes a summary as CI systems show it beside a job: the
// counts, what failed and why, and what is missing.
func WriteMarkdown(w io.Writer, r *Result) error {
	b := bufio.NewWriter(w)
	k := r.Kernel
	fmt.Fprintf(b, "## bulkhead: %s on Linux %s %s\n\n", r.summaryLine(false), md(k.Release), md(k.Arch))
	fmt.Fprintf(b, "%s, %s, cgroup %s, bulkhead %s, %.1f s\n\n", md(orElse(k.OS, "unknown system")),
		map[bool]string{true: "as root", false: "as an ordinary user"}[k.Root], md(k.Cgroup), md(r.Tool.Version), r.DurationMS/1000)
	for _, l := range r.wholeProblems() {
		fmt.Fprintf(b, "- **broken**: %s\n", md(l))
	}
	fmt.Fprint(b, "\n| area | passed | failed | broken | skipped |\n|---|--:|--:|--:|--:|\n")
	for _, area := range byArea(r.Claims) {
		s := Count(area)
		fmt.Fprintf(b, "| %s | %d | %s | %s | %d |\n", md(area[0].Area), s.Pass, strong(s.Fail), strong(s.Broken), s.Skip)
	}
	for _, t := range r.troubles() {
		c := t.claim
		if t.alike != nil {
			alikeMarkdown(b, t, "", r.Claims)
			continue
		}
		fmt.Fprintf(b, "\n### %s: %s\n\n%s\n\n%s", c.Verdict, md(c.ID), md(c.Text), fence(c.Reason))
		for _, e := range c.Evidence {
			fmt.Fprintf(b, "- seen: %s\n", md(e))
		}
		if c.Remedy != "" {
			fmt.Fprintf(b, "- mended by: %s\n", md(c.Remedy))
		}
		if c.Try != "" {
			fmt.Fprintf(b, "\nBy hand:\n\n%s", fence(c.Try))
		}
	}
	if accepted := r.accepted(); len(accepted) > 0 {
		fmt.Fprintf(b, "\n### Accepted by %s\n\n| claim | verdict | until | why |\n|---|---|---|---|\n", md(r.Baseline.File))
		for _, c := range accepted {
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", md(c.ID), c.Verdict, c.Accepted.Expires, md(c.Accepted.Reason))
		}
	}
	if r.Baseline != nil && len(r.Baseline.Notes) > 0 {
		fmt.Fprintf(b, "\n### Entries of %s that accept nothing\n\n", md(r.Baseline.File))
		for _, n := range r.Baseline.Notes {
			fmt.Fprintf(b, "- line %d, %s: %s\n", n.Line, md(n.Claim), md(n.Why))
		}
	}
	if groups := r.Missing(); len(groups) > 0 {
		fmt.Fprint(b, "\n### Missing here\n\n| claims | reason | what would provide it |\n|--:|---|---|\n")
		for _, g := range groups {
			fmt.Fprintf(b, "| %d | %s | %s |\n", len(g.IDs), md(g.Reason), md(g.Remedy))
		}
	}
	return b.Flush()
}

func alikeMarkdown(w io.Writer, t *trouble, where string, all []Claim) {
	fmt.Fprintf(w, "\n### broken: %d claims%s, for one reason\n\n%s\n\n%s", len(t.alike), md(where), md(brief(t.alike, all)), fence(t.claim.Reason))
}

func strong(n int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("**%d**", n)
}

// WriteMatrixMarkdown writes the kernels as rows, then the claims on which
// they differ or fail, why, and what is missing where.
func WriteMatrixMarkdown(w io.Writer, m *Matrix) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "## bulkhead\n\n| kernel | passed | failed | broken | skipped | |\n|---|--:|--:|--:|--:|---|\n")
	for _, row := range m.Rows {
		if row.Result == nil {
			first, _, _ := strings.Cut(row.Error, "\n")
			fmt.Fprintf(b, "| %s | | | | | **broken**: %s |\n", md(row.Title()), md(first))
			continue
		}
		s := row.Result.Summary
		fmt.Fprintf(b, "| %s | %d | %s | %s | %d | %s |\n", md(row.Title()), s.Pass, strong(s.Fail), strong(s.Broken), s.Skip,
			md(strings.Join(row.Result.wholeProblems(), "; ")))
	}
	head, lines := false, m.lines()
	for _, line := range lines {
		if !line.differs {
			continue
		}
		if !head {
			fmt.Fprint(b, "\n### Where kernels differ or fail\n\n| claim |")
			for _, row := range m.Rows {
				fmt.Fprintf(b, " %s |", md(row.Title()))
			}
			fmt.Fprint(b, "\n|---|"+strings.Repeat("---|", len(m.Rows))+"\n")
			head = true
		}
		fmt.Fprintf(b, "| %s |", md(line.claim.ID))
		for _, c := range line.cells {
			switch {
			case c == nil:
				fmt.Fprint(b, " – |")
			case c.Verdict == Fail || c.Verdict == Broken:
				fmt.Fprintf(b, " **%s** |", c.Verdict)
			default:
				fmt.Fprintf(b, " %s |", c.Verdict)
			}
		}
		fmt.Fprintln(b)
	}
	for _, t := range m.troubles(lines) {
		if t.alike != nil {
			alikeMarkdown(b, t, " on "+m.names(t.rows), claims(lines))
			continue
		}
		fmt.Fprintf(b, "\n### %s: %s on %s\n\n%s", t.claim.Verdict, md(t.claim.ID), md(m.names(t.rows)), fence(t.claim.Reason))
		if t.claim.Remedy != "" {
			fmt.Fprintf(b, "- mended by: %s\n", md(t.claim.Remedy))
		}
	}
	for i, g := range m.missing() {
		if i == 0 {
			fmt.Fprint(b, "\n### Missing\n\n| on | reason | what would provide it |\n|---|---|---|\n")
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", md(m.names(g.rows)), md(g.Reason), md(g.Remedy))
	}
	return b.Flush()
}

// Gap is something that is missing, and the claims skipped for it.
type Gap struct {
	Reason, Remedy string
	IDs            []string
}

// Missing groups the skipped claims by what they lack, the most claims first.
func (r *Result) Missing() []Gap {
	index := map[[2]string]int{}
	var gaps []Gap
	for _, c := range r.Claims {
		if c.Verdict != Skip {
			continue
		}
		why, _, _ := strings.Cut(c.Reason, "\n")
		key := [2]string{why, c.Remedy}
		i, ok := index[key]
		if !ok {
			i = len(gaps)
			index[key] = i
			gaps = append(gaps, Gap{Reason: why, Remedy: c.Remedy})
		}
		gaps[i].IDs = append(gaps[i].IDs, c.ID)
	}
	sortGaps(gaps)
	return gaps
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
