package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/fixtures"
	"bulkhead/internal/kernel"
)

// TestSurroundings gives bulkhead what a caller's shell, service or container
// may have set up otherwise, and asks claims that would take it for the kernel's
// doing: each passes there too.
func TestSurroundings(t *testing.T) {
	if !kernel.IsRoot() {
		t.Skip("needs root")
	}
	for _, c := range []struct{ name, script, claims string }{
		{"a umask that hides files", `umask 077; exec "$@"`, "mount/nosuid-ignores-setuid-bit,user/unmapped-ids-show-as-overflow"},
		{"a working directory that is gone", `d=$(mktemp -d); cd "$d"; rmdir "$d"; exec "$@"`, "uts/members-share-changes"},
		{"a time namespace with offsets", `exec unshare --time --boottime 100000 --monotonic 100000 --fork "$@"`,
			"time/monotonic-offset-applies,time/proc-stat-btime-shifts,time/nested-offsets-count-from-the-initial-clock"},
		{"a PID namespace without a /proc of its own", `exec unshare --pid --fork "$@"`, "pid/first-child-is-1"},
		{"root in another group", `exec setpriv --regid 1000 --groups 1,2 "$@"`, "user/device-nodes-refused,ns/setns-needs-cap-over-the-target"},
		{"root without CAP_SYS_TIME", `exec setpriv --bounding-set -sys_time "$@"`, "time/monotonic-offset-applies"},
		{"root without CAP_NET_ADMIN", `exec setpriv --bounding-set -net_admin "$@"`, "net/loopback-needs-to-be-raised"},
		{"root of a user namespace of one ID", `exec unshare --user --map-root-user "$@"`, "ipc/objects-die-with-namespace"},
		{"an ordinary user in root's group", `exec setpriv --reuid 1000 --regid 0 --clear-groups "$@"`, "user/files-created-get-outer-owner"},
		{"ignored signals", `trap '' HUP INT TERM PIPE USR1; exec "$@"`, "pid/unhandled-signals-from-inside-ignored-by-init"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := command("run", "--claim", c.claims)
			wrap(t, cmd, "sh", "-c", c.script, "sh")
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
			if n := len(strings.Split(c.claims, ",")); strings.Count(out.String(), "\npass ") != n {
				t.Errorf("%d claims must pass:\n%s", n, out.String())
			}
		})
	}
}

// TestAlpineByARelativePath names the tarball as a person in its folder would.
func TestAlpineByARelativePath(t *testing.T) {
	file := os.Getenv(fixtures.AlpineVariable)
	if file == "" {
		t.Skip("no Alpine tarball in ", fixtures.AlpineVariable)
	}
	cmd := command("run", "--claim", "kernel/two-userlands-at-once", "--alpine", filepath.Base(file))
	cmd.Dir = filepath.Dir(file)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "1 passed") {
		t.Errorf("%v\n%s", err, out)
	}
}
