package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

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
			// A descriptor is what everybody may execute, wherever the file is.
			self, err := os.Open("/proc/self/exe")
			if err != nil {
				t.Fatal(err)
			}
			defer self.Close()
			cmd := command("run", "--claim", c.claims)
			shell, err := exec.LookPath("sh")
			if err != nil {
				t.Skip(err)
			}
			cmd.Path, cmd.Args = shell, append([]string{"sh", "-c", c.script, "sh", "/proc/self/fd/3"}, cmd.Args[1:]...)
			cmd.ExtraFiles = []*os.File{self}
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
