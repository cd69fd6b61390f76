package report

import "time"

// Event is one line of `run --events`: something that happened, written and
// flushed at once so that it survives a crash of the machine under test.
type Event struct {
	// Event is "run-started", "claim-started", "claim-finished" or "run-finished".
	Event string    `json:"event"`
	Time  time.Time `json:"time"`
	// ID is the claim of a claim-started event.
	ID string `json:"id,omitempty"`
	// Claim is the finished claim, whole.
	Claim *Claim `json:"claim,omitempty"`
	// Result is, in run-started, the run's identity (tool, kernel, seed) with
	// every selected claim without a verdict; in run-finished, the result.
	Result *Result `json:"result,omitempty"`
}
