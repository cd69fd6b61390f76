package probe

import (
	"errors"
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
// number.
var AwaitSignal = New("pid.AwaitSignal", func(within int) (int, error) {
	select {
	case s := <-arrived:
		return int(s.(syscall.Signal)), nil
	case <-time.After(time.Duration(within) * time.Millisecond):
		return 0, errors.New("no signal came in")
	}
})
