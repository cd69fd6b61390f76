package lie

import (
	"encoding/binary"
	"fmt"

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

func (l *Lie) ofNetlink(p []string) bool {
	if len(p) != 3 || p[2] != "lost" {
		return false
	}
	known := false
	for _, n := range rtmNames {
		known = known || n == p[1]
	}
	for _, n := range nftNames {
		known = known || "nft_"+n == p[1]
	}
	if !known {
		return false
	}
	l.calls = []uintptr{unix.SYS_SENDTO, unix.SYS_SENDMSG}
	return l.tells(fmt.Sprintf("The kernel acknowledges the netlink request %s and does not carry it out.", p[1]),
		"every message of the request becomes NLMSG_NOOP", func(c *Call) bool {
			if c.Domain(c.Arg(0)) != unix.AF_NETLINK {
				return false
			}
			addr, n := c.Sent()
			b := c.Read(addr, n)
			found := false
			for _, m := range messages(b) {
				found = found || m.name == p[1]
			}
			if !found {
				return false
			}
			// Of a batch all messages, or what is left of it is refused.
			for at := 0; at+unix.SizeofNlMsghdr <= len(b); {
				size := int(binary.NativeEndian.Uint32(b[at:]))
				if size < unix.SizeofNlMsghdr {
					break
				}
				binary.NativeEndian.PutUint16(b[at+4:], unix.NLMSG_NOOP)
				at += (size + 3) &^ 3
			}
			c.Write(addr, b)
			return true
		})
}

func (l *Lie) ofPackets(p []string) bool {
	if len(p) != 2 || p[1] != "lost" {
		return false
	}
	l.calls = []uintptr{unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_WRITE}
	return l.tells("What is sent on a socket of the network is lost.", skipping, func(c *Call) bool {
		switch c.Domain(c.Arg(0)) {
		case unix.AF_INET, unix.AF_INET6, unix.AF_PACKET:
			_, n := c.Sent()
			c.Answer(n)
			return true
		}
		return false
	})
}
