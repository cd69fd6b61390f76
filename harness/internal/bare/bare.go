// Package bare turns a process into one that only makes the calls it is told
// to, system calls and those of the vDSO: forked from a Go program,
// single-threaded, never again in the Go runtime. unshare(2) and setns(2) of
// user, mount and time namespaces want such a process. It refuses to know what
// the calls are for.
package bare

import (
	"syscall"
	"unsafe"

	"bulkhead/harness/internal/wire"
)

// The runtime's own preparations for a fork: signals blocked around it, and
// handlers put back to their defaults in the child.
//
//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// Fork starts a child of the calling process that serves system calls on
// control and ends when control is closed. It returns the child's PID. The
// caller must be locked to its thread.
func Fork(control int) (int, error) {
	pid, errno := fork(uintptr(control))
	if errno != 0 {
		return 0, errno
	}
	return int(pid), nil
}

//go:noinline
//go:norace
//go:nosplit
func fork(control uintptr) (uintptr, syscall.Errno) {
	beforeFork()
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()
	serve(control)
	return 0, 0
}

// serve never returns and never leaves the stack it was called on: there is
// no scheduler and no garbage collector behind this process any more.
//
//go:noinline
//go:norace
//go:nosplit
func serve(control uintptr) {
	var req wire.Request
	var rep wire.Reply
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, control, uintptr(unsafe.Pointer(&req)), wire.RequestSize)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n != wire.RequestSize {
			break
		}
		if req.Nr == wire.Call {
			rep.Ret, rep.Errno = uint64(call(uintptr(req.Args[0]), uintptr(req.Args[1]+req.Args[2]), uintptr(req.Args[3]), uintptr(req.Args[4]))), 0
		} else {
			ret, _, errno := syscall.RawSyscall6(uintptr(req.Nr), uintptr(req.Args[0]), uintptr(req.Args[1]),
				uintptr(req.Args[2]), uintptr(req.Args[3]), uintptr(req.Args[4]), uintptr(req.Args[5]))
			if req.Child != 0 && ret == 0 && errno == 0 {
				syscall.RawSyscall(syscall.SYS_CLOSE, control, 0, 0)
				syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(req.Close), 0, 0)
				control = uintptr(req.Child)
				continue
			}
			rep.Ret, rep.Errno = uint64(ret), uint64(errno)
		}
		n, _, errno = syscall.RawSyscall(syscall.SYS_WRITE, control, uintptr(unsafe.Pointer(&rep)), wire.ReplySize)
		if errno != 0 || n != wire.ReplySize {
			break
		}
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// call calls a C function with two arguments on a stack that ends at the
// address stack.
//
//go:noescape
func call(function, stack, a, b uintptr) uintptr
