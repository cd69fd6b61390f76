package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/fixtures"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
	"bulkhead/internal/report"
)

// tryTime is how long one Try line may take.
const tryTime = 20 * time.Second

// tools are the programs that Try lines use and that not every machine has.
var tools = []string{
	"awk", "bridge", "brctl", "capsh", "date", "dmesg", "free", "getfattr", "hostname", "domainname", "ip", "ipcmk", "ipcs", "keyctl", "lsns", "nc",
	"nft", "nsenter", "perl", "pgrep", "ping", "pivot_root", "pkill", "ps", "python3", "setcap", "setpriv", "socat", "strace", "sysctl", "taskset", "tcpdump", "unshare", "zcat",
}

var word = regexp.MustCompile(`[a-z0-9_]+`)

// stageScript makes the stage that a Try line is typed on, in namespaces of
// its own: private mounts, the machine's files read-only, empty writable
// directories, a fresh /proc and /sys/class/net, a host name, loopback, and
// tiny-linux, from below $1. The line is $2.
const stageScript = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
cp -a "$1/tiny-linux" /mnt
chmod 755 /mnt/tiny-linux
touch /mnt/tiny-linux/bin/bb
mount --bind "$1/bb" /mnt/tiny-linux/bin/bb
mount --move /mnt /tmp
chmod 1777 /tmp
for d in /mnt /run /var/tmp /dev/shm; do
	test -d $d && mount -t tmpfs tmpfs $d
done
mount -o remount,bind,ro /
hostname host
ip link set lo up
cd /tmp
set +e
exec 2>&1
sh -c "$2"
exit 0
`

// TestTryLinesShowTheirClaims types every Try line on a stage of its own and
// compares what it prints with the claim's Shows.
func TestTryLinesShowTheirClaims(t *testing.T) {
	if !kernel.IsRoot() {
		t.Skip("the lines are typed as root: needs root")
	}
	if why := missing("unshare mount ip hostname"); why != "" {
		t.Skip(why)
	}
	// The one big file of tiny-linux is bound, not copied, for each line.
	tiny := t.TempDir()
	root := filepath.Join(tiny, "tiny-linux")
	if err := errors.Join(os.Mkdir(root, 0o755), (fixtures.Tiny{}).Unpack(t.Context(), root),
		os.Rename(filepath.Join(root, "bin/bb"), filepath.Join(tiny, "bb"))); err != nil {
		t.Fatal(err)
	}
	dump := os.Getenv("BULKHEAD_TRY_DUMP")
	for _, c := range claim.All() {
		if _, untyped := claim.Untyped[c.ID]; (untyped || c.Try == "") && dump == "" {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			if why := missing(c.Try); why != "" {
				t.Skip(why)
			}
			if c.Since != "" && !kernel.AtLeastString(c.Since) {
				t.Skip("the kernel is older than " + c.Since)
			}
			output := typed(t, tiny, c.Try)
			if dump != "" {
				if err := os.WriteFile(filepath.Join(dump, strings.ReplaceAll(c.ID, "/", ",")), []byte(output), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Shown(output); err != nil {
				if why := skipped(t, c.ID); why != "" {
					t.Skip("the claim is skipped here: " + why)
				}
				t.Errorf("%s\n\n%s\n\n%v", c.Text, c.Try, err)
			}
		})
	}
}

// TestEveryClaimIsTypedOrSaysWhyNot wants of each claim a line with what it
// prints, or a place in the list of exceptions.
func TestEveryClaimIsTypedOrSaysWhyNot(t *testing.T) {
	for _, c := range claim.All() {
		_, untyped := claim.Untyped[c.ID]
		switch {
		case untyped && c.Shows != "":
			t.Errorf("%s is in claim.Untyped and has Shows: remove one", c.ID)
		case !untyped && (c.Try == "" || c.Shows == ""):
			t.Errorf("%s needs a Try line and what it Shows, or a reason in claim.Untyped", c.ID)
		case strings.HasPrefix(c.Try, "("):
			t.Errorf("%s: a Try that cannot be typed, %q: its reason belongs into claim.Untyped", c.ID, c.Try)
		}
	}
	for id := range claim.Untyped {
		if _, known := claim.Get(id); !known {
			t.Errorf("claim.Untyped names %s, which is no claim", id)
		}
	}
}

// missing names the first tool of a line that this machine does not have.
func missing(line string) string {
	for _, w := range word.FindAllString(line, -1) {
		for _, tool := range tools {
			if w != tool {
				continue
			}
			if _, err := exec.LookPath(tool); err != nil {
				return "needs " + tool
			}
		}
	}
	return ""
}

// typed is what the line prints on a stage. When it is over, or its time is,
// the stage's first process ends, and with it all that the line has started.
func typed(t *testing.T, tiny, line string) string {
	ctx, cancel := context.WithTimeout(t.Context(), tryTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", stageScript, "sh", tiny, line)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LC_ALL=C", "TERM=dumb"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     true,
	}
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Errorf("the line was not over after %s", tryTime)
	} else if err != nil {
		t.Fatalf("the stage: %v\n%s", err, output)
	}
	return string(output)
}

// skipped is the reason for which bulkhead skips the claim on this machine.
func skipped(t *testing.T, id string) string {
	file := filepath.Join(t.TempDir(), "result.json")
	_, stderr, _ := bulkhead(t, "run", "--claim", id, "--json", file)
	raw, err := os.ReadFile(file)
	var result report.Result
	if err := errors.Join(err, json.Unmarshal(raw, &result)); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for _, c := range result.Claims {
		if c.ID == id && c.Verdict == report.Skip {
			return c.Reason
		}
	}
	return ""
}
