package vm

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// reaperName is the argv[0] by which bulkhead knows that it is the process
// between itself and a QEMU.
const reaperName = "bulkhead-vm-reaper"

const (
	// lifelineFD is the reading end of a pipe whose writing end only
	// bulkhead has: it ends with bulkhead, however that ends.
	lifelineFD = 3
	// firstQEMUFD is the first of the descriptors handed on to QEMU.
	firstQEMUFD = 4
)

// ReaperMain takes over when this process was started as a reaper, and does
// not return then. Call it before any flag is parsed.
//
// QEMU has no way to end with the process that started it. The reaper waits
// for QEMU and for the life-line, and kills QEMU when bulkhead is gone. Should
// the reaper itself be killed, Pdeathsig ends QEMU: that signal comes when the
// thread that started QEMU dies, and this thread is locked and stays.
func ReaperMain() {
	if os.Args[0] != reaperName {
		return
	}
	os.Exit(reap(os.Args[1:]))
}

func reap(argv []string) int {
	runtime.LockOSThread()
	files := []uintptr{0, 1, 2, ^uintptr(0)}
	for fd := firstQEMUFD; ; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			break
		}
		// What the Go runtime opened for itself is close-on-exec.
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC != 0 {
			break
		}
		files = append(files, uintptr(fd))
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: files, Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "start %s: %v\n", argv[0], err)
		return 127
	}
	for _, fd := range files[firstQEMUFD:] {
		unix.Close(int(fd))
	}
	go func() {
		// Nobody writes to the life-line: a read ends when bulkhead has.
		for {
			n, err := unix.Read(lifelineFD, make([]byte, 1))
			if err != unix.EINTR && n <= 0 {
				break
			}
		}
		_ = unix.Kill(pid, unix.SIGKILL)
	}()
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 126
		case status.Signaled():
			return 128 + int(status.Signal())
		default:
			return status.ExitStatus()
		}
	}
}
