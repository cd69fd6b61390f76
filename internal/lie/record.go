package lie

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// record notes which lies could be told about a call, and tells none.
func (t *tracer) record(c *Call) bool {
	type open struct {
		lie  string
		call *Call
	}
	var later []open
	for name, l := range single {
		if name == honestName || name == quietName || !l.concerns(c.Nr) {
			continue
		}
		d := *c
		d.dry = true
		if l.start()(&d) {
			t.account.Could[name]++
		} else if d.after != nil {
			later = append(later, open{name, &d})
		}
	}
	before := relatives(c, false)
	if c.Nr == unix.SYS_EXIT_GROUP || c.Nr == unix.SYS_EXECVE || c.Nr == unix.SYS_EXECVEAT {
		return false
	}
	return c.After(func(c *Call) bool {
		for _, o := range later {
			o.call.regs = c.regs
			if o.call.after(o.call) {
				t.account.Could[o.lie]++
			}
		}
		for _, name := range append(before, relatives(c, true)...) {
			t.account.Could[name]++
		}
		return false
	})
}

// relatives are the lies of families that could be told about a call: before it
// is carried out, when descriptors and paths are as the caller gave them, or
// after, by its result.
func relatives(c *Call, after bool) []string {
	name := callName(c.Nr)
	if !after {
		if c.Nr == unix.SYS_SENDTO || c.Nr == unix.SYS_SENDMSG {
			return sends(c)
		}
		return nil
	}
	errno := ""
	if r := c.Result(); r < 0 {
		if errno = unix.ErrnoName(unix.Errno(-r)); errno == "" {
			return nil
		}
	}
	of := func(family, file string, kinds ...string) []string {
		if !strings.HasPrefix(file, "/") && family != "open" && family != "stat" && family != "readlink" ||
			strings.HasPrefix(file, "/memfd:") || strings.Contains(file, " (deleted)") {
			return nil
		}
		var names []string
		for _, k := range kinds {
			names = append(names, family+":"+masked(file)+":"+k)
		}
		return names
	}
	switch c.Nr {
	case unix.SYS_READ:
		if c.Result() > 0 {
			return of("read", c.File(c.Arg(0)), "changed", "empty")
		}
	case unix.SYS_WRITE:
		if errno != "" {
			return of("write", c.File(c.Arg(0)), "allowed:"+errno)
		}
		return of("write", c.File(c.Arg(0)), "lost", "refused")
	case unix.SYS_OPENAT:
		if errno != "" {
			return of("open", c.String(c.Arg(1)), "allowed:"+errno)
		}
		return of("open", c.String(c.Arg(1)), "missing")
	case unix.SYS_STATX:
		path := c.String(c.Arg(1))
		if path == "" {
			path = c.File(c.Arg(0))
		}
		if errno != "" {
			return of("stat", path, "allowed:"+errno)
		}
		return of("stat", path, "same", "changed", "owner", "missing")
	case unix.SYS_READLINKAT:
		if errno == "" {
			return of("readlink", c.String(c.Arg(1)), "changed")
		}
		return of("readlink", c.String(c.Arg(1)), "allowed:"+errno)
	case unix.SYS_GETDENTS64:
		if errno == "" && c.Result() > 0 {
			return of("list", c.File(c.Arg(0)), "empty", "halved")
		}
	case unix.SYS_SENDTO, unix.SYS_SENDMSG:
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG:
		return receives(c)
	default:
		if ownThread(c) {
			return nil
		}
		if errno != "" {
			return []string{name + ":allowed:" + errno}
		}
		names := []string{name + ":lost", name + ":refused"}
		if strings.HasPrefix(name, "get") {
			names = append(names, name+":changed")
		}
		if len(outputs[name].at) > 0 {
			names = append(names, name+":output")
		}
		return names
	}
	return nil
}

// sends are the lies about what a socket is given to send.
func sends(c *Call) []string {
	addr, n := c.Sent()
	switch c.Domain(c.Arg(0)) {
	case unix.AF_NETLINK:
		var names []string
		b := c.Read(addr, n)
		for _, m := range messages(b) {
			names = append(names, "netlink:"+m.name+":lost")
			if elsewhere(slices.Clone(b), m) {
				names = append(names, "netlink:"+m.name+":elsewhere")
			}
			attributesOf(b, m, func(path string, _ int) { names = append(names, "netlink:"+m.name+":without:"+path) })
		}
		return names
	case unix.AF_INET, unix.AF_INET6, unix.AF_PACKET:
		names := []string{"packets:lost", "packets:halved"}
		addr, n := destination(c)
		if toOwnSide(c.Read(addr, min(n, 128))) {
			names = append(names, "packets:back")
		}
		return names
	}
	return nil
}

// receives are the lies about what a socket has received.
func receives(c *Call) []string {
	switch c.Domain(c.Arg(0)) {
	case unix.AF_NETLINK:
		return []string{"netlink:reply:empty", "netlink:reply:halved"}
	case unix.AF_INET, unix.AF_INET6:
		if c.Result() > 0 {
			return []string{"packets:altered"}
		}
	case unix.AF_PACKET:
		if c.Result() > 0 {
			return []string{"packets:altered"}
		}
		return []string{"packets:everywhere"}
	}
	return nil
}
