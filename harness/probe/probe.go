// Package probe holds the typed functions that run inside a sandbox, in its
// agent, and return what they saw. It is linked into both the suite and the
// agent, and refuses to know what a spec makes of an answer.
//
// What a single system call can tell needs no probe: a sandbox makes it
// itself. Probes are for what needs a library or several threads.
package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Target is where a probe runs: an agent of the harness.
type Target interface {
	// Ask runs the named probe and decodes its answer into out. Its error is
	// an *Error when the probe itself reported one.
	Ask(name string, in, out any) error
	// Stop ends the spec as broken.
	Stop(err error)
}

// Func is a probe that takes an In and returns an Out.
type Func[In, Out any] struct{ name string }

// None is the In or Out of a probe that takes or returns nothing.
type None struct{}

// New registers fn under a name that no other probe has.
func New[In, Out any](name string, fn func(In) (Out, error)) Func[In, Out] {
	if _, taken := registry[name]; taken {
		panic("probe registered twice: " + name)
	}
	registry[name] = func(raw json.RawMessage) (any, error) {
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, fmt.Errorf("probe %s: %w", name, err)
		}
		return fn(in)
	}
	return Func[In, Out]{name}
}

// Try runs the probe and returns its error for the spec to judge. The errno
// of a failed system call is in the error's chain.
func (f Func[In, Out]) Try(t Target, in In) (Out, error) {
	var out Out
	err := t.Ask(f.name, in, &out)
	return out, err
}

// In runs the probe and stops the spec as broken if it fails.
func (f Func[In, Out]) In(t Target, in In) Out {
	out, err := f.Try(t, in)
	if err != nil {
		t.Stop(err)
	}
	return out
}

var registry = map[string]func(json.RawMessage) (any, error){}

// Call is a request to an agent.
type Call struct {
	Name string
	In   json.RawMessage
}

// Answer is an agent's reply: Out, or Err, or Panic when the probe panicked.
type Answer struct {
	Out   json.RawMessage `json:",omitempty"`
	Err   *Error          `json:",omitempty"`
	Panic string          `json:",omitempty"`
}

// Error is what a probe reported: its message and, where a system call
// failed, the errno.
type Error struct {
	Message string
	Errno   unix.Errno
	// Silence is that the kernel gave no answer in time, not even an errno.
	Silence bool
}

func (e *Error) Error() string { return e.Message }

// Unwrap makes errors.Is(err, unix.EPERM) true for a probe that saw EPERM.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Silent says whether an error is a probe's that got no answer in time.
func Silent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Silence
}

// Run runs the probe that call names, in this process.
func Run(call Call) Answer {
	fn, known := registry[call.Name]
	if !known {
		return Answer{Err: &Error{Message: "no probe is named " + call.Name}}
	}
	out, err := fn(call.In)
	if err != nil {
		e := &Error{Message: err.Error()}
		errors.As(err, &e.Errno)
		e.Silence = e.Errno == 0 && errors.Is(err, os.ErrDeadlineExceeded)
		return Answer{Err: e}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return Answer{Err: &Error{Message: fmt.Sprintf("probe %s: %v", call.Name, err)}}
	}
	return Answer{Out: raw}
}
