package probe

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	mdlayher "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftTime bounds a request to nf_tables: some kernels never answer one.
const nftTime = 5 * time.Second

func nft() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *mdlayher.Conn) error {
		return c.SetDeadline(time.Now().Add(nftTime))
	}))
}

// DropOutput makes a table of the name with a chain at the output hook whose
// one rule drops every IPv4 packet, by nf_tables.
var DropOutput = New("filter.DropOutput", func(table string) (None, error) {
	conn, err := nft()
	if err != nil {
		return None{}, fmt.Errorf("nf_tables socket: %w", err)
	}
	t := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: table})
	chain := conn.AddChain(&nftables.Chain{
		Name: "output", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
	if err := conn.Flush(); err != nil {
		return None{}, fmt.Errorf("add an nf_tables rule: %w", err)
	}
	return None{}, nil
})

// FilterTables lists the names of the tables of nf_tables.
var FilterTables = New("filter.FilterTables", func(None) ([]string, error) {
	conn, err := nft()
	if err != nil {
		return nil, fmt.Errorf("nf_tables socket: %w", err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list nf_tables tables: %w", err)
	}
	names := []string{}
	for _, t := range tables {
		names = append(names, t.Name)
	}
	return names, nil
})

// The interface of ip_tables, as linux/netfilter_ipv4/ip_tables.h has it: a
// table is a blob of entries, each with its target behind it.
const (
	iptInfo, iptReplace = 64, 64 // IPT_SO_GET_INFO, IPT_SO_SET_REPLACE
	entrySize           = 112
	policySize          = entrySize + 40
	errorSize           = entrySize + 64
	// The hooks of the filter table: input, forward, output.
	filterHooks = 1<<1 | 1<<2 | 1<<3
	// A verdict V stands in a target as -V-1.
	iptAccept, iptDrop = ^uint32(1), ^uint32(0)
)

// iptEntries is the number of entries of the filter table.
func iptEntries(fd int) (uint32, error) {
	info := make([]byte, 84)
	copy(info, "filter")
	size := uint32(len(info))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, iptInfo,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		return 0, fmt.Errorf("getsockopt(IPT_SO_GET_INFO): %w", errno)
	}
	return binary.NativeEndian.Uint32(info[76:]), nil
}

// DropOutputPolicy sets the policy of the filter table's OUTPUT chain to DROP,
// by ip_tables, as iptables-legacy does.
var DropOutputPolicy = New("filter.DropOutputPolicy", func(None) (None, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return None{}, err
	}
	defer unix.Close(fd)
	entries, err := iptEntries(fd)
	if err != nil {
		return None{}, err
	}
	counters := make([]byte, 16*entries)
	u32 := binary.NativeEndian.PutUint32
	table := make([]byte, 96, 96+3*policySize+errorSize)
	copy(table, "filter")
	u32(table[32:], filterHooks)
	u32(table[36:], 4)
	u32(table[40:], 3*policySize+errorSize)
	for i := range uint32(3) {
		u32(table[44+4*(i+1):], i*policySize)
		u32(table[64+4*(i+1):], i*policySize)
	}
	u32(table[84:], entries)
	binary.NativeEndian.PutUint64(table[88:], uint64(uintptr(unsafe.Pointer(&counters[0]))))
	entry := func(size int) []byte {
		start := len(table)
		table = table[:start+size]
		e := table[start:]
		binary.NativeEndian.PutUint16(e[88:], entrySize)
		binary.NativeEndian.PutUint16(e[90:], uint16(size))
		binary.NativeEndian.PutUint16(e[entrySize:], uint16(size-entrySize))
		return e
	}
	for _, verdict := range []uint32{iptAccept, iptAccept, iptDrop} {
		u32(entry(policySize)[entrySize+32:], verdict)
	}
	last := entry(errorSize)
	copy(last[entrySize+2:], "ERROR")
	copy(last[entrySize+32:], "ERROR")
	if _, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, iptReplace,
		uintptr(unsafe.Pointer(&table[0])), uintptr(len(table)), 0); errno != 0 {
		return None{}, fmt.Errorf("setsockopt(IPT_SO_SET_REPLACE): %w", errno)
	}
	return None{}, nil
})
