package harness

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"bulkhead/harness/namespace"
)

// left is a namespace of its parent that a sandbox must have left, by a call
// that has succeeded.
type left struct {
	sb   *Sandbox
	t    namespace.Type
	call string
}

var (
	leftMu sync.Mutex
	// lefts are those of living sandboxes, the oldest first.
	lefts []left
	// movers are sandboxes that may be anywhere: they have called setns(2), or
	// execve(2), which changes the time namespace too.
	movers = map[*Sandbox]bool{}
)

func (sb *Sandbox) cloned(flags uintptr)   { sb.leave("clone", flags) }
func (sb *Sandbox) unshared(flags uintptr) { sb.leave("unshare", flags) }

func (sb *Sandbox) leave(call string, flags uintptr) {
	leftMu.Lock()
	defer leftMu.Unlock()
	for _, t := range namespace.All() {
		if flags&t.Flag != 0 {
			lefts = append(lefts, left{sb, t, call})
		}
	}
}

func (sb *Sandbox) moved() {
	leftMu.Lock()
	defer leftMu.Unlock()
	movers[sb] = true
}

func (sb *Sandbox) forget() {
	leftMu.Lock()
	defer leftMu.Unlock()
	delete(movers, sb)
	lefts = slices.DeleteFunc(lefts, func(l left) bool { return l.sb == sb })
}

// Stayed says which living sandbox is where it must not be; "" without one. It
// looks from the suite's side, so that no sandbox need answer.
func Stayed() string {
	leftMu.Lock()
	defer leftMu.Unlock()
	for _, l := range lefts {
		if movers[l.sb] || movers[l.sb.parent] {
			continue
		}
		own, former := l.sb.link(l.t.Name), ""
		if l.call == "unshare" && (l.t == namespace.PID || l.t == namespace.Time) {
			// The caller stays, and its children do not.
			own, former = l.sb.link(l.t.Name+"_for_children"), own
		} else {
			former = l.sb.parent.link(l.t.Name)
		}
		if own != "" && own == former {
			return fmt.Sprintf("%s(%s) succeeded, and the process is still in its parent's %s namespace", l.call, l.t.Const, l.t.Name)
		}
	}
	return ""
}

// link is the sandbox's link of a name in /proc/PID/ns; "" when it cannot be read.
func (sb *Sandbox) link(name string) string {
	// The stage's first sandbox is where the stage's first process is.
	pid := sb.stage.cmd.Process.Pid
	if sb.pidfd != nil {
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", sb.pidfd.Fd()))
		if err != nil {
			return ""
		}
		_, rest, _ := strings.Cut(string(info), "Pid:")
		if n, _ := fmt.Sscan(rest, &pid); n != 1 || pid <= 0 {
			return ""
		}
	}
	target, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	return target
}
