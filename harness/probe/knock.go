package probe

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// What Knock finds.
const (
	Open    = "open"
	Refused = "refused"
	Silence = "silence"
)

// Knock begins a TCP connection to an IPv4 "ADDRESS:PORT" and says what came of
// it: Open, Refused, or Silence when an answer must have come by now: see Outrun.
var Knock = New("net.Knock", func(address string) (string, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return "", err
	}
	p, err := newPinger(Echo{Dst: "127.0.0.1"})
	if err != nil {
		return "", err
	}
	defer unix.Close(p.fd)
	undo, err := pin()
	if err != nil {
		return "", err
	}
	defer undo()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	if errors.Is(err, unix.EINPROGRESS) {
		if err := p.outrun(); err != nil {
			return "", err
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(outrunTime.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return "", fmt.Errorf("poll: %w", err)
		}
		if n == 0 {
			return Silence, nil
		}
		errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return "", fmt.Errorf("SO_ERROR: %w", err)
		}
		if errno == 0 {
			return Open, nil
		}
		if unix.Errno(errno) != unix.ECONNREFUSED {
			return "", fmt.Errorf("connect to %s: %w", address, unix.Errno(errno))
		}
		return Refused, nil
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return Refused, nil
	}
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w", address, err)
	}
	return Open, nil
})
