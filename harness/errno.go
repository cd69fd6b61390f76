package harness

import (
	"fmt"

	"github.com/onsi/ginkgo/v2"
	"golang.org/x/sys/unix"
)

// Error is a system call that a sandbox made and that failed. It unwraps to
// its errno, so that MatchError(unix.EPERM) holds for it.
type Error struct {
	// Op is the call with its telling arguments, as `unshare(CLONE_NEWUSER)`.
	Op    string
	Errno unix.Errno
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (%s)", e.Op, unix.ErrnoName(e.Errno), e.Errno.Error())
}

// Unwrap is the errno.
func (e *Error) Unwrap() error { return e.Errno }

// BrokenPrefix begins the failure message of a spec that could not tell.
const BrokenPrefix = "broken: "

// stop ends the running spec; tests of the harness put their own in its place.
var stop = func(message string) { ginkgo.Fail(message, 2) }

// onCleanup registers what ends with the spec; benchmarks end it themselves.
var onCleanup = func(end func() error) { ginkgo.DeferCleanup(end) }

// Broken ends the spec as broken: the suite could not tell. Where a sandbox is in
// a namespace that it must have left the kernel is at fault, and the spec has
// failed.
func Broken(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if why := stayed(); why != "" {
		stop(why + "; then: " + message)
		return
	}
	stop(BrokenPrefix + message)
}

// Must ends the spec as broken if setting up failed. The thing under test is
// asserted with Expect instead.
func Must(err error) {
	if err != nil {
		Broken("set-up: %v", err)
	}
}

// Got is Must for a call that also returns a value.
func Got[T any](v T, err error) T {
	Must(err)
	return v
}
