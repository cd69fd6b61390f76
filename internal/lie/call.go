package lie

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call that a process on the stage is about to make, or, in
// the function given to After, one that the kernel has carried out.
type Call struct {
	Nr  uintptr
	tid int
	// args are the arguments as they were when the call was entered.
	args    [6]uint64
	regs    unix.PtraceRegs
	changed bool
	skipped bool
	// again is true when the call is to be made once more.
	again bool
	after func(*Call) bool
	err   error
	// dry is true when it is only asked whether a lie could be told: nothing is
	// changed outside of this value.
	dry bool
}

// Arg is the i-th argument, from 0.
func (c *Call) Arg(i int) uintptr { return uintptr(c.args[i]) }

// SetArg changes the i-th argument before the call is carried out.
func (c *Call) SetArg(i int, v uintptr) {
	*argument(&c.regs, i) = uint64(v)
	c.args[i] = uint64(v)
	c.changed = true
}

// Answer keeps the call from being carried out and lets it return ret; an
// errno is negative, as in the kernel.
func (c *Call) Answer(ret int) {
	if !c.dry {
		c.note(setNumber(c.tid, &c.regs, -1))
	}
	*result(&c.regs) = uint64(ret)
	c.changed, c.skipped = true, true
}

// After has f called when the kernel has carried the call out; f says whether
// it told its lie.
func (c *Call) After(f func(*Call) bool) bool {
	c.after = f
	return false
}

// Become has another call made instead; its result is not the first's, so Again
// must follow.
func (c *Call) Become(nr uintptr, args ...uint64) {
	if c.dry {
		return
	}
	c.note(setNumber(c.tid, &c.regs, int64(nr)))
	for i, a := range args {
		*argument(&c.regs, i) = a
	}
	c.changed = true
}

// Again has the call made once more, with the arguments that it was entered with
// but for the first. It is for After.
func (c *Call) Again(first uint64) {
	if c.dry {
		return
	}
	for i, a := range c.args {
		*argument(&c.regs, i) = a
	}
	*argument(&c.regs, 0) = first
	rewind(&c.regs, c.Nr)
	c.changed, c.again = true, true
}

// Place puts bytes into memory that the process does not use, and returns where.
func (c *Call) Place(b []byte) uintptr {
	// Below the red zone of the stack.
	const below = 512
	addr := (uintptr(stackPointer(&c.regs)) - below) &^ 15
	c.Write(addr, b)
	return addr
}

// Result is what the call returned; an errno is negative.
func (c *Call) Result() int { return int(*result(&c.regs)) }

// SetResult changes what the call returned.
func (c *Call) SetResult(ret int) {
	*result(&c.regs) = uint64(ret)
	c.changed = true
}

// Read copies n bytes of the process's memory; fewer at the end of a mapping.
func (c *Call) Read(addr uintptr, n int) []byte {
	if addr == 0 || n <= 0 {
		return nil
	}
	buf := make([]byte, n)
	got, err := unix.ProcessVMReadv(c.tid,
		[]unix.Iovec{{Base: &buf[0], Len: uint64(n)}}, []unix.RemoteIovec{{Base: addr, Len: n}}, 0)
	if err != nil {
		return nil
	}
	return buf[:got]
}

// Write changes the process's memory.
func (c *Call) Write(addr uintptr, b []byte) {
	if len(b) == 0 || c.dry {
		return
	}
	_, err := unix.ProcessVMWritev(c.tid,
		[]unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}, []unix.RemoteIovec{{Base: addr, Len: len(b)}}, 0)
	c.note(err)
}

// String is the NUL-terminated string at addr, of at most a page.
func (c *Call) String(addr uintptr) string {
	const page = 4096
	b := c.Read(addr, page-int(addr%page))
	if bytes.IndexByte(b, 0) < 0 {
		b = c.Read(addr, page)
	}
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// Uint32 and Uint64 read a number from the process's memory.
func (c *Call) Uint32(addr uintptr) uint32 {
	if b := c.Read(addr, 4); len(b) == 4 {
		return binary.NativeEndian.Uint32(b)
	}
	return 0
}

func (c *Call) Uint64(addr uintptr) uint64 {
	if b := c.Read(addr, 8); len(b) == 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

// File is the path behind a descriptor as the host names it; "socket:[…]",
// "pipe:[…]" and the like for what has none.
func (c *Call) File(fd uintptr) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.tid, int32(fd)))
	return path
}

// Domain is the address family of the socket that a descriptor is; 0 for
// what is none.
func (c *Call) Domain(fd uintptr) int {
	if !strings.HasPrefix(c.File(fd), "socket:[") {
		return 0
	}
	leader := c.tid
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.tid)); err == nil {
		if _, rest, ok := strings.Cut(string(status), "\nTgid:\t"); ok {
			_, _ = fmt.Sscan(rest, &leader)
		}
	}
	pidfd, err := unix.PidfdOpen(leader, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(pidfd)
	socket, err := unix.PidfdGetfd(pidfd, int(int32(fd)), 0)
	if err != nil {
		return 0
	}
	defer unix.Close(socket)
	domain, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0
	}
	return domain
}

// Sent is the address and the size of what sendto(2), sendmsg(2) or write(2)
// sends, of its first piece.
func (c *Call) Sent() (addr uintptr, n int) {
	if c.Nr == unix.SYS_SENDMSG {
		iov := uintptr(c.Uint64(c.Arg(1) + 16))
		return uintptr(c.Uint64(iov)), int(c.Uint64(iov + 8))
	}
	return c.Arg(1), int(c.Arg(2))
}

// Received is the address and the size of what recvfrom(2), recvmsg(2) or read(2)
// receives into, of its first piece.
func (c *Call) Received() (addr uintptr, n int) {
	if c.Nr == unix.SYS_RECVMSG {
		iov := uintptr(c.Uint64(c.Arg(1) + 16))
		return uintptr(c.Uint64(iov)), int(c.Uint64(iov + 8))
	}
	return c.Arg(1), int(c.Arg(2))
}

func (c *Call) note(err error) {
	if err != nil && c.err == nil {
		c.err = err
	}
}

func ptrace(request int, tid int, addr, data uintptr) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// eventMessage is PTRACE_GETEVENTMSG.
func eventMessage(tid int) (int, error) {
	var msg uint64
	err := ptrace(unix.PTRACE_GETEVENTMSG, tid, 0, uintptr(unsafe.Pointer(&msg)))
	return int(msg), err
}
