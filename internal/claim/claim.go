// Package claim holds what bulkhead says of a kernel: each claim with its
// source, its needs and the spec that verifies it, in one registry. It knows
// how a spec ends, and refuses to know who runs it.
package claim

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"bulkhead/harness"
	"bulkhead/internal/report"
)

// Claim is one falsifiable sentence about the kernel.
type Claim struct {
	// ID is AREA/NAME; the area is the part before the slash.
	ID string
	// Text is the claim in words.
	Text string
	// Source says where the claim comes from.
	Source Sources
	// Needs are checked in order before the spec runs.
	Needs Needs
	// Contrast says what the same observation shows without the feature.
	Contrast string
	// Core is true for what Docker, Podman or Kubernetes break without.
	Core bool
	// Since is the first release whose kernel keeps the claim, as "5.12".
	Since string
	// Try is the shell line that shows the same thing by hand. Claims without
	// one are in Untyped.
	Try string
	// Shows is all that Try prints, its errors too, with … and <words> for
	// what differs from machine to machine: see Shown.
	Shows string
	// Serial is true for a spec that no other may run beside, on this machine.
	Serial bool
	// Topology draws the network, for a claim without a spec that does: see Wire.
	Topology string
}

// Area is the part of the ID before the slash.
func (c Claim) Area() string {
	area, _, _ := strings.Cut(c.ID, "/")
	return area
}

// Model is the claim as the result model has it, without a verdict.
func (c Claim) Model() report.Claim {
	m := report.Claim{
		ID: c.ID, Area: c.Area(), Core: c.Core, Text: c.Text, Contrast: c.Contrast,
		Since: c.Since, Try: c.Try, Topology: c.Topology, Source: []string{}, Needs: []string{},
	}
	for _, s := range c.Source {
		m.Source = append(m.Source, s.String())
	}
	for _, n := range c.Needs {
		m.Needs = append(m.Needs, n.Name)
	}
	return m
}

// Source is a place that makes the statement.
type Source struct{ Work, Section string }

// Sources are a claim's places.
type Sources []Source

func (s Source) String() string {
	if s.Section == "" {
		return s.Work
	}
	return s.Work + ", " + s.Section
}

// Man is a manual page, as Man("pid_namespaces(7)", "The namespace init process").
func Man(page, section string) Source { return Source{page, section} }

// Article is a section of "Containers from Scratch: Deep Dive into Container
// Networking".
func Article(section string) Source { return Source{"article", section} }

// Article2 is a section of its sequel on VXLAN between two hosts.
func Article2(section string) Source { return Source{"article, part 2", section} }

// Doc is any other document.
func Doc(work, section string) Source { return Source{work, section} }

var registry = map[string]Claim{}

// TimeoutVariable is the environment variable that holds the time one spec
// may take, as time.ParseDuration reads it.
const TimeoutVariable = "BULKHEAD_SPEC_TIMEOUT"

// DefaultTimeout is the time one spec may take.
const DefaultTimeout = 30 * time.Second

// Take decides whether this process runs the claim; nil means all of them. A
// run of several processes shares the claims out through it.
var Take func(id string) bool

// declined is the claim that this process came to last and left to another.
var declined string

// It registers the claim and the spec that verifies it. A claim without an
// ID, text, source or contrast, or with an ID that is taken, is a panic.
func It(c Claim, body func(ctx ginkgo.SpecContext)) bool {
	switch {
	case !strings.Contains(c.ID, "/") || c.Text == "" || len(c.Source) == 0 || c.Contrast == "":
		panic(fmt.Sprintf("claim %q needs an ID, a text, a source and a contrast", c.ID))
	case registry[c.ID].ID != "":
		panic("claim registered twice: " + c.ID)
	}
	if c.Since != "" {
		c.Needs = append(Needs{Kernel(c.Since)}, c.Needs...)
	}
	registry[c.ID] = c
	if !wanted(c.ID) {
		return true
	}
	args := []any{ginkgo.Label(c.Area()), ginkgo.SpecTimeout(timeout()), ginkgo.GracePeriod(5 * time.Second)}
	if c.Core {
		args = append(args, ginkgo.Label("core"))
	}
	if c.Serial {
		args = append(args, ginkgo.Serial)
	}
	args = append(args, func(ctx ginkgo.SpecContext) {
		if Take != nil && !Take(c.ID) {
			// A Skip would cost a stack trace each.
			declined = c.ID
			return
		}
		harness.Watch()
		c.Needs.Check(ctx)
		body(ctx)
	})
	return ginkgo.It(c.ID+": "+c.Text, args...)
}

// OnlyVariable is the environment variable with the IDs of the claims whose specs
// are registered, with commas between; without it they all are. A spec costs
// time even when it is another process's to run.
const OnlyVariable = "BULKHEAD_CLAIMS"

var only = func() map[string]bool {
	value, set := os.LookupEnv(OnlyVariable)
	if !set {
		return nil
	}
	ids := map[string]bool{}
	for _, id := range strings.Split(value, ",") {
		ids[id] = true
	}
	return ids
}()

func wanted(id string) bool { return only == nil || only[id] }

func timeout() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(TimeoutVariable)); err == nil && d > 0 {
		return d
	}
	return DefaultTimeout
}

// All returns every registered claim, by ID.
func All() []Claim {
	all := make([]Claim, 0, len(registry))
	for _, c := range registry {
		all = append(all, c)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	return all
}

// Get returns the claim with the ID.
func Get(id string) (Claim, bool) {
	c, ok := registry[id]
	return c, ok
}

// Areas returns every area that has a claim, in order.
func Areas() []string {
	seen := map[string]bool{}
	var areas []string
	for _, c := range All() {
		if !seen[c.Area()] {
			seen[c.Area()] = true
			areas = append(areas, c.Area())
		}
	}
	return areas
}

const (
	evidenceEntry = "evidence"
	remedyEntry   = "remedy"
	wireEntry     = "wire"
)

// Evidence keeps a value that the spec saw, for the report. A nil error among
// the arguments reads "success".
func Evidence(format string, args ...any) {
	for i, a := range args {
		if a == nil {
			args[i] = "success"
		}
	}
	ginkgo.AddReportEntry(evidenceEntry, fmt.Sprintf(format, args...), ginkgo.ReportEntryVisibilityNever)
}

// Wire keeps a wire of the network that the spec builds, each end as
// "machine:interface", for the drawing in the report.
func Wire(a, b string) {
	ginkgo.AddReportEntry(wireEntry, a+" ---- "+b, ginkgo.ReportEntryVisibilityNever)
}
