package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"bulkhead/internal/report"
)

// progress shows a run while it goes on: on a terminal a line that changes
// and whatever is not a pass; piped, a plain line a claim.
type progress struct {
	out      io.Writer
	terminal bool
	color    bool
	verbose  bool
	total    int
	done     int
	width    int
	started  time.Time
	left     map[string]int
	areas    map[string]*report.Summary
}

func newProgress(out io.Writer, verbose bool, total int) *progress {
	p := &progress{out: out, verbose: verbose, total: total, started: time.Now(), width: 80,
		left: map[string]int{}, areas: map[string]*report.Summary{}}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.terminal = true
		p.color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if w, _, err := term.GetSize(int(file.Fd())); err == nil && w > 20 {
			p.width = w
		}
	}
	return p
}

func (p *progress) event(e report.Event) {
	switch e.Event {
	case "run-started":
		k := e.Result.Kernel
		fmt.Fprintf(p.out, "bulkhead %s on Linux %s %s, %s: %d claims, seed %d\n", e.Result.Tool.Version, k.Release, k.Arch,
			orElse(k.OS, "unknown system"), len(e.Result.Claims), e.Result.Seed)
		for _, c := range e.Result.Claims {
			p.left[c.Area]++
			p.areas[c.Area] = &report.Summary{}
		}
	case "claim-started":
		p.status(e.ID)
	case "claim-finished":
		p.done++
		p.clear()
		c := e.Claim
		if !p.terminal || p.verbose || c.Verdict != report.Pass {
			fmt.Fprintln(p.out, report.ClaimLine(*c, p.color, p.verbose))
		}
		p.left[c.Area]--
		sum := report.Count([]report.Claim{*c})
		a := p.areas[c.Area]
		a.Pass, a.Fail, a.Broken, a.Skip = a.Pass+sum.Pass, a.Fail+sum.Fail, a.Broken+sum.Broken, a.Skip+sum.Skip
		if p.terminal && p.left[c.Area] == 0 {
			fmt.Fprintf(p.out, "%-10s %s  %.1f s\n", c.Area, report.SummaryLine(*a, p.color), time.Since(p.started).Seconds())
		}
		p.status("")
	}
}

// status draws the line that changes.
func (p *progress) status(running string) {
	if !p.terminal {
		return
	}
	const cells = 20
	filled := cells * p.done / max(1, p.total)
	line := fmt.Sprintf("[%s%s] %d/%d  %.1f s  %s", strings.Repeat("=", filled), strings.Repeat(" ", cells-filled),
		p.done, p.total, time.Since(p.started).Seconds(), running)
	fmt.Fprintf(p.out, "\r\x1b[K%s", line[:min(len(line), p.width-1)])
}

func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) finish(r *report.Result) {
	p.clear()
	report.WriteTerminal(p.out, r, report.TerminalOptions{Color: p.color, Verbose: p.verbose})
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// eventSink returns a function that writes each event as a line at once.
func eventSink(path string, stdout io.Writer) (func(report.Event), func(), error) {
	out, done := stdout, func() {}
	if path != "-" {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return nil, nil, err
		}
		out, done = file, func() { file.Close() }
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return func(e report.Event) { _ = enc.Encode(e) }, done, nil
}
