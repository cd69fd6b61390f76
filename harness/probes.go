package harness

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/onsi/ginkgo/v2"
	"golang.org/x/sys/unix"

	"bulkhead/harness/agent"
	"bulkhead/harness/internal/wire"
	"bulkhead/harness/probe"
)

// Agent is a process in a sandbox that answers typed probes. It is a child of
// the sandbox and in all of its namespaces; unlike the sandbox it is a whole
// Go program, with several threads.
type Agent struct {
	*Sandbox
	conn net.Conn
	enc  *json.Encoder
	dec  *json.Decoder
}

// Agent starts an agent as a child of the sandbox.
func (sb *Sandbox) Agent(ctx context.Context) *Agent {
	child := sb.Fork(ctx)
	child.name = "the agent of " + sb.name
	fds := make([]byte, 8)
	Got(child.Syscall("socketpair", unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0, fds))
	ours, theirs := int(binary.NativeEndian.Uint32(fds)), int(binary.NativeEndian.Uint32(fds[4:]))
	file := Got(child.Export(ours))
	conn, err := net.FileConn(file)
	file.Close()
	Must(err)
	if theirs != wire.AgentFD {
		Must(child.Dup(theirs, wire.AgentFD))
	} else {
		Got(child.Syscall("fcntl(F_SETFD)", unix.SYS_FCNTL, theirs, unix.F_SETFD, 0))
	}
	if err := child.execve("exec the agent", unix.SYS_EXECVEAT, wire.ProgramFD, "", []string{agent.ProbeName}, []string{"GOMAXPROCS=2"}); err != nil {
		Broken("%v", err)
	}
	a := &Agent{Sandbox: child, conn: conn, enc: json.NewEncoder(conn), dec: json.NewDecoder(conn)}
	undo := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	ginkgo.DeferCleanup(func() {
		undo()
		conn.Close()
	})
	return a
}

// Ask implements probe.Target. An agent that dies, panics or answers no more
// ends the spec as broken.
func (a *Agent) Ask(name string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		Broken("probe %s: %v", name, err)
	}
	if err := a.enc.Encode(probe.Call{Name: name, In: raw}); err != nil {
		a.broken(name, err)
	}
	var answer probe.Answer
	if err := a.dec.Decode(&answer); err != nil {
		a.broken(name, err)
	}
	switch {
	case answer.Panic != "":
		Broken("probe %s in %s panicked: %s", name, a.name, answer.Panic)
	case answer.Err != nil:
		return answer.Err
	}
	if err := json.Unmarshal(answer.Out, out); err != nil {
		Broken("probe %s in %s: its answer: %v", name, a.name, err)
	}
	return nil
}

func (a *Agent) broken(name string, err error) {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("its reply was cut short")
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		err = errors.New("it has ended")
	default:
		var t interface{ Timeout() bool }
		if errors.As(err, &t) && t.Timeout() {
			err = errors.New("no answer: time ran out")
		}
	}
	Broken("probe %s: %s: %v", name, a.name, err)
}

// Stop implements probe.Target.
func (a *Agent) Stop(err error) { Broken("%v", fmt.Errorf("probe in %s: %w", a.name, err)) }
