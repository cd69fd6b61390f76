package lie

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/harness/agent"
	"bulkhead/internal/claim"
	"bulkhead/internal/run"

	_ "bulkhead/suites/chroot"
	_ "bulkhead/suites/namespaces"
	_ "bulkhead/suites/network"
	_ "bulkhead/suites/proc"
)

const (
	// sleeperName is a worker that starts a child and waits for ever.
	sleeperName = "bulkhead-test-sleeper"
	// proverName is a process that proves the claims that are its arguments.
	proverName = "bulkhead-test-prover"
	// refusedName, with a number behind, is a process that may not make that
	// system call.
	refusedName = "bulkhead-test-refused"
)

// TestMain lets the test binary be the supervisors and workers that it starts.
func TestMain(m *testing.M) {
	Main()
	switch os.Args[0] {
	case run.WorkerName:
		os.Exit(run.Work())
	case sleeperName:
		child := exec.Command("/proc/self/exe")
		child.Args = []string{sleeperName + "-child"}
		if err := child.Start(); err != nil {
			os.Exit(1)
		}
		fmt.Printf("%d %d\n", os.Getpid(), child.Process.Pid)
		select {}
	case sleeperName + "-child":
		time.Sleep(time.Hour)
	case proverName:
		_, err := Prove(context.Background(), Options{Claims: os.Args[1:]})
		fmt.Println(err)
		os.Exit(0)
	case refusedName:
		nr, _ := strconv.Atoi(os.Args[1])
		if err := refuse(uint32(nr)); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println(Supported())
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// refuse has the process and its children fail with EPERM at a system call.
func refuse(nr uint32) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: nr},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

func needLies(t *testing.T) {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
}

func proveOne(t *testing.T, lieName, id string) *Proof {
	t.Helper()
	needLies(t)
	l, ok := ByName(lieName)
	if !ok {
		t.Fatalf("no lie %s", lieName)
	}
	p, err := Prove(context.Background(), Options{Claims: []string{id}, Lies: []*Lie{l}, All: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Pairs) != 1 {
		t.Fatalf("%d pairs; not proved: %v", len(p.Pairs), p.Unproved)
	}
	return p
}

func TestToldLieIsCaught(t *testing.T) {
	// One by an argument register, one by memory of a call that is carried out,
	// one without carrying it out.
	for _, c := range []struct{ lie, id, word string }{
		{"clone-newuts-ignored", "uts/hostname-isolated", "host name"},
		{"uname:output", "uts/hostname-isolated", "host name"},
		{"uname:output:2", "uts/hostname-isolated", "host name"},
		{"sethostname:lost", "uts/hostname-isolated", "host name"},
		// Another call made first; one changed into another; a request's attribute.
		{"setns-net-elsewhere", "ns/nsenter-runs-inside-a-running-container", "links of an entered process"},
		{"proc-mount-of-outer-pidns", "proc/instance-bound-to-mounters-pid-ns", "PID"},
		{"netlink:newaddr:elsewhere", "network/veth-carries-packets-both-ways", "reply"},
		{"packets:halved", "network/veth-carries-packets-both-ways", "reply"},
		{"ipc-never-ends", "ipc/objects-die-with-namespace", "has exited"},
	} {
		p := proveOne(t, c.lie, c.id)
		pair := p.Pairs[0]
		if pair.Outcome != Caught || pair.Told == 0 || !strings.Contains(pair.Message, c.word) {
			t.Errorf("%s told %s %d times: %s: %s", c.lie, c.id, pair.Told, pair.Outcome, pair.Message)
		}
		if _, survived := p.Survivors[c.id]; survived {
			t.Errorf("%s caught %s and is a survivor", c.id, c.lie)
		}
	}
}

// Several claims run in one worker, one after the other, each under its own lie.
func TestEachClaimIsToldItsOwnLie(t *testing.T) {
	needLies(t)
	ids := []string{"uts/hostname-isolated", "uts/domainname-isolated", "uts/values-copied-at-creation"}
	found := map[string]Pair{}
	pairs := []Pair{{Lie: "sethostname:lost", Claim: ids[0]}, {Lie: "setdomainname:lost", Claim: ids[1]}, {Lie: "setns-pid-ignored", Claim: ids[2]}, {Lie: quietName, Claim: ids[0]}}
	err := tellAll(context.Background(), Options{Claims: ids, Procs: 1}, pairs, func(p Pair, a account) {
		if a.Claim != p.Claim || a.Told != p.Told {
			t.Errorf("the account of %s: %+v", p.Claim, a)
		}
		found[p.Lie] = p
	})
	if err != nil {
		t.Fatal(err)
	}
	for lie, want := range map[string]Outcome{"sethostname:lost": Caught, "setdomainname:lost": Caught, "setns-pid-ignored": NeverTold, quietName: NeverTold} {
		if found[lie].Outcome != want {
			t.Errorf("%s: %s, not %s: %s", lie, found[lie].Outcome, want, found[lie].Message)
		}
	}
}

func TestWithoutChoiceTheMostTellingLieIsToldFirst(t *testing.T) {
	p := &Proof{}
	for id := range noticed().lies {
		p.Claims = append(p.Claims, id)
	}
	caught, told := map[string]bool{}, map[string][]string{}
	err := p.tellUntilCaught(caught, func(pairs []Pair) error {
		for _, pair := range pairs {
			told[pair.Claim] = append(told[pair.Claim], pair.Lie)
			// Every second claim notices the first lie, the others none.
			caught[pair.Claim] = len(pair.Claim)%2 == 0
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, lies := range noticed().lies {
		want := lies
		if len(id)%2 == 0 {
			want = lies[:1]
		}
		if !slices.Equal(told[id], want) {
			t.Errorf("%s is told %v, not %v", id, told[id], want)
		}
	}
}

func TestClaimThatDoesNotNoticeSurvives(t *testing.T) {
	p := proveOne(t, "clone-newuts-ignored", "uts/hostname-limit-64-bytes")
	if p.Pairs[0].Outcome != Missed {
		t.Errorf("outcome %s", p.Pairs[0].Outcome)
	}
	if reason, survived := p.Survivors["uts/hostname-limit-64-bytes"]; !survived || reason != "" {
		t.Errorf("survivors: %v", p.Survivors)
	}
}

func TestLieThatIsNeverTold(t *testing.T) {
	if p := proveOne(t, "setns-pid-ignored", "uts/hostname-isolated"); p.Pairs[0].Outcome != NeverTold {
		t.Errorf("outcome %s after %d times", p.Pairs[0].Outcome, p.Pairs[0].Told)
	}
}

// The kernel ends the tracees of a tracer in the background, hence the poll.
func ends(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000); n != 1 {
		t.Errorf("process %d outlives its supervisor (%v)", pid, err)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

func TestKilledSupervisorLeavesNothing(t *testing.T) {
	needLies(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{sleeperName}
	controller, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer controller.Close()
	cmd.ExtraFiles = []*os.File{controller}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	end, err := supervise(cmd, plan{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var worker, child int
	if _, err := fmt.Fscan(out, &worker, &child); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := end(); err == nil {
		t.Error("a killed supervisor gave an account")
	}
	ends(t, worker)
	ends(t, child)
}

func TestKilledProveLeavesNothing(t *testing.T) {
	needLies(t)
	// What it leaves behind comes to this process.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range claim.All() {
		if c.Area() == "pid" || c.Area() == "uts" {
			ids = append(ids, c.ID)
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{proverName}, ids...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); !hasStage(cmd.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no stage was started")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	left := make(chan struct{})
	go func() {
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); err == unix.ECHILD {
				close(left)
				return
			}
		}
	}()
	select {
	case <-left:
	case <-time.After(30 * time.Second):
		t.Error("processes outlive the one that was killed")
	}
}

// hasStage says whether a claim is being verified below a process.
func hasStage(ancestor int) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if line, _ := os.ReadFile(path); !strings.HasPrefix(string(line), agent.StageName+"\x00") {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		for ; pid > 1; pid = parentOf(pid) {
			if pid == ancestor {
				return true
			}
		}
	}
	return false
}

func TestRefusedWhereCallsAreNotPermitted(t *testing.T) {
	needLies(t)
	for nr, want := range map[int]string{
		unix.SYS_PTRACE:  "ptrace(PTRACE_SEIZE) is not permitted here: operation not permitted",
		unix.SYS_SECCOMP: "seccomp(SECCOMP_SET_MODE_FILTER): operation not permitted",
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{refusedName, strconv.Itoa(nr)}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := strings.TrimSpace(string(out)); got != "lies cannot be told here: "+want {
			t.Errorf("the refusal reads %q", got)
		}
	}
}

func TestTableNamesLiesAndClaimsThatExist(t *testing.T) {
	for name, ids := range noticed().claims {
		if _, ok := ByName(name); !ok {
			t.Errorf("noticed.txt: no lie is named %s", name)
		}
		for _, id := range ids {
			if _, ok := claim.Get(id); !ok {
				t.Errorf("noticed.txt: %s: no claim has the ID %s", name, id)
			}
		}
	}
}

func TestEveryLieSaysWhatItStandsFor(t *testing.T) {
	for _, l := range All() {
		if l.Bug == "" || l.Means == "" || len(l.calls) == 0 {
			t.Errorf("%s: bug %q, means %q, %d calls", l.Name, l.Bug, l.Means, len(l.calls))
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for _, name := range []string{"", "nonsense", "mount:nonsense", "mount:allowed:ENONSENSE", "mount:refused:0", "read:status", "read:status:nonsense", "netlink:x:lost", "nonsense:lost"} {
		if l, ok := ByName(name); ok {
			t.Errorf("%q is a lie: %v", name, l.Bug)
		}
	}
}
