package probe

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// Stream is bytes to be sent over TCP to an echo server and back.
type Stream struct {
	Address string
	Bytes   int
	// Within is in milliseconds.
	Within int
}

// Streamed is what came back of a Stream.
type Streamed struct {
	Returned int
	// Differs is where the first other byte came back; -1 without one.
	Differs int
}

// ServeEcho listens on a TCP address, as long as the agent lives, and sends back
// what comes in.
var ServeEcho = New("net.ServeEcho", func(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", address, err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String(), nil
})

// Pour sends a Stream, of bytes of which no two places look alike, and compares
// what comes back. Time that runs out is an answer: Returned.
var Pour = New("net.Pour", func(s Stream) (Streamed, error) {
	conn, err := net.DialTimeout("tcp", s.Address, time.Duration(s.Within)*time.Millisecond)
	if err != nil {
		return Streamed{}, fmt.Errorf("connect to %s: %w", s.Address, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Duration(s.Within) * time.Millisecond)); err != nil {
		return Streamed{}, err
	}
	data := make([]byte, 0, s.Bytes+sha256.Size)
	for i := uint64(0); len(data) < s.Bytes; i++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		data = append(data, block[:]...)
	}
	data = data[:s.Bytes]
	go func() {
		_, _ = conn.Write(data)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	back, err := io.ReadAll(conn)
	if err != nil && !isTimeout(err) {
		return Streamed{}, fmt.Errorf("read: %w", err)
	}
	r := Streamed{Returned: len(back), Differs: -1}
	for i := range min(len(back), len(data)) {
		if back[i] != data[i] {
			r.Differs = i
			break
		}
	}
	return r, nil
})
