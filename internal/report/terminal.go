package report

import (
	"fmt"
	"io"
	"sort"
	"strings"
)

// TerminalOptions say how much to print and whether in colour.
type TerminalOptions struct{ Color, Verbose bool }

var verdictColors = map[Verdict]string{Pass: "32", Fail: "1;31", Broken: "35", Skip: "33"}

func paint(v Verdict, text string, color bool) string {
	if !color {
		return text
	}
	return "\x1b[" + verdictColors[v] + "m" + text + "\x1b[0m"
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
	for _, n := range []struct {
		count int
		v     Verdict
		word  string
	}{{s.Pass, Pass, "passed"}, {s.Fail, Fail, "failed"}, {s.Broken, Broken, "broken"}, {s.Skip, Skip, "skipped"}} {
		if n.count > 0 {
			parts = append(parts, paint(n.v, fmt.Sprintf("%d %s", n.count, n.word), color))
		}
	}
	if len(parts) == 0 {
		return "nothing verified"
	}
	return strings.Join(parts, ", ")
}

// WriteTerminal writes what a person reads at the end of a run: what failed
// and why, what is missing and what would provide it, and the counts last.
func WriteTerminal(w io.Writer, r *Result, o TerminalOptions) {
	for _, v := range []Verdict{Fail, Broken} {
		for _, c := range r.Claims {
			if c.Verdict == v {
				fmt.Fprintf(w, "\n%s %s\n  %s\n", paint(v, strings.ToUpper(string(v)), o.Color), c.ID,
					strings.ReplaceAll(c.Reason, "\n", "\n  "))
				for _, e := range c.Evidence {
					fmt.Fprintf(w, "  seen: %s\n", e)
				}
				if c.Try != "" && v == Fail {
					fmt.Fprintf(w, "  try:  %s\n", c.Try)
				}
			}
		}
	}
	missing := map[string][]string{}
	for _, c := range r.Claims {
		if c.Verdict == Skip {
			why, _, _ := strings.Cut(c.Reason, "\n")
			if c.Remedy != "" {
				why += "; mended by: " + c.Remedy
			}
			missing[why] = append(missing[why], c.ID)
		}
	}
	var reasons []string
	for why := range missing {
		reasons = append(reasons, why)
	}
	sort.Strings(reasons)
	for i, why := range reasons {
		if i == 0 {
			fmt.Fprintln(w, "\nMissing here:")
		}
		fmt.Fprintf(w, "  %3d  %s\n", len(missing[why]), why)
	}
	for i, l := range r.Leftovers {
		if i == 0 {
			fmt.Fprintf(w, "\n%s the machine is not as it was:\n", paint(Broken, "BROKEN", o.Color))
		}
		fmt.Fprintf(w, "  %s\n", l)
	}
	if r.Partial {
		fmt.Fprintln(w, "\nInterrupted: this result is partial.")
	}
	fmt.Fprintf(w, "\n%s in %.1f s\n", SummaryLine(r.Summary, o.Color), r.DurationMS/1000)
}
