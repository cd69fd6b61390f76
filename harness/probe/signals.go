package probe

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

var arrived = make(chan os.Signal, 16)

// NotifySignal installs a handler for a signal number; AwaitSignal tells what
// it saw.
var NotifySignal = New("pid.NotifySignal", func(number int) (None, error) {
	signal.Notify(arrived, syscall.Signal(number))
	return None{}, nil
})

// AwaitSignal waits so many milliseconds for a handled signal and returns its
// number; 0 when none has come.
var AwaitSignal = New("pid.AwaitSignal", func(within int) (int, error) {
	select {
	case s := <-arrived:
		return int(s.(syscall.Signal)), nil
	case <-time.After(time.Duration(within) * time.Millisecond):
		return 0, nil
	}
})
