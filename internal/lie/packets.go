package lie

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// network says whether a descriptor is a socket that packets pass.
func network(c *Call, fd uintptr) bool {
	switch c.Domain(fd) {
	case unix.AF_INET, unix.AF_INET6, unix.AF_PACKET:
		return true
	}
	return false
}

// toOwnSide changes a socket address so that what goes there stays in the
// sender's namespace, at lo.
func toOwnSide(address []byte) bool {
	if len(address) < 8 {
		return false
	}
	switch binary.NativeEndian.Uint16(address) {
	case unix.AF_INET:
		if address[4] == 127 {
			return false
		}
		copy(address[4:8], []byte{127, 0, 0, 1})
	case unix.AF_INET6:
		if len(address) < 24 || binary.BigEndian.Uint64(address[8:]) == 0 {
			return false
		}
		copy(address[8:24], []byte{15: 1})
	case unix.AF_PACKET:
		if binary.NativeEndian.Uint32(address[4:]) <= 1 {
			return false
		}
		binary.NativeEndian.PutUint32(address[4:], 1)
	default:
		return false
	}
	return true
}

// destination is the address that sendto(2), sendmsg(2) or connect(2) is given.
func destination(c *Call) (addr uintptr, n int) {
	switch c.Nr {
	case unix.SYS_CONNECT:
		return c.Arg(1), int(c.Arg(2))
	case unix.SYS_SENDTO:
		return c.Arg(4), int(c.Arg(5))
	case unix.SYS_SENDMSG:
		return uintptr(c.Uint64(c.Arg(1))), int(c.Uint32(c.Arg(1) + 8))
	}
	return 0, 0
}

var (
	sending   = []uintptr{unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_WRITE}
	receiving = []uintptr{unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_READ}
)

func (l *Lie) ofPackets(p []string) bool {
	if len(p) != 2 {
		return false
	}
	switch p[1] {
	case "lost":
		l.calls = sending
		return l.tells("What is sent on a socket of the network is lost.", skipping, func(c *Call) bool {
			if !network(c, c.Arg(0)) {
				return false
			}
			_, n := c.Sent()
			c.Answer(n)
			return true
		})
	case "halved":
		l.calls = sending
		return l.tells("The second half of what is sent on a socket of the network is lost.", "the size in the argument is halved, and the result is not", func(c *Call) bool {
			_, n := c.Sent()
			if n < 2 || !network(c, c.Arg(0)) {
				return false
			}
			if c.dry {
				return true
			}
			if c.Nr == unix.SYS_SENDMSG {
				iov := uintptr(c.Uint64(c.Arg(1) + 16))
				c.Write(iov+8, binary.NativeEndian.AppendUint64(nil, uint64(n/2)))
			} else {
				c.SetArg(2, uintptr(n/2))
			}
			return c.After(func(c *Call) bool {
				if c.Result() != n/2 {
					return false
				}
				c.SetResult(n)
				return true
			})
		})
	case "altered":
		l.calls = receiving
		return l.tells("A bit of what a socket of the network receives is another.", altering, func(c *Call) bool {
			if !network(c, c.Arg(0)) {
				return false
			}
			return c.After(func(c *Call) bool {
				addr, _ := c.Received()
				if c.Result() < 1 {
					return false
				}
				last := c.Read(addr+uintptr(c.Result())-1, 1)
				if len(last) != 1 {
					return false
				}
				c.Write(addr+uintptr(c.Result())-1, []byte{last[0] ^ 1})
				return true
			})
		})
	case "back":
		l.calls = []uintptr{unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_CONNECT}
		return l.tells("What is sent to another host arrives at the sender's own lo.", "the address in the argument becomes that of lo", func(c *Call) bool {
			addr, n := destination(c)
			b := c.Read(addr, min(n, 128))
			if !network(c, c.Arg(0)) || !toOwnSide(b) {
				return false
			}
			c.Write(addr, b)
			return true
		})
	case "everywhere":
		return l.ofFrames()
	}
	return false
}

// ofFrames is the lie that a packet socket sees every frame of every namespace.
func (l *Lie) ofFrames() bool {
	l.Bug = "A frame reaches every packet socket, wherever it is."
	l.Means = "a packet socket that has nothing to receive is given what others have received"
	l.calls = []uintptr{unix.SYS_RECVFROM}
	l.start = func() func(*Call) bool {
		var frames [][]byte
		// given is how many of the frames a socket has been given or has seen.
		given := map[string]int{}
		return func(c *Call) bool {
			if c.Domain(c.Arg(0)) != unix.AF_PACKET {
				return false
			}
			socket := c.File(c.Arg(0))
			return c.After(func(c *Call) bool {
				if c.Result() > 0 {
					if !c.dry {
						frames = append(frames, c.Read(c.Arg(1), c.Result()))
					}
					return false
				}
				if c.Result() != -int(unix.EAGAIN) || given[socket] >= len(frames) && !c.dry {
					return false
				}
				if c.dry {
					return true
				}
				frame := frames[given[socket]]
				given[socket]++
				frame = frame[:min(len(frame), int(c.Arg(2)))]
				c.Write(c.Arg(1), frame)
				c.SetResult(len(frame))
				return true
			})
		}
	}
	return true
}
