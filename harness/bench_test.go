package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/harness/namespace"
)

// BenchmarkSandbox and BenchmarkBareExec measure in one run what a sandbox
// costs, one answer included, and what a bare clone and exec of a small static
// Go program with the same namespaces costs.
func BenchmarkSandbox(b *testing.B) {
	types := []namespace.Type{namespace.PID, namespace.Mount, namespace.Network}
	registered := onCleanup
	onCleanup = func(func() error) {}
	b.Cleanup(func() { onCleanup = registered })
	root := Host(context.Background())
	b.Cleanup(Close)
	for b.Loop() {
		child, err := root.Clone(context.Background(), namespace.Flags(types...))
		if err != nil {
			b.Fatal(err)
		}
		if pid := child.Getpid(); pid != 1 {
			b.Fatal(pid)
		}
		if err := child.end(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareExec(b *testing.B) {
	dir := b.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\nimport \"os\"\nfunc main() { os.Stdout.Write([]byte{1}) }\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatal(fmt.Sprint(err, string(out)))
	}
	for b.Loop() {
		cmd := exec.Command(program)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET}
		if out, err := cmd.Output(); err != nil || len(out) != 1 {
			b.Fatal(err, out)
		}
	}
}
