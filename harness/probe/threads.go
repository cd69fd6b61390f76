package probe

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Threads is what two threads of one process see of their UTS namespaces.
type Threads struct{ Before, MainLink, MainName, ThreadLink, ThreadName string }

// UnshareThread has a thread other than the main one call
// unshare(CLONE_NEWUTS) and set a host name.
var UnshareThread = New("ns.UnshareThread", func(None) (Threads, error) {
	var t Threads
	var err error
	if t.Before, err = os.Readlink("/proc/thread-self/ns/uts"); err != nil {
		return t, err
	}
	failed := make(chan error)
	go func() {
		// The thread is never unlocked, so that it ends with its goroutine.
		runtime.LockOSThread()
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
				return err
			}
			if err := unix.Sethostname([]byte("thread")); err != nil {
				return err
			}
			t.ThreadName = nodename()
			t.ThreadLink, err = os.Readlink("/proc/thread-self/ns/uts")
			return err
		}()
	}()
	if err := <-failed; err != nil {
		return t, err
	}
	t.MainName = nodename()
	t.MainLink, err = os.Readlink("/proc/thread-self/ns/uts")
	return t, err
})

func nodename() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Nodename[:])
}

// Refusals are the errnos of two calls, 0 for success.
type Refusals struct{ Unshare, Setns int }

// UserNamespaceThreaded tries, as the multithreaded process that an agent is,
// to create a user namespace and to join the one behind path.
var UserNamespaceThreaded = New("ns.UserNamespaceThreaded", func(path string) (Refusals, error) {
	f, err := os.Open(path)
	if err != nil {
		return Refusals{}, err
	}
	defer f.Close()
	return Refusals{number(unix.Unshare(unix.CLONE_NEWUSER)), number(unix.Setns(int(f.Fd()), unix.CLONE_NEWUSER))}, nil
})

// SetnsThreaded tries, as a multithreaded process, to join the namespace
// behind a path, and returns the errno, 0 for success.
var SetnsThreaded = New("ns.SetnsThreaded", func(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return number(unix.Setns(int(f.Fd()), 0)), nil
})

func number(err error) int {
	var errno unix.Errno
	errors.As(err, &errno)
	return int(errno)
}

// Monotonic reads CLOCK_MONOTONIC as programs do, through the vDSO, in
// nanoseconds.
var Monotonic = New("time.Monotonic", func(None) (int64, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano(), err
})
