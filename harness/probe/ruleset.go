package probe

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Ruleset is a table of nf_tables for IPv4.
type Ruleset struct {
	Table  string
	Chains []Chain
}

// Chain is a base chain: Hook is prerouting, input, forward, output or
// postrouting; NAT makes it one of the nat type. Drop is its policy.
type Chain struct {
	Hook      string
	NAT, Drop bool
	Rules     []Rule
}

// Rule matches what is not empty, and then does what is not empty.
type Rule struct {
	// In and Out are interfaces.
	In, Out string
	// Port is a TCP destination port.
	Port int
	Drop bool
	// Masquerade gives the packet the source address of the interface that it
	// leaves by.
	Masquerade bool
	// DNAT is a destination to be given, as "10.0.0.11:80".
	DNAT string
}

var hooks = map[string]*nftables.ChainHook{
	"prerouting": nftables.ChainHookPrerouting, "input": nftables.ChainHookInput, "forward": nftables.ChainHookForward,
	"output": nftables.ChainHookOutput, "postrouting": nftables.ChainHookPostrouting,
}

// AddRules makes a table with its chains and rules, in one transaction.
var AddRules = New("filter.AddRules", func(set Ruleset) (None, error) {
	conn, err := nft()
	if err != nil {
		return None{}, fmt.Errorf("nf_tables socket: %w", err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: set.Table})
	for i, c := range set.Chains {
		hook, known := hooks[c.Hook]
		if !known {
			return None{}, fmt.Errorf("no hook is named %q", c.Hook)
		}
		chain := &nftables.Chain{Name: fmt.Sprintf("%s%d", c.Hook, i), Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter}
		if c.NAT {
			chain.Type, chain.Priority = nftables.ChainTypeNAT, nftables.ChainPriorityNATDest
			if c.Hook == "postrouting" {
				chain.Priority = nftables.ChainPriorityNATSource
			}
		}
		if c.Drop {
			drop := nftables.ChainPolicyDrop
			chain.Policy = &drop
		}
		conn.AddChain(chain)
		for _, r := range c.Rules {
			exprs, err := r.expressions()
			if err != nil {
				return None{}, err
			}
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
		}
	}
	if err := conn.Flush(); err != nil {
		return None{}, fmt.Errorf("add nf_tables table %s: %w", set.Table, err)
	}
	return None{}, nil
})

// DeleteTable deletes a table of AddRules.
var DeleteTable = New("filter.DeleteTable", func(name string) (None, error) {
	conn, err := nft()
	if err != nil {
		return None{}, fmt.Errorf("nf_tables socket: %w", err)
	}
	conn.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: name})
	if err := conn.Flush(); err != nil {
		return None{}, fmt.Errorf("delete nf_tables table %s: %w", name, err)
	}
	return None{}, nil
})

func (r Rule) expressions() (list []expr.Any, err error) {
	equal := func(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	for _, by := range []struct {
		name string
		key  expr.MetaKey
	}{{r.In, expr.MetaKeyIIFNAME}, {r.Out, expr.MetaKeyOIFNAME}} {
		if by.name != "" {
			name := make([]byte, unix.IFNAMSIZ)
			copy(name, by.name)
			list = append(list, &expr.Meta{Key: by.key, Register: 1}, equal(name))
		}
	}
	if r.Port != 0 {
		list = append(list, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_TCP}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			equal(binary.BigEndian.AppendUint16(nil, uint16(r.Port))))
	}
	switch {
	case r.Drop:
		list = append(list, &expr.Verdict{Kind: expr.VerdictDrop})
	case r.Masquerade:
		list = append(list, &expr.Masq{})
	case r.DNAT != "":
		to, err := netip.ParseAddrPort(r.DNAT)
		if err != nil {
			return nil, err
		}
		list = append(list, &expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
			&expr.Immediate{Register: 2, Data: binary.BigEndian.AppendUint16(nil, to.Port())},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2})
	}
	return list, nil
}

// Tracked lists the IPv4 connections that connection tracking knows in the
// agent's namespace, as "PROTOCOL SOURCE -> DESTINATION".
var Tracked = New("filter.Tracked", func(None) ([]string, error) {
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("list tracked connections: %w", err)
	}
	list := []string{}
	for _, f := range flows {
		list = append(list, fmt.Sprintf("%d %s -> %s", f.Forward.Protocol,
			netAddr(f.Forward.SrcIP, f.Forward.SrcPort), netAddr(f.Forward.DstIP, f.Forward.DstPort)))
	}
	return list, nil
})

func netAddr(ip net.IP, port uint16) string {
	return net.JoinHostPort(ip.String(), fmt.Sprint(port))
}
