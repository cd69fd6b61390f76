package claim

import (
	"fmt"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"bulkhead/harness"
	"bulkhead/internal/report"
)

// Judge turns what Ginkgo says of a spec into the result model: the one place
// where the two meet. ran is false for what is no claim, or is another
// process's to run.
func Judge(spec ginkgo.SpecReport) (c report.Claim, ran bool) {
	id, _, _ := strings.Cut(spec.LeafNodeText, ": ")
	registered, ok := registry[id]
	if !ok || declined == id {
		return c, false
	}
	c = registered.Model()
	c.DurationMS = float64(spec.RunTime.Microseconds()) / 1000
	for _, entry := range spec.ReportEntries {
		switch entry.Name {
		case evidenceEntry:
			c.Evidence = append(c.Evidence, entry.StringRepresentation())
		case remedyEntry:
			c.Remedy = entry.StringRepresentation()
		case wireEntry:
			c.Topology += entry.StringRepresentation() + "\n"
		}
	}
	message := strings.TrimSpace(spec.Failure.Message)
	switch spec.State {
	case types.SpecStatePassed:
		c.Verdict = report.Pass
		if len(c.Evidence) == 0 {
			c.Verdict, c.Reason = report.Broken, "the spec recorded no evidence of what it saw"
		}
	case types.SpecStateFailed:
		c.Verdict, c.Reason = report.Fail, fmt.Sprintf("%s\n%s", registered.Text, message)
		if rest, broken := strings.CutPrefix(message, harness.BrokenPrefix); broken {
			c.Verdict, c.Reason = report.Broken, rest
		} else if spec.Failure.FailureNodeType.Is(types.NodeTypeCleanupAfterEach | types.NodeTypeAfterEach) {
			c.Verdict, c.Reason = report.Broken, "clean-up: "+message
		}
		if c.Verdict == report.Fail && c.Core && c.Remedy == "" {
			c.Remedy = mend(c.ID)
		}
	case types.SpecStateSkipped, types.SpecStatePending:
		c.Verdict, c.Reason = report.Skip, message
	case types.SpecStateTimedout:
		c.Verdict, c.Reason = report.Broken, "time ran out: "+message
	case types.SpecStatePanicked:
		c.Verdict, c.Reason = report.Broken, fmt.Sprintf("the spec panicked: %s %s", message, spec.Failure.ForwardedPanic)
	default:
		c.Verdict, c.Reason = report.Broken, spec.State.String()+": "+message
	}
	return c, true
}
