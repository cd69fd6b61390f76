// Package wire is what the suite's process and a sandbox's first process say
// to each other: fixed-size requests and replies over a SOCK_SEQPACKET socket
// pair, with strings and buffers in shared memory. It knows the layout, not
// the meaning.
package wire

const (
	// Slot is the size in bytes of the shared memory that one sandbox uses for
	// the strings and buffers of its system calls.
	Slot = 1 << 18
	// Slots is how many sandboxes can be alive at a time on one stage.
	Slots = 256

	// ControlFD is the descriptor on which the stage's first process talks to
	// the suite, ArenaFD the shared memory, ProgramFD the agent's own program.
	ControlFD = 3
	ArenaFD   = 4
	// and RootFD what the stage's first sandbox is driven by.
	ProgramFD = 5
	RootFD    = 6
	// AgentFD is the descriptor on which an agent answers probes.
	AgentFD = 3
)

// Request is one system call for a sandbox to make. If Child is not zero and
// the call returns 0, the process is the child of a fork: it closes Close and
// its parent's control descriptor and goes on with Child as its own.
type Request struct {
	Nr    uint64
	Args  [6]uint64
	Child uint64
	Close uint64
}

// Call as Nr asks for a call of the C function at the address Args[0], on the
// stack of Args[2] bytes at Args[1], with the arguments Args[3] and Args[4]. Its
// result comes as Ret.
const Call = 1 << 63

// Reply is what the system call returned. Errno is 0 on success.
type Reply struct {
	Ret   uint64
	Errno uint64
}

const (
	// RequestSize and ReplySize are the sizes in bytes on the socket.
	RequestSize = 9 * 8
	ReplySize   = 2 * 8
)
