package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bulkhead/internal/report"
)

// TestBaselineDecidesTheExitStatus runs in a user namespace, where a core claim
// that needs root is skipped, which --strict counts as failed.
func TestBaselineDecidesTheExitStatus(t *testing.T) {
	const skipped, kept = "user/privileged-parent-maps-ranges", "uts/members-share-changes"
	dir := t.TempDir()
	entry := func(claim, verdict, expires string) string {
		return "  - {claim: " + claim + ", verdict: " + verdict + ", reason: known here, expires: " + expires + "}\n"
	}
	run := func(baseline string) (string, int, *report.Result) {
		file := filepath.Join(dir, "known.yaml")
		if err := os.WriteFile(file, []byte("accepted:\n"+baseline), 0o644); err != nil {
			t.Fatal(err)
		}
		events := filepath.Join(dir, "events")
		cmd := command("run", "--claim", skipped+","+kept, "--strict", "--baseline", file, "--events", events)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if cmd.ProcessState == nil {
			t.Skip("no user namespace to be had: ", err)
		}
		m, err := report.ReadFile(events)
		if err != nil {
			return out.String(), cmd.ProcessState.ExitCode(), nil
		}
		return out.String(), cmd.ProcessState.ExitCode(), m.Single()
	}
	for _, c := range []struct {
		name, baseline string
		status, notes  int
		says           string
	}{
		{"a known skip", entry(skipped, "skip", "2999-01-01"), 0, 0, "skip   " + skipped + ", until 2999-01-01\n         known here"},
		{"expired", entry(skipped, "skip", "2020-01-01"), 1, 1, "line 2, " + skipped + "\n    expired on 2020-01-01 and accepts nothing any more: known here"},
		{"kept and unknown", entry(kept, "fail", "2999-01-01") + entry("uts/nothing", "fail", "2999-01-01"), 1, 2, "line 3, uts/nothing\n    no claim has this ID"},
	} {
		out, status, r := run(c.baseline)
		if status != c.status || !strings.Contains(out, c.says) {
			t.Errorf("%s: status %d, want %d with %q:\n%s", c.name, status, c.status, c.says, out)
		}
		// What the events end with says the same.
		if r == nil || r.ExitStatus(true) != c.status || r.Baseline == nil || len(r.Baseline.Notes) != c.notes {
			t.Errorf("%s: the result in the events is %+v", c.name, r)
		}
	}
	out, status, _ := run(strings.Replace(entry(skipped, "skip", "2999-01-01"), "known here", `""`, 1))
	if want := "bulkhead: " + dir + "/known.yaml:2: entry 1 (" + skipped + "): has no reason\n"; status != 2 || out != want {
		t.Errorf("an entry without a reason: status %d, %q, want %q", status, out, want)
	}
}
