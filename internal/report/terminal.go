package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// TerminalOptions say how much to print, whether in colour, and how wide the
// terminal is; 0 is as wide as a line gets.
type TerminalOptions struct {
	Color, Verbose bool
	Width          int
	// Live is true at the end of a run that was shown while it went on.
	Live bool
}

var verdictColors = map[Verdict]string{Pass: "32", Fail: "1;31", Broken: "35", Skip: "33"}

func paint(v Verdict, text string, color bool) string {
	if !color {
		return text
	}
	return "\x1b[" + verdictColors[v] + "m" + text + "\x1b[0m"
}

func dim(text string, color bool) string {
	if !color {
		return text
	}
	return "\x1b[2m" + text + "\x1b[0m"
}

// ClaimLine is a claim in a line, with the reason of what is not a pass, and
// with the evidence when verbose.
func ClaimLine(c Claim, color, verbose bool) string {
	line := fmt.Sprintf("%s %s (%.1f ms)", paint(c.Verdict, fmt.Sprintf("%-6s", c.Verdict), color), c.ID, c.DurationMS)
	if c.Reason != "" {
		line += ": " + c.Reason
	}
	if verbose {
		for _, e := range c.Evidence {
			line += "\n         " + e
		}
	}
	return line
}

// SummaryLine is how many of each verdict, those that are none left out.
func SummaryLine(s Summary, color bool) string {
	var parts []string
	for _, n := range s.counts() {
		if n.count > 0 {
			parts = append(parts, paint(n.verdict, fmt.Sprintf("%d %s", n.count, words[n.verdict]), color))
		}
	}
	if len(parts) == 0 {
		return "nothing verified"
	}
	return strings.Join(parts, ", ")
}

// summaryLine is SummaryLine with how much of it a baseline accepts.
func (r *Result) summaryLine(color bool) string {
	line := SummaryLine(r.Summary, color)
	if n := len(r.accepted()); n > 0 {
		line += fmt.Sprintf(" (%d accepted)", n)
	}
	return line
}

// accepted are the claims whose verdict a baseline accepts.
func (r *Result) accepted() (claims []Claim) {
	for _, c := range r.Claims {
		if c.Accepted != nil {
			claims = append(claims, c)
		}
	}
	return claims
}

type count struct {
	verdict Verdict
	count   int
}

func (s Summary) counts() []count {
	return []count{{Pass, s.Pass}, {Fail, s.Fail}, {Broken, s.Broken}, {Skip, s.Skip}}
}

// WriteHeadline says which bulkhead looks at which kernel, before a run.
func WriteHeadline(w io.Writer, r *Result, o TerminalOptions) {
	fmt.Fprintln(w, wrap(headline(r), 2, o.Width))
}

// headline says which bulkhead looked at which kernel.
func headline(r *Result) string {
	where := []string{r.Kernel.Release + " " + r.Kernel.Arch}
	if r.Kernel.OS != "" {
		where = append(where, r.Kernel.OS)
	}
	if !r.Kernel.Root {
		where = append(where, "as an ordinary user")
	}
	return fmt.Sprintf("bulkhead %s on Linux %s: %d claims, seed %d", r.Tool.Version, strings.Join(where, ", "), max(r.Selected, len(r.Claims)), r.Seed)
}

// WriteTerminal writes what a person reads at the end of a run: the areas,
// what failed and why, what is missing and what would provide it, and the
// counts last, where the eye is.
func WriteTerminal(w io.Writer, r *Result, o TerminalOptions) {
	if !o.Live {
		WriteHeadline(w, r, o)
		if o.Verbose {
			for _, c := range r.Claims {
				fmt.Fprintln(w, ClaimLine(c, o.Color, true))
			}
		}
	}
	if len(r.Claims) > 0 {
		fmt.Fprintln(w)
	}
	writeAreas(w, r, o)
	for _, t := range r.troubles() {
		if t.alike != nil {
			writeAlike(w, t, "", r.Claims, o)
		} else {
			writeProblem(w, *t.claim, o)
		}
	}
	if accepted := r.accepted(); len(accepted) > 0 {
		fmt.Fprintf(w, "\nAccepted by %s:\n", r.Baseline.File)
		for _, c := range accepted {
			fmt.Fprintf(w, "  %s %s, until %s\n", paint(c.Verdict, fmt.Sprintf("%-6s", c.Verdict), o.Color), c.ID, c.Accepted.Expires)
			fmt.Fprintf(w, "         %s\n", wrap(c.Accepted.Reason, 9, o.Width))
		}
	}
	if r.Baseline != nil && len(r.Baseline.Notes) > 0 {
		fmt.Fprintf(w, "\nEntries of %s that accept nothing:\n", r.Baseline.File)
		for _, n := range r.Baseline.Notes {
			fmt.Fprintf(w, "  line %d, %s\n    %s\n", n.Line, n.Claim, wrap(n.Why, 4, o.Width))
		}
	}
	for i, g := range r.Missing() {
		if i == 0 {
			fmt.Fprintln(w, "\nMissing here, and what would provide it:")
		}
		fmt.Fprintf(w, "%5d  %s\n", len(g.IDs), wrap(g.Reason, 7, o.Width))
		if g.Remedy != "" {
			fmt.Fprintf(w, "       %s\n", wrap("-> "+g.Remedy, 10, o.Width))
		}
	}
	if whole := r.wholeProblems(); len(whole) > 0 {
		fmt.Fprintf(w, "\n%s\n", paint(Broken, "BROKEN the run", o.Color))
		for _, l := range whole {
			fmt.Fprintf(w, "  %s\n", wrap(l, 2, o.Width))
		}
	}
	fmt.Fprintf(w, "\n%s in %.1f s\n", r.summaryLine(o.Color), r.DurationMS/1000)
}

// writeAreas writes a line an area, counts in columns; a count that is none
// anywhere has no column.
func writeAreas(w io.Writer, r *Result, o TerminalOptions) {
	areas, width := byArea(r.Claims), 0
	for _, a := range areas {
		width = max(width, len(a[0].Area))
	}
	for _, a := range areas {
		fmt.Fprintf(w, "  %-*s", width, a[0].Area)
		of := Count(a).counts()
		for i, all := range r.Summary.counts() {
			if all.count == 0 {
				continue
			}
			n := of[i]
			text := fmt.Sprintf("%6d %s", n.count, words[n.verdict])
			if n.count == 0 {
				text = dim(strings.Repeat(" ", 5)+"."+strings.Repeat(" ", 1+len(words[n.verdict])), o.Color)
			} else {
				text = paint(n.verdict, text, o.Color)
			}
			fmt.Fprint(w, text)
		}
		fmt.Fprintln(w)
	}
}

func writeAlike(w io.Writer, t *trouble, where string, all []Claim, o TerminalOptions) {
	fmt.Fprintf(w, "\n%s %d claims%s, for one reason\n", paint(Broken, "BROKEN", o.Color), len(t.alike), where)
	for _, l := range strings.Split(strings.TrimSpace(t.claim.Reason), "\n") {
		fmt.Fprintf(w, "  %s\n", wrap(l, 2, o.Width))
	}
	fmt.Fprintf(w, "  %s\n", wrap(brief(t.alike, all), 2, o.Width))
}

func writeProblem(w io.Writer, c Claim, o TerminalOptions) {
	core := ""
	if c.Core {
		core = " (core)"
	}
	fmt.Fprintf(w, "\n%s %s%s\n", paint(c.Verdict, strings.ToUpper(string(c.Verdict)), o.Color), c.ID, core)
	for _, l := range strings.Split(strings.TrimSpace(c.Reason), "\n") {
		fmt.Fprintf(w, "  %s\n", wrap(l, 2, o.Width))
	}
	field := func(name, value string) {
		if value == "" {
			return
		}
		for i, l := range strings.Split(value, "\n") {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(w, "  %s %s\n", dim(fmt.Sprintf("%-6s", name), o.Color), wrap(l, 9, o.Width))
		}
	}
	for i, e := range c.Evidence {
		field(map[bool]string{true: "seen"}[i == 0], e)
	}
	field("mend", c.Remedy)
	// The line to try is not wrapped: it is there to be copied.
	if c.Try != "" {
		fmt.Fprintf(w, "  %s %s\n", dim("try   ", o.Color), strings.ReplaceAll(c.Try, "\n", "\n         "))
	}
}

// WriteMatrixTerminal writes a line a kernel, then the claims on which the
// kernels differ or that one of them does not keep, why, and what is missing
// where.
func WriteMatrixTerminal(w io.Writer, m *Matrix, o TerminalOptions) {
	width := 0
	for _, row := range m.Rows {
		width = max(width, utf8.RuneCountInString(row.Title()))
	}
	for i, row := range m.Rows {
		fmt.Fprintf(w, "%3d  %-*s  ", i+1, width, row.Title())
		if row.Result == nil {
			first, _, _ := strings.Cut(row.Error, "\n")
			fmt.Fprintf(w, "%s: %s\n", paint(Broken, "broken", o.Color), wrap(first, width+7, o.Width-len("broken: ")))
			continue
		}
		fmt.Fprintln(w, row.Result.summaryLine(o.Color))
		for _, l := range row.Result.wholeProblems() {
			fmt.Fprintf(w, "%*s%s: %s\n", width+7, "", paint(Broken, "broken", o.Color), wrap(l, width+7, o.Width-len("broken: ")))
		}
	}
	lines := m.lines()
	writeDiffering(w, m, lines, o)
	for _, t := range m.troubles(lines) {
		if t.alike != nil {
			writeAlike(w, t, " on "+m.names(t.rows), claims(lines), o)
		} else {
			m.writeReason(w, t, o)
		}
	}
	for i, g := range m.missing() {
		if i == 0 {
			fmt.Fprintln(w, "\nMissing, on which kernels, and what would provide it:")
		}
		fmt.Fprintf(w, "  %s\n", wrap(m.numbers(g.rows)+": "+g.Reason, 7, o.Width))
		if g.Remedy != "" {
			fmt.Fprintf(w, "       %s\n", wrap("-> "+g.Remedy, 10, o.Width))
		}
	}
}

func (m *Matrix) writeReason(w io.Writer, why *trouble, o TerminalOptions) {
	c := why.claim
	fmt.Fprintf(w, "\n%s %s on %s\n", paint(c.Verdict, strings.ToUpper(string(c.Verdict)), o.Color), c.ID, m.names(why.rows))
	for _, l := range strings.Split(strings.TrimSpace(c.Reason), "\n") {
		fmt.Fprintf(w, "  %s\n", wrap(l, 2, o.Width))
	}
	if c.Accepted != nil {
		fmt.Fprintf(w, "  %s\n", wrap(fmt.Sprintf("accepted until %s: %s", c.Accepted.Expires, c.Accepted.Reason), 2, o.Width))
	}
	if c.Remedy != "" {
		fmt.Fprintf(w, "  %s\n", wrap("-> "+c.Remedy, 5, o.Width))
	}
}

// writeDiffering writes the claims on which kernels differ or fail, a column a
// kernel: of words where the terminal has room for them, else of their first
// letters.
func writeDiffering(w io.Writer, m *Matrix, lines []*matrixLine, o TerminalOptions) {
	longest, head := 0, false
	for _, l := range lines {
		if l.differs {
			longest = max(longest, len(l.claim.ID))
		}
	}
	wide := 7
	if o.Width > 0 && 2+wide*len(m.Rows)+longest > o.Width {
		wide = 3
	}
	for _, l := range lines {
		if !l.differs {
			continue
		}
		if !head {
			fmt.Fprint(w, "\nWhere they differ or fail:\n  ")
			for i := range m.Rows {
				fmt.Fprintf(w, "%-*d", wide, i+1)
			}
			if wide == 3 {
				fmt.Fprint(w, "p pass, F fail, B broken, s skip")
			}
			fmt.Fprintln(w)
			head = true
		}
		fmt.Fprint(w, "  ")
		for _, c := range l.cells {
			if c == nil {
				fmt.Fprintf(w, "%-*s", wide, "-")
				continue
			}
			word := string(c.Verdict)
			if wide == 3 {
				word = map[Verdict]string{Pass: "p", Fail: "F", Broken: "B", Skip: "s"}[c.Verdict]
			}
			fmt.Fprint(w, paint(c.Verdict, fmt.Sprintf("%-*s", wide, word), o.Color))
		}
		fmt.Fprintln(w, l.claim.ID)
	}
}

// wrap breaks a line between words at width, what follows indented. A word
// that is longer than a line stays whole.
func wrap(s string, indent, width int) string {
	if width <= indent+20 || indent+utf8.RuneCountInString(s) < width {
		return s
	}
	// What stands indented, as Gomega prints values, keeps its indent.
	lead := s[:len(s)-len(strings.TrimLeft(s, " \t"))]
	pad := "\n" + strings.Repeat(" ", indent) + lead
	var b strings.Builder
	b.WriteString(lead)
	at := indent + len(lead)
	for i, word := range strings.Fields(s) {
		n := utf8.RuneCountInString(word)
		switch {
		case i > 0 && at+1+n >= width:
			b.WriteString(pad)
			at = indent + len(lead)
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
