package lie

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/harness/namespace"
)

// honestName is the lie that is none: everything is carried out, and counted.
const honestName = "honest"

// quietName is the lie that is none, and looks at nothing.
const quietName = "quiet"

// fenced are calls that are never carried out while the kernel lies, and fail
// with EPERM: what an isolation that was left out would let through to the
// machine itself.
var fenced = []uintptr{
	unix.SYS_CLOCK_SETTIME, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_SWAPOFF, unix.SYS_SWAPON,
}

func isFenced(c *Call) bool {
	for _, nr := range fenced {
		if c.Nr == nr {
			return true
		}
	}
	return false
}

var single = map[string]*Lie{}

func add(l *Lie) {
	if single[l.Name] != nil {
		panic("lie told twice: " + l.Name)
	}
	single[l.Name] = l
}

// stateless is a lie that remembers nothing.
func stateless(name, bug, means string, tell func(*Call) bool, calls ...uintptr) {
	add(&Lie{Name: name, Bug: bug, Means: means, calls: calls, start: func() func(*Call) bool { return tell }})
}

// nothingDone is a lie that says success and does nothing.
func nothingDone(name, bug string, when func(*Call) bool, calls ...uintptr) {
	stateless(name, bug, "the call is not carried out and returns 0", func(c *Call) bool {
		if !when(c) {
			return false
		}
		c.Answer(0)
		return true
	}, calls...)
}

func init() {
	everything := make([]uintptr, 0, len(callNumbers))
	for _, nr := range callNumbers {
		everything = append(everything, nr)
	}
	stateless(honestName, "none: nothing is changed, and every call is counted", "none", nil, everything...)

	stateless(quietName, "none: nothing is changed", "none", func(*Call) bool { return false })

	for _, t := range namespace.All() {
		flag, lower := t.Flag, strings.ToLower(strings.TrimPrefix(t.Const, "CLONE_"))
		if flag != unix.CLONE_NEWTIME {
			stateless("clone-"+lower+"-ignored", fmt.Sprintf("clone(2) ignores %s: the child stays in its parent's namespace.", t.Const),
				"the flag is taken out of the argument", func(c *Call) bool {
					if c.Arg(0)&flag == 0 {
						return false
					}
					c.SetArg(0, c.Arg(0)&^flag)
					return true
				}, unix.SYS_CLONE)
		}
		stateless("clone3-"+lower+"-ignored", fmt.Sprintf("clone3(2) ignores %s: the child stays in its parent's namespace.", t.Const),
			"the flag is taken out of struct clone_args", func(c *Call) bool {
				flags := c.Uint64(c.Arg(0))
				if flags&uint64(flag) == 0 {
					return false
				}
				c.Write(c.Arg(0), binary.NativeEndian.AppendUint64(nil, flags&^uint64(flag)))
				return true
			}, unix.SYS_CLONE3)
		stateless("unshare-"+lower+"-ignored", fmt.Sprintf("unshare(2) ignores %s: the caller stays in its namespace.", t.Const),
			"the flag is taken out of the argument", func(c *Call) bool {
				if c.Arg(0)&flag == 0 {
					return false
				}
				c.SetArg(0, c.Arg(0)&^flag)
				return true
			}, unix.SYS_UNSHARE)
		stateless("setns-"+t.Name+"-ignored", fmt.Sprintf("setns(2) into a %s namespace succeeds and the caller stays where it was.", t.Name),
			"the call is not carried out, or the type taken out of a PID descriptor's", func(c *Call) bool {
				if !joins(c, t) {
					return false
				}
				if left := c.Arg(1) &^ flag; left != 0 && !strings.HasPrefix(c.File(c.Arg(0)), t.Name+":[") {
					c.SetArg(1, left)
					return true
				}
				c.Answer(0)
				return true
			}, unix.SYS_SETNS)
	}

	for name, flag := range map[string]uintptr{"shared": unix.MS_SHARED, "slave": unix.MS_SLAVE, "private": unix.MS_PRIVATE, "unbindable": unix.MS_UNBINDABLE} {
		nothingDone("mount-"+name+"-ignored", fmt.Sprintf("mount(2) with MS_%s succeeds and leaves the propagation as it was.", strings.ToUpper(name)),
			func(c *Call) bool { return c.Arg(3)&flag != 0 }, unix.SYS_MOUNT)
	}
	for name, flag := range map[string]uintptr{
		"rdonly": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
		"rec": unix.MS_REC, "bind": unix.MS_BIND, "remount": unix.MS_REMOUNT, "move": unix.MS_MOVE,
	} {
		stateless("mount-"+name+"-ignored", fmt.Sprintf("mount(2) ignores MS_%s.", strings.ToUpper(name)),
			"the flag is taken out of the argument", func(c *Call) bool {
				if c.Arg(3)&flag == 0 {
					return false
				}
				c.SetArg(3, c.Arg(3)&^flag)
				return true
			}, unix.SYS_MOUNT)
	}
	for sig, name := range map[uintptr]string{uintptr(unix.SIGKILL): "sigkill", uintptr(unix.SIGTERM): "sigterm", uintptr(unix.SIGSTOP): "sigstop", uintptr(unix.SIGUSR1): "sigusr1"} {
		nothingDone("kill-"+name+"-lost", fmt.Sprintf("kill(2) says that %s was sent and nobody gets it.", strings.ToUpper(name)),
			func(c *Call) bool { return c.Arg(1) == sig }, unix.SYS_KILL)
	}
}
