package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/internal/report"
	"bulkhead/internal/vm/guest"
)

// mirrorVariable names the folder that hack/kernels filled; without it the
// tests that boot something are skipped.
const mirrorVariable = "BULKHEAD_TEST_MIRROR"

// scenarioName is the argv[0] by which this test binary in a guest knows that
// it is to come to a bad end; its argument says which.
const scenarioName = "scenario"

// scenario says that a claim has begun, and does not come to its end.
func scenario(what string) {
	enc := json.NewEncoder(os.NewFile(3, "lines"))
	for _, e := range []report.Event{announced, passed, begun} {
		_ = enc.Encode(e)
	}
	switch what {
	case "panic":
		fmt.Println(os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0))
	case "hang":
	case "memory":
		for hog := [][]byte{}; ; {
			hog = append(hog, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "power off":
		fmt.Println(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	case "silent end":
		os.Exit(0)
	}
	// Not select: the Go runtime would see that nothing can ever happen.
	for {
		time.Sleep(time.Hour)
	}
}

func testKernel(t *testing.T, name string) *Kernel {
	t.Helper()
	mirror := os.Getenv(mirrorVariable)
	if mirror == "" {
		t.Skip("make test-vm boots kernels")
	}
	k, err := Finder{Mirror: mirror}.Find(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestBadEnds lets a guest end badly while a claim is being verified: that
// claim is broken, with the reason and the end of the console.
func TestBadEnds(t *testing.T) {
	k := testKernel(t, "debian:bookworm")
	for what, why := range map[string]string{
		"panic": "Kernel panic", "hang": "it hung: nothing came from it for 45s", "memory": "Out of memory",
		"power off": "it ended in the middle", "silent end": "without a result",
	} {
		t.Run(what, func(t *testing.T) {
			var console bytes.Buffer
			out, err := Run(t.Context(), Options{Kernel: k, Accel: "tcg", MemoryMiB: 256, Timeout: 5 * time.Minute, Console: &console,
				Silence: map[string]time.Duration{"hang": 45 * time.Second}[what], Job: guest.Job{Argv: []string{scenarioName, what}}})
			if err != nil {
				t.Fatal(err)
			}
			if out.Result == nil {
				t.Fatalf("no result: %s\n%s", out.Why, out.Console)
			}
			if status := out.Result.ExitStatus(false); status != 3 {
				t.Errorf("status %d, not 3", status)
			}
			if !strings.Contains(out.Why, why) {
				t.Errorf("why: %q, want one with %q\n%s", out.Why, why, out.Console)
			}
			for _, c := range out.Result.Claims {
				switch {
				case c.ID == "a/one" && c.Verdict != report.Pass:
					t.Errorf("a claim that passed before: %s %s", c.Verdict, c.Reason)
				case c.ID == "a/two" && (c.Verdict != report.Broken || !strings.Contains(c.Reason, "while this claim")):
					t.Errorf("the running claim: %s %s", c.Verdict, c.Reason)
				case c.ID == "a/three" && (c.Verdict != report.Broken || !strings.Contains(c.Reason, "before this claim")):
					t.Errorf("the waiting claim: %s %s", c.Verdict, c.Reason)
				}
			}
			if what == "panic" && !strings.Contains(console.String(), "Kernel panic") {
				t.Error("the whole console does not have the panic")
			}
		})
	}
}

// TestNoInit is a kernel that cannot start bulkhead at all.
func TestNoInit(t *testing.T) {
	k := testKernel(t, "debian:bookworm")
	out, err := Run(t.Context(), Options{Kernel: k, Accel: "tcg", Append: "rdinit=/none", Job: guest.Job{Argv: []string{scenarioName, "hang"}}})
	if err != nil {
		t.Fatal(err)
	}
	if out.Complete || out.Status != 3 || !strings.Contains(out.Why, "Kernel panic") {
		t.Fatalf("outcome %+v", out)
	}
}

// TestSerialPort is a kernel whose virtio console does not come up: what the
// guest says comes over the second serial port.
func TestSerialPort(t *testing.T) {
	k := testKernel(t, "debian:bookworm")
	out, err := Run(t.Context(), Options{Kernel: k, Accel: "tcg", Append: "initcall_blacklist=virtio_console_init module_blacklist=virtio_console,virtio_pci",
		Job: guest.Job{Argv: []string{scenarioName, "silent end"}}})
	if err != nil {
		t.Fatal(err)
	}
	if out.Boot == 0 || out.Result == nil {
		t.Fatalf("nothing came over the serial port: %s\n%s", out.Why, out.Console)
	}
}

// TestInterrupt is a Ctrl-C: what was known is a partial result.
func TestInterrupt(t *testing.T) {
	k := testKernel(t, "debian:bookworm")
	ctx, cancel := context.WithCancel(t.Context())
	out, err := Run(ctx, Options{Kernel: k, Accel: "tcg", Job: guest.Job{Argv: []string{scenarioName, "hang"}},
		Event: func(e report.Event) {
			if e.Event == "claim-started" {
				cancel()
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	if out.Result == nil || !out.Result.Partial || len(out.Result.Claims) != 1 || out.Result.Interrupted[0] != "a/two" {
		t.Fatalf("outcome %+v, result %+v", out, out.Result)
	}
}
