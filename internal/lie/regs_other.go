//go:build !amd64 && !arm64

package lie

import (
	"errors"

	"golang.org/x/sys/unix"
)

// auditArch 0: lies cannot be told on this architecture.
const auditArch = 0

func number(int, *unix.PtraceRegs) int64 { return -1 }

func setNumber(int, *unix.PtraceRegs, int64) error { return errors.ErrUnsupported }

func argument(*unix.PtraceRegs, int) *uint64 { return new(uint64) }

func result(*unix.PtraceRegs) *uint64 { return new(uint64) }

func stackPointer(*unix.PtraceRegs) uint64 { return 0 }

func rewind(*unix.PtraceRegs, uintptr) {}
