package lie

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rtmNames are the rtnetlink requests that lies are told about.
var rtmNames = map[uint16]string{
	unix.RTM_NEWLINK: "newlink", unix.RTM_DELLINK: "dellink", unix.RTM_SETLINK: "setlink", unix.RTM_NEWADDR: "newaddr", unix.RTM_DELADDR: "deladdr",
	unix.RTM_NEWROUTE: "newroute", unix.RTM_DELROUTE: "delroute", unix.RTM_NEWNEIGH: "newneigh", unix.RTM_DELNEIGH: "delneigh",
	unix.RTM_NEWRULE: "newrule", unix.RTM_NEWQDISC: "newqdisc", unix.RTM_NEWNSID: "newnsid",
}

// nftNames are the requests of nf_tables, by their number in its subsystem.
var nftNames = map[uint16]string{
	unix.NFT_MSG_NEWTABLE: "newtable", unix.NFT_MSG_DELTABLE: "deltable", unix.NFT_MSG_NEWCHAIN: "newchain",
	unix.NFT_MSG_NEWRULE: "newrule", unix.NFT_MSG_DELRULE: "delrule",
}

type message struct {
	name string
	// at is where its header begins.
	at int
}

// messages are the requests in a netlink buffer that change something.
func messages(b []byte) []message {
	var all []message
	for at := 0; at+unix.SizeofNlMsghdr <= len(b); {
		size := int(binary.NativeEndian.Uint32(b[at:]))
		if size < unix.SizeofNlMsghdr || at+size > len(b) {
			break
		}
		kind := binary.NativeEndian.Uint16(b[at+4:])
		if name := rtmNames[kind]; name != "" {
			all = append(all, message{name, at})
		} else if kind>>8 == unix.NFNL_SUBSYS_NFTABLES && nftNames[kind&0xff] != "" {
			all = append(all, message{"nft_" + nftNames[kind&0xff], at})
		}
		at += (size + 3) &^ 3
	}
	return all
}

// attributes are the names by which lies know the attributes of a request; another
// goes by its number, as nr27. Nested ones are numbers behind their parent's name,
// as linkinfo.2.1.
var attributes = map[string]map[string]uint16{
	"link": {
		"address": unix.IFLA_ADDRESS, "ifname": unix.IFLA_IFNAME, "mtu": unix.IFLA_MTU, "link": unix.IFLA_LINK, "master": unix.IFLA_MASTER,
		"net_ns_pid": unix.IFLA_NET_NS_PID, "net_ns_fd": unix.IFLA_NET_NS_FD, "txqlen": unix.IFLA_TXQLEN, "linkinfo": unix.IFLA_LINKINFO,
		"protinfo": unix.IFLA_PROTINFO, "af_spec": unix.IFLA_AF_SPEC,
	},
	"addr":  {"address": unix.IFA_ADDRESS, "local": unix.IFA_LOCAL, "broadcast": unix.IFA_BROADCAST, "flags": unix.IFA_FLAGS},
	"route": {"dst": unix.RTA_DST, "src": unix.RTA_SRC, "oif": unix.RTA_OIF, "gateway": unix.RTA_GATEWAY, "priority": unix.RTA_PRIORITY, "prefsrc": unix.RTA_PREFSRC, "table": unix.RTA_TABLE},
	"neigh": {"dst": unix.NDA_DST, "lladdr": unix.NDA_LLADDR},
}

// kindOf is the kind of thing that a request is about, and the size in bytes of
// the structure before its attributes; size 0 for what has no attributes here.
func kindOf(request string) (kind string, size int) {
	for suffix, n := range map[string]int{"link": 16, "addr": 8, "route": 12, "neigh": 12, "nsid": 4} {
		if strings.HasSuffix(request, suffix) {
			return suffix, n
		}
	}
	if strings.HasPrefix(request, "nft_") {
		return "nft", 4
	}
	return "", 0
}

func attributeName(kind string, number uint16) string {
	for name, n := range attributes[kind] {
		if n == number {
			return name
		}
	}
	return "nr" + strconv.Itoa(int(number))
}

// nested are the attributes that hold attributes, by their name within a kind.
// Below them every attribute that can be one is taken for one.
func nested(kind, path string) bool {
	return kind == "link" && (path == "linkinfo" || path == "linkinfo.2" || path == "protinfo" || path == "af_spec")
}

// walk calls f for each attribute with its path and where it begins in b.
func walk(b []byte, from, to int, kind, prefix string, f func(path string, at int)) {
	for at := from; at+4 <= to; {
		size := int(binary.NativeEndian.Uint16(b[at:]))
		if size < 4 || at+size > to {
			return
		}
		number := binary.NativeEndian.Uint16(b[at+2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		path := attributeName(kind, number)
		if prefix != "" {
			path = prefix + strconv.Itoa(int(number))
		}
		f(path, at)
		if nested(kind, path) {
			walk(b, at+4, at+size, kind, path+".", f)
		}
		at += (size + 3) &^ 3
	}
}

// attributesOf calls f for each attribute of a request in b.
func attributesOf(b []byte, m message, f func(path string, at int)) {
	kind, size := kindOf(m.name)
	if size == 0 {
		return
	}
	end := m.at + int(binary.NativeEndian.Uint32(b[m.at:]))
	walk(b, m.at+unix.SizeofNlMsghdr+size, end, kind, "", f)
}

// elsewhere moves a request to interface 1, which is lo.
func elsewhere(b []byte, m message) bool {
	kind, _ := kindOf(m.name)
	at := m.at + unix.SizeofNlMsghdr + 4
	if kind == "route" {
		at = 0
		attributesOf(b, m, func(path string, attr int) {
			if path == "oif" {
				at = attr + 4
			}
		})
	}
	if kind != "addr" && kind != "neigh" && kind != "route" && m.name != "setlink" || at == 0 || at+4 > len(b) ||
		binary.NativeEndian.Uint32(b[at:]) <= 1 {
		return false
	}
	binary.NativeEndian.PutUint32(b[at:], 1)
	return true
}

// without hides an attribute from the kernel, which passes over number 0.
func without(b []byte, m message, path string) bool {
	found := false
	attributesOf(b, m, func(p string, at int) {
		if p == path {
			binary.NativeEndian.PutUint16(b[at+2:], 0)
			found = true
		}
	})
	return found
}

// lose makes every message of a batch one that is passed over: what is left of
// a batch would be refused.
func lose(b []byte) {
	for at := 0; at+unix.SizeofNlMsghdr <= len(b); {
		size := int(binary.NativeEndian.Uint32(b[at:]))
		if size < unix.SizeofNlMsghdr {
			return
		}
		binary.NativeEndian.PutUint16(b[at+4:], unix.NLMSG_NOOP)
		at += (size + 3) &^ 3
	}
}

func isRequest(name string) bool {
	for _, n := range rtmNames {
		if n == name {
			return true
		}
	}
	for _, n := range nftNames {
		if "nft_"+n == name {
			return true
		}
	}
	return false
}

func (l *Lie) ofNetlink(p []string) bool {
	if len(p) == 3 && p[1] == "reply" {
		return l.ofReplies(p[2])
	}
	if len(p) < 3 || !isRequest(p[1]) {
		return false
	}
	l.calls = []uintptr{unix.SYS_SENDTO, unix.SYS_SENDMSG}
	var bug, means string
	var change func(b []byte, m message) bool
	switch {
	case len(p) == 3 && p[2] == "lost":
		bug = fmt.Sprintf("The kernel acknowledges the netlink request %s and does not carry it out.", p[1])
		means = "every message of the request becomes NLMSG_NOOP"
		change = func(b []byte, _ message) bool { lose(b); return true }
	case len(p) == 3 && p[2] == "elsewhere":
		bug = fmt.Sprintf("The kernel carries out the netlink request %s on another interface.", p[1])
		means = "the interface in the request becomes lo"
		change = elsewhere
	case len(p) == 4 && p[2] == "without":
		bug = fmt.Sprintf("The kernel ignores the attribute %s of the netlink request %s.", p[3], p[1])
		means = "the attribute in the request becomes one that is passed over"
		change = func(b []byte, m message) bool { return without(b, m, p[3]) }
	default:
		return false
	}
	return l.tells(bug, means, func(c *Call) bool {
		if c.Domain(c.Arg(0)) != unix.AF_NETLINK {
			return false
		}
		addr, n := c.Sent()
		b := c.Read(addr, n)
		told := false
		for _, m := range messages(b) {
			told = m.name == p[1] && change(b, m) || told
		}
		if told {
			c.Write(addr, b)
		}
		return told
	})
}

// ofReplies are lies about what the kernel answers to a request for a list.
func (l *Lie) ofReplies(how string) bool {
	bugs := map[string]string{
		"empty":  "A netlink dump lists nothing.",
		"halved": "A netlink dump lists only every second entry.",
	}
	if bugs[how] == "" {
		return false
	}
	l.calls = []uintptr{unix.SYS_RECVFROM, unix.SYS_RECVMSG}
	return l.tells(bugs[how], "entries in the reply become NLMSG_NOOP", func(c *Call) bool {
		if c.Domain(c.Arg(0)) != unix.AF_NETLINK {
			return false
		}
		return c.After(func(c *Call) bool {
			addr, _ := c.Received()
			b := c.Read(addr, c.Result())
			told, entry := false, 0
			for at := 0; at+unix.SizeofNlMsghdr <= len(b); {
				size := int(binary.NativeEndian.Uint32(b[at:]))
				if size < unix.SizeofNlMsghdr {
					break
				}
				// Control messages have numbers below the first of a family's.
				if binary.NativeEndian.Uint16(b[at+4:]) >= unix.NLMSG_MIN_TYPE && binary.NativeEndian.Uint16(b[at+6:])&unix.NLM_F_MULTI != 0 {
					if entry++; how == "empty" || entry%2 == 1 {
						binary.NativeEndian.PutUint16(b[at+4:], unix.NLMSG_NOOP)
						told = true
					}
				}
				at += (size + 3) &^ 3
			}
			if told {
				c.Write(addr, b)
			}
			return told
		})
	})
}
