package probe

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link describes an interface: what to make, or what is there.
type Link struct {
	Name string
	// Kind is rtnetlink's kind: veth, bridge, dummy, macvlan, vxlan, …
	Kind string
	// Peer is the other end's name, of a new veth.
	Peer string
	// PeerPID is a process, as the agent sees it, in whose network namespace
	// the other end is made; 0 is the agent's own.
	PeerPID int
	// NetworkOf is a process in whose network namespace the interface itself is
	// made; 0 is the agent's own.
	NetworkOf int
	// Parent is the lower device of macvlan, ipvlan and vlan, and of vxlan.
	Parent string
	// Mode is macvlan's, ipvlan's and bond's mode, as iproute2 writes it.
	Mode string
	// ID is the VXLAN network identifier, VLAN ID or GRE key.
	ID int
	// Local, Remote and Port are a tunnel's endpoints and UDP port.
	Local, Remote string
	Port          int
	// NoLearning turns a VXLAN device's learning off.
	NoLearning bool
	// VLANFiltering turns a bridge's VLAN filtering on.
	VLANFiltering bool

	// Index is the interface's; a new one's where 0 is not the kernel's choice.
	Index int

	// What follows is only filled in by Links.
	ParentIndex, MasterIndex, NetNSID, MTU int
	MAC, Qdisc                             string
	Up, Carrier                            bool
	Addresses                              []string
}

// linkPoll is how often, in milliseconds, a bond looks at its links.
const linkPoll = 5

// AddLink makes an interface by RTM_NEWLINK.
var AddLink = New("net.AddLink", func(l Link) (None, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = l.Name, l.Index
	if l.NetworkOf != 0 {
		attrs.Namespace = netlink.NsPid(l.NetworkOf)
	}
	if l.Parent != "" {
		parent, err := netlink.LinkByName(l.Parent)
		if err != nil {
			return None{}, fmt.Errorf("find %s: %w", l.Parent, err)
		}
		attrs.ParentIndex = parent.Attrs().Index
	}
	var link netlink.Link
	switch l.Kind {
	case "veth":
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: l.Peer}
		if l.PeerPID != 0 {
			veth.PeerNamespace = netlink.NsPid(l.PeerPID)
		}
		link = veth
	case "bridge":
		bridge := &netlink.Bridge{LinkAttrs: attrs}
		if l.VLANFiltering {
			bridge.VlanFiltering = &l.VLANFiltering
		}
		link = bridge
	case "dummy":
		link = &netlink.Dummy{LinkAttrs: attrs}
	case "macvlan":
		modes := map[string]netlink.MacvlanMode{"bridge": netlink.MACVLAN_MODE_BRIDGE, "private": netlink.MACVLAN_MODE_PRIVATE, "vepa": netlink.MACVLAN_MODE_VEPA}
		link = &netlink.Macvlan{LinkAttrs: attrs, Mode: modes[l.Mode]}
	case "ipvlan":
		modes := map[string]netlink.IPVlanMode{"l2": netlink.IPVLAN_MODE_L2, "l3": netlink.IPVLAN_MODE_L3}
		link = &netlink.IPVlan{LinkAttrs: attrs, Mode: modes[l.Mode]}
	case "vlan":
		link = &netlink.Vlan{LinkAttrs: attrs, VlanId: l.ID}
	case "geneve":
		link = &netlink.Geneve{LinkAttrs: attrs, ID: uint32(l.ID), Remote: net.ParseIP(l.Remote)}
	case "gretap":
		link = &netlink.Gretap{LinkAttrs: attrs, IKey: uint32(l.ID), OKey: uint32(l.ID), Local: net.ParseIP(l.Local), Remote: net.ParseIP(l.Remote)}
	case "wireguard":
		link = &netlink.Wireguard{LinkAttrs: attrs}
	case "bond":
		bond := netlink.NewLinkBond(attrs)
		bond.Mode, bond.Miimon = netlink.StringToBondMode(l.Mode), linkPoll
		link = bond
	case "vxlan":
		link = &netlink.Vxlan{LinkAttrs: attrs, VxlanId: l.ID, SrcAddr: net.ParseIP(l.Local), Group: net.ParseIP(l.Remote),
			Port: l.Port, Learning: !l.NoLearning, VtepDevIndex: attrs.ParentIndex}
	default:
		return None{}, fmt.Errorf("no link of kind %q", l.Kind)
	}
	if err := netlink.LinkAdd(link); err != nil {
		return None{}, fmt.Errorf("add %s %s: %w", l.Kind, l.Name, err)
	}
	return None{}, nil
})

// DeleteLink deletes an interface by name.
var DeleteLink = New("net.DeleteLink", func(name string) (None, error) {
	return on(name, "delete", netlink.LinkDel)
})

func on(name, verb string, do func(netlink.Link) error) (None, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		var gone netlink.LinkNotFoundError
		if errors.As(err, &gone) {
			return None{}, fmt.Errorf("%s %s: %w", verb, name, unix.ENODEV)
		}
		return None{}, fmt.Errorf("%s %s: %w", verb, name, err)
	}
	if err := do(link); err != nil {
		return None{}, fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return None{}, nil
}

// Raise sets an interface up.
var Raise = New("net.Raise", func(name string) (None, error) { return on(name, "raise", netlink.LinkSetUp) })

// Lower sets an interface down.
var Lower = New("net.Lower", func(name string) (None, error) { return on(name, "lower", netlink.LinkSetDown) })

// Attach is an interface to be made a port of a master, or of none.
type Attach struct{ Name, Master string }

// SetMaster makes an interface a port of a bridge; without Master it is
// detached.
var SetMaster = New("net.SetMaster", func(a Attach) (None, error) {
	return on(a.Name, "attach", func(l netlink.Link) error {
		if a.Master == "" {
			return netlink.LinkSetNoMaster(l)
		}
		master, err := netlink.LinkByName(a.Master)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(l, master)
	})
})

// PortVLAN makes a bridge port an access port of a VLAN.
type PortVLAN struct {
	Name string
	VID  int
}

// SetPortVLAN takes a bridge port out of VLAN 1, in which each begins, and makes
// it an untagged member of another, which is also that of what comes in untagged.
var SetPortVLAN = New("net.SetPortVLAN", func(p PortVLAN) (None, error) {
	return on(p.Name, fmt.Sprintf("set VLAN %d of port", p.VID), func(l netlink.Link) error {
		if err := netlink.BridgeVlanDel(l, 1, true, true, false, false); err != nil {
			return err
		}
		return netlink.BridgeVlanAdd(l, uint16(p.VID), true, true, false, false)
	})
})

// Move is an interface to be moved to the network namespace of a process.
type Move struct {
	Name string
	// PID as the agent sees it.
	PID int
}

// MoveLink moves an interface to another network namespace.
var MoveLink = New("net.MoveLink", func(m Move) (None, error) {
	return on(m.Name, "move", func(l netlink.Link) error { return netlink.LinkSetNsPid(l, m.PID) })
})

// Change is a property of an interface to be set.
type Change struct {
	Name   string
	Rename string
	MTU    int
	MAC    string
	// Port flags of a bridge: "on" or "off".
	Hairpin, Learning, Isolated string
}

// SetLink changes properties of an interface.
var SetLink = New("net.SetLink", func(c Change) (None, error) {
	return on(c.Name, "change", func(l netlink.Link) error {
		var errs []error
		if c.MTU != 0 {
			errs = append(errs, netlink.LinkSetMTU(l, c.MTU))
		}
		if c.MAC != "" {
			mac, err := net.ParseMAC(c.MAC)
			errs = append(errs, err, netlink.LinkSetHardwareAddr(l, mac))
		}
		if c.Hairpin != "" {
			errs = append(errs, netlink.LinkSetHairpin(l, c.Hairpin == "on"))
		}
		if c.Learning != "" {
			errs = append(errs, netlink.LinkSetLearning(l, c.Learning == "on"))
		}
		if c.Isolated != "" {
			errs = append(errs, netlink.LinkSetIsolated(l, c.Isolated == "on"))
		}
		if c.Rename != "" {
			errs = append(errs, netlink.LinkSetName(l, c.Rename))
		}
		return errors.Join(errs...)
	})
})

// Address is an address of an interface, as "10.0.0.1/24".
type Address struct{ Link, CIDR string }

// AddAddress adds an address; IPv6 ones without duplicate address detection.
var AddAddress = New("net.AddAddress", func(a Address) (None, error) {
	addr, err := netlink.ParseAddr(a.CIDR)
	if err != nil {
		return None{}, err
	}
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	return on(a.Link, "add "+a.CIDR+" to", func(l netlink.Link) error { return netlink.AddrAdd(l, addr) })
})

// Route is a route; Dst empty is the default route.
type Route struct{ Dst, Via, Link string }

// AddRoute adds a route.
var AddRoute = New("net.AddRoute", func(r Route) (None, error) {
	route := netlink.Route{Gw: net.ParseIP(r.Via)}
	if r.Dst != "" {
		_, dst, err := net.ParseCIDR(r.Dst)
		if err != nil {
			return None{}, err
		}
		route.Dst = dst
	}
	if r.Link != "" {
		link, err := netlink.LinkByName(r.Link)
		if err != nil {
			return None{}, err
		}
		route.LinkIndex = link.Attrs().Index
		if r.Via == "" {
			route.Scope = netlink.SCOPE_LINK
		}
	}
	if err := netlink.RouteAdd(&route); err != nil {
		return None{}, fmt.Errorf("add route to %s via %s: %w", r.Dst, r.Via, err)
	}
	return None{}, nil
})

// Routes lists the IPv4 routes of the main table.
var Routes = New("net.Routes", func(None) ([]string, error) {
	list, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	routes := []string{}
	for _, r := range list {
		routes = append(routes, r.Dst.String())
	}
	return routes, err
})

// Links lists the interfaces with their addresses.
var Links = New("net.Links", func(None) ([]Link, error) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	links := []Link{}
	for _, l := range list {
		a := l.Attrs()
		info := Link{
			Name: a.Name, Kind: l.Type(), Index: a.Index, ParentIndex: a.ParentIndex, MasterIndex: a.MasterIndex, NetNSID: a.NetNsID,
			MTU: a.MTU, MAC: a.HardwareAddr.String(), Up: a.RawFlags&unix.IFF_UP != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
		}
		if v, ok := l.(*netlink.Vxlan); ok {
			info.ID, info.Port = v.VxlanId, v.Port
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", a.Name, err)
		}
		for _, addr := range addrs {
			info.Addresses = append(info.Addresses, addr.IPNet.String())
		}
		qdiscs, err := netlink.QdiscList(l)
		if err == nil && len(qdiscs) > 0 {
			info.Qdisc = qdiscs[0].Type()
		}
		links = append(links, info)
	}
	return links, nil
})

// Find returns the interface of a name among links; ok is false without one.
func Find(links []Link, name string) (l Link, ok bool) {
	for _, l := range links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// Neighbour is a permanent entry of a neighbour table or, with Via, of a
// forwarding table: behind which tunnel endpoint, or bridge port without one, a
// MAC is.
type Neighbour struct {
	Link, IP, MAC string
	Via           string
}

// AddNeighbour adds a Neighbour. With an IP it is one of the neighbour table,
// else one of the forwarding table of a tunnel.
var AddNeighbour = New("net.AddNeighbour", func(n Neighbour) (None, error) {
	mac, err := net.ParseMAC(n.MAC)
	if err != nil {
		return None{}, err
	}
	entry := &netlink.Neigh{State: unix.NUD_PERMANENT, HardwareAddr: mac, IP: net.ParseIP(n.IP)}
	if n.IP == "" {
		entry.Family, entry.Flags, entry.IP = unix.AF_BRIDGE, unix.NTF_SELF, net.ParseIP(n.Via)
	}
	return on(n.Link, "add neighbour "+n.MAC+" to", func(l netlink.Link) error {
		entry.LinkIndex = l.Attrs().Index
		if n.IP != "" {
			return netlink.NeighSet(entry)
		}
		return netlink.NeighAppend(entry)
	})
})

// Learned lists a bridge's forwarding table as "MAC port", learned
// entries only.
var Learned = New("net.Learned", func(bridge string) ([]string, error) {
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return nil, err
	}
	entries, err := netlink.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return nil, fmt.Errorf("list the forwarding table: %w", err)
	}
	found := []string{}
	for _, e := range entries {
		if e.MasterIndex == br.Attrs().Index && e.State&(unix.NUD_PERMANENT|unix.NUD_NOARP) == 0 {
			port, err := netlink.LinkByIndex(e.LinkIndex)
			if err == nil {
				found = append(found, e.HardwareAddr.String()+" "+port.Attrs().Name)
			}
		}
	}
	return found, nil
})

// Dial is a TCP connection to be made from here.
type Dial struct {
	Address string
	Send    string
	// Within is in milliseconds.
	Within int
}

// Talk is what a TCP connection brought.
type Talk struct{ Reply, Local string }

// Connect connects, sends and reads what comes back until the end.
var Connect = New("net.Connect", func(d Dial) (Talk, error) {
	conn, err := net.DialTimeout("tcp", d.Address, time.Duration(d.Within)*time.Millisecond)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
			return Talk{}, fmt.Errorf("connect to %s: %w", d.Address, unix.ETIMEDOUT)
		}
		return Talk{}, fmt.Errorf("connect to %s: %w", d.Address, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Duration(d.Within) * time.Millisecond))
	if _, err := conn.Write([]byte(d.Send)); err != nil {
		return Talk{}, fmt.Errorf("send: %w", err)
	}
	buf := make([]byte, 1<<16)
	n, err := conn.Read(buf)
	if err != nil {
		return Talk{}, fmt.Errorf("read the answer: %w", err)
	}
	return Talk{string(buf[:n]), conn.LocalAddr().String()}, nil
})

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// Serve listens on a TCP address, as long as the agent lives, and answers
// each connection with "NAME heard TEXT from PEER".
type Server struct{ Name, Address string }

// Serve starts a Server and returns its address.
var Serve = New("net.Serve", func(s Server) (string, error) {
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", s.Address, err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				n, err := conn.Read(buf)
				if err == nil {
					fmt.Fprintf(conn, "%s heard %s from %s", s.Name, buf[:n], conn.RemoteAddr())
				}
			}()
		}
	}()
	return l.Addr().String(), nil
})

// captures are the packet sockets of this agent, by interface.
var captures = map[string]int{}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// Anywhere is the name by which Capture and Frames mean every interface.
const Anywhere = "anywhere"

// Capture opens a packet socket on an interface; Frames reads it.
var Capture = New("net.Capture", func(name string) (None, error) {
	if name == Anywhere {
		return None{}, capture(name, 0)
	}
	return on(name, "capture on", func(l netlink.Link) error { return capture(name, l.Attrs().Index) })
})

// capture makes the socket without a protocol: bound away from one it would wait
// for every reader.
func capture(name string, index int) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	captures[name] = fd
	// A machine's default may hold a dozen frames; rmem_max bounds this.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index})
}

// FramesByLink is Frames of a Capture Anywhere, each by the name of its interface.
var FramesByLink = New("net.FramesByLink", func(None) (map[string][][]byte, error) {
	names := map[int]string{}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	by := map[string][][]byte{}
	err = drain(Anywhere, func(index int, frame []byte) { by[names[index]] = append(by[names[index]], frame) })
	return by, err
})

// Frames returns the Ethernet frames that Capture has seen on the interface
// since the last call, received and sent.
var Frames = New("net.Frames", func(name string) ([][]byte, error) {
	frames := [][]byte{}
	err := drain(name, func(_ int, frame []byte) { frames = append(frames, frame) })
	return frames, err
})

// drain hands out what a capture holds, with the index of its interface.
func drain(name string, each func(index int, frame []byte)) error {
	fd, ok := captures[name]
	if !ok {
		return fmt.Errorf("no capture on %s", name)
	}
	buf := make([]byte, 1<<16)
	for {
		n, from, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read captured frames: %w", err)
		}
		index := 0
		if l, ok := from.(*unix.SockaddrLinklayer); ok {
			index = l.Ifindex
		}
		each(index, append([]byte(nil), buf[:n]...))
	}
}

// Frame is an Ethernet frame to be sent.
type Frame struct {
	Link string
	Data []byte
}

// SendFrame sends an Ethernet frame as it is, and returns when it must be where
// it is going: see Outrun.
var SendFrame = New("net.SendFrame", func(f Frame) (None, error) {
	p, err := newPinger(Echo{Dst: "127.0.0.1"})
	if err != nil {
		return None{}, err
	}
	defer unix.Close(p.fd)
	undo, err := pin()
	if err != nil {
		return None{}, err
	}
	defer undo()
	return on(f.Link, "send on", func(l netlink.Link) error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		sent := unix.Sendto(fd, f.Data, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index, Halen: 6})
		if sent != nil && !errors.Is(sent, unix.ENOBUFS) {
			return sent
		}
		// Behind one that was dropped, too: what filled the queue is through then.
		if err := p.outrun(); err != nil {
			return err
		}
		return sent
	})
})

// Notify is asked for the names of interfaces that a netlink socket opened by
// Subscribe has told of.
var subscription int

// Subscribe opens a netlink socket for link events; Told reads it.
var Subscribe = New("net.Subscribe", func(None) (None, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return None{}, err
	}
	subscription = fd
	return None{}, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_LINK - 1)})
})

// Told says whether an event that names the interface has come in by now.
var Told = New("net.Told", func(name string) (bool, error) {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(subscription, buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if strings.Contains(string(buf[:n]), name+"\x00") {
			return true, nil
		}
	}
})
