// Package machine looks at the machine under test from outside, before and
// after a run, and names every difference: bulkhead promises to leave none.
// It knows nothing of claims.
package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Snapshot is the state of a machine: a line for each thing, by kind.
type Snapshot map[string]map[string]string

// Mark begins the names of what a run makes outside its stage (cgroups), with
// the PID of the process that made it behind: Mark + "1234-…".
const Mark = "bulkhead-"

// Take looks at mounts, links, addresses, routes, rules, nftables, sysctls,
// host and domain name, System V and POSIX IPC objects, cgroups and files in
// the temporary folders, and at processes of bulkhead's own. What the caller
// may not see is left out.
func Take() (Snapshot, error) {
	s := Snapshot{}
	release, err := flock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer release()
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	for _, m := range mounts {
		s.add("mount", fmt.Sprintf("%d %s", m.ID, m.Mountpoint),
			fmt.Sprintf("%s %s %s %s %s", m.FSType, m.Source, m.Root, m.Options, m.Optional))
	}
	if err := s.network(); err != nil {
		return nil, err
	}
	s.nftables()
	s.sysctls()
	for _, f := range []string{"shm", "sem", "msg"} {
		raw, _ := os.ReadFile("/proc/sysvipc/" + f)
		for i, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
			if fields := strings.Fields(line); i > 0 && len(fields) > 1 {
				s.add("System V "+f, fields[1], "")
			}
		}
	}
	s.files("POSIX message queue", "/dev/mqueue")
	s.files("shared memory file", "/dev/shm")
	for _, dir := range []string{os.TempDir(), "/run/netns"} {
		s.files("file", dir)
	}
	s.cgroups()
	s.processes()
	return s, nil
}

func (s Snapshot) add(kind, name, value string) {
	if s[kind] == nil {
		s[kind] = map[string]string{}
	}
	s[kind][name] = value
}

func (s Snapshot) network() error {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		a := l.Attrs()
		s.add("link", a.Name, fmt.Sprintf("%d %s %s mtu %d %s master %d", a.Index, l.Type(), a.HardwareAddr, a.MTU, a.Flags, a.MasterIndex))
	}
	addrs, _ := netlink.AddrList(nil, netlink.FAMILY_ALL)
	for _, a := range addrs {
		s.add("address", fmt.Sprintf("%s on link %d", a.IPNet, a.LinkIndex), "")
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, _ := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		for _, r := range routes {
			// Cached routes come and go with other people's traffic.
			if r.Flags&unix.RTM_F_CLONED == 0 {
				s.add("route", r.String(), "")
			}
		}
		rules, _ := netlink.RuleList(family)
		for _, r := range rules {
			s.add("rule", fmt.Sprintf("%d %s", family, r), "")
		}
	}
	return nil
}

func (s Snapshot) nftables() {
	conn, err := nftables.New()
	if err != nil {
		return
	}
	tables, err := conn.ListTables()
	if err != nil {
		return
	}
	for _, t := range tables {
		s.add("nftables table", t.Name, fmt.Sprint(t.Family))
	}
	chains, err := conn.ListChains()
	if err != nil {
		return
	}
	for _, ch := range chains {
		rules, _ := conn.GetRules(ch.Table, ch)
		s.add("nftables chain", ch.Table.Name+" "+ch.Name, fmt.Sprintf("%d rules", len(rules)))
	}
}

// restless are sysctls that change by themselves, and a directory that looking
// into mounts.
var restless = map[string]bool{
	"fs/dentry-state": true, "fs/file-nr": true, "fs/inode-nr": true, "fs/inode-state": true,
	"fs/quota": true, "kernel/ns_last_pid": true, "kernel/pty/nr": true, "kernel/random": true,
	"net/netfilter/nf_conntrack_count": true, "fs/aio-nr": true, "kernel/tainted": true,
	"kernel/sched_domain": true, "vm/stat_refresh": true, "fs/binfmt_misc": true,
}

// deprecated are sysctls that the kernel writes a warning for to its log when
// they are read; each has a twin in milliseconds.
var deprecated = map[string]bool{"base_reachable_time": true, "retrans_time": true}

func (s Snapshot) sysctls() {
	const root = "/proc/sys"
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(path, root+"/")
		switch {
		case err != nil:
			return nil
		case restless[rel] && d.IsDir():
			return filepath.SkipDir
		case d.IsDir() || restless[rel] || deprecated[d.Name()] || strings.Contains(rel, "/stable_secret"):
			return nil
		}
		raw := readSome(path)
		s.add("sysctl", strings.ReplaceAll(rel, "/", "."), strings.TrimSpace(raw))
		return nil
	})
}

// readSome reads a small file whole; what cannot be read is empty.
func readSome(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// files lists what bulkhead would have made there; other programs' files are
// their own business.
func (s Snapshot) files(kind, dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Mark) {
			s.add(kind, filepath.Join(dir, e.Name()), "")
		}
	}
}

func (s Snapshot) cgroups() {
	for _, dir := range cgroupDirs() {
		// The specs of this run have ended: who lives is of another run.
		if !ownerLives(dir) {
			s.add("cgroup", dir, "")
		}
	}
}

// cgroupDirs are the directories of cgroup hierarchies that bear our mark.
func cgroupDirs() []string {
	var dirs []string
	mounts, _ := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	for _, m := range mounts {
		_ = filepath.WalkDir(m.Mountpoint, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), Mark) {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	return dirs
}

// processes lists what descends from this process's children, for whom it waits
// itself.
func (s Snapshot) processes() {
	// In the numbers of the mounted /proc, which may be an outer PID namespace's.
	link, _ := os.Readlink("/proc/self")
	self, err := strconv.Atoi(link)
	if err != nil {
		return
	}
	parents := map[int]int{}
	names := map[int]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		status := readSome(filepath.Join("/proc", e.Name(), "status"))
		for _, line := range strings.Split(status, "\n") {
			if v, ok := strings.CutPrefix(line, "PPid:"); ok {
				parents[pid], _ = strconv.Atoi(strings.TrimSpace(v))
			}
			if v, ok := strings.CutPrefix(line, "Name:"); ok {
				names[pid] = strings.TrimSpace(v)
			}
		}
	}
	for pid := range parents {
		for p := parents[parents[pid]]; p != 0; p = parents[p] {
			if p == self {
				s.add("process", fmt.Sprintf("%d %s", pid, names[pid]), "")
				break
			}
		}
	}
}

// CleanStale removes what a run that was killed could not: cgroups that bear
// the mark of a process that is gone.
func CleanStale() error {
	dirs := cgroupDirs()
	// Children first.
	sort.Sort(sort.Reverse(sort.StringSlice(dirs)))
	for _, dir := range dirs {
		if ownerLives(dir) {
			continue
		}
		if err := removeTree(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("remove the cgroup that an earlier run left: %w", err)
		}
	}
	return nil
}

// ownerLives says whether the process whose mark a cgroup bears is there, or
// the mark names none.
func ownerLives(dir string) bool {
	owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), Mark), "-")
	pid, err := strconv.Atoi(owner)
	return err != nil || errors.Is(unix.Kill(pid, 0), unix.EPERM) || unix.Kill(pid, 0) == nil
}

// removeTree removes a cgroup and the cgroups below it; their files go along.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// lockedFile is what runs on one machine lock among themselves.
const lockedFile = "/proc/sys/vm/swappiness"

// Lock keeps other runs on this machine from looking at it (Take) or changing it
// (Lock) until the caller has put back what it changes. Where the file is not
// there to be locked, nothing of the machine can be changed either.
func Lock() (release func(), err error) { return flock(unix.LOCK_EX) }

func flock(how int) (release func(), err error) {
	f, err := os.Open(lockedFile)
	if err != nil {
		return func() {}, nil
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", lockedFile, err)
		}
		return func() { f.Close() }, nil
	}
}

// Compare names every difference, a line each.
func Compare(before, after Snapshot) []string {
	var diff []string
	kinds := map[string]bool{}
	for k := range before {
		kinds[k] = true
	}
	for k := range after {
		kinds[k] = true
	}
	for kind := range kinds {
		for name, was := range before[kind] {
			is, there := after[kind][name]
			switch {
			case !there:
				diff = append(diff, fmt.Sprintf("%s %s is gone", kind, name))
			case is != was:
				diff = append(diff, fmt.Sprintf("%s %s was %q and is %q", kind, name, was, is))
			}
		}
		if kind == "sysctl" {
			// A module that the kernel loads when it is asked for brings its own.
			continue
		}
		for name := range after[kind] {
			if _, there := before[kind][name]; !there {
				diff = append(diff, fmt.Sprintf("%s %s is new", kind, name))
			}
		}
	}
	sort.Strings(diff)
	return diff
}
