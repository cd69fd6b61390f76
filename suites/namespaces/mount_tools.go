package namespaces

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/harness"
)

// mountTmpfs mounts a new tmpfs with the flags on a new directory and returns
// that.
func mountTmpfs(sb *harness.Sandbox, flags uintptr) string {
	dir := sb.MkdirTemp()
	harness.Must(sb.Mount("x", dir, "tmpfs", flags, ""))
	return dir
}

// subMount mounts a new tmpfs on a new directory of dir and returns its path.
func subMount(sb *harness.Sandbox, dir, name string) string {
	path := dir + "/" + name
	harness.Must(sb.Mkdir(path))
	harness.Must(sb.Mount("x", path, "tmpfs", 0, ""))
	return path
}

// mountField is a field of a mount's line in /proc/self/mountinfo, "" when it
// has none.
func mountField(sb *harness.Sandbox, point string, i int) string {
	if fields := strings.Fields(mountLine(sb, point)); len(fields) > i {
		return fields[i]
	}
	return ""
}

// mountID is the ID of a mount; mountFlags are its per-mount options.
func mountID(sb *harness.Sandbox, point string) string    { return mountField(sb, point, 0) }
func mountFlags(sb *harness.Sandbox, point string) string { return mountField(sb, point, 5) }

// tag is the value of a propagation tag of a mount (shared, master,
// propagate_from) in a line of mountinfo, "" when it has none.
func tag(line, name string) string {
	optional, _, _ := strings.Cut(line, " - ")
	for _, f := range strings.Fields(optional) {
		if value, ok := strings.CutPrefix(f, name+":"); ok {
			return value
		}
	}
	return ""
}

// peers is the peer group of a shared mount, "" when it is not shared.
func peers(sb *harness.Sandbox, point string) string { return tag(mountLine(sb, point), "shared") }

// makePrivate is what unshare(1) does after unshare(2).
func makePrivate(sb *harness.Sandbox) {
	harness.Must(sb.Propagation("/", unix.MS_REC|unix.MS_PRIVATE))
}

// procNamespace is the path of a process's namespace for its parent.
func procNamespace(sb *harness.Sandbox, name string) string {
	return fmt.Sprintf("/proc/%d/ns/%s", sb.PID(), name)
}

// mountLines are the lines of /proc/self/mountinfo.
func mountLines(sb *harness.Sandbox) []string {
	return strings.Split(strings.TrimSpace(harness.Got(sb.ReadFile("/proc/self/mountinfo"))), "\n")
}
