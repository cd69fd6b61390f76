// Package report holds the result of a run and writes it in the formats that
// people read and machines eat. It knows nothing of Ginkgo, of the harness or
// of how a claim is verified.
package report

import "time"

// SchemaVersion is the version of the result JSON. A reader accepts any minor
// version of the same major one.
const SchemaVersion = "1.2"

// Verdict is what became of a claim.
type Verdict string

const (
	// Pass: the kernel keeps the claim.
	Pass Verdict = "pass"
	// Fail: the kernel contradicts the claim.
	Fail Verdict = "fail"
	// Broken: the suite could not tell.
	Broken Verdict = "broken"
	// Skip: the kernel or the caller's rights do not offer the feature.
	Skip Verdict = "skip"
)

// Result is everything one run found. Its JSON is described by
// docs/results.schema.json.
type Result struct {
	Version    string    `json:"version"`
	Tool       Tool      `json:"tool"`
	Kernel     Kernel    `json:"kernel"`
	Started    time.Time `json:"started"`
	DurationMS float64   `json:"duration_ms"`
	// Seed is the seed of the random order.
	Seed int64 `json:"seed"`
	// Partial is true when the run was interrupted; Claims then holds what
	// was known by then.
	Partial bool `json:"partial"`
	// Interrupted names the claims that were running when a partial run ended.
	Interrupted []string `json:"interrupted,omitempty"`
	// Selected is how many claims the run was to verify, 0 when unknown.
	Selected int `json:"selected,omitempty"`
	// Leftovers are the differences of the machine before and after.
	Leftovers []string `json:"leftovers,omitempty"`
	// Baseline says what a list of accepted verdicts was good for, nil without.
	Baseline *Baseline `json:"baseline,omitempty"`
	Summary  Summary   `json:"summary"`
	Claims   []Claim   `json:"claims"`
}

// Baseline is a list of accepted verdicts that a result was held against.
type Baseline struct {
	File string `json:"file"`
	// Notes are the entries that accept nothing here.
	Notes []BaselineNote `json:"notes"`
}

// BaselineNote is an entry of a baseline that accepts nothing, and why.
type BaselineNote struct {
	// Line is where the entry begins in the file, from 1.
	Line  int    `json:"line"`
	Claim string `json:"claim"`
	Why   string `json:"why"`
}

// Acceptance is a baseline's word for a verdict that is known.
type Acceptance struct {
	Reason string `json:"reason"`
	// Expires is the last day it counts, as "2027-01-31".
	Expires string `json:"expires"`
}

// Tool says which bulkhead made the result.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Kernel is the identity of the kernel under test and of the machine around it.
type Kernel struct {
	// Release, Version and Arch are uname(2)'s release, version and machine.
	Release string `json:"release"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	// OS is PRETTY_NAME of os-release, empty where there is none.
	OS      string `json:"os"`
	Cmdline string `json:"cmdline"`
	// ConfigSHA256 is the digest of the kernel configuration, empty when it
	// cannot be read.
	ConfigSHA256 string `json:"config_sha256"`
	// SecurityModules are the names in /sys/kernel/security/lsm, in order.
	SecurityModules []string `json:"security_modules"`
	// Cgroup is "v1", "v2", "hybrid" or "none".
	Cgroup string `json:"cgroup"`
	// Root is true when the run had root in the initial user namespace.
	Root bool `json:"root"`
}

// Summary counts the claims by verdict.
type Summary struct {
	Pass   int `json:"pass"`
	Fail   int `json:"fail"`
	Broken int `json:"broken"`
	Skip   int `json:"skip"`
}

// Claim is one claim and, in a result, what became of it.
type Claim struct {
	ID   string `json:"id"`
	Area string `json:"area"`
	Core bool   `json:"core"`
	// Verdict is empty in `bulkhead list --json`.
	Verdict Verdict `json:"verdict,omitempty"`
	// Reason is the message of a failure, what broke, or what is missing.
	Reason string `json:"reason,omitempty"`
	// Remedy says what would provide the missing feature.
	Remedy string `json:"remedy,omitempty"`
	// Accepted is set when a baseline accepts the failure or the skip.
	Accepted   *Acceptance `json:"accepted,omitempty"`
	Evidence   []string    `json:"evidence,omitempty"`
	DurationMS float64     `json:"duration_ms"`
	Text       string      `json:"text"`
	Source     []string    `json:"source"`
	Needs      []string    `json:"needs"`
	// Contrast says what the same probe shows without the feature.
	Contrast string `json:"contrast,omitempty"`
	// Since is the first kernel release that keeps the claim, as "5.12".
	Since string `json:"since,omitempty"`
	Try   string `json:"try"`
	// Topology is the network that the spec built: a line a wire, as
	// "host:veth0 ---- container:eth0", or a drawing of another kind.
	Topology string `json:"topology,omitempty"`
}

// Count tallies the claims by verdict.
func Count(claims []Claim) Summary {
	var s Summary
	for _, c := range claims {
		switch c.Verdict {
		case Pass:
			s.Pass++
		case Fail:
			s.Fail++
		case Broken:
			s.Broken++
		case Skip:
			s.Skip++
		}
	}
	return s
}

// ExitStatus is the exit status of a run with this result: 0 nothing failed,
// 1 a claim failed, 3 something was broken when nothing failed. strict counts
// a skipped core claim as failed. What a baseline accepts does not count. A run
// that verified nothing is broken.
func (r *Result) ExitStatus(strict bool) int {
	status := 0
	verified := false
	if r.Partial || len(r.Leftovers) > 0 {
		status = 3
	}
	for _, c := range r.Claims {
		switch c.Verdict {
		case Fail:
			if c.Accepted == nil {
				return 1
			}
			verified = true
		case Skip:
			if strict && c.Core && c.Accepted == nil {
				return 1
			}
		case Pass:
			verified = true
		default:
			status = 3
		}
	}
	if !verified {
		return 3
	}
	return status
}
