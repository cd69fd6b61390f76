package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	. "github.com/onsi/ginkgo/v2"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
	"bulkhead/internal/machine"
)

func fmt64(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }

// overlayNeed is the possibility to mount an overlay, on tmpfs.
var overlayNeed = claim.Feature("overlay", "", []string{"CONFIG_OVERLAY_FS"}, func(ctx context.Context) error {
	sb, err := harness.TryStart(ctx, harness.New(namespace.Mount))
	if err != nil {
		return err
	}
	base := overlayDirs(sb)
	return sb.Mount("overlay", base+"/merged", "overlay", 0, overlayOptions(base))
})

// overlayDirs makes the directories of an overlay.
func overlayDirs(sb *harness.Sandbox) string {
	base := sb.MkdirTemp()
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		harness.Must(sb.Mkdir(base + "/" + d))
	}
	return base
}

func overlayOptions(base string) string {
	return fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", base, base, base)
}

// cgroup is a cgroup that lives as long as its spec.
type cgroup struct {
	dir, name string
	// controller is the v1 hierarchy's, "" for v2.
	controller string
	limitFile  string
}

// path is the sandbox's cgroup in this one's hierarchy, as it reads it.
func (g cgroup) path(sb *harness.Sandbox) string {
	for _, line := range strings.Split(harness.Got(sb.ReadFile("/proc/self/cgroup")), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) == 3 && (f[1] == g.controller || g.controller != "" && strings.Contains(","+f[1]+",", ","+g.controller+",")) {
			return f[2]
		}
	}
	harness.Broken("no line for the hierarchy %q in /proc/self/cgroup", g.controller)
	return ""
}

// hierarchy is where a cgroup hierarchy is mounted, "" if it is not. An empty
// controller is v2.
func hierarchy(controller string) string {
	kind := "cgroup2"
	if controller != "" {
		kind = "cgroup"
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter(kind))
	harness.Must(err)
	for _, m := range mounts {
		if controller == "" || strings.Contains(","+m.VFSOptions+",", ","+controller+",") {
			return m.Mountpoint
		}
	}
	return ""
}

var cgroupMount = claim.Need{
	Name: "a mounted cgroup hierarchy",
	Try: func(context.Context) error {
		if hierarchy("") == "" && hierarchy("memory") == "" && hierarchy("pids") == "" {
			return errors.New("no cgroup hierarchy is mounted")
		}
		return nil
	},
	Remedy: "mount -t cgroup2 none /sys/fs/cgroup",
}

// memoryController is the memory controller, of v1 or enabled in v2's root.
var memoryController = claim.Need{
	Name: "the memory controller",
	Try: func(context.Context) error {
		if hierarchy("memory") != "" {
			return nil
		}
		root := hierarchy("")
		offered, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
		if root == "" || err != nil || !strings.Contains(" "+strings.TrimSpace(string(offered))+" ", " memory ") {
			return errors.New("no mounted hierarchy has the memory controller")
		}
		return nil
	},
	Remedy: "mount a cgroup hierarchy with the memory controller",
}

// newCgroup makes a cgroup in v2 where that is mounted, else in v1.
func newCgroup(ctx context.Context, purpose string) cgroup {
	for _, controller := range []string{"", "pids", "memory"} {
		if root := hierarchy(controller); root != "" {
			return makeCgroup(root, controller, purpose)
		}
	}
	harness.Broken("no cgroup hierarchy is mounted")
	return cgroup{}
}

// newMemoryCgroup makes a cgroup with a memory limit in bytes.
func newMemoryCgroup(ctx context.Context, limit int) cgroup {
	g := cgroup{}
	if root := hierarchy("memory"); root != "" {
		g = makeCgroup(root, "memory", "memory")
		g.limitFile = "memory.limit_in_bytes"
	} else {
		root := hierarchy("")
		// A controller that is on already stays on; one that is not is switched
		// off again.
		control := filepath.Join(root, "cgroup.subtree_control")
		before, err := os.ReadFile(control)
		harness.Must(err)
		if !strings.Contains(" "+strings.TrimSpace(string(before))+" ", " memory ") {
			harness.Must(os.WriteFile(control, []byte("+memory"), 0))
			DeferCleanup(func() error { return os.WriteFile(control, []byte("-memory"), 0) })
		}
		g = makeCgroup(root, "", "memory")
		g.limitFile = "memory.max"
	}
	harness.Must(os.WriteFile(filepath.Join(g.dir, g.limitFile), []byte(fmt.Sprint(limit)), 0))
	return g
}

func makeCgroup(root, controller, purpose string) cgroup {
	name := fmt.Sprintf("%s%d-%s", machine.Mark, os.Getpid(), purpose)
	g := cgroup{dir: filepath.Join(root, name), name: name, controller: controller}
	harness.Must(os.Mkdir(g.dir, 0o755))
	DeferCleanup(func() error {
		// The members were killed before; the sandboxes that are still alive
		// as zombies leave when they are reaped.
		procs, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, pid := range strings.Fields(string(procs)) {
			if err := os.WriteFile(filepath.Join(root, "cgroup.procs"), []byte(pid), 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		return os.Remove(g.dir)
	})
	return g
}
