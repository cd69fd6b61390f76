package proc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
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

// procfs is the possibility to mount proc.
var procfs = claim.Feature("a proc mount", "", []string{"CONFIG_PROC_FS"}, func(ctx context.Context) error {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	return sb.Mount("proc", sb.MkdirTemp(), "proc", 0, "")
})

// rows counts the lines of ps after its header.
func rows(ps string) int { return max(0, strings.Count(ps, "\n")-1) }

func le64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }
func le32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

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

// kilobytes is a field of /proc/meminfo, in kB.
func kilobytes(meminfo, name string) uint64 {
	for _, line := range strings.Split(meminfo, "\n") {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			harness.Must(err)
			return n
		}
	}
	harness.Broken("no %s in /proc/meminfo", name)
	return 0
}

// ranges reads a list as "0-3,6".
func ranges(list string) [][2]int {
	var all [][2]int
	for _, part := range strings.Split(strings.TrimSpace(list), ",") {
		var a, b int
		if n, _ := fmt.Sscanf(part, "%d-%d", &a, &b); n == 1 {
			b = a
		}
		all = append(all, [2]int{a, b})
	}
	return all
}

func countRanges(list string) int {
	n := 0
	for _, r := range ranges(list) {
		n += r[1] - r[0] + 1
	}
	return n
}

// interfaces lists the names in a net/dev file.
func interfaces(sb *harness.Sandbox, path string) []string {
	var names []string
	for _, line := range strings.Split(harness.Got(sb.ReadFile(path)), "\n") {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// addVeth gives the sandbox's network namespace interfaces besides lo.
func addVeth(ctx context.Context, sb *harness.Sandbox) {
	probe.AddLink.In(sb.Agent(ctx), probe.Link{Kind: "veth", Name: "veth0", Peer: "veth1"})
}

const oomScoreAdj = "/proc/self/oom_score_adj"

// oomFloor is a floor that can be gone below: root sets one, an ordinary user
// may have been given the lowest there is.
var oomFloor = &claim.Need{
	Name: "an oom_score_adj above -1000",
	Try: func(ctx context.Context) error {
		now, err := harness.Outermost(ctx).ReadFile(oomScoreAdj)
		if err == nil && !kernel.IsRoot() && strings.TrimSpace(now) == "-1000" {
			err = errors.New("the suite itself runs with an oom_score_adj of -1000, and nothing is below")
		}
		return err
	},
}

// kernelLog is /dev/kmsg, by a node of the stage's own: a machine's /dev may
// lack it.
var kernelLog = &claim.Need{
	Name: "the kernel log",
	Try: func(ctx context.Context) error {
		host := harness.Host(ctx)
		fd, err := host.Open(newKmsg(ctx), unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return host.Close(fd)
	},
}

// newKmsg makes a device node of the kernel log on the stage, which root alone
// can open.
func newKmsg(ctx context.Context) string {
	host := harness.Host(ctx)
	path := host.MkdirTemp() + "/kmsg"
	harness.Must(host.Mknod(path, unix.S_IFCHR|0o600, unix.Mkdev(1, 11)))
	return path
}
