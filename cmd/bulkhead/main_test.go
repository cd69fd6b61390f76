package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	"bulkhead/internal/claim"
	"bulkhead/internal/report"
	"bulkhead/internal/run"
)

// TestMain lets the test binary be bulkhead itself, and its workers.
func TestMain(m *testing.M) {
	if os.Args[0] == run.WorkerName {
		os.Exit(run.Work())
	}
	if os.Getenv("BULKHEAD_TEST_COMMAND") != "" {
		if os.Getenv(seccompVariable) != "" {
			if err := refuseNamespaces(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(3)
			}
		}
		os.Exit(execute())
	}
	os.Exit(m.Run())
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "BULKHEAD_TEST_COMMAND=1")
	return cmd
}

// wrap makes the command run behind another program, as "setpriv --reuid 1000".
func wrap(t *testing.T, cmd *exec.Cmd, with ...string) {
	t.Helper()
	path, err := exec.LookPath(with[0])
	if err != nil {
		t.Skip(err)
	}
	// A descriptor is what everybody may execute, wherever the file is.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { self.Close() })
	cmd.ExtraFiles = append(cmd.ExtraFiles, self)
	cmd.Path = path
	cmd.Args = append(append(slices.Clone(with), fmt.Sprintf("/proc/self/fd/%d", 2+len(cmd.ExtraFiles))), cmd.Args[1:]...)
}

// bulkhead runs the command and returns its output and exit status.
func bulkhead(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestWrongUsageIsOneLineAndStatus2(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.tar.gz")
	if err := os.WriteFile(broken, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"run", "--no-such-flag"}, {"run", "--claim", "uts/nothing"}, {"run", "--area", "nothing"},
		{"run", "--skip", "nothing"}, {"run", "--procs", "-1"}, {"run", "--timeout", "0s"}, {"run", "--timeout", "soon"},
		{"run", "--json", "/no/such/folder/file"}, {"run", "--alpine", "/no/such/file"}, {"run", "--alpine", broken},
		{"run", "--fixture", "nothing"}, {"run", "extra"}, {"nothing"}, {"explain", "nothing"}, {"explain"},
		{"run", "--area", "uts", "--claim", "pid/first-child-is-1"},
		{"report"}, {"report", broken}, {"report", "/no/such/file"}, {"report", broken, "--format", "nothing"},
		{"run", "--baseline", broken}, {"run", "--baseline", "/no/such/file"}, {"matrix", "vmlinuz", "--baseline", broken},
		{"compare", broken}, {"compare", broken, broken}, {"compare", "/no/such/file", broken},
	} {
		out, errs, status := bulkhead(t, args...)
		if status != 2 || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d, stdout %q, stderr %q", args, status, out, errs)
		}
	}
}

func TestResultFitsTheSchema(t *testing.T) {
	dir := t.TempDir()
	file, junit := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.xml")
	known := filepath.Join(t.TempDir(), "known.yaml")
	if err := os.WriteFile(known, []byte("accepted: [{claim: uts/nothing, verdict: fail, reason: why, expires: 2999-01-01}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs, status := bulkhead(t, "run", "--area", "uts,time", "--json", file, "--junit", junit, "--baseline", known)
	if status != 0 {
		t.Fatalf("status %d:\n%s%s", status, out, errs)
	}
	schema, err := jsonschema.NewCompiler().Compile("../../docs/results.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	value, err := jsonschema.UnmarshalJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("files left: %v", entries)
	}
}

// descendants are the living processes below this one, which is to be their
// reaper once their own parents are gone.
func descendants(t *testing.T) (found []string) {
	t.Helper()
	// What was orphaned and has ended waits to be reaped.
	for {
		if pid, _ := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 {
			break
		}
	}
	statuses, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	parents, names := map[string]string{}, map[string]string{}
	for _, path := range statuses {
		raw, _ := os.ReadFile(path)
		pid := filepath.Base(filepath.Dir(path))
		for _, line := range strings.Split(string(raw), "\n") {
			if v, ok := strings.CutPrefix(line, "PPid:"); ok {
				parents[pid] = strings.TrimSpace(v)
			}
			if v, ok := strings.CutPrefix(line, "Name:"); ok {
				names[pid] = strings.TrimSpace(v)
			}
		}
	}
	self := strconv.Itoa(os.Getpid())
	for pid := range parents {
		for p := parents[pid]; p != "" && p != "0"; p = parents[p] {
			if p == self {
				found = append(found, pid+" "+names[pid])
			}
		}
	}
	return found
}

func TestInterruptWritesAPartialResultAndLeavesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	started, finished := interrupt(t, unix.SIGTERM, "run", "--json", file, "--events", "-")
	if finished != 3 {
		t.Errorf("status %d after SIGTERM, want 3", finished)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Result
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if !r.Partial || len(r.Claims) >= started || len(r.Leftovers) > 0 {
		t.Errorf("partial %v with %d of %d claims, leftovers %v", r.Partial, len(r.Claims), started, r.Leftovers)
	}
}

func TestKillLeavesNothingBehind(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	interrupt(t, unix.SIGKILL, "run", "--events", "-")
	// Workers see that their controller is gone when their claim ends.
	deadline := time.Now().Add(20 * time.Second)
	for len(descendants(t)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %v", descendants(t))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if out, errs, status := bulkhead(t, "run", "--area", "uts"); status != 0 {
		t.Errorf("the next run: status %d\n%s%s", status, out, errs)
	}
}

// interrupt starts a run, signals it when its first claims have finished, and
// returns how many claims it began with and its exit status.
func interrupt(t *testing.T, sig unix.Signal, args ...string) (claims, status int) {
	t.Helper()
	cmd := command(args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	events := json.NewDecoder(out)
	finished := 0
	for {
		var e report.Event
		if err := events.Decode(&e); err != nil {
			break
		}
		if e.Event == "run-started" {
			claims = len(e.Result.Claims)
		}
		if e.Event == "claim-finished" {
			if finished++; finished == 5 {
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	_ = cmd.Wait()
	return claims, cmd.ProcessState.ExitCode()
}

// TestEmptyRoot runs the binary alone in a chroot that has nothing else but a
// mounted /proc and the directories of an empty root: no shell, no /dev/null.
func TestEmptyRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot(2) needs root")
	}
	root := t.TempDir()
	for _, dir := range []string{"alone", "proc", "sys"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", filepath.Join(root, "alone", "bulkhead"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The mount is made on a thread of its own and goes with it.
	done := make(chan error)
	var out bytes.Buffer
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil {
				return err
			}
			cmd := exec.Command("/alone/bulkhead", "run", "--area", "chroot,mount,user,uts")
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
			cmd.Dir = "/alone"
			cmd.Env = []string{}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, &out, &out
			return cmd.Run()
		}()
	}()
	if err := <-done; err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), "broken") {
		t.Error(out.String())
	}
}

func TestTwoRunsAtOnce(t *testing.T) {
	results := make(chan string, 2)
	for range 2 {
		go func() {
			out, errs, status := bulkhead(t, "run", "--area", "pid,net,uts")
			results <- fmt.Sprintf("status %d\n%s%s", status, out, errs)
		}()
	}
	for range 2 {
		if r := <-results; !strings.HasPrefix(r, "status 0\n") {
			t.Error(r)
		}
	}
}

// TestArticleIsCovered holds the registry against the catalogue.
func TestArticleIsCovered(t *testing.T) {
	raw, err := os.ReadFile("../../../shared/catalogue.md")
	if err != nil {
		t.Skip("the catalogue is not there: ", err)
	}
	rows := 0
	id := regexp.MustCompile(`^[a-z]+/[a-z0-9-]+$`)
	for _, line := range strings.Split(string(raw), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 10 || !id.MatchString(strings.TrimSpace(cells[1])) {
			continue
		}
		if from := strings.TrimSpace(cells[7]); from != "yes" && from != "part1" {
			continue
		}
		rows++
		if _, ok := claim.Get(strings.TrimSpace(cells[1])); !ok {
			t.Errorf("no claim for %s", cells[1])
		}
	}
	if rows != 86 {
		t.Errorf("%d rows of the article in the catalogue, not 86", rows)
	}
}

func TestCompareFailsOnARegressionWhenAskedTo(t *testing.T) {
	dir := t.TempDir()
	old, now := filepath.Join(dir, "old.json"), filepath.Join(dir, "new.json")
	if _, errs, status := bulkhead(t, "run", "--claim", "uts/members-share-changes", "--json", old); status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	m, err := report.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	r := m.Single()
	r.Claims[0].Verdict, r.Claims[0].Reason = report.Fail, "it is not so"
	r.Summary = report.Count(r.Claims)
	file, err := os.Create(now)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(report.WriteJSON(file, r), file.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		says   string
		args   []string
	}{
		{0, "1 regression,", []string{old, now}},
		{1, "uts/members-share-changes", []string{old, now, "--fail-on", "regression"}},
		{1, `"regressions"`, []string{old, now, "--fail-on", "regression", "--format", "json"}},
		{0, "0 regressions, 1 fix", []string{now, old, "--fail-on", "regression"}},
		{2, "", []string{old, now, "--fail-on", "change"}},
		{2, "", []string{old, now, "--format", "html"}},
	} {
		out, errs, status := bulkhead(t, append([]string{"compare"}, c.args...)...)
		if status != c.status || !strings.Contains(out, c.says) || status == 2 && strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d, %q, %q", c.args, status, out, errs)
		}
	}
}

func TestListAndExplain(t *testing.T) {
	out, _, status := bulkhead(t, "list", "--json")
	var list struct{ Claims []report.Claim }
	if err := json.Unmarshal([]byte(out), &list); err != nil || status != 0 {
		t.Fatal(status, err)
	}
	if len(list.Claims) != len(claim.All()) {
		t.Errorf("%d claims listed, %d registered", len(list.Claims), len(claim.All()))
	}
	for _, c := range list.Claims {
		out, _, status := bulkhead(t, "explain", c.ID)
		if status != 0 || !strings.Contains(out, c.Text) {
			t.Fatalf("explain %s: status %d, %q", c.ID, status, out)
		}
	}
}
