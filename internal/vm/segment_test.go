package vm

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
)

func TestSegmentCarriesToAllOthersAndCaptures(t *testing.T) {
	s, err := NewSegment(3)
	if err != nil {
		t.Fatal(err)
	}
	frame := bytes.Repeat([]byte{0xab}, 1500)
	if _, err := s.Guest(1).Write(frame); err != nil {
		t.Fatal(err)
	}
	for _, other := range []int{0, 2} {
		got := make([]byte, 4096)
		_ = s.Guest(other).SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := s.Guest(other).Read(got); err != nil || !bytes.Equal(got[:n], frame) {
			t.Errorf("guest %d read %d bytes, %v", other, n, err)
		}
	}
	var file bytes.Buffer
	if err := s.WriteCapture(&file); err != nil {
		t.Fatal(err)
	}
	in, err := pcapgo.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	if data, _, err := in.ReadPacketData(); err != nil || !bytes.Equal(data, frame) {
		t.Errorf("captured %d bytes, %v", len(data), err)
	}
	if _, _, err := in.ReadPacketData(); err != io.EOF {
		t.Errorf("another frame in the capture: %v", err)
	}
	s.Close()
}
