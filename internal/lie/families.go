package lie

import (
	"encoding/binary"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The lies of a family are named by what they change, with colons between:
//
//	CALL:lost                the call succeeds and nothing is done
//	CALL:refused             it fails with EPERM where it is permitted
//	CALL:allowed:ERRNO       it succeeds where it must fail with ERRNO, and does nothing
//	CALL:changed             its result is one more than it should be
//	read:FILE:empty          the file reads as empty
//	read:FILE:changed        every digit in the file is another
//	write:FILE:lost          a write succeeds and nothing is written
//	write:FILE:refused       a write fails with EPERM
//	write:FILE:allowed:ERRNO a write that must fail with ERRNO succeeds
//	open:FILE:missing        opening fails with ENOENT
//	open:FILE:allowed:ERRNO  opening succeeds where it must fail with ERRNO
//	stat:FILE:same           its inode is 1, as every other's
//	stat:FILE:changed        its inode depends on who asks
//	stat:FILE:owner          its owner and group are one more
//	stat:FILE:missing        ENOENT
//	readlink:FILE:changed    every digit in the link is another
//	CALL:output              a number or word that it writes to memory is another
//	netlink:REQUEST:lost     the request is acknowledged and not carried out
//	netlink:REQUEST:elsewhere
//	                         it is carried out on lo
//	netlink:REQUEST:without:ATTRIBUTE
//	                         it is carried out as if it had not the attribute
//	netlink:reply:empty      a dump has no entries
//	netlink:reply:halved     every second entry is left out
//	packets:lost             what a network socket sends gets nowhere
//	packets:halved           only the first half of it is sent
//	packets:back             it arrives at the sender's own lo
//	packets:altered          a bit of what is received is another
//	packets:everywhere       every packet socket sees every frame
//	list:DIR:empty           the directory has no entries
//	list:DIR:halved          every second entry is left out
//
// and each of these with :N behind is told the N-th time only.
//
// FILE and DIR are the last element of a path, with every number as 0.

// callNumbers are the calls of the families.
var callNumbers = map[string]uintptr{
	"clone": unix.SYS_CLONE, "clone3": unix.SYS_CLONE3, "unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS,
	"chroot": unix.SYS_CHROOT, "pivot_root": unix.SYS_PIVOT_ROOT, "chdir": unix.SYS_CHDIR, "fchdir": unix.SYS_FCHDIR,
	"mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2, "mount_setattr": unix.SYS_MOUNT_SETATTR, "open_tree": unix.SYS_OPEN_TREE,
	"move_mount": unix.SYS_MOVE_MOUNT, "fsopen": unix.SYS_FSOPEN, "fsconfig": unix.SYS_FSCONFIG, "fsmount": unix.SYS_FSMOUNT, "fspick": unix.SYS_FSPICK,
	"sethostname": unix.SYS_SETHOSTNAME, "setdomainname": unix.SYS_SETDOMAINNAME, "uname": unix.SYS_UNAME,
	"kill": unix.SYS_KILL, "tkill": unix.SYS_TKILL, "tgkill": unix.SYS_TGKILL, "pidfd_open": unix.SYS_PIDFD_OPEN,
	"pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL, "rt_sigqueueinfo": unix.SYS_RT_SIGQUEUEINFO,
	"wait4": unix.SYS_WAIT4, "waitid": unix.SYS_WAITID, "execve": unix.SYS_EXECVE, "execveat": unix.SYS_EXECVEAT,
	"getpid": unix.SYS_GETPID, "getppid": unix.SYS_GETPPID, "gettid": unix.SYS_GETTID, "getpgid": unix.SYS_GETPGID, "getsid": unix.SYS_GETSID,
	"setpgid": unix.SYS_SETPGID, "setsid": unix.SYS_SETSID,
	"getuid": unix.SYS_GETUID, "geteuid": unix.SYS_GETEUID, "getgid": unix.SYS_GETGID, "getegid": unix.SYS_GETEGID,
	"getresuid": unix.SYS_GETRESUID, "getresgid": unix.SYS_GETRESGID, "getgroups": unix.SYS_GETGROUPS,
	"setuid": unix.SYS_SETUID, "setgid": unix.SYS_SETGID, "setreuid": unix.SYS_SETREUID, "setregid": unix.SYS_SETREGID,
	"setresuid": unix.SYS_SETRESUID, "setresgid": unix.SYS_SETRESGID, "setgroups": unix.SYS_SETGROUPS, "setfsuid": unix.SYS_SETFSUID,
	"capget": unix.SYS_CAPGET, "capset": unix.SYS_CAPSET, "prctl": unix.SYS_PRCTL, "seccomp": unix.SYS_SECCOMP,
	"mkdirat": unix.SYS_MKDIRAT, "mknodat": unix.SYS_MKNODAT, "unlinkat": unix.SYS_UNLINKAT, "symlinkat": unix.SYS_SYMLINKAT,
	"linkat": unix.SYS_LINKAT, "renameat2": unix.SYS_RENAMEAT2, "fchmodat": unix.SYS_FCHMODAT, "fchownat": unix.SYS_FCHOWNAT,
	"setxattr": unix.SYS_SETXATTR, "getxattr": unix.SYS_GETXATTR, "truncate": unix.SYS_TRUNCATE, "ftruncate": unix.SYS_FTRUNCATE,
	"fallocate": unix.SYS_FALLOCATE, "statfs": unix.SYS_STATFS, "getcwd": unix.SYS_GETCWD, "faccessat": unix.SYS_FACCESSAT,
	"name_to_handle_at": unix.SYS_NAME_TO_HANDLE_AT, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "openat2": unix.SYS_OPENAT2,
	"swapon": unix.SYS_SWAPON, "swapoff": unix.SYS_SWAPOFF, "acct": unix.SYS_ACCT,
	"socket": unix.SYS_SOCKET, "bind": unix.SYS_BIND, "listen": unix.SYS_LISTEN, "connect": unix.SYS_CONNECT, "accept4": unix.SYS_ACCEPT4,
	"setsockopt": unix.SYS_SETSOCKOPT, "getsockopt": unix.SYS_GETSOCKOPT, "getsockname": unix.SYS_GETSOCKNAME, "ioctl": unix.SYS_IOCTL,
	"shmget": unix.SYS_SHMGET, "shmctl": unix.SYS_SHMCTL, "shmat": unix.SYS_SHMAT, "semget": unix.SYS_SEMGET, "semctl": unix.SYS_SEMCTL, "semop": unix.SYS_SEMOP,
	"msgget": unix.SYS_MSGGET, "msgctl": unix.SYS_MSGCTL, "msgsnd": unix.SYS_MSGSND, "msgrcv": unix.SYS_MSGRCV,
	"mq_open": unix.SYS_MQ_OPEN, "mq_unlink": unix.SYS_MQ_UNLINK, "mq_timedsend": unix.SYS_MQ_TIMEDSEND, "mq_timedreceive": unix.SYS_MQ_TIMEDRECEIVE,
	"add_key": unix.SYS_ADD_KEY, "keyctl": unix.SYS_KEYCTL, "request_key": unix.SYS_REQUEST_KEY,
	"clock_gettime": unix.SYS_CLOCK_GETTIME, "clock_settime": unix.SYS_CLOCK_SETTIME, "clock_nanosleep": unix.SYS_CLOCK_NANOSLEEP,
	"timerfd_create": unix.SYS_TIMERFD_CREATE, "timerfd_settime": unix.SYS_TIMERFD_SETTIME, "sysinfo": unix.SYS_SYSINFO, "syslog": unix.SYS_SYSLOG,
	"reboot": unix.SYS_REBOOT, "ptrace": unix.SYS_PTRACE, "bpf": unix.SYS_BPF, "sched_setaffinity": unix.SYS_SCHED_SETAFFINITY,
	"sched_getaffinity": unix.SYS_SCHED_GETAFFINITY, "setpriority": unix.SYS_SETPRIORITY, "prlimit64": unix.SYS_PRLIMIT64, "kcmp": unix.SYS_KCMP,
	"process_vm_readv": unix.SYS_PROCESS_VM_READV, "quotactl": unix.SYS_QUOTACTL, "fanotify_init": unix.SYS_FANOTIFY_INIT,
	"openat": unix.SYS_OPENAT, "read": unix.SYS_READ, "write": unix.SYS_WRITE, "statx": unix.SYS_STATX, "readlinkat": unix.SYS_READLINKAT,
	"getdents64": unix.SYS_GETDENTS64, "sendto": unix.SYS_SENDTO, "sendmsg": unix.SYS_SENDMSG, "recvfrom": unix.SYS_RECVFROM, "recvmsg": unix.SYS_RECVMSG,
}

func callName(nr uintptr) string {
	for name, n := range callNumbers {
		if n == nr {
			return name
		}
	}
	return strconv.Itoa(int(nr))
}

var errnos = func() map[string]unix.Errno {
	all := map[string]unix.Errno{}
	for e := unix.Errno(1); e < 134; e++ {
		if name := unix.ErrnoName(e); name != "" {
			all[name] = e
		}
	}
	return all
}()

// masked is the last element of a path with every number as 0, so that PIDs and
// generated names do not count.
func masked(file string) string {
	var b strings.Builder
	digit := false
	for _, r := range path.Base(file) {
		switch {
		case r >= '0' && r <= '9':
			if !digit {
				b.WriteByte('0')
			}
		case r == ' ' || r == ':':
			b.WriteByte('_')
		default:
			b.WriteRune(r)
		}
		digit = r >= '0' && r <= '9'
	}
	return b.String()
}

// member makes the lie of a family that has the name.
func member(name string) (*Lie, bool) {
	p := strings.Split(name, ":")
	if len(p) < 2 {
		return nil, false
	}
	if n, err := strconv.Atoi(p[len(p)-1]); err == nil && len(p) > 2 {
		base, ok := member(strings.Join(p[:len(p)-1], ":"))
		if !ok || n < 1 {
			return nil, false
		}
		return base.once(name, n), true
	}
	l := &Lie{Name: name}
	switch p[0] {
	case "read", "write", "open", "stat", "readlink", "list":
		if len(p) < 3 || !l.ofFile(p) {
			return nil, false
		}
		return l, true
	case "netlink":
		return l, l.ofNetlink(p)
	case "packets":
		return l, l.ofPackets(p)
	}
	nr, ok := callNumbers[p[0]]
	if !ok {
		return nil, false
	}
	l.calls = []uintptr{nr}
	return l, l.ofCall(p)
}

// tells makes the lie one without memory.
func (l *Lie) tells(bug, means string, tell func(*Call) bool) bool {
	l.Bug, l.Means = bug, means
	l.start = func() func(*Call) bool { return tell }
	return true
}

const (
	skipping = "the call is not carried out"
	altering = "the call is carried out and its result changed"
)

func (l *Lie) ofCall(p []string) bool {
	call := p[0] + "(2)"
	switch {
	case len(p) == 2 && p[1] == "lost":
		return l.tells(call+" says success and does nothing.", skipping, func(c *Call) bool {
			if ownThread(c) {
				return false
			}
			c.Answer(0)
			return true
		})
	case len(p) == 2 && p[1] == "refused":
		return l.tells(call+" fails with EPERM where it is permitted.", skipping, func(c *Call) bool {
			if ownThread(c) {
				return false
			}
			c.Answer(-int(unix.EPERM))
			return true
		})
	case len(p) == 3 && p[1] == "allowed":
		errno, ok := errnos[p[2]]
		if !ok {
			return false
		}
		return l.tells(fmt.Sprintf("%s succeeds where it must fail with %s.", call, p[2]), altering, func(c *Call) bool {
			return c.After(func(c *Call) bool {
				if c.Result() != -int(errno) {
					return false
				}
				c.SetResult(0)
				return true
			})
		})
	case len(p) == 2 && p[1] == "output":
		o, ok := outputs[p[0]]
		if !ok {
			return false
		}
		return l.tells(call+" writes another value than the kernel's.", altering, func(c *Call) bool {
			return c.After(func(c *Call) bool {
				if c.Result() < 0 || c.Arg(o.arg) == 0 {
					return false
				}
				for _, at := range o.at {
					b := c.Read(c.Arg(o.arg)+at, 1)
					if len(b) == 1 {
						b[0] ^= o.bits
						c.Write(c.Arg(o.arg)+at, b)
					}
				}
				return true
			})
		})
	case len(p) == 2 && p[1] == "changed":
		return l.tells("What "+call+" returns is one more than it is.", altering, func(c *Call) bool {
			return c.After(func(c *Call) bool {
				if c.Result() < 0 {
					return false
				}
				c.SetResult(c.Result() + 1)
				return true
			})
		})
	}
	return false
}

// outputs are the places of the values that calls write to memory: the
// argument with the pointer, the offsets and the bits to turn over.
var outputs = map[string]struct {
	arg  int
	at   []uintptr
	bits byte
}{
	"uname":         {0, []uintptr{0, 65, 130, 195, 260, 325}, 1},
	"getcwd":        {0, []uintptr{1}, 1},
	"clock_gettime": {1, []uintptr{1}, 0x10},
	"sysinfo":       {0, []uintptr{1, 33, 34}, 0x10},
	"capget":        {1, []uintptr{0, 1, 2, 4, 5, 6}, 0xff},
	"wait4":         {1, []uintptr{0, 1}, 1},
	"statfs":        {1, []uintptr{0, 16}, 1},
	"getresuid":     {0, []uintptr{0}, 1},
	"getresgid":     {0, []uintptr{0}, 1},
	"getsockopt":    {3, []uintptr{0}, 1},
	"getsockname":   {1, []uintptr{2, 4, 8}, 1},
	"msgrcv":        {1, []uintptr{8}, 1},
	"getxattr":      {2, []uintptr{4, 8}, 1},
	"semctl":        {3, []uintptr{0}, 1},
	"shmctl":        {2, []uintptr{0}, 1},
	"msgctl":        {2, []uintptr{0}, 1},
}

// once is the lie told the n-th time that it can be told, and never else.
func (l *Lie) once(name string, n int) *Lie {
	return &Lie{
		Name: name, Means: l.Means, calls: l.calls,
		Bug: fmt.Sprintf("%s (the %s time)", strings.TrimSuffix(l.Bug, "."), ordinal(n)),
		start: func() func(*Call) bool {
			tell, could := l.start(), 0
			return func(c *Call) bool {
				probe := *c
				probe.dry = true
				if tell(&probe) {
					could++
					return could == n && tell(c)
				}
				if probe.after == nil {
					return false
				}
				tell(c)
				after := c.after
				return c.After(func(c *Call) bool {
					probe := *c
					probe.dry = true
					if !after(&probe) {
						return false
					}
					could++
					return could == n && after(c)
				})
			}
		},
	}
}

// ownThread says whether a clone(2) makes a thread: a program's own business.
func ownThread(c *Call) bool { return c.Nr == unix.SYS_CLONE && c.Arg(0)&unix.CLONE_THREAD != 0 }

func ordinal(n int) string {
	switch {
	case n%10 == 1 && n%100 != 11:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2 && n%100 != 12:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3 && n%100 != 13:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}

// digits replaces every digit by another.
func digits(b []byte) bool {
	changed := false
	for i, ch := range b {
		if ch >= '0' && ch <= '9' {
			b[i] = '0' + (ch-'0'+1)%10
			changed = true
		}
	}
	return changed
}

// behind says whether a descriptor leads to the file of a family's name.
func behind(c *Call, fd uintptr, file string) bool {
	p := c.File(fd)
	return strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "/memfd:") && masked(p) == file
}

func (l *Lie) ofFile(p []string) bool {
	file := p[1]
	kind := strings.Join([]string{p[0], p[2]}, ":")
	var errno unix.Errno
	if p[2] == "allowed" {
		if len(p) != 4 || errnos[p[3]] == 0 {
			return false
		}
		errno = errnos[p[3]]
	} else if len(p) != 3 {
		return false
	}
	switch kind {
	case "read:empty", "read:changed":
		l.calls = []uintptr{unix.SYS_READ}
		if kind == "read:empty" {
			return l.tells(fmt.Sprintf("A file %s reads as empty.", file), skipping, func(c *Call) bool {
				if !behind(c, c.Arg(0), file) {
					return false
				}
				c.Answer(0)
				return true
			})
		}
		return l.tells(fmt.Sprintf("The numbers in a file %s are not those of the kernel.", file), altering, func(c *Call) bool {
			if !behind(c, c.Arg(0), file) {
				return false
			}
			return c.After(func(c *Call) bool {
				b := c.Read(c.Arg(1), c.Result())
				if !digits(b) {
					return false
				}
				c.Write(c.Arg(1), b)
				return true
			})
		})
	case "write:lost", "write:refused", "write:allowed":
		l.calls = []uintptr{unix.SYS_WRITE}
		switch p[2] {
		case "lost":
			return l.tells(fmt.Sprintf("A write to a file %s succeeds and changes nothing.", file), skipping, func(c *Call) bool {
				if !behind(c, c.Arg(0), file) {
					return false
				}
				c.Answer(int(c.Arg(2)))
				return true
			})
		case "refused":
			return l.tells(fmt.Sprintf("A write to a file %s fails with EPERM where it is permitted.", file), skipping, func(c *Call) bool {
				if !behind(c, c.Arg(0), file) {
					return false
				}
				c.Answer(-int(unix.EPERM))
				return true
			})
		}
		return l.tells(fmt.Sprintf("A write to a file %s succeeds where it must fail with %s.", file, p[3]), altering, func(c *Call) bool {
			if !behind(c, c.Arg(0), file) {
				return false
			}
			return c.After(func(c *Call) bool {
				if c.Result() != -int(errno) {
					return false
				}
				c.SetResult(int(c.Arg(2)))
				return true
			})
		})
	case "open:missing", "open:allowed":
		l.calls = []uintptr{unix.SYS_OPENAT}
		if p[2] == "missing" {
			return l.tells(fmt.Sprintf("A file %s cannot be found.", file), skipping, func(c *Call) bool {
				if masked(c.String(c.Arg(1))) != file {
					return false
				}
				c.Answer(-int(unix.ENOENT))
				return true
			})
		}
		return l.tells(fmt.Sprintf("A file %s can be opened where that must fail with %s.", file, p[3]), altering, func(c *Call) bool {
			if masked(c.String(c.Arg(1))) != file {
				return false
			}
			return c.After(func(c *Call) bool {
				if c.Result() != -int(errno) {
					return false
				}
				c.SetResult(0)
				return true
			})
		})
	case "stat:same", "stat:changed", "stat:owner", "stat:missing":
		l.calls = []uintptr{unix.SYS_STATX}
		change := map[string]func(*Call) bool{
			"same": func(c *Call) bool { c.Write(c.Arg(4)+32, binary.NativeEndian.AppendUint64(nil, 1)); return true },
			"changed": func(c *Call) bool {
				c.Write(c.Arg(4)+32, binary.NativeEndian.AppendUint64(nil, uint64(c.tid)))
				return true
			},
			"owner": func(c *Call) bool {
				b := c.Read(c.Arg(4)+20, 8)
				if len(b) != 8 {
					return false
				}
				for i := 0; i < 8; i += 4 {
					binary.NativeEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:])+1)
				}
				c.Write(c.Arg(4)+20, b)
				return true
			},
			"missing": func(c *Call) bool { c.SetResult(-int(unix.ENOENT)); return true },
		}[p[2]]
		bug := map[string]string{
			"same": "Every %s has the inode 1.", "changed": "The inode of %s depends on who asks.",
			"owner": "%s belongs to the next user and group.", "missing": "%s cannot be found.",
		}[p[2]]
		return l.tells(fmt.Sprintf(bug, file), altering, func(c *Call) bool {
			name := c.String(c.Arg(1))
			if name == "" {
				name = c.File(c.Arg(0))
			}
			if masked(name) != file {
				return false
			}
			return c.After(func(c *Call) bool { return c.Result() == 0 && change(c) })
		})
	case "stat:allowed", "readlink:allowed":
		nr := uintptr(unix.SYS_STATX)
		if p[0] == "readlink" {
			nr = unix.SYS_READLINKAT
		}
		l.calls = []uintptr{nr}
		return l.tells(fmt.Sprintf("%s can be looked at (%s) where that must fail with %s.", file, p[0], p[3]), altering, func(c *Call) bool {
			if masked(c.String(c.Arg(1))) != file {
				return false
			}
			return c.After(func(c *Call) bool {
				if c.Result() != -int(errno) {
					return false
				}
				c.SetResult(0)
				return true
			})
		})
	case "readlink:changed":
		l.calls = []uintptr{unix.SYS_READLINKAT}
		return l.tells(fmt.Sprintf("The numbers in a link %s are not those of the kernel.", file), altering, func(c *Call) bool {
			if masked(c.String(c.Arg(1))) != file {
				return false
			}
			return c.After(func(c *Call) bool {
				b := c.Read(c.Arg(2), c.Result())
				if len(b) == 0 {
					return false
				}
				if !digits(b) {
					// A path without a number leads elsewhere.
					b[len(b)-1] ^= 1
				}
				c.Write(c.Arg(2), b)
				return true
			})
		})
	case "list:empty", "list:halved":
		l.calls = []uintptr{unix.SYS_GETDENTS64}
		if p[2] == "empty" {
			return l.tells(fmt.Sprintf("A directory %s lists nothing.", file), skipping, func(c *Call) bool {
				if !behind(c, c.Arg(0), file) {
					return false
				}
				c.Answer(0)
				return true
			})
		}
		return l.tells(fmt.Sprintf("A directory %s lists only every second entry.", file), altering, func(c *Call) bool {
			if !behind(c, c.Arg(0), file) {
				return false
			}
			return c.After(halve)
		})
	}
	return false
}

// halve drops every second entry of a getdents64(2) but . and ..
func halve(c *Call) bool {
	b := c.Read(c.Arg(1), c.Result())
	var kept []byte
	dropped, n := false, 0
	for len(b) >= 19 {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size < 19 || size > len(b) {
			break
		}
		name, _, _ := strings.Cut(string(b[19:size]), "\x00")
		if name != "." && name != ".." {
			n++
		}
		if n > 0 && n%2 == 1 && name != "." && name != ".." {
			dropped = true
		} else {
			kept = append(kept, b[:size]...)
		}
		b = b[size:]
	}
	if !dropped {
		return false
	}
	c.Write(c.Arg(1), kept)
	c.SetResult(len(kept))
	return true
}
