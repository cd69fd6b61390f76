package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

// Segment is an Ethernet segment between guests: a hub that passes every frame
// to all others and keeps it. It needs no rights, and no frame leaves this
// process but to a guest.
type Segment struct {
	guests []*os.File
	ports  []*os.File
	ended  sync.WaitGroup

	mu     sync.Mutex
	frames []Frame
}

// Frame is an Ethernet frame that passed a segment.
type Frame struct {
	Time time.Time
	// From is the number of the guest that sent it, from 0.
	From int
	Data []byte
}

// segmentFrames bounds what a segment keeps.
const segmentFrames = 20000

// NewSegment returns a segment of n guests, each with its end in Options.Ethernet.
func NewSegment(n int) (*Segment, error) {
	s := &Segment{}
	for range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("socketpair: %w", err)
		}
		s.ports = append(s.ports, os.NewFile(uintptr(fds[0]), "port"))
		s.guests = append(s.guests, os.NewFile(uintptr(fds[1]), fmt.Sprintf("ethernet%d", len(s.guests))))
	}
	for i := range s.ports {
		s.ended.Go(func() { s.carry(i) })
	}
	return s, nil
}

// Guest is the end of the guest with the number.
func (s *Segment) Guest(i int) *os.File { return s.guests[i] }

// macOf is the address of the guest that has this end: a locally administered
// one.
func macOf(end *os.File) string {
	var i int
	_, _ = fmt.Sscanf(end.Name(), "ethernet%d", &i)
	return fmt.Sprintf("02:62:6b:00:00:%02x", i+1)
}

func (s *Segment) carry(from int) {
	buf := make([]byte, 1<<17)
	for {
		n, err := s.ports[from].Read(buf)
		if err != nil {
			// The guest's end and ours were closed.
			return
		}
		frame := append([]byte(nil), buf[:n]...)
		s.mu.Lock()
		if len(s.frames) < segmentFrames {
			s.frames = append(s.frames, Frame{time.Now(), from, frame})
		}
		s.mu.Unlock()
		for i, p := range s.ports {
			if i != from {
				// A guest that does not listen misses it, as on any Ethernet.
				_ = p.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
				_, _ = p.Write(frame)
			}
		}
	}
}

// Frames are the frames that have passed.
func (s *Segment) Frames() []Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Frame(nil), s.frames...)
}

// WriteCapture writes the frames that have passed as a pcap file.
func (s *Segment) WriteCapture(w io.Writer) error {
	out := pcapgo.NewWriterNanos(w)
	err := out.WriteFileHeader(1<<16, layers.LinkTypeEthernet)
	for _, f := range s.Frames() {
		err = errors.Join(err, out.WritePacket(gopacket.CaptureInfo{Timestamp: f.Time, CaptureLength: len(f.Data), Length: len(f.Data)}, f.Data))
	}
	return err
}

// Close ends the segment.
func (s *Segment) Close() {
	for _, f := range append(s.ports, s.guests...) {
		f.Close()
	}
	s.ended.Wait()
}
