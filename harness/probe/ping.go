package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Echo is a ping: one or more ICMP echo requests to Dst.
type Echo struct {
	Dst string
	// Source is an IPv4 address of the agent's namespace to send from; empty is
	// the kernel's choice.
	Source string
	// Size is the payload in bytes.
	Size int
	// Within is how long to wait for a reply, in milliseconds.
	Within int
	// DontFragment sets IP_PMTUDISC_DO.
	DontFragment bool
}

// Reply is the answer to a ping; From is empty when there was none.
type Reply struct {
	From string
	// Sent counts the requests: a first one may be lost to address resolution.
	Sent int
	// Intact is whether the payload came back as it went.
	Intact bool
	// Problem is what the kernel said instead of sending.
	Problem string
	// TTL of an IPv4 reply.
	TTL int
}

// Ping sends an echo request each 50 ms until a reply comes or time is up.
// That there is none is an answer, not an error.
var Ping = New("net.Ping", func(e Echo) (Reply, error) {
	p, err := newPinger(e)
	if err != nil {
		return Reply{}, err
	}
	defer unix.Close(p.fd)
	deadline := time.Now().Add(time.Duration(e.Within) * time.Millisecond)
	for time.Now().Before(deadline) && p.got.From == "" {
		if err := forgetUnresolved(); err != nil {
			return p.got, err
		}
		if err := p.request(); err != nil {
			return p.got, err
		}
		until := time.Now().Add(50 * time.Millisecond)
		if until.After(deadline) {
			until = deadline
		}
		if err := p.await(until, p.answered); err != nil {
			return p.got, err
		}
	}
	return p.got, nil
})

// forgetUnresolved deletes the neighbours that the kernel is asking for, so that
// it asks anew with the next packet, and not only after a second.
func forgetUnresolved() error {
	list, err := netlink.NeighList(0, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range list {
		if n.State&(unix.NUD_INCOMPLETE|unix.NUD_FAILED) != 0 {
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("delete neighbour %s: %w", n.IP, err)
			}
		}
	}
	return nil
}

// What a reply that must not come is outrun by: so many echoes on lo after each
// of three requests, and for work that the kernel defers this long.
const (
	outrunEchoes = 50
	outrunTime   = 15 * time.Millisecond
)

// Outrun is Ping for a reply that must not come. A packet's way through veths,
// bridges, routers and tunnels is a turn of the receive softirq a hop, on the
// CPU that sent it, and so is an echo on lo, in the same queue. So each of three
// requests is followed by echoes to the namespace's own lo, one after the other,
// that take many times the turns that a reply would: when they all have come
// and the reply has not, there is none, however busy the machine.
var Outrun = New("net.Outrun", func(e Echo) (Reply, error) {
	p, err := newPinger(e)
	if err != nil {
		return Reply{}, err
	}
	defer unix.Close(p.fd)
	undo, err := pin()
	if err != nil {
		return Reply{}, err
	}
	defer undo()
	settled := time.Now().Add(outrunTime)
	for range 3 {
		if err := p.request(); err != nil {
			return p.got, err
		}
		if err := p.outrun(); err != nil {
			return p.got, err
		}
	}
	return p.got, p.await(settled, p.answered)
})

// pin keeps the calling goroutine on the CPU that it runs on.
func pin() (undo func(), err error) {
	var all, one unix.CPUSet
	var cpu uint32
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return nil, fmt.Errorf("getcpu: %w", errno)
	}
	one.Set(int(cpu))
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, fmt.Errorf("sched_setaffinity: %w", err)
	}
	return func() {
		_ = unix.SchedSetaffinity(0, &all)
		runtime.UnlockOSThread()
	}, nil
}

// pinger is a raw ICMP socket, what it sends and what came back.
type pinger struct {
	fd, id  int
	v6      bool
	dst, lo unix.Sockaddr
	payload []byte
	got     Reply
	// onLo and back count the echoes on lo, sent and returned.
	onLo, back int
	buf        []byte
}

// pings counts the pingers of this agent, so that no reply to one is taken for
// another's.
var pings int

// loID marks the echoes on lo.
const loID = 0x8000

func newPinger(e Echo) (*pinger, error) {
	ip := net.ParseIP(e.Dst)
	if ip == nil {
		return nil, fmt.Errorf("%q is no IP address", e.Dst)
	}
	pings++
	p := &pinger{id: (os.Getpid()*64 + pings) & (loID - 1), payload: make([]byte, max(e.Size, 16)), buf: make([]byte, 1<<16)}
	for i := range p.payload {
		p.payload[i] = byte(i*7 + i>>8)
	}
	var err error
	if ip4 := ip.To4(); ip4 != nil {
		p.dst, p.lo = &unix.SockaddrInet4{Addr: [4]byte(ip4)}, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
		p.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	} else {
		p.v6, p.dst, p.lo = true, &unix.SockaddrInet6{Addr: [16]byte(ip)}, &unix.SockaddrInet6{Addr: [16]byte(net.IPv6loopback)}
		p.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	}
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	if source := net.ParseIP(e.Source).To4(); source != nil {
		if err := unix.Bind(p.fd, &unix.SockaddrInet4{Addr: [4]byte(source)}); err != nil {
			unix.Close(p.fd)
			return nil, fmt.Errorf("bind to %s: %w", e.Source, err)
		}
	}
	if e.DontFragment {
		if err := unix.SetsockoptInt(p.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
			unix.Close(p.fd)
			return nil, fmt.Errorf("IP_MTU_DISCOVER: %w", err)
		}
	}
	return p, nil
}

func (p *pinger) answered() bool { return p.got.From != "" }

// request sends an echo request to the destination. What the kernel says
// against it is the reply's Problem.
func (p *pinger) request() error {
	p.got.Sent++
	p.got.Problem = ""
	err := p.send(p.dst, p.id, p.got.Sent, p.payload)
	var errno unix.Errno
	if errors.As(err, &errno) {
		p.got.Problem = err.Error()
		return nil
	}
	return err
}

// loTime bounds an echo on lo.
const loTime = 5 * time.Second

func (p *pinger) outrun() error {
	for range outrunEchoes {
		p.onLo++
		if err := p.send(p.lo, p.id|loID, p.onLo, []byte("lo")); err != nil {
			return fmt.Errorf("echo on lo: %w", err)
		}
		if err := p.await(time.Now().Add(loTime), func() bool { return p.back == p.onLo }); err != nil {
			return err
		}
		if p.back != p.onLo {
			return fmt.Errorf("no echo on lo within %s", loTime)
		}
	}
	return nil
}

func (p *pinger) send(to unix.Sockaddr, id, seq int, payload []byte) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: seq, Data: payload}}
	if p.v6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	raw, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	return unix.Sendto(p.fd, raw, 0, to)
}

// await takes in what comes until done says so, or the deadline.
func (p *pinger) await(deadline time.Time, done func() bool) error {
	for !done() {
		n, from, err := unix.Recvfrom(p.fd, p.buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			left := time.Until(deadline)
			if left <= 0 {
				return nil
			}
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("poll: %w", err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read replies: %w", err)
		}
		p.take(p.buf[:n], from)
	}
	return nil
}

// take judges one received packet.
func (p *pinger) take(packet []byte, from unix.Sockaddr) {
	reply, ttl, source := byte(ipv4.ICMPTypeEchoReply), 0, net.IP(nil)
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		if len(packet) < 20 || len(packet) < int(packet[0]&15)*4 {
			return
		}
		ttl, source = int(packet[8]), from.Addr[:]
		packet = packet[int(packet[0]&15)*4:]
	case *unix.SockaddrInet6:
		reply, source = byte(ipv6.ICMPTypeEchoReply), from.Addr[:]
	}
	if len(packet) < 8 || packet[0] != reply {
		return
	}
	switch int(binary.BigEndian.Uint16(packet[4:])) {
	case p.id:
		p.got.From, p.got.Intact, p.got.TTL = source.String(), bytes.Equal(packet[8:], p.payload), ttl
	case p.id | loID:
		p.back++
	}
}
