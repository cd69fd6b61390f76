package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
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
}

// path is the sandbox's cgroup in this one's hierarchy, as it reads it.
func (g cgroup) path(sb *harness.Sandbox) string { return g.pathIn(sb, "/proc/self/cgroup") }

// pathOf is the cgroup of the process that reader knows as pid.
func (g cgroup) pathOf(reader *harness.Sandbox, pid int) string {
	return g.pathIn(reader, fmt.Sprintf("/proc/%d/cgroup", pid))
}

func (g cgroup) pathIn(sb *harness.Sandbox, file string) string {
	for _, line := range strings.Split(harness.Got(sb.ReadFile(file)), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) == 3 && (f[1] == g.controller || g.controller != "" && slices.Contains(strings.Split(f[1], ","), g.controller)) {
			return f[2]
		}
	}
	harness.Broken("no line for the hierarchy %q in %s", g.controller, file)
	return ""
}

// file is the path of one of the cgroup's files.
func (g cgroup) file(name string) string { return filepath.Join(g.dir, name) }

// text is the content of one of the cgroup's files, as the suite reads it.
func (g cgroup) text(name string) string {
	return strings.TrimSpace(string(harness.Got(os.ReadFile(g.file(name)))))
}

// words are the space-separated words of one of the cgroup's files.
func (g cgroup) words(name string) []string { return strings.Fields(g.text(name)) }

// set writes one of the cgroup's files, as a step of the set-up.
func (g cgroup) set(name string, value any) {
	harness.Must(writeCgroupFile(g.file(name), fmt.Sprint(value)))
}

// writeCgroupFile writes without truncating: a cgroup file takes one write(2).
func writeCgroupFile(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

// has says whether the cgroup has a file.
func (g cgroup) has(name string) bool {
	_, err := os.Stat(g.file(name))
	return err == nil
}

// field is the value in a file of lines "key value"; "" without one.
func (g cgroup) field(file, key string) string {
	for _, line := range strings.Split(g.text(file), "\n") {
		if v, ok := strings.CutPrefix(line, key+" "); ok {
			return v
		}
	}
	return ""
}

// child makes a cgroup below, which is removed with its parent.
func (g cgroup) child(name string) cgroup {
	c := cgroup{dir: g.file(name), name: g.name + "/" + name, controller: g.controller}
	harness.Must(os.Mkdir(c.dir, 0o755))
	return c
}

// enter moves the sandbox into the cgroup.
func (g cgroup) enter(sb *harness.Sandbox) {
	harness.Must(sb.WriteFile(g.file("cgroup.procs"), "0"))
}

// members are the cgroup's processes by the PIDs that reader knows them by.
func (g cgroup) members(reader *harness.Sandbox) []string {
	return strings.Fields(harness.Got(reader.ReadFile(g.file("cgroup.procs"))))
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
		if controller == "" || slices.Contains(strings.Split(m.VFSOptions, ","), controller) {
			return m.Mountpoint
		}
	}
	return ""
}

// usable says why no cgroup can be made in the hierarchy mounted at root.
func usable(root, what string) error {
	if root == "" {
		return errors.New("no " + what + " is mounted")
	}
	dir := filepath.Join(root, fmt.Sprintf("%s%d-need", machine.Mark, os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("no cgroup can be made: %w", err)
	}
	return os.Remove(dir)
}

// anyHierarchy is v2's where that is mounted, else a v1 one.
func anyHierarchy() (root, controller string) {
	for _, controller := range []string{"", "pids", "memory"} {
		if root := hierarchy(controller); root != "" {
			return root, controller
		}
	}
	return "", ""
}

var cgroupMount = &claim.Need{
	Name: "a mounted cgroup hierarchy",
	Try: func(context.Context) error {
		root, _ := anyHierarchy()
		return usable(root, "cgroup hierarchy")
	},
	Built: []string{"CONFIG_CGROUPS"},
}

// cgroup2 is a mounted v2 hierarchy. That none is mounted is not the kernel's
// doing.
var cgroup2 = &claim.Need{
	Name:  "cgroup v2",
	Try:   func(context.Context) error { return usable(hierarchy(""), "cgroup2 hierarchy") },
	Built: []string{"CONFIG_CGROUPS"},
}

// cgroup2Mounted is a v2 hierarchy to look at.
var cgroup2Mounted = &claim.Need{
	Name: "cgroup v2",
	Try: func(context.Context) error {
		if hierarchy("") == "" {
			return errors.New("no cgroup2 hierarchy is mounted")
		}
		return nil
	},
	Built: []string{"CONFIG_CGROUPS"},
}

// cgroup2Built is that the kernel knows the file system.
var cgroup2Built = claim.Feature("cgroup2", "", []string{"CONFIG_CGROUPS"}, func(ctx context.Context) error {
	if _, built := filesystems(harness.Host(ctx))["cgroup2"]; !built {
		return errors.New("/proc/filesystems does not list cgroup2")
	}
	return nil
})

// memoryLimit is the name of the file that limits the cgroup's memory.
func (g cgroup) memoryLimit() string {
	if g.v1() {
		return "memory.limit_in_bytes"
	}
	return "memory.max"
}

// controllerRoot is the hierarchy in which a cgroup made at the top has the
// controller: v1's, or v2's where its root enables it for its children, which
// is the machine's to decide.
func controllerRoot(name string) (root string, v1 bool, err error) {
	if root := hierarchy(name); root != "" {
		return root, true, nil
	}
	root = hierarchy("")
	if root == "" {
		return "", false, fmt.Errorf("no mounted hierarchy has the %s controller", name)
	}
	enabled, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
	if err == nil && !slices.Contains(strings.Fields(string(enabled)), name) {
		err = fmt.Errorf("the %s controller is in no v1 hierarchy and not enabled in %s/cgroup.subtree_control", name, root)
	}
	return root, false, err
}

// controllerOptions are the kernel options of controllers.
var controllerOptions = map[string]string{
	"cpu": "CONFIG_CGROUP_SCHED", "cpuset": "CONFIG_CPUSETS", "memory": "CONFIG_MEMCG", "pids": "CONFIG_CGROUP_PIDS",
}

// controller is a resource controller that cgroups made at the top have.
func controller(name string) *claim.Need {
	return &claim.Need{
		Name: "the " + name + " controller",
		Try: func(context.Context) error {
			root, _, err := controllerRoot(name)
			if err != nil {
				return err
			}
			return usable(root, name+" hierarchy")
		},
		Built: []string{"CONFIG_CGROUPS", controllerOptions[name]},
	}
}

// newCgroup makes a cgroup in v2 where that is mounted, else in v1.
func newCgroup(purpose string) cgroup {
	root, controller := anyHierarchy()
	return makeCgroup(root, controller, purpose)
}

// newCgroup2 makes a cgroup in v2.
func newCgroup2(purpose string) cgroup { return makeCgroup(hierarchy(""), "", purpose) }

// newController makes a cgroup that has the controller, in v1 or v2.
func newController(name, purpose string) cgroup {
	root, v1, err := controllerRoot(name)
	harness.Must(err)
	if v1 {
		return makeCgroup(root, name, purpose)
	}
	return makeCgroup(root, "", purpose)
}

// v1 says whether the cgroup is in a v1 hierarchy.
func (g cgroup) v1() bool { return g.controller != "" }

// makeCgroup makes a cgroup at the top of the hierarchy mounted at root. What
// is started after it has ended when it is removed.
func makeCgroup(root, controller, purpose string) cgroup {
	name := fmt.Sprintf("%s%d-%s", machine.Mark, os.Getpid(), purpose)
	g := cgroup{dir: filepath.Join(root, name), name: name, controller: controller}
	harness.Must(os.Mkdir(g.dir, 0o755))
	DeferCleanup(func() {
		// A process that was killed and reaped may still be on its way out.
		Eventually(func() error { return dissolve(g.dir, root) }).WithTimeout(settle).WithPolling(pollTime).
			Should(Succeed(), "remove the cgroup %s", g.dir)
	})
	return g
}

// dissolve removes a cgroup and those below it, and moves the processes that
// are still there to the root.
func dissolve(dir, root string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := dissolve(filepath.Join(dir, e.Name()), root); err != nil {
				return err
			}
		}
	}
	// A threaded cgroup has no list of processes (EOPNOTSUPP), and must be empty.
	procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for _, pid := range strings.Fields(string(procs)) {
		if err := writeCgroupFile(filepath.Join(root, "cgroup.procs"), pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return os.Remove(dir)
}
