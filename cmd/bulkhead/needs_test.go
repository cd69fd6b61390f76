package main

import (
	"fmt"
	"strings"
	"testing"

	"bulkhead/internal/kernel"
)

// TestNeedsOfOneNameAreTriedEach: whether setgroups(2) is denied to an ordinary
// user is asked of the machine by one claim and of the stage by another, with
// another answer, whichever comes first.
func TestNeedsOfOneNameAreTriedEach(t *testing.T) {
	const ofMachine, ofStage = "user/setgroups-deny-is-final-and-inherited", "user/setgroups-deny-impossible-after-gid-map"
	first := map[string]bool{}
	for seed := 1; len(first) < 2; seed++ {
		if seed > 20 {
			t.Fatalf("%v is first with all of 20 seeds", first)
		}
		cmd := command("run", "--procs", "1", "--seed", fmt.Sprint(seed), "--claim", ofMachine+","+ofStage)
		if kernel.IsRoot() {
			wrap(t, cmd, "setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups")
		}
		out, err := cmd.CombinedOutput()
		said := string(out)
		pass, skip := strings.Index(said, "pass   "+ofMachine), strings.Index(said, "skip   "+ofStage)
		if err != nil || pass < 0 || skip < 0 {
			t.Fatalf("seed %d: %v\n%s", seed, err, said)
		}
		if pass < skip {
			first[ofMachine] = true
		} else {
			first[ofStage] = true
		}
	}
}
