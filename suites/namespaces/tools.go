package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
)

// pollTime is between two looks at what the kernel changes by itself.
const pollTime = 2 * time.Millisecond

// destroyTime bounds the wait for the end of a network namespace.
var destroyTime = harness.Scaled(10 * time.Second)

func le32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// nsOptions are the kernel options by the name of the link.
var nsOptions = map[string]string{
	"cgroup": "CONFIG_CGROUPS", "ipc": "CONFIG_IPC_NS", "net": "CONFIG_NET_NS", "pid": "CONFIG_PID_NS",
	"time": "CONFIG_TIME_NS", "user": "CONFIG_USER_NS", "uts": "CONFIG_UTS_NS",
}

// offers says whether the kernel is built with a namespace type: by its
// configuration, or where that cannot be read by whether it has the link.
func offers(option, name string) bool {
	if value, known := kernel.LoadConfig().Option(option); known {
		return value == "y"
	}
	_, err := os.Lstat("/proc/self/ns/" + name)
	return err == nil
}

// offered are the namespace types that the kernel is built with. A specs that
// tries them all fails for one that is offered and refused.
func offered(context.Context) []namespace.Type {
	var types []namespace.Type
	for _, t := range namespace.All() {
		if t == namespace.Mount || offers(nsOptions[t.Name], t.Name) {
			types = append(types, t)
		}
	}
	return types
}

// links are the sandbox's own namespaces by the names of their links. A link
// that cannot be read yet (pid_for_children before the first child) is empty.
func links(sb *harness.Sandbox) map[string]harness.File {
	return linksAt(sb, "/proc/self/ns")
}

// linksOf are the namespaces of a process that reader knows as pid.
func linksOf(reader *harness.Sandbox, pid int) map[string]harness.File {
	return linksAt(reader, fmt.Sprintf("/proc/%d/ns", pid))
}

func linksAt(sb *harness.Sandbox, dir string) map[string]harness.File {
	found := map[string]harness.File{}
	for _, name := range harness.Got(sb.ReadDir(dir)) {
		f, _ := sb.Stat(dir + "/" + name)
		found[name] = f
	}
	return found
}

// differing are the names of links that are not the same in both, in order.
func differing(a, b map[string]harness.File) []string {
	names := []string{}
	for name := range a {
		if !a[name].SameAs(b[name]) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func pidfdOpen(sb *harness.Sandbox, pid int) int {
	return int(harness.Got(sb.Syscall("pidfd_open", unix.SYS_PIDFD_OPEN, pid, 0)))
}

// hostPID is the sandbox's PID on the stage.
func hostPID(ctx context.Context, sb *harness.Sandbox) int {
	return pidBySelf(harness.Host(ctx), sb)
}

// pidBySelf finds the sandbox among reader's processes: it leaves the reader a
// mark in its name.
func pidBySelf(reader, sb *harness.Sandbox) int {
	mark := fmt.Sprintf("bh%d", time.Now().UnixNano()%1e10)
	harness.Got(sb.Prctl(unix.PR_SET_NAME, mark))
	for _, pid := range harness.Got(reader.PIDs("/proc")) {
		if comm, err := reader.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.TrimSpace(comm) == mark {
			return pid
		}
	}
	harness.Broken("%s is not among the processes that %s sees", sb, reader)
	return 0
}

// agentPID is the PID by which reader knows an agent, a child of parent.
func agentPID(reader, parent *harness.Sandbox, agent *harness.Agent) int {
	outer := pidBySelf(reader, parent)
	children := harness.Got(reader.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", outer, outer)))
	var pid int
	if _, err := fmt.Sscan(children, &pid); err != nil {
		harness.Broken("the children of %s: %q", parent, children)
	}
	return pid
}

// mountLine is the last line of mountinfo for the mount point; "" without one.
func mountLine(sb *harness.Sandbox, point string) string {
	found := ""
	for _, line := range strings.Split(harness.Got(sb.ReadFile("/proc/self/mountinfo")), "\n") {
		if f := strings.Fields(line); len(f) > 4 && f[4] == point {
			found = line
		}
	}
	return found
}

// ownerNeed is that a namespace can be asked for the user namespace that owns
// it.
var ownerNeed = claim.Feature("the NS_GET_USERNS request of ioctl(2)", "4.9", nil, func(ctx context.Context) error {
	sb := harness.Start(ctx)
	fd := harness.Got(sb.OpenNamespace(namespace.UTS))
	_, err := sb.Ioctl(fd, unix.NS_GET_USERNS, nil)
	if errors.Is(err, unix.EPERM) {
		return nil // The owner lies outside of the caller's own: it was asked.
	}
	return err
})

// limitsNeed is the limits on the number of namespaces.
var limitsNeed = claim.File("/proc/sys/user/max_uts_namespaces", "CONFIG_USER_NS", "CONFIG_SYSCTL")

// veth makes a pair with one end in the host's namespace and the other in the
// member's.
func veth(agent *harness.Agent, member *harness.Sandbox, name, inside string) {
	probe.AddLink.In(agent, probe.Link{Kind: "veth", Name: name, Peer: inside, PeerPID: member.PID()})
}
