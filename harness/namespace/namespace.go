// Package namespace names the kernel's eight namespace types: the flag that
// creates one, its file in /proc/PID/ns and its manual page. It knows nothing
// of processes and makes no system call.
package namespace

import "golang.org/x/sys/unix"

// Type is one kind of namespace.
type Type struct {
	// Flag is the CLONE_NEW* constant.
	Flag uintptr
	// Name is the file in /proc/PID/ns.
	Name string
	// Const is the constant's name, as "CLONE_NEWPID".
	Const string
}

// The eight types, as in namespaces(7).
var (
	Cgroup  = Type{unix.CLONE_NEWCGROUP, "cgroup", "CLONE_NEWCGROUP"}
	IPC     = Type{unix.CLONE_NEWIPC, "ipc", "CLONE_NEWIPC"}
	Mount   = Type{unix.CLONE_NEWNS, "mnt", "CLONE_NEWNS"}
	Network = Type{unix.CLONE_NEWNET, "net", "CLONE_NEWNET"}
	PID     = Type{unix.CLONE_NEWPID, "pid", "CLONE_NEWPID"}
	Time    = Type{unix.CLONE_NEWTIME, "time", "CLONE_NEWTIME"}
	User    = Type{unix.CLONE_NEWUSER, "user", "CLONE_NEWUSER"}
	UTS     = Type{unix.CLONE_NEWUTS, "uts", "CLONE_NEWUTS"}
)

// All returns the eight types in the order of namespaces(7).
func All() []Type {
	return []Type{Cgroup, IPC, Network, Mount, PID, Time, User, UTS}
}

// Flags is the union of the types' flags.
func Flags(types ...Type) uintptr {
	var f uintptr
	for _, t := range types {
		f |= t.Flag
	}
	return f
}

// String is the type's name in /proc/PID/ns.
func (t Type) String() string { return t.Name }
