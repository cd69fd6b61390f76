package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
	// running are the claims that run, with when they began; bad is how many
	// failed or broke.
	running map[string]time.Time
	bad     int
}

func newProgress(out io.Writer, verbose bool, total int) *progress {
	p := &progress{out: out, verbose: verbose, total: total, started: time.Now(), running: map[string]time.Time{}}
	if color, width := terminal(out); width > 0 {
		p.terminal, p.color, p.width = true, color, width
	}
	return p
}

func (p *progress) event(e report.Event) {
	switch e.Event {
	case "run-started":
		report.WriteHeadline(p.out, e.Result, report.TerminalOptions{Width: p.width})
	case "claim-started":
		p.running[e.ID] = e.Time
		p.status()
	case "claim-finished":
		p.done++
		delete(p.running, e.Claim.ID)
		p.clear()
		c := *e.Claim
		switch {
		case !p.terminal || p.verbose:
			fmt.Fprintln(p.out, report.ClaimLine(c, p.color, p.verbose))
		case c.Verdict == report.Fail || c.Verdict == report.Broken:
			// The whole reason comes at the end.
			c.Reason, _, _ = strings.Cut(c.Reason, "\n")
			fmt.Fprintln(p.out, report.ClaimLine(c, p.color, false))
		}
		switch c.Verdict {
		case report.Fail, report.Broken:
			p.bad++
		}
		p.status()
	}
}

// status draws the line that changes: how far, how long, and the claim that
// has run for longest, which is the one to look at when nothing moves.
func (p *progress) status() {
	if !p.terminal {
		return
	}
	oldest := ""
	for id, since := range p.running {
		if oldest == "" || since.Before(p.running[oldest]) {
			oldest = id
		}
	}
	const cells = 20
	filled := cells * p.done / max(1, p.total)
	line := fmt.Sprintf("[%s%s] %d/%d  %.1f s  ", strings.Repeat("=", filled), strings.Repeat(" ", cells-filled),
		p.done, p.total, time.Since(p.started).Seconds())
	if p.bad > 0 {
		line += fmt.Sprintf("%d not kept  ", p.bad)
	}
	line += oldest
	fmt.Fprintf(p.out, "\r\x1b[K%s", line[:min(len(line), p.width-1)])
}

func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) finish(r *report.Result) {
	p.clear()
	report.WriteTerminal(p.out, r, report.TerminalOptions{Color: p.color, Verbose: p.verbose, Width: p.width, Live: true})
}

// eventSink returns a function that writes each event as a line at once.
// openEvents opens the file; one in /dev/fd is the descriptor that it names,
// since not everything (a virtio port) can be opened twice.
func openEvents(path string) (*os.File, error) {
	number, isFD := strings.CutPrefix(path, "/dev/fd/")
	fd, err := strconv.Atoi(number)
	if !isFD || err != nil {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	}
	if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func eventSink(path string, stdout io.Writer) (func(report.Event), func(), error) {
	out, done := stdout, func() {}
	if path != "-" {
		file, err := openEvents(path)
		if err != nil {
			return nil, nil, err
		}
		out, done = file, func() { file.Close() }
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return func(e report.Event) { _ = enc.Encode(e) }, done, nil
}
