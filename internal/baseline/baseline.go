// Package baseline reads a list of failures and skips that somebody accepts for
// a while, each with a reason, and holds a result against it. It refuses to know
// how the result came about.
package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"bulkhead/internal/report"
)

// Entry is one accepted verdict of one claim.
type Entry struct {
	// Line is where the entry begins in the file, from 1.
	Line    int
	Claim   string
	Verdict report.Verdict
	Reason  string
	// Expires is the last day, in UTC, on which the entry counts.
	Expires time.Time
}

// List is the entries of a file.
type List struct {
	File    string
	Entries []Entry
}

const day = "2006-01-02"

// Read reads a baseline:
//
//	accepted:
//	  - claim: net/some-claim
//	    verdict: fail        # or skip
//	    reason: issue 1234, mended in 6.20
//	    expires: 2027-01-31
//
// Every field is needed. An error is one line with the file, the line and the
// entry that is wrong.
func Read(path string) (*List, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: is not YAML: %s", path, strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more follows after the list of accepted verdicts", path)
	}
	l := &List{File: path}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: has no list named accepted", path)
	}
	top := doc.Content[0]
	if len(top.Content) != 2 || top.Content[0].Value != "accepted" || top.Content[1].Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%s:%d: needs a list named accepted, and nothing else", path, top.Line)
	}
	lines := map[string]int{}
	for i, node := range top.Content[1].Content {
		e, err := readEntry(node)
		if err == nil && lines[e.Claim] > 0 {
			err = fmt.Errorf("the claim stands on line %d already", lines[e.Claim])
		}
		if err != nil {
			name := ""
			if e.Claim != "" {
				name = " (" + e.Claim + ")"
			}
			return nil, fmt.Errorf("%s:%d: entry %d%s: %w", path, node.Line, i+1, name, err)
		}
		lines[e.Claim] = e.Line
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

// readEntry returns what it could read of an entry beside the error.
func readEntry(node *yaml.Node) (Entry, error) {
	e := Entry{Line: node.Line}
	if node.Kind != yaml.MappingNode {
		return e, errors.New("is not a claim with its verdict, reason and expires")
	}
	fields := map[string]string{"claim": "", "verdict": "", "reason": "", "expires": ""}
	var wrong error
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i].Value, node.Content[i+1]
		was, known := fields[key]
		switch {
		case wrong != nil:
		case !known:
			wrong = fmt.Errorf("has a field %q, and may have only claim, verdict, reason and expires", key)
		case value.Kind != yaml.ScalarNode:
			wrong = fmt.Errorf("%s is not a text", key)
		case was != "":
			wrong = fmt.Errorf("has %s twice", key)
		}
		if known && value.Kind == yaml.ScalarNode && value.Tag != "!!null" {
			fields[key] = strings.Join(strings.Fields(value.Value), " ")
		}
	}
	e.Claim, e.Verdict, e.Reason = fields["claim"], report.Verdict(fields["verdict"]), fields["reason"]
	if wrong != nil {
		return e, wrong
	}
	for _, key := range []string{"claim", "verdict", "reason", "expires"} {
		if fields[key] == "" {
			return e, fmt.Errorf("has no %s", key)
		}
	}
	if e.Verdict != report.Fail && e.Verdict != report.Skip {
		return e, fmt.Errorf("verdict %q cannot be accepted: only fail and skip can", fields["verdict"])
	}
	var err error
	if e.Expires, err = time.Parse(day, fields["expires"]); err != nil {
		return e, fmt.Errorf("expires %q is no date as 2027-01-31", fields["expires"])
	}
	return e, nil
}

// Apply marks what the list accepts of a result and notes each entry that
// accepts nothing: because its claim is kept, or has another verdict, or is
// unknown, or because it is expired on the day the run began. known says
// whether a claim exists. What the run was not asked to verify is not noted.
func (l *List) Apply(r *report.Result, known func(id string) bool) {
	b := &report.Baseline{File: l.File, Notes: []report.BaselineNote{}}
	at := map[string]*report.Claim{}
	for i := range r.Claims {
		r.Claims[i].Accepted = nil
		at[r.Claims[i].ID] = &r.Claims[i]
	}
	today := r.Started.UTC().Truncate(24 * time.Hour)
	for _, e := range l.Entries {
		why := ""
		c := at[e.Claim]
		switch {
		case c == nil && !known(e.Claim):
			why = "no claim has this ID"
		case c == nil:
		case c.Verdict == report.Pass:
			why = "the claim is kept: the entry can go"
		case c.Verdict != e.Verdict:
			why = fmt.Sprintf("accepts %s, and the verdict is %s", e.Verdict, c.Verdict)
		case today.After(e.Expires):
			why = fmt.Sprintf("expired on %s and accepts nothing any more: %s", e.Expires.Format(day), e.Reason)
		default:
			c.Accepted = &report.Acceptance{Reason: e.Reason, Expires: e.Expires.Format(day)}
		}
		if why != "" {
			b.Notes = append(b.Notes, report.BaselineNote{Line: e.Line, Claim: e.Claim, Why: why})
		}
	}
	r.Baseline = b
}
