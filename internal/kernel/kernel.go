// Package kernel says what the running kernel is: release, configuration,
// sysctls, security modules. It reads and never tries; what a feature does is
// for claims to find out.
package kernel

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"bulkhead/internal/advice"
	"bulkhead/internal/report"
)

// Identify returns the identity of the kernel and of the machine around it.
// What cannot be read stays empty.
func Identify() report.Kernel {
	u := uname()
	k := report.Kernel{
		Release: u.release, Version: u.version, Arch: u.machine,
		OS: osName(), Cmdline: firstLine("/proc/cmdline"),
		ConfigSHA256: LoadConfig().Digest(), SecurityModules: []string{},
		Cgroup: cgroupVersion(), Root: IsRoot(),
	}
	if lsm := firstLine("/sys/kernel/security/lsm"); lsm != "" {
		k.SecurityModules = strings.Split(lsm, ",")
	}
	return k
}

type utsname struct{ release, version, machine string }

var uname = sync.OnceValue(func() utsname {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return utsname{}
	}
	return utsname{unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:])}
})

// Release is the running kernel's release, 6 and 18 of "6.18.44-something".
func Release() (major, minor int) {
	major, minor, _ = ParseRelease(uname().release)
	return major, minor
}

// ParseRelease reads the first two numbers of a release.
func ParseRelease(s string) (major, minor int, err error) {
	number := func(s string) (int, string) {
		i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if i < 0 {
			i = len(s)
		}
		n, convErr := strconv.Atoi(s[:i])
		if convErr != nil && err == nil {
			err = fmt.Errorf("kernel release %q: not a number and a number", s)
		}
		return n, s[i:]
	}
	major, rest := number(s)
	minor, _ = number(strings.TrimPrefix(rest, "."))
	return major, minor, err
}

// AtLeast says whether the running kernel is of this release or a newer one.
func AtLeast(major, minor int) bool {
	a, b := Release()
	return a > major || a == major && b >= minor
}

// AtLeastString is AtLeast for a release as "5.12". A text that is none is a
// panic: it is a constant of ours.
func AtLeastString(since string) bool {
	major, minor, err := ParseRelease(since)
	if err != nil {
		panic(err)
	}
	return AtLeast(major, minor)
}

// rights are the capabilities that specs use as root. A root that lacks any is
// none to the suite: it verifies what an ordinary user may.
var rights = []struct {
	capability uint
	name       string
}{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
	{unix.CAP_SYS_TIME, "CAP_SYS_TIME"}, {unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"},
	{unix.CAP_MKNOD, "CAP_MKNOD"}, {unix.CAP_SETFCAP, "CAP_SETFCAP"}, {unix.CAP_SYS_CHROOT, "CAP_SYS_CHROOT"},
	{unix.CAP_SETUID, "CAP_SETUID"}, {unix.CAP_SETGID, "CAP_SETGID"}, {unix.CAP_SETPCAP, "CAP_SETPCAP"}, {unix.CAP_KILL, "CAP_KILL"},
	{unix.CAP_CHOWN, "CAP_CHOWN"}, {unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"}, {unix.CAP_FOWNER, "CAP_FOWNER"}, {unix.CAP_FSETID, "CAP_FSETID"},
	{unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"},
}

// Lacking are the capabilities that this process would need to be root to the
// suite, in its own user namespace; all of them when they cannot be read.
var Lacking = sync.OnceValue(func() (names []string) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	// All of them are among the first 32.
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	for _, r := range rights {
		if err != nil || data[0].Effective>>r.capability&1 == 0 {
			names = append(names, r.name)
		}
	}
	return names
})

// IsRoot says whether this process is root in the initial user namespace:
// effective UID 0, all IDs mapped to themselves, no capability lacking.
var IsRoot = sync.OnceValue(func() bool {
	if os.Geteuid() != 0 {
		return false
	}
	uidMap, err := os.ReadFile("/proc/self/uid_map")
	if err == nil && strings.Join(strings.Fields(string(uidMap)), " ") != "0 0 4294967295" {
		return false
	}
	return len(Lacking()) == 0
})

// Config is a kernel's configuration; empty when it could not be read.
type Config struct {
	raw     []byte
	options map[string]string
}

// LoadConfig reads the running kernel's configuration, once, from
// /proc/config.gz or the places where distributions keep it.
var LoadConfig = sync.OnceValue(func() Config {
	release := uname().release
	for _, path := range []string{
		"/proc/config.gz", "/boot/config-" + release, "/lib/modules/" + release + "/config",
		"/usr/lib/modules/" + release + "/config", "/lib/modules/" + release + "/build/.config",
	} {
		if c, err := ReadConfig(path); err == nil {
			return c
		}
	}
	return Config{}
})

// ReadConfig reads a configuration file, compressed if its name ends in .gz.
func ReadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return Config{}, fmt.Errorf("%s: %w", path, err)
		}
		if raw, err = io.ReadAll(z); err != nil {
			return Config{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	c := Config{raw: raw, options: map[string]string{}}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		if name, ok := strings.CutSuffix(lines.Text(), " is not set"); ok {
			c.options[strings.TrimPrefix(name, "# ")] = ""
		}
		if name, value, ok := strings.Cut(lines.Text(), "="); ok && strings.HasPrefix(name, "CONFIG_") {
			c.options[name] = value
		}
	}
	return c, nil
}

// Known says whether there is a configuration to ask.
func (c Config) Known() bool { return c.options != nil }

// Option returns an option's value, "y", "m", a number or a quoted string. It
// is "" when the option is not set; known is false without a configuration.
func (c Config) Option(name string) (value string, known bool) {
	return c.options[name], c.Known()
}

// Names are the options that the configuration knows, set or not.
func (c Config) Names() []string { return slices.Collect(maps.Keys(c.options)) }

// Digest is the SHA-256 of the configuration, in hexadecimal.
func (c Config) Digest() string {
	if !c.Known() {
		return ""
	}
	sum := sha256.Sum256(c.raw)
	return hex.EncodeToString(sum[:])
}

// ModuleLoaded says whether the module is in the kernel.
func ModuleLoaded(name string) bool {
	_, err := os.Stat("/sys/module/" + name)
	return err == nil
}

// Sysctl reads a sysctl by its dotted name.
func Sysctl(name string) (string, error) {
	raw, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	return strings.TrimSpace(string(raw)), err
}

// ModuleInstalled says whether the module is among those of the running kernel.
func ModuleInstalled(name string) bool {
	raw, err := os.ReadFile("/lib/modules/" + uname().release + "/modules.dep")
	return err == nil && regexp.MustCompile(`(^|/)`+regexp.QuoteMeta(name)+`\.ko[.a-z]*:`).Match(bytes.ReplaceAll(raw, []byte("-"), []byte("_")))
}

// Blacklisted says whether the kernel was told at boot never to load the module.
func Blacklisted(name string) bool {
	for _, word := range commandLine() {
		if list, is := strings.CutPrefix(word, "module_blacklist="); is && slices.Contains(strings.Split(list, ","), name) {
			return true
		}
	}
	return false
}

// commandLine is what the kernel was booted with, word by word.
func commandLine() []string {
	raw, _ := os.ReadFile("/proc/cmdline")
	return strings.Fields(string(raw))
}

// HasIPC says whether the kernel has System V IPC or POSIX message queues.
func HasIPC() bool {
	_, err := os.Stat("/proc/sysvipc")
	filesystems, _ := os.ReadFile("/proc/filesystems")
	return err == nil || strings.Contains(string(filesystems), "\tmqueue\n")
}

// taintDie is TAINT_DIE: the kernel has oopsed or hit a BUG.
const taintDie = 1 << 7

// Oopses is how often the kernel has oopsed, of which one before 6.2 says no more
// than that it has: 1.
func Oopses() int {
	if count, err := strconv.Atoi(firstLine("/sys/kernel/oops_count")); err == nil {
		return count
	}
	if taint, _ := strconv.Atoi(firstLine("/proc/sys/kernel/tainted")); taint&taintDie != 0 {
		return 1
	}
	return 0
}

// ReleaseName is the running kernel's release as uname(2) gives it.
func ReleaseName() string { return uname().release }

// RootObstacle says why this process is no root in the initial user namespace;
// nil when it is.
func RootObstacle() *advice.Lack {
	switch {
	case IsRoot():
		return nil
	case os.Geteuid() != 0:
		return &advice.Lack{Why: "needs root", Mend: advice.NotRoot}
	case len(Lacking()) > 0:
		return &advice.Lack{Why: "needs root: this root lacks " + strings.Join(Lacking(), ", "), Mend: advice.Capability(Lacking()...)}
	}
	return &advice.Lack{Why: "needs root: this is the root of a user namespace", Mend: advice.OfNamespace}
}

// UserNamespaceObstacle says why an ordinary user may not create user
// namespaces here, after a try that failed; nil when nothing tells.
func UserNamespaceObstacle() *advice.Lack {
	for _, o := range advice.Switches {
		if v, err := Sysctl(o.Sysctl); err == nil && v == o.Off {
			return &advice.Lack{Why: o.Sysctl + " is " + o.Off, Mend: o.Mend}
		}
	}
	if v, known := LoadConfig().Option("CONFIG_USER_NS"); known && v != "y" {
		return &advice.Lack{Why: "CONFIG_USER_NS is not set", Mend: advice.Build("CONFIG_USER_NS")}
	}
	return nil
}

// IPv6Obstacle says why a kernel that has IPv6 refuses it; nil when nothing
// tells.
func IPv6Obstacle() *advice.Lack {
	parameter, _ := os.ReadFile("/sys/module/ipv6/parameters/disable")
	if strings.TrimSpace(string(parameter)) == "1" || slices.Contains(commandLine(), "ipv6.disable=1") {
		return &advice.Lack{Why: "ipv6.disable is 1", Mend: advice.IPv6}
	}
	return nil
}

// NamespaceLimit says what may keep a healthy kernel from making another
// namespace, after an ENOSPC; nil when nothing does.
func NamespaceLimit() *advice.Lack {
	for _, t := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		name := "user.max_" + t + "_namespaces"
		v, err := Sysctl(name)
		// The suite has some dozens at a time; the kernel's own default is
		// hundreds even on a small machine.
		if n, bad := strconv.Atoi(v); err == nil && bad == nil && n < 100 {
			return &advice.Lack{Why: name + " is " + v, Mend: advice.Raise(name)}
		}
	}
	if !IsRoot() {
		return &advice.Lack{Why: "the limit may be that of a user namespace further out", Mend: advice.Raise("user.max_user_namespaces")}
	}
	return nil
}

// SeccompFiltered says whether a seccomp filter is in force for this process, as
// container runtimes set one.
func SeccompFiltered() bool {
	raw, _ := os.ReadFile("/proc/self/status")
	return strings.Contains(string(raw), "\nSeccomp:\t2\n")
}

// Confinements are what is in force for this process and may refuse what the
// kernel offers.
func Confinements() (all []advice.Confinement) {
	if SeccompFiltered() {
		all = append(all, advice.Seccomp)
	}
	if c, ok := labelled(firstLine("/proc/self/attr/current")); ok {
		all = append(all, c)
	}
	return all
}

// labelled is the confinement of a process with the security label, as
// "docker-default (enforce)" of AppArmor and
// "system_u:system_r:container_t:s0:c1,c2" of SELinux. The domains of containers
// are named by container-selinux; container_runtime_t is the runtime's own.
func labelled(label string) (advice.Confinement, bool) {
	label = strings.TrimRight(label, "\x00")
	if strings.HasSuffix(label, " (enforce)") {
		return advice.AppArmor, true
	}
	if fields := strings.Split(label, ":"); len(fields) >= 3 {
		domain := fields[2]
		if domain == "svirt_lxc_net_t" || strings.HasPrefix(domain, "container_") && domain != "container_runtime_t" {
			return advice.SELinux, true
		}
	}
	return advice.Confinement{}, false
}

// Cgroup2Mount is where cgroup v2 is mounted, or would be.
func Cgroup2Mount() string {
	if mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2")); err == nil && len(mounts) > 0 {
		return mounts[0].Mountpoint
	}
	return "/sys/fs/cgroup"
}

// TaskLimit is how many processes and threads there may be, and how many there are
// of those that count.
type TaskLimit struct {
	// Name is that of the limit, as "RLIMIT_NPROC".
	Name      string
	Most, Now int
	// Mend is what raises it.
	Mend string
}

// Tasks is the limit of tasks that leaves this process the fewest; nil where
// nothing limits them.
func Tasks() *TaskLimit {
	group, user := groupTasks(), userTasks()
	if group == nil || user != nil && user.Most-user.Now < group.Most-group.Now {
		return user
	}
	return group
}

// groupTasks is the limit of the cgroup of this process, or of the nearest one
// above that has one.
func groupTasks() *TaskLimit {
	raw, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	for line := range strings.SplitSeq(string(raw), "\n") {
		_, rest, _ := strings.Cut(line, ":")
		controllers, path, _ := strings.Cut(rest, ":")
		for _, m := range mounts {
			if controllers == "" && m.FSType != "cgroup2" || controllers != "" && !slices.Contains(strings.Split(m.VFSOptions, ","), "pids") {
				continue
			}
			for dir := path; ; dir = filepath.Dir(dir) {
				group := filepath.Join(m.Mountpoint, dir)
				if most, err := strconv.Atoi(firstLine(group + "/pids.max")); err == nil {
					now, err := strconv.Atoi(firstLine(group + "/pids.current"))
					if err != nil {
						return nil
					}
					return &TaskLimit{"pids.max of the cgroup", most, now, advice.TasksOf(group)}
				}
				if dir == "/" || dir == "." {
					break
				}
			}
		}
	}
	return nil
}

// userTasks is RLIMIT_NPROC, which counts what the user has everywhere and holds for
// all but the root of the machine (fork(2)).
func userTasks() *TaskLimit {
	var limit unix.Rlimit
	if IsRoot() || unix.Getrlimit(unix.RLIMIT_NPROC, &limit) != nil || limit.Cur > math.MaxInt32 {
		return nil
	}
	t := &TaskLimit{Name: "RLIMIT_NPROC", Most: int(limit.Cur), Mend: advice.Processes}
	all, _ := filepath.Glob("/proc/[0-9]*/task/*")
	for _, task := range all {
		var st unix.Stat_t
		if unix.Stat(task, &st) == nil && int(st.Uid) == os.Getuid() {
			t.Now++
		}
	}
	return t
}

func osName() string {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(raw), "\n") {
			if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				return strings.Trim(v, `"'`)
			}
		}
	}
	return ""
}

// cgroupVersion tells v1, v2, both and neither apart by the cgroup mounts.
func cgroupVersion() string {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return "none"
	}
	var v1, v2 bool
	for _, m := range mounts {
		v1 = v1 || m.FSType == "cgroup"
		v2 = v2 || m.FSType == "cgroup2"
	}
	switch {
	case v1 && v2:
		return "hybrid"
	case v1:
		return "v1"
	case v2:
		return "v2"
	}
	return "none"
}

func firstLine(path string) string {
	raw, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(raw), "\n")
	return line
}
