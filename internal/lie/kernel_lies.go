package lie

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/harness/namespace"
)

// creating are the calls that make namespaces.
var creating = []uintptr{unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_UNSHARE}

// newFlags are the CLONE_* flags of one of the creating calls.
func newFlags(c *Call) uint64 {
	if c.Nr == unix.SYS_CLONE3 {
		return c.Uint64(c.Arg(0))
	}
	return uint64(c.Arg(0))
}

// setNewFlags changes them.
func setNewFlags(c *Call, flags uint64) {
	if c.Nr == unix.SYS_CLONE3 {
		c.Write(c.Arg(0), binary.NativeEndian.AppendUint64(nil, flags))
		return
	}
	c.SetArg(0, uintptr(flags))
}

func init() {
	for _, t := range namespace.All() {
		flag, lower := uint64(t.Flag), strings.ToLower(strings.TrimPrefix(t.Const, "CLONE_"))
		for call, nr := range map[string]uintptr{"clone": unix.SYS_CLONE, "clone3": unix.SYS_CLONE3, "unshare": unix.SYS_UNSHARE} {
			if t == namespace.Time && nr == unix.SYS_CLONE {
				continue
			}
			stateless(call+"-"+lower+"-refused", fmt.Sprintf("%s(2) fails with EPERM for %s where it is permitted.", call, t.Const), skipping,
				func(c *Call) bool {
					if newFlags(c)&flag == 0 {
						return false
					}
					c.Answer(-int(unix.EPERM))
					return true
				}, nr)
		}
		stateless("setns-"+t.Name+"-refused", fmt.Sprintf("setns(2) into a %s namespace fails with EPERM where it is permitted.", t.Name), skipping,
			func(c *Call) bool {
				if !joins(c, t) {
					return false
				}
				c.Answer(-int(unix.EPERM))
				return true
			}, unix.SYS_SETNS)
		stateless("setns-"+t.Name+"-elsewhere", fmt.Sprintf("setns(2) into a %s namespace joins that of PID 1 instead.", t.Name),
			"the namespace's file of PID 1 is opened, and the call made with that", func(c *Call) bool {
				if !strings.HasPrefix(c.File(c.Arg(0)), t.Name+":[") {
					return false
				}
				if c.dry {
					return true
				}
				dir := int32(unix.AT_FDCWD)
				path := c.Place([]byte("/proc/1/ns/" + t.Name + "\x00"))
				c.Become(unix.SYS_OPENAT, uint64(int64(dir)), uint64(path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
				return c.After(func(c *Call) bool {
					first, opened := c.args[0], c.Result() >= 0 && !ofMachine(c, t)
					if opened {
						first = uint64(c.Result())
					}
					c.Again(first)
					return opened
				})
			}, unix.SYS_SETNS)
	}
	for _, t := range []namespace.Type{namespace.Network, namespace.IPC, namespace.Mount, namespace.Cgroup, namespace.UTS, namespace.User, namespace.PID} {
		flag := uint64(t.Flag)
		add(&Lie{
			Name: t.Name + "-never-ends", Bug: fmt.Sprintf("A %s namespace, and all that is in it, outlives its last member.", t.Name),
			Means: "the supervisor keeps a descriptor of the namespace", calls: creating, keeps: t.Name,
			start: func() func(*Call) bool { return func(c *Call) bool { return newFlags(c)&flag != 0 } },
		})
	}

	for _, f := range []struct {
		name          string
		fresh, shared uint64
	}{
		{"newns-fs", unix.CLONE_NEWNS, unix.CLONE_FS}, {"newuser-fs", unix.CLONE_NEWUSER, unix.CLONE_FS},
		{"newipc-sysvsem", unix.CLONE_NEWIPC, unix.CLONE_SYSVSEM},
	} {
		stateless("clone-"+f.name+"-allowed", fmt.Sprintf("clone(2) allows CLONE_%s.", strings.ToUpper(strings.ReplaceAll(f.name, "-", " with CLONE_"))),
			"the second flag is taken out of the argument", func(c *Call) bool {
				flags := newFlags(c)
				if flags&f.fresh == 0 || flags&f.shared == 0 {
					return false
				}
				setNewFlags(c, flags&^f.shared)
				return true
			}, unix.SYS_CLONE, unix.SYS_CLONE3)
	}
	for _, t := range []namespace.Type{namespace.PID, namespace.User} {
		flag := uint64(t.Flag)
		// A child in its place would go on where its parent does.
		stateless("clone-"+strings.ToLower(strings.TrimPrefix(t.Const, "CLONE_"))+"-thread-allowed", fmt.Sprintf("clone(2) allows %s with CLONE_THREAD.", t.Const),
			"the call is not carried out and returns a number", func(c *Call) bool {
				if flags := newFlags(c); flags&flag == 0 || flags&unix.CLONE_THREAD == 0 {
					return false
				}
				c.Answer(4194303)
				return true
			}, unix.SYS_CLONE, unix.SYS_CLONE3)
	}
	stateless("clone-parent-by-init-allowed", "clone(2) allows CLONE_PARENT to PID 1 of a namespace.",
		"the flag is taken out of the argument", func(c *Call) bool {
			if flags := newFlags(c); flags&unix.CLONE_PARENT == 0 || !isInit(c.tid) {
				return false
			}
			setNewFlags(c, newFlags(c)&^unix.CLONE_PARENT)
			return true
		}, unix.SYS_CLONE, unix.SYS_CLONE3)

	stateless("proc-mount-of-outer-pidns", "A new mount of proc shows the PID namespace of the proc that is there already.",
		"the mount becomes a bind mount of /proc", func(c *Call) bool {
			if c.String(c.Arg(2)) != "proc" || c.Arg(3)&unix.MS_REMOUNT != 0 {
				return false
			}
			if !c.dry {
				c.SetArg(0, c.Place([]byte("/proc\x00")))
				c.SetArg(2, 0)
				c.SetArg(3, unix.MS_BIND)
				c.SetArg(4, 0)
			}
			return true
		}, unix.SYS_MOUNT)
	for name, flag := range map[string]uintptr{
		"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME,
		"nosymfollow": unix.MS_NOSYMFOLLOW,
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
	for _, option := range []string{"hidepid", "subset", "gid", "size", "mode", "nsdelegate", "newinstance", "ptmxmode", "lowerdir", "nr_inodes"} {
		stateless("mount-option-"+option+"-ignored", fmt.Sprintf("mount(2) ignores the option %s.", option),
			"the option is taken out of the mount's data", func(c *Call) bool {
				if c.Arg(4) == 0 {
					return false
				}
				data := c.String(c.Arg(4))
				var kept []string
				for _, o := range strings.Split(data, ",") {
					if name, _, _ := strings.Cut(o, "="); name != option {
						kept = append(kept, o)
					}
				}
				left := strings.Join(kept, ",")
				if left == data {
					return false
				}
				c.Write(c.Arg(4), []byte(left+"\x00"))
				return true
			}, unix.SYS_MOUNT)
	}
	// struct mount_attr: attr_set, attr_clr, propagation, userns_fd, 64 bits each.
	for name, flag := range map[string]uint64{
		"rdonly": unix.MOUNT_ATTR_RDONLY, "nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV, "noexec": unix.MOUNT_ATTR_NOEXEC,
		"idmap": unix.MOUNT_ATTR_IDMAP, "nosymfollow": unix.MOUNT_ATTR_NOSYMFOLLOW,
	} {
		stateless("mount-setattr-"+name+"-ignored", fmt.Sprintf("mount_setattr(2) ignores MOUNT_ATTR_%s.", strings.ToUpper(name)),
			"the flag is taken out of struct mount_attr", func(c *Call) bool {
				set := c.Uint64(c.Arg(3))
				if set&flag == 0 {
					return false
				}
				c.Write(c.Arg(3), binary.NativeEndian.AppendUint64(nil, set&^flag))
				return true
			}, unix.SYS_MOUNT_SETATTR)
	}
	stateless("mount-setattr-propagation-ignored", "mount_setattr(2) leaves the propagation as it was.",
		"the propagation is taken out of struct mount_attr", func(c *Call) bool {
			if c.Uint64(c.Arg(3)+16) == 0 {
				return false
			}
			c.Write(c.Arg(3)+16, binary.NativeEndian.AppendUint64(nil, 0))
			return true
		}, unix.SYS_MOUNT_SETATTR)
	stateless("mount-setattr-recursive-ignored", "mount_setattr(2) ignores AT_RECURSIVE.",
		"the flag is taken out of the argument", func(c *Call) bool {
			if c.Arg(2)&unix.AT_RECURSIVE == 0 {
				return false
			}
			c.SetArg(2, c.Arg(2)&^unix.AT_RECURSIVE)
			return true
		}, unix.SYS_MOUNT_SETATTR)
	for name, flag := range map[string]uintptr{"detach": unix.MNT_DETACH, "expire": unix.MNT_EXPIRE, "nofollow": unix.UMOUNT_NOFOLLOW} {
		stateless("umount-"+name+"-ignored", fmt.Sprintf("umount2(2) ignores the flag for %s.", name),
			"the flag is taken out of the argument", func(c *Call) bool {
				if c.Arg(1)&flag == 0 {
					return false
				}
				c.SetArg(1, c.Arg(1)&^flag)
				return true
			}, unix.SYS_UMOUNT2)
	}

	add(&Lie{
		Name: "cgroup2-offers-controllers-of-v1", Bug: "cgroup v2 offers controllers that v1 hierarchies have.",
		Means: "what is read from cgroup.controllers names all controllers", calls: []uintptr{unix.SYS_READ},
		start: func() func(*Call) bool {
			const all = "cpuset cpu io memory hugetlb pids rdma misc\n"
			// begun are descriptors that have given it already, and end next.
			begun := map[string]bool{}
			return func(c *Call) bool {
				if !behind(c, c.Arg(0), "cgroup.controllers") {
					return false
				}
				return c.After(func(c *Call) bool {
					file := fmt.Sprint(c.tid, c.Arg(0))
					if begun[file] || c.Result() < 0 || int(c.Arg(2)) < len(all) {
						delete(begun, file)
						return false
					}
					begun[file] = !c.dry
					c.Write(c.Arg(1), []byte(all))
					c.SetResult(len(all))
					return true
				})
			}
		},
	})

	stateless("kill-init-from-inside", "A signal that PID 1 of a namespace gets from inside, and does not handle, kills it.",
		"the supervisor sends SIGKILL in its place", func(c *Call) bool {
			if c.Arg(0) != 1 || c.Arg(1) == 0 || outermost(c.tid) {
				return false
			}
			init := initOf(c.tid)
			if init == 0 {
				return false
			}
			if !c.dry {
				c.note(unix.Kill(init, unix.SIGKILL))
				c.Answer(0)
			}
			return true
		}, unix.SYS_KILL)
	stateless("kill-init-from-outside", "A signal from an ancestor namespace that PID 1 does not handle kills it.",
		"the signal becomes SIGKILL", func(c *Call) bool {
			if sig := c.Arg(1); sig == 0 || sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
				return false
			}
			target := seenAs(c.tid, int(int32(c.Arg(0))))
			if target == 0 || !isInit(target) || sameNamespace(target, c.tid, "pid") {
				return false
			}
			c.SetArg(1, uintptr(unix.SIGKILL))
			return true
		}, unix.SYS_KILL)
}

// ofMachine says whether the descriptor that a call has returned is of a namespace
// of the machine itself, of a type of which a stage has its own.
func ofMachine(c *Call, t namespace.Type) bool {
	switch t {
	case namespace.User, namespace.Cgroup, namespace.Time:
		return false
	}
	own, err := os.Readlink("/proc/self/ns/" + t.Name)
	return err != nil || own == c.File(uintptr(c.Result()))
}

// joins says whether a setns(2) is into a namespace of the type, by the file of
// one or by a PID descriptor.
func joins(c *Call, t namespace.Type) bool {
	file := c.File(c.Arg(0))
	return strings.HasPrefix(file, t.Name+":[") || strings.Contains(file, "[pidfd]") && c.Arg(1)&t.Flag != 0
}

// nsPIDs are a process's PIDs, from the supervisor's namespace to its own.
func nsPIDs(pid int) []string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}

// isInit says whether a process is PID 1 of a namespace below the supervisor's.
func isInit(pid int) bool {
	pids := nsPIDs(pid)
	return len(pids) > 1 && pids[len(pids)-1] == "1"
}

// outermost says whether a process is in the PID namespace of a stage.
func outermost(pid int) bool { return len(nsPIDs(pid)) <= 2 }

func sameNamespace(pid, other int, name string) bool {
	a, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	b, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", other, name))
	return err == nil && a == b
}

// seenAs finds the process that another sees by a PID; 0 without one.
func seenAs(by, pid int) int {
	depth := len(nsPIDs(by)) - 1
	if depth < 0 || pid <= 0 {
		return 0
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		pids := nsPIDs(n)
		if len(pids) <= depth || pids[depth] != strconv.Itoa(pid) {
			continue
		}
		// At equal depth the number may be another namespace's.
		if depth == 0 || len(pids)-1 > depth && descends(n, by) || sameNamespace(n, by, "pid") {
			return n
		}
	}
	return 0
}

// descends says whether a process is a descendant of the init of the other's
// PID namespace.
func descends(pid, other int) bool {
	init := initOf(other)
	for pid > 1 {
		if pid == init {
			return true
		}
		pid = parentOf(pid)
	}
	return false
}

// parentOf is a process's parent; 0 where there is none to be seen.
func parentOf(pid int) int {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// initOf is the PID 1 of a process's PID namespace; 0 where it cannot be found.
func initOf(pid int) int {
	depth := len(nsPIDs(pid)) - 1
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if pids := nsPIDs(n); len(pids)-1 == depth && pids[depth] == "1" && sameNamespace(n, pid, "pid") {
			return n
		}
	}
	return 0
}
