package report

import (
	"fmt"
	"strings"
)

// trouble is what failed or was broken: a claim, or several broken ones that have
// one reason.
type trouble struct {
	// claim is the first of them.
	claim *Claim
	// alike are the IDs of all where they are told together.
	alike []string
	// rows are the kernels, by their places in a matrix.
	rows []int
}

// manyAlike is how many broken claims with one reason are told together: one
// cause can break them all.
const manyAlike = 4

// troubles are the failures and then the broken claims, but for accepted ones.
func (r *Result) troubles() []*trouble {
	var all []*trouble
	for _, v := range []Verdict{Fail, Broken} {
		for i, c := range r.Claims {
			if c.Verdict == v && c.Accepted == nil {
				all = append(all, &trouble{claim: &r.Claims[i]})
			}
		}
	}
	return together(all)
}

// troubles are the failures on some kernels and then the broken claims, a trouble
// for each of a claim's reasons.
func (m *Matrix) troubles(lines []*matrixLine) []*trouble {
	var all []*trouble
	for _, v := range []Verdict{Fail, Broken} {
		for _, l := range lines {
			at := map[string]*trouble{}
			for i, c := range l.cells {
				if c == nil || c.Verdict != v {
					continue
				}
				t := at[c.Reason]
				if t == nil {
					t = &trouble{claim: c}
					at[c.Reason] = t
					all = append(all, t)
				}
				t.rows = append(t.rows, i)
			}
		}
	}
	return together(all)
}

// together makes one of the many broken claims that have a reason in common.
func together(all []*trouble) (fewer []*trouble) {
	cause := func(t *trouble) string { return fmt.Sprint(t.rows, t.claim.Reason) }
	alike := map[string][]string{}
	for _, t := range all {
		if t.claim.Verdict == Broken {
			alike[cause(t)] = append(alike[cause(t)], t.claim.ID)
		}
	}
	for _, t := range all {
		if ids := alike[cause(t)]; t.claim.Verdict == Broken && len(ids) >= manyAlike {
			if t.claim.ID != ids[0] {
				continue
			}
			t.alike = ids
		}
		fewer = append(fewer, t)
	}
	return fewer
}

// brief names claims out of all: by their area where that is there whole, and by
// their number where many of an area are.
func brief(ids []string, all []Claim) string {
	if len(ids) == len(all) {
		return "all of them"
	}
	in := map[string]bool{}
	for _, id := range ids {
		in[id] = true
	}
	var names []string
	for _, area := range byArea(all) {
		var here []string
		for _, c := range area {
			if in[c.ID] {
				here = append(here, c.ID)
			}
		}
		switch {
		case len(here) == len(area) && len(area) > 1:
			here = []string{area[0].Area + "/*"}
		case len(here) >= 2*manyAlike:
			here = []string{fmt.Sprintf("%s/* (%d of %d)", area[0].Area, len(here), len(area))}
		}
		names = append(names, here...)
	}
	return strings.Join(names, ", ")
}
