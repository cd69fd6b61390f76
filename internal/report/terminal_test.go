package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestOneCauseIsToldOnce(t *testing.T) {
	r := &Result{}
	for i := range 6 {
		r.Claims = append(r.Claims, Claim{ID: fmt.Sprintf("uts/c%d", i), Area: "uts", Verdict: Broken, Reason: "no stage"})
	}
	r.Claims = append(r.Claims, Claim{ID: "uts/other", Area: "uts", Verdict: Broken, Reason: "another reason"})
	r.Summary = Count(r.Claims)
	var b bytes.Buffer
	WriteTerminal(&b, r, TerminalOptions{})
	out := b.String()
	if strings.Count(out, "no stage") != 1 || strings.Count(out, "another reason") != 1 {
		t.Error(out)
	}
	for _, c := range r.Claims {
		if !strings.Contains(out, c.ID) {
			t.Errorf("%s is not named in\n%s", c.ID, out)
		}
	}
}

func TestAreasThatAreWholeAreNamedAsAreas(t *testing.T) {
	ids := []string{"ipc/a", "ipc/b", "ns/a", "uts/a", "uts/b"}
	for i := range 9 {
		ids = append(ids, fmt.Sprintf("pid/%d", i))
	}
	var all []Claim
	for _, id := range ids {
		area, _, _ := strings.Cut(id, "/")
		all = append(all, Claim{ID: id, Area: area})
	}
	for _, c := range []struct {
		ids  []string
		want string
	}{
		{[]string{"ipc/a", "ipc/b", "ns/a", "uts/b"}, "ipc/*, ns/a, uts/b"},
		{[]string{"ipc/b", "uts/a", "uts/b"}, "ipc/b, uts/*"},
		{ids[5:13], "pid/* (8 of 9)"},
		{ids[6:13], "pid/1, pid/2, pid/3, pid/4, pid/5, pid/6, pid/7"},
		{ids, "all of them"},
	} {
		if got := brief(c.ids, all); got != c.want {
			t.Errorf("%q are %q, not %q", c.ids, got, c.want)
		}
	}
}

func TestARunThatVerifiedNothingSaysSo(t *testing.T) {
	r := &Result{Claims: []Claim{{ID: "uts/a", Area: "uts", Verdict: Skip, Reason: "needs root"}}}
	r.Summary = Count(r.Claims)
	var b bytes.Buffer
	WriteTerminal(&b, r, TerminalOptions{})
	if !strings.Contains(b.String(), "it verified nothing") || r.ExitStatus(false) != 3 {
		t.Error(b.String())
	}
}
