package lie

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

func number(_ int, r *unix.PtraceRegs) int64 { return int64(r.Orig_rax) }

// setNumber changes the system call that a tracee is about to make; -1 skips it.
func setNumber(_ int, r *unix.PtraceRegs, nr int64) error {
	r.Orig_rax = uint64(nr)
	return nil
}

func argument(r *unix.PtraceRegs, i int) *uint64 {
	return [...]*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9}[i]
}

func result(r *unix.PtraceRegs) *uint64 { return &r.Rax }

func stackPointer(r *unix.PtraceRegs) uint64 { return r.Rsp }

// rewind has a tracee that has just left a system call make one again, of the
// number.
func rewind(r *unix.PtraceRegs, nr uintptr) {
	const syscall = 2
	r.Rip -= syscall
	r.Rax = uint64(nr)
}
