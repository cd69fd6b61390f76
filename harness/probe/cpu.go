package probe

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Burn uses a number of milliseconds of CPU time, and says how many went by on
// the clock.
var Burn = New("cgroup.Burn", func(ms int) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begun := time.Now()
	used := func() (time.Duration, error) {
		var ts unix.Timespec
		err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
		return time.Duration(ts.Nano()), err
	}
	end, err := used()
	if err != nil {
		return 0, err
	}
	end += time.Duration(ms) * time.Millisecond
	for {
		now, err := used()
		if err != nil || now >= end {
			return int(time.Since(begun).Milliseconds()), err
		}
	}
})
