package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/internal/report"
	"bulkhead/internal/vm/guest"
)

const launcherVariable = "BULKHEAD_TEST_LAUNCHER"

func TestMain(m *testing.M) {
	guest.Main()
	ReaperMain()
	if os.Args[0] == scenarioName {
		scenario(os.Args[1])
	}
	if os.Getenv(launcherVariable) != "" {
		launcher()
	}
	os.Exit(m.Run())
}

// launcher starts a program under a reaper, says both pids and waits.
func launcher() {
	p := &process{ended: make(chan struct{})}
	if err := p.launch([]string{"/bin/sh", "-c", "echo $$; exec sleep 1000"}, false); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	line, _ := bufio.NewReader(p.console).ReadString('\n')
	fmt.Printf("%d %s", p.cmd.Process.Pid, line)
	select {}
}

// gone waits for a process to be no more; the kernel takes its time.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(raw), ") Z ") {
			return
		}
	}
	unix.Kill(pid, unix.SIGKILL)
	t.Errorf("process %d outlived what started it", pid)
}

func TestNothingOutlivesKill9(t *testing.T) {
	for _, victim := range []string{"bulkhead", "reaper"} {
		t.Run(victim, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), launcherVariable+"=1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			fields := strings.Fields(line)
			if len(fields) != 2 {
				t.Fatalf("the launcher said %q", line)
			}
			reaper, _ := strconv.Atoi(fields[0])
			program, _ := strconv.Atoi(fields[1])
			if victim == "reaper" {
				unix.Kill(reaper, unix.SIGKILL)
			} else {
				cmd.Process.Kill()
			}
			gone(t, program)
			if victim == "bulkhead" {
				gone(t, reaper)
			}
		})
	}
}

// bzImage is the beginning of a kernel for x86, of the length its header says.
func bzImage() []byte {
	image := make([]byte, 64<<10)
	image[0x1f1] = 4
	binary.LittleEndian.PutUint32(image[0x1f4:], uint32((len(image)-5*512)/16))
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(image[0x206:], 0x20f)
	image[0x236] = 1
	return image
}

func TestInspect(t *testing.T) {
	arm := make([]byte, 8192)
	copy(arm[0x38:], "ARM\x64")
	riscv := make([]byte, 8192)
	copy(riscv[0x38:], "RSC\x05")
	for want, image := range map[string][]byte{"amd64": bzImage(), "arm64": arm, "riscv64": riscv} {
		arch, _, err := inspect(image)
		if err != nil || arch != want {
			t.Errorf("%s: found %q, %v", want, arch, err)
		}
	}
	old := bzImage()
	old[0x236] = 0
	for part, image := range map[string][]byte{
		"truncated":            bzImage()[:32<<10],
		"only 5 bytes":         []byte("hello"),
		"ELF":                  append([]byte("\x7fELF"), make([]byte, 8192)...),
		"initramfs":            append([]byte("070701"), make([]byte, 8192)...),
		"32-bit":               old,
		"not a kernel image":   make([]byte, 8192),
		"truncated or damaged": append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), bytes.Repeat([]byte{7}, 8192)...),
	} {
		if _, _, err := inspect(image); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one with %q", err, part)
		}
	}
}

func TestParseDebian(t *testing.T) {
	for spec, want := range map[string]string{
		"bookworm": "bookworm cloud amd64", "trixie-backports/cloud/arm64": "trixie-backports cloud arm64",
		"sid/riscv64": "sid generic riscv64", "trixie/generic": "trixie generic amd64", "trixie/rt": "trixie rt amd64",
	} {
		suite, flavour, arch, err := parseDebian(spec, "amd64")
		if got := suite + " " + flavour + " " + arch; err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", spec, got, err, want)
		}
	}
	for _, bad := range []string{"", "../etc", "sid/a/b", "sid/x/amd64/y", "Sid"} {
		if _, _, _, err := parseDebian(bad, "amd64"); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

func TestAptMirror(t *testing.T) {
	for content, want := range map[string]string{
		"deb http://mirror.example/debian bookworm main\n":                               "http://mirror.example/debian",
		"deb [arch=amd64] https://m.example/x/debian/ sid main\n":                        "https://m.example/x/debian",
		"# deb http://no.example/debian sid main\ndeb http://y/debian-security b main\n": "",
	} {
		etc := t.TempDir()
		os.WriteFile(filepath.Join(etc, "sources.list"), []byte(content), 0o644)
		if got := aptMirror(etc); got != want {
			t.Errorf("%q: mirror %q, want %q", content, got, want)
		}
	}
	etc := t.TempDir()
	os.Mkdir(filepath.Join(etc, "sources.list.d"), 0o755)
	os.WriteFile(filepath.Join(etc, "sources.list.d", "d.sources"), []byte("Types: deb\nURIs: http://d.example/debian\nSuites: sid\n"), 0o644)
	if got := aptMirror(etc); got != "http://d.example/debian" {
		t.Errorf("deb822: mirror %q", got)
	}
}

func TestConfigThatCannotBoot(t *testing.T) {
	whole := "#\n"
	for _, needed := range guestOptions {
		whole += needed.option + "=y\n"
	}
	if err := checkConfig([]byte(whole)); err != nil {
		t.Errorf("with all of them: %v", err)
	}
	for _, needed := range guestOptions {
		config := strings.Replace(whole, needed.option+"=y", "# "+needed.option+" is not set", 1)
		if err := checkConfig([]byte(config)); err == nil || !strings.HasPrefix(err.Error(), needed.option+" is not set: ") {
			t.Errorf("without %s: error %v", needed.option, err)
		}
	}
}

func TestLittleMemory(t *testing.T) {
	if _, err := qemuProgram("amd64"); err != nil {
		t.Skip(err)
	}
	_, err := Run(context.Background(), Options{Kernel: &Kernel{Name: "k", Arch: "amd64", Image: bzImage()}, MemoryMiB: 32, Accel: "tcg"})
	if err == nil || !strings.Contains(err.Error(), "--memory 32") {
		t.Fatalf("error %v", err)
	}
}

func TestNoQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := qemuProgram("arm64")
	if err == nil || !strings.Contains(err.Error(), "qemu-system-arm") {
		t.Fatalf("error %v does not name the package", err)
	}
}

// collect feeds a guest's lines to a collector and finishes.
func collect(t *testing.T, why string, lines ...any) (*Outcome, []report.Event) {
	t.Helper()
	var events []report.Event
	var in bytes.Buffer
	for _, l := range lines {
		if s, ok := l.(string); ok {
			in.WriteString(s)
			continue
		}
		raw, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(raw, '\n'))
	}
	c := collector{outcome: &Outcome{Status: 3, Why: why, Console: "the end"}, started: time.Now(), note: func(string) {},
		event: func(e report.Event) { events = append(events, e) }, hello: make(chan struct{}), done: make(chan struct{})}
	c.read(&in)
	c.finish(context.Background())
	return c.outcome, events
}

var (
	announced = report.Event{Event: "run-started", Result: &report.Result{Claims: []report.Claim{{ID: "a/one"}, {ID: "a/three"}, {ID: "a/two"}}}}
	passed    = report.Event{Event: "claim-finished", ID: "a/one", Claim: &report.Claim{ID: "a/one", Verdict: report.Pass}}
	begun     = report.Event{Event: "claim-started", ID: "a/two"}
	finished  = report.Event{Event: "run-finished", Result: &report.Result{Claims: []report.Claim{{ID: "a/one", Verdict: report.Pass}}}}
)

func TestGuestThatStopsIsBroken(t *testing.T) {
	out, _ := collect(t, "Kernel panic - not syncing", guest.Message{Guest: "hello"}, announced, passed, begun)
	if out.Complete || out.Result == nil || out.Result.ExitStatus(false) != 3 {
		t.Fatalf("outcome %+v", out)
	}
	verdicts := map[string]report.Claim{}
	for _, c := range out.Result.Claims {
		verdicts[c.ID] = c
	}
	if verdicts["a/one"].Verdict != report.Pass || verdicts["a/two"].Verdict != report.Broken || verdicts["a/three"].Verdict != report.Broken {
		t.Fatalf("verdicts %v", verdicts)
	}
	if r := verdicts["a/two"].Reason; !strings.Contains(r, "while this claim") || !strings.Contains(r, "Kernel panic") || !strings.Contains(r, "the end") {
		t.Fatalf("the running claim says %q", r)
	}
	if !strings.Contains(verdicts["a/three"].Reason, "before this claim") {
		t.Fatalf("the waiting claim says %q", verdicts["a/three"].Reason)
	}
}

func TestResultWithoutGoodbyeIsBroken(t *testing.T) {
	out, _ := collect(t, "it ended in the middle", announced, passed, finished)
	if out.Complete || out.Result.ExitStatus(false) == 0 {
		t.Fatalf("a guest that never said how it ended passed: %+v", out)
	}
}

func TestTruncatedResultIsBroken(t *testing.T) {
	out, _ := collect(t, "it ended in the middle", announced, passed, `{"event":"run-finished","result":{"claims":[{"id":"a/o`)
	if out.Complete || out.Result.ExitStatus(false) == 0 {
		t.Fatalf("a result cut short passed: %+v", out)
	}
}

func TestKilledProgramIsBroken(t *testing.T) {
	out, _ := collect(t, "", announced, passed, guest.Message{Guest: "exit", Status: 3, Signal: "SIGKILL"})
	if out.Complete || out.Result.ExitStatus(false) != 3 || !strings.Contains(out.Why, "SIGKILL") {
		t.Fatalf("outcome %+v", out)
	}
}

func TestWholeRun(t *testing.T) {
	out, events := collect(t, "", guest.Message{Guest: "hello"}, announced, passed, finished, guest.Message{Guest: "exit"})
	if !out.Complete || out.Status != 0 || out.Result.ExitStatus(false) != 0 || events[len(events)-1].Event != "run-finished" {
		t.Fatalf("outcome %+v, events %v", out, events)
	}
}

// TestTrial runs the few instructions by which KVM is tried, with emulation.
func TestTrial(t *testing.T) {
	if _, err := qemuProgram("amd64"); err != nil {
		t.Skip(err)
	}
	if err := trial(context.Background(), "tcg", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := trial(context.Background(), "tcg", time.Nanosecond); err == nil || !strings.Contains(err.Error(), "hung") {
		t.Fatalf("a guest without an end gave %v", err)
	}
}

func TestUnknownAccel(t *testing.T) {
	for _, accel := range []string{"xen", "kvm"} {
		arch := map[string]string{"xen": "amd64", "kvm": "riscv64"}[accel]
		if _, _, err := chooseAccel(context.Background(), accel, arch); err == nil {
			t.Errorf("--accel %s on %s passed", accel, arch)
		}
	}
}

func TestConsoleEndKeepsThePanic(t *testing.T) {
	var lines []string
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("line %d", i))
	}
	if end := consoleEnd(strings.Join(lines, "\n")); !strings.HasPrefix(end, "line 75") || !strings.HasSuffix(end, "line 99") {
		t.Errorf("the end of a quiet console: %q", end)
	}
	lines[50] = "Kernel panic - not syncing"
	if end := consoleEnd(strings.Join(lines, "\n")); !strings.HasPrefix(end, "Kernel panic") || !strings.HasSuffix(end, "line 99") {
		t.Errorf("the end of a panic: %q", end)
	}
}
