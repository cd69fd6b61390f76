package harness

import (
	"errors"
	"fmt"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega/format"
	"github.com/onsi/gomega/types"
	"golang.org/x/sys/unix"

	"bulkhead/harness/probe"
	"bulkhead/internal/kernel"
)

// Error is a system call that a sandbox made and that failed. It unwraps to
// its errno, so that MatchError(unix.EPERM) holds for it.
type Error struct {
	// Op is the call with its telling arguments, as `unshare(CLONE_NEWUSER)`.
	Op    string
	Errno unix.Errno
}

func (e *Error) Error() string {
	return e.Op + ": " + errnoText(e.Errno)
}

// Unwrap is the errno.
func (e *Error) Unwrap() error { return e.Errno }

// FailWith matches an error that is the errno. Unlike MatchError its message names
// both the errno that was expected and the one that was seen, or success.
func FailWith(errno unix.Errno) types.GomegaMatcher { return failWith{errno} }

type failWith struct{ errno unix.Errno }

func (f failWith) Match(actual any) (bool, error) {
	err, is := actual.(error)
	if !is && actual != nil {
		return false, fmt.Errorf("FailWith wants an error and got\n%s", format.Object(actual, 1))
	}
	return errors.Is(err, f.errno), nil
}

func (f failWith) FailureMessage(actual any) string {
	return fmt.Sprintf("Expected\n    %s\nand got\n    %s", errnoText(f.errno), outcome(actual))
}

func (f failWith) NegatedFailureMessage(actual any) string {
	return fmt.Sprintf("Expected anything but\n    %s\nand got\n    %s", errnoText(f.errno), outcome(actual))
}

// outcome is an error in words; a bare errno, which the suite's own calls return,
// with its name.
func outcome(actual any) string {
	switch err := actual.(type) {
	case nil:
		return "success"
	case unix.Errno:
		return errnoText(err)
	default:
		return fmt.Sprint(err)
	}
}

func errnoText(errno unix.Errno) string {
	return fmt.Sprintf("%s (%s)", unix.ErrnoName(errno), errno.Error())
}

func init() {
	// Gomega shows an error's text by itself; its fields say nothing more.
	format.RegisterCustomFormatter(func(value any) (string, bool) {
		switch v := value.(type) {
		case *Error, *probe.Error:
			return "", true
		case unix.Errno:
			return unix.ErrnoName(v), true
		}
		return "", false
	})
}

// BrokenPrefix begins the failure message of a spec that could not tell.
const BrokenPrefix = "broken: "

// stop ends the running spec; tests of the harness put their own in its place.
var stop = func(message string) { ginkgo.Fail(message, 2) }

// onCleanup registers what ends with the spec; benchmarks end it themselves.
var onCleanup = func(end func() error) { ginkgo.DeferCleanup(end) }

// oopses is how often the kernel had oopsed when the spec began.
var oopses = kernel.Oopses()

// Watch begins a spec: an oops from here on is the kernel's failure in it.
func Watch() { oopses = kernel.Oopses() }

// Broken ends the spec as broken: the suite could not tell. Where a sandbox is in
// a namespace that it must have left, or the kernel has oopsed, the kernel is at
// fault, and the spec has failed.
func Broken(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	why := Stayed()
	if why == "" && kernel.Oopses() > oopses {
		why = "the kernel oopsed, its log has the trace"
	}
	if why != "" {
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
