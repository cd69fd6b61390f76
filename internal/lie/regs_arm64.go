package lie

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const auditArch = unix.AUDIT_ARCH_AARCH64

func number(_ int, r *unix.PtraceRegs) int64 { return int64(r.Regs[8]) }

// setNumber changes the system call that a tracee is about to make, which on
// this architecture is a register set of its own; -1 skips it.
func setNumber(tid int, _ *unix.PtraceRegs, nr int64) error {
	n := int32(nr)
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(&n)), Len: 4}
	return ptrace(unix.PTRACE_SETREGSET, tid, unix.NT_ARM_SYSTEM_CALL, uintptr(unsafe.Pointer(&iov)))
}

func argument(r *unix.PtraceRegs, i int) *uint64 { return &r.Regs[i] }

func result(r *unix.PtraceRegs) *uint64 { return &r.Regs[0] }

func stackPointer(r *unix.PtraceRegs) uint64 { return r.Sp }

// rewind has a tracee that has just left a system call make one again, of the
// number.
func rewind(r *unix.PtraceRegs, nr uintptr) {
	const svc = 4
	r.Pc -= svc
	r.Regs[8] = uint64(nr)
}
