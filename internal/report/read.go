package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
)

// ReadFile reads what a run left behind: a result, a matrix of results, or
// the events of a run, also of one that was cut short. The error names the
// file and is one line.
func ReadFile(path string) (*Matrix, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Read(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Read is ReadFile on the file's content. A result becomes a matrix of one.
func Read(raw []byte) (*Matrix, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, errors.New("is empty")
	}
	var kind struct {
		Event  *string          `json:"event"`
		Matrix *json.RawMessage `json:"matrix"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&kind); err != nil {
		if bytes.HasPrefix(raw, []byte(`{"event":`)) && errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("the events end before the run began")
		}
		return nil, jsonError(err)
	}
	if kind.Event != nil {
		r, err := readEvents(raw)
		if err != nil {
			return nil, err
		}
		return one(r), nil
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows after the result")
	}
	if kind.Matrix == nil {
		var r Result
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, jsonError(err)
		}
		return one(&r), r.check()
	}
	var m Matrix
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, jsonError(err)
	}
	if err := checkVersion(m.Version); err != nil {
		return nil, err
	}
	if len(m.Rows) == 0 {
		return nil, errors.New("the matrix has no kernel")
	}
	for i, row := range m.Rows {
		if row.Result == nil {
			if row.Error == "" {
				return nil, fmt.Errorf("kernel %d of the matrix (%q) has neither a result nor an error", i+1, row.Kernel)
			}
			continue
		}
		if err := row.Result.check(); err != nil {
			return nil, fmt.Errorf("kernel %d of the matrix (%q): %w", i+1, row.Kernel, err)
		}
	}
	return &m, nil
}

func one(r *Result) *Matrix {
	return &Matrix{Version: SchemaVersion, Rows: []Row{{Kernel: r.Kernel.Release, Status: r.ExitStatus(false), Result: r}}}
}

func jsonError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || err.Error() == "unexpected end of JSON input" {
		return errors.New("is cut short: the JSON has no end")
	}
	return fmt.Errorf("is not a result: %w", err)
}

func checkVersion(v string) error {
	ours, _, _ := strings.Cut(SchemaVersion, ".")
	major, minor, ok := strings.Cut(v, ".")
	_, err := strconv.ParseUint(minor, 10, 32)
	switch {
	case v == "":
		return errors.New("is not a result: it names no version")
	case !ok || err != nil:
		return fmt.Errorf("is not a result: version %q", v)
	case major != ours:
		return fmt.Errorf("is of version %s of the format, and only %s.x is known here", v, ours)
	}
	return nil
}

// check finds what a result must not lack. What a newer minor version adds is
// let pass.
func (r *Result) check() error {
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	if r.Kernel.Release == "" {
		return errors.New("is not a result: it names no kernel")
	}
	if r.Claims == nil {
		return errors.New("is not a result: it has no claims")
	}
	seen := map[string]bool{}
	for i := range r.Claims {
		c := &r.Claims[i]
		if err := c.check(); err != nil {
			return err
		}
		if seen[c.ID] {
			return fmt.Errorf("claim %s is there twice", c.ID)
		}
		seen[c.ID] = true
	}
	if n := Count(r.Claims); n != r.Summary {
		return fmt.Errorf("the summary %v does not count its claims, %v", r.Summary, n)
	}
	return nil
}

func (c *Claim) check() error {
	area, _, ok := strings.Cut(c.ID, "/")
	if !ok || area == "" {
		return fmt.Errorf("%q is not the ID of a claim", c.ID)
	}
	if c.Area == "" {
		c.Area = area
	}
	switch c.Verdict {
	case Pass, Fail, Broken, Skip:
		return nil
	}
	return fmt.Errorf("claim %s has the verdict %q", c.ID, c.Verdict)
}

// readEvents puts a result together from the events of a run. The last line
// may be cut: the machine can have died while it was written.
func readEvents(raw []byte) (*Result, error) {
	var r *Result
	done := map[string]bool{}
	running := map[string]bool{}
	for n := 1; len(raw) > 0; n++ {
		line, rest, whole := bytes.Cut(raw, []byte("\n"))
		raw = rest
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			if !whole {
				break
			}
			return nil, fmt.Errorf("line %d is not an event: %v", n, err)
		}
		if r == nil && (e.Event != "run-started" || e.Result == nil) {
			return nil, fmt.Errorf("line %d: the events do not begin with run-started", n)
		}
		switch e.Event {
		case "run-started":
			if r != nil {
				return nil, fmt.Errorf("line %d: the run starts a second time", n)
			}
			if err := checkVersion(e.Result.Version); err != nil {
				return nil, err
			}
			r = e.Result
			r.Selected = len(r.Claims)
			r.Claims = []Claim{}
		case "claim-started":
			running[e.ID] = true
		case "claim-finished":
			if e.Claim == nil {
				return nil, fmt.Errorf("line %d: a claim finishes that is not there", n)
			}
			if err := e.Claim.check(); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			if done[e.Claim.ID] {
				return nil, fmt.Errorf("line %d: claim %s finishes a second time", n, e.Claim.ID)
			}
			done[e.Claim.ID] = true
			delete(running, e.Claim.ID)
			r.Claims = append(r.Claims, *e.Claim)
			r.DurationMS = float64(e.Time.Sub(r.Started).Microseconds()) / 1000
		case "run-finished":
			if e.Result == nil {
				return nil, fmt.Errorf("line %d: the run finishes without a result", n)
			}
			if len(bytes.TrimSpace(raw)) > 0 {
				return nil, fmt.Errorf("line %d: the events go on after the end of the run", n+1)
			}
			return e.Result, e.Result.check()
		}
		// A newer minor version may have other events.
	}
	if r == nil {
		return nil, errors.New("the events end before the run began")
	}
	r.Partial = true
	for id := range running {
		r.Interrupted = append(r.Interrupted, id)
	}
	sort.Strings(r.Interrupted)
	sort.Slice(r.Claims, func(i, j int) bool { return r.Claims[i].ID < r.Claims[j].ID })
	r.Summary = Count(r.Claims)
	return r, nil
}
