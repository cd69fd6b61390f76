package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layouts and numbers of the socket options of x_tables for IPv4, which
// iptables-legacy(8) uses: linux/netfilter_ipv4/ip_tables.h.
const (
	iptSetReplace = 64
	iptGetInfo    = 64
	// The sizes of struct ipt_getinfo, ipt_replace, ipt_entry and of the head
	// of a match or target.
	iptInfoSize    = 84
	iptReplaceSize = 96
	iptEntrySize   = 112
	xtHeadSize     = 32
	// The numbers of the hooks.
	hookCount = 5
)

var iptHooks = []string{"prerouting", "input", "forward", "output", "postrouting"}

// iptTables are the hooks that the tables have.
var iptTables = map[string][]string{
	"nat":    {"prerouting", "input", "output", "postrouting"},
	"filter": {"input", "forward", "output"},
}

// Iptables replaces a table of x_tables, nat or filter as Ruleset.Table says, by
// one with the chains: the way of iptables-legacy(8), past nf_tables.
var Iptables = New("filter.Iptables", func(set Ruleset) (None, error) {
	hooks, known := iptTables[set.Table]
	if !known {
		return None{}, fmt.Errorf("no table of x_tables is named %q here", set.Table)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return None{}, fmt.Errorf("raw socket: %w", err)
	}
	defer unix.Close(fd)
	info := make([]byte, iptInfoSize)
	copy(info, set.Table)
	size := uint32(len(info))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, iptGetInfo,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		return None{}, fmt.Errorf("ask for x_tables' table %s: %w", set.Table, errno)
	}
	// The counters of the table's former entries come back here.
	former := binary.NativeEndian.Uint32(info[76:])
	counters := make([]byte, 16*former)

	var entries []byte
	var count, valid uint32
	var begins, policies [hookCount]uint32
	for number, hook := range iptHooks {
		if !slices.Contains(hooks, hook) {
			continue
		}
		valid |= 1 << number
		begins[number] = uint32(len(entries))
		accept := true
		for _, chain := range set.Chains {
			if chain.Hook != hook {
				continue
			}
			accept = accept && !chain.Drop
			for _, r := range chain.Rules {
				entry, err := r.iptEntry()
				if err != nil {
					return None{}, err
				}
				entries, count = append(entries, entry...), count+1
			}
		}
		policies[number] = uint32(len(entries))
		entries, count = append(entries, iptEntry(Rule{}, nil, verdict(accept))...), count+1
	}
	entries, count = append(entries, iptEntry(Rule{}, nil, xt("ERROR", append([]byte("ERROR"), make([]byte, 27)...)))...), count+1

	replace := make([]byte, 0, iptReplaceSize+len(entries))
	replace = append(replace, set.Table...)
	replace = append(replace, make([]byte, 32-len(set.Table))...)
	for _, v := range append(append([]uint32{valid, count, uint32(len(entries))}, begins[:]...), append(policies[:], former)...) {
		replace = binary.NativeEndian.AppendUint32(replace, v)
	}
	var at uintptr
	if len(counters) > 0 {
		at = uintptr(unsafe.Pointer(&counters[0]))
	}
	replace = binary.NativeEndian.AppendUint64(replace, uint64(at))
	replace = append(replace, entries...)
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, iptSetReplace,
		uintptr(unsafe.Pointer(&replace[0])), uintptr(len(replace)), 0)
	runtime.KeepAlive(counters)
	if errno != 0 {
		return None{}, fmt.Errorf("replace x_tables' table %s: %w", set.Table, errno)
	}
	return None{}, nil
})

// iptEntry is the rule as an entry of x_tables.
func (r Rule) iptEntry() ([]byte, error) {
	var match []byte
	if r.Port != 0 {
		// Any source port, the one destination port.
		ports := binary.NativeEndian.AppendUint16(nil, 0)
		for _, p := range []int{0xffff, r.Port, r.Port} {
			ports = binary.NativeEndian.AppendUint16(ports, uint16(p))
		}
		match = xt("tcp", append(ports, 0, 0, 0, 0))
	}
	switch {
	case r.Masquerade:
		return iptEntry(r, match, natRange("MASQUERADE", netip.AddrPort{})), nil
	case r.DNAT != "":
		to, err := netip.ParseAddrPort(r.DNAT)
		if err != nil {
			return nil, err
		}
		return iptEntry(r, match, natRange("DNAT", to)), nil
	}
	return iptEntry(r, match, verdict(!r.Drop)), nil
}

func iptEntry(r Rule, match, target []byte) []byte {
	e := make([]byte, iptEntrySize)
	for at, name := range map[int]string{16: r.In, 32: r.Out} {
		if name != "" {
			copy(e[at:], name)
			// The mask: the name whole, with its end.
			for i := range len(name) + 1 {
				e[at+32+i] = 0xff
			}
		}
	}
	if r.Port != 0 {
		binary.NativeEndian.PutUint16(e[80:], unix.IPPROTO_TCP)
	}
	binary.NativeEndian.PutUint16(e[88:], uint16(len(e)+len(match)))
	binary.NativeEndian.PutUint16(e[90:], uint16(len(e)+len(match)+len(target)))
	return append(append(e, match...), target...)
}

// xt is a match or target, revision 0, padded to 8 bytes.
func xt(name string, data []byte) []byte {
	size := (xtHeadSize + len(data) + 7) &^ 7
	b := binary.NativeEndian.AppendUint16(make([]byte, 0, size), uint16(size))
	b = append(append(b, name...), make([]byte, xtHeadSize-2-len(name))...)
	b = append(b, data...)
	return append(b, make([]byte, size-len(b))...)
}

// verdict is the standard target, whose name is empty: the negated number of
// NF_ACCEPT or NF_DROP, less one.
func verdict(accept bool) []byte {
	v := int32(-1)
	if accept {
		v = -2
	}
	return xt("", binary.NativeEndian.AppendUint32(nil, uint32(v)))
}

// natRange is a target with one range of addresses and ports, which is empty or
// one of each.
func natRange(name string, to netip.AddrPort) []byte {
	data := binary.NativeEndian.AppendUint32(nil, 1)
	if !to.IsValid() {
		return xt(name, append(data, make([]byte, 16)...))
	}
	// The flags of a range of addresses and of ports.
	data = binary.NativeEndian.AppendUint32(data, 1|2)
	data = append(append(data, to.Addr().AsSlice()...), to.Addr().AsSlice()...)
	data = binary.BigEndian.AppendUint16(data, to.Port())
	return xt(name, binary.BigEndian.AppendUint16(data, to.Port()))
}
