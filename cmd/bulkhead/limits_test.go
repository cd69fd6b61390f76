package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"bulkhead/internal/kernel"
)

// TestFewOpenFiles: who may raise the limit does it for the run, and others are told to.
func TestFewOpenFiles(t *testing.T) {
	const claims = "uts/members-share-changes,pid/first-child-is-1"
	few := []string{"prlimit", "--nofile=64"}
	if kernel.IsRoot() {
		// The root of a container often may not.
		if exec.Command("prlimit", "--nofile=64", "prlimit", "--nofile=192", "true").Run() == nil {
			cmd := command("run", "--claim", claims)
			wrap(t, cmd, few...)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "2 passed") {
				t.Errorf("as root: %v\n%s", err, out)
			}
		}
		few = append(few, "setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups")
	}
	cmd := command("run", "--claim", claims)
	wrap(t, cmd, few...)
	out, err := cmd.CombinedOutput()
	const want = "bulkhead: a run needs 192 open files, and RLIMIT_NOFILE is 64 here: ulimit -n 192 before bulkhead runs, as root; docker run or podman run --ulimit nofile=192\n"
	if cmd.ProcessState.ExitCode() != 3 || string(out) != want {
		t.Errorf("as an ordinary user: %v\n%s\nwant exit status 3 and\n%s", err, out, want)
	}
}

// TestFewTasks: with too few processes no claim is verified, and none skipped as
// if user namespaces were what is missing.
func TestFewTasks(t *testing.T) {
	few := []string{"prlimit", "--nproc=40"}
	if kernel.IsRoot() {
		// One who has no other processes.
		few = append(few, "setpriv", "--reuid", "4711", "--regid", "4711", "--clear-groups")
	}
	cmd := command("run", "--claim", "uts/members-share-changes")
	wrap(t, cmd, few...)
	out, err := cmd.CombinedOutput()
	want := regexp.MustCompile("^bulkhead: a run needs 80 processes and threads, and RLIMIT_NPROC leaves [0-9]+ of 40 here: ulimit -u 200 before bulkhead runs, as root\n$")
	if cmd.ProcessState.ExitCode() != 3 || !want.Match(out) {
		t.Errorf("%v\n%s\nwant exit status 3 and\n%s", err, out, want)
	}
}

// TestMemoryOfGuests: the guests that fit beside each other are counted with the
// memory that each of them is given where nobody says.
func TestMemoryOfGuests(t *testing.T) {
	for _, c := range []struct {
		flags vmFlags
		want  int
	}{
		{vmFlags{memory: 300, smp: 8}, 300},
		{vmFlags{smp: 3, accel: "kvm"}, 512 + 3*256},
		{vmFlags{accel: "tcg"}, 512 + 2*256},
	} {
		if got := c.flags.guestMiB(); got != c.want {
			t.Errorf("%+v: %d MiB, not %d", c.flags, got, c.want)
		}
	}
	// As many as fit, be there processors for more.
	if got := guestsAtATime(16, 4096, (&vmFlags{accel: "tcg"}).guestMiB()); got != 3 {
		t.Errorf("%d guests fit into 4 GiB, not 3", got)
	}
	cmd := command("vm", "--kernel", "x", "--memory", "0")
	out, _ := cmd.CombinedOutput()
	if want := "bulkhead: --memory, --smp and --timeout must be positive\n"; cmd.ProcessState.ExitCode() != 2 || string(out) != want {
		t.Errorf("--memory 0: exit status %d\n%s", cmd.ProcessState.ExitCode(), out)
	}
}
