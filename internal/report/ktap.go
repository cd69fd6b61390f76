package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// WriteKTAP writes the Kernel Test Anything Protocol, version 1, nested: a
// test an area, in it one a claim. What is broken is "not ok" and says so; an
// accepted failure is "ok" with the directive XFAIL, as kselftest has it; a
// leftover is a test of its own, because it has no claim.
func WriteKTAP(w io.Writer, r *Result) error {
	b := bufio.NewWriter(w)
	areas := byArea(r.Claims)
	tests := len(areas)
	whole := r.Partial || len(r.Leftovers) > 0
	if whole {
		tests++
	}
	fmt.Fprintf(b, "KTAP version 1\n1..%d\n", tests)
	for i, area := range areas {
		fmt.Fprintf(b, "  KTAP version 1\n  # Subtest: %s\n  1..%d\n", area[0].Area, len(area))
		for j, c := range area {
			_, name, _ := strings.Cut(c.ID, "/")
			for _, d := range ktapDiagnostics(c) {
				fmt.Fprintf(b, "  # %s\n", d)
			}
			first, _, _ := strings.Cut(c.Reason, "\n")
			switch {
			case c.Verdict == Pass:
				fmt.Fprintf(b, "  ok %d %s\n", j+1, name)
			case c.Verdict == Skip:
				fmt.Fprintf(b, "  ok %d %s # SKIP %s\n", j+1, name, ktapText(first))
			case c.Accepted != nil:
				fmt.Fprintf(b, "  ok %d %s # XFAIL %s (until %s)\n", j+1, name, ktapText(c.Accepted.Reason), c.Accepted.Expires)
			default:
				fmt.Fprintf(b, "  not ok %d %s\n", j+1, name)
			}
		}
		s := junitCount(area)
		switch {
		case s.Fail+s.Broken > 0:
			fmt.Fprintf(b, "not ok %d %s\n", i+1, area[0].Area)
		case s.Pass+Count(area).Fail == 0:
			fmt.Fprintf(b, "ok %d %s # SKIP every claim was skipped\n", i+1, area[0].Area)
		default:
			fmt.Fprintf(b, "ok %d %s\n", i+1, area[0].Area)
		}
	}
	if whole {
		for _, l := range r.wholeProblems() {
			fmt.Fprintf(b, "# %s\n", ktapText(l))
		}
		fmt.Fprintf(b, "not ok %d run\n", tests)
	}
	return b.Flush()
}

// wholeProblems are what is wrong with the run and not with one claim.
func (r *Result) wholeProblems() (lines []string) {
	if r.Partial {
		line := "the run was interrupted"
		if r.Selected > 0 {
			line += fmt.Sprintf(" with %d of %d claims verified", len(r.Claims), r.Selected)
		}
		if len(r.Interrupted) > 0 {
			line += "; running then: " + strings.Join(r.Interrupted, ", ")
		}
		lines = append(lines, line)
	}
	for _, l := range r.Leftovers {
		lines = append(lines, "left over: "+l)
	}
	if s := Count(r.Claims); !r.Partial && s.Pass+s.Fail+s.Broken == 0 {
		lines = append(lines, "it verified nothing")
	}
	return lines
}

func ktapDiagnostics(c Claim) (lines []string) {
	if c.Verdict != Fail && c.Verdict != Broken {
		return nil
	}
	text := string(c.Verdict) + ": " + c.Reason
	for _, e := range c.Evidence {
		text += "\nseen: " + e
	}
	for _, l := range strings.Split(text, "\n") {
		lines = append(lines, ktapText(l))
	}
	return lines
}

// ktapText is text that cannot be taken for a directive or end the line.
func ktapText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '#':
			return '%'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, s)
}
