package probe

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Misbehave goes wrong in the way it is asked to, for the harness's own tests:
// panic, half (a reply cut short) or hang.
var Misbehave = New("harness.Misbehave", func(how string) (None, error) {
	switch how {
	case "panic":
		panic("asked to")
	case "half":
		if _, err := unix.Write(3, []byte(`{"Out":`)); err != nil {
			return None{}, err
		}
		os.Exit(0)
	case "hang":
		_, _ = unix.Poll(nil, -1)
	}
	return None{}, errors.New("asked to misbehave in no way that is known")
})
