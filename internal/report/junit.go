package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	Class     string        `xml:"classname,attr"`
	Time      string        `xml:"time,attr"`
	Failure   *junitMessage `xml:"failure"`
	Error     *junitMessage `xml:"error"`
	Skipped   *junitMessage `xml:"skipped"`
	SystemOut string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes JUnit XML as GitLab, Jenkins and GitHub read it: a suite
// an area; failed is a failure, broken an error. An accepted failure is skipped:
// JUnit has no word for one that is known.
func WriteJUnit(w io.Writer, r *Result) error {
	seconds := func(ms float64) string { return fmt.Sprintf("%.6f", ms/1000) }
	all := junitCount(r.Claims)
	root := junitSuites{
		Name: "bulkhead", Tests: len(r.Claims), Failures: all.Fail, Errors: all.Broken,
		Skipped: all.Skip, Time: seconds(r.DurationMS),
	}
	for _, area := range byArea(r.Claims) {
		sum, total := junitCount(area), 0.0
		suite := junitSuite{
			Name: area[0].Area, Tests: len(area), Failures: sum.Fail, Errors: sum.Broken, Skipped: sum.Skip,
			Timestamp: r.Started.Format("2006-01-02T15:04:05"),
		}
		for _, c := range area {
			total += c.DurationMS
			jc := junitCase{Name: c.ID, Class: "bulkhead." + c.Area, Time: seconds(c.DurationMS), SystemOut: strings.Join(c.Evidence, "\n")}
			first, _, _ := strings.Cut(c.Reason, "\n")
			message := &junitMessage{Message: first, Text: c.Reason}
			if c.Remedy != "" {
				message.Text += "\nmended by: " + c.Remedy
			}
			switch {
			case c.Accepted != nil:
				message.Message = fmt.Sprintf("%s, accepted until %s: %s", c.Verdict, c.Accepted.Expires, c.Accepted.Reason)
				jc.Skipped = message
			case c.Verdict == Fail:
				jc.Failure = message
			case c.Verdict == Broken:
				jc.Error = message
			case c.Verdict == Skip:
				jc.Skipped = message
			}
			suite.Cases = append(suite.Cases, jc)
		}
		suite.Time = seconds(total)
		root.Suites = append(root.Suites, suite)
	}
	if whole := r.wholeProblems(); len(whole) > 0 {
		root.Tests++
		root.Errors++
		root.Suites = append(root.Suites, junitSuite{
			Name: "run", Tests: 1, Errors: 1, Time: seconds(0), Timestamp: r.Started.Format("2006-01-02T15:04:05"),
			Cases: []junitCase{{Name: "run", Class: "bulkhead.run", Time: seconds(0),
				Error: &junitMessage{Message: whole[0], Text: strings.Join(whole, "\n")}}},
		})
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(root); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// junitCount is Count with accepted failures among the skips.
func junitCount(claims []Claim) Summary {
	s := Count(claims)
	for _, c := range claims {
		if c.Verdict == Fail && c.Accepted != nil {
			s.Fail--
			s.Skip++
		}
	}
	return s
}

// byArea groups claims by area, in the order they come in.
func byArea(claims []Claim) [][]Claim {
	index := map[string]int{}
	var groups [][]Claim
	for _, c := range claims {
		i, ok := index[c.Area]
		if !ok {
			i = len(groups)
			index[c.Area] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}
