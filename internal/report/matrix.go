package report

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Matrix is the results of several kernels, side by side.
type Matrix struct {
	Version string `json:"version"`
	Rows    []Row  `json:"matrix"`
}

// Row is one kernel of a matrix and what came of it.
type Row struct {
	// Kernel is the name the kernel was asked for by.
	Kernel string `json:"kernel"`
	// Status is the exit status of its run.
	Status int `json:"status"`
	// Error says why there is no result.
	Error  string  `json:"error,omitempty"`
	Result *Result `json:"result,omitempty"`
}

// Title is what a reader knows the kernel by.
func (r *Row) Title() string {
	if r.Result == nil {
		return r.Kernel
	}
	return fmt.Sprintf("%s %s", r.Result.Kernel.Release, r.Result.Kernel.Arch)
}

// Add appends the rows of another matrix.
func (m *Matrix) Add(o *Matrix) { m.Rows = append(m.Rows, o.Rows...) }

// Keep leaves only the kernels that were asked for by this name or are of this
// release.
func (m *Matrix) Keep(kernel string) error {
	var kept []Row
	var others []string
	for _, row := range m.Rows {
		if row.Kernel == kernel || row.Result != nil && row.Result.Kernel.Release == kernel {
			kept = append(kept, row)
		}
		others = append(others, row.Kernel)
	}
	if len(kept) == 0 {
		return fmt.Errorf("no kernel is named %q: there are %s", kernel, strings.Join(others, ", "))
	}
	m.Rows = kept
	return nil
}

// Single is the result of a matrix of one kernel, else nil.
func (m *Matrix) Single() *Result {
	if len(m.Rows) != 1 {
		return nil
	}
	return m.Rows[0].Result
}

// matrixLine is one claim on every kernel; a cell is nil where the kernel's
// result does not have the claim.
type matrixLine struct {
	claim   Claim
	cells   []*Claim
	differs bool
}

// lines are the claims of all results, by ID. A claim differs when its
// verdicts are not all the same, or not all passes and skips.
func (m *Matrix) lines() []*matrixLine {
	byID := map[string]*matrixLine{}
	var lines []*matrixLine
	for i, row := range m.Rows {
		if row.Result == nil {
			continue
		}
		for j := range row.Result.Claims {
			c := &row.Result.Claims[j]
			l := byID[c.ID]
			if l == nil {
				l = &matrixLine{claim: *c, cells: make([]*Claim, len(m.Rows))}
				byID[c.ID] = l
				lines = append(lines, l)
			}
			l.cells[i] = c
		}
	}
	sort.Slice(lines, func(i, j int) bool { return lines[i].claim.ID < lines[j].claim.ID })
	for _, l := range lines {
		first := Verdict("")
		for i, c := range l.cells {
			v := Verdict("")
			if c != nil {
				v = c.Verdict
			} else if m.Rows[i].Result == nil {
				continue
			}
			if first == "" {
				first = v
			}
			l.differs = l.differs || v != first || v != Pass && v != Skip
		}
	}
	return lines
}

// claims are those of the lines.
func claims(lines []*matrixLine) (all []Claim) {
	for _, l := range lines {
		all = append(all, l.claim)
	}
	return all
}

// matrixGap is something that is missing on some kernels.
type matrixGap struct {
	Gap
	rows []int
}

// missing groups what the kernels lack, what the most claims are skipped for
// first.
func (m *Matrix) missing() (all []*matrixGap) {
	at := map[[2]string]*matrixGap{}
	for i, row := range m.Rows {
		if row.Result == nil {
			continue
		}
		for _, g := range row.Result.Missing() {
			key := [2]string{g.Reason, g.Remedy}
			if at[key] == nil {
				at[key] = &matrixGap{Gap: Gap{Reason: g.Reason, Remedy: g.Remedy}}
				all = append(all, at[key])
			}
			at[key].IDs = append(at[key].IDs, g.IDs...)
			at[key].rows = append(at[key].rows, i)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return len(all[i].IDs) > len(all[j].IDs) })
	return all
}

// withResult is how many kernels have a result.
func (m *Matrix) withResult() (n int) {
	for _, row := range m.Rows {
		if row.Result != nil {
			n++
		}
	}
	return n
}

// numbers are the kernels as the terminal numbers them; every one that has a
// result is "all".
func (m *Matrix) numbers(rows []int) string {
	if len(rows) == m.withResult() {
		return "all"
	}
	var n []string
	for _, i := range rows {
		n = append(n, strconv.Itoa(i+1))
	}
	return strings.Join(n, ", ")
}

// names are the titles of the kernels.
func (m *Matrix) names(rows []int) string {
	if len(rows) == m.withResult() && len(rows) > 1 {
		return "every kernel"
	}
	var n []string
	for _, i := range rows {
		n = append(n, m.Rows[i].Title())
	}
	return strings.Join(n, ", ")
}

func sortGaps(gaps []Gap) {
	sort.SliceStable(gaps, func(i, j int) bool { return len(gaps[i].IDs) > len(gaps[j].IDs) })
}
