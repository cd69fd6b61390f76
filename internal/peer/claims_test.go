package peer

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"bulkhead/internal/report"
)

// wrapped is an echo request between the containers as it passes the segment.
func wrapped(t *testing.T, from, number int, port uint16) []byte {
	t.Helper()
	ip := func(s string) net.IP { return net.ParseIP(s).To4() }
	ethernet := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(from)}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, EthernetType: layers.EthernetTypeIPv4}
	outer := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: ip(address(from)), DstIP: ip(address(3 - from))}
	udp := &layers.UDP{SrcPort: 40000, DstPort: layers.UDPPort(port)}
	if err := udp.SetNetworkLayerForChecksum(outer); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ethernet, outer, udp,
		&layers.VXLAN{ValidIDFlag: true, VNI: uint32(number)}, ethernet,
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: ip(inside(from)), DstIP: ip(inside(3 - from))},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: 1, Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(nil), buf.Bytes()...)
}

func said(f ...finding) (lines []json.RawMessage) {
	for _, one := range f {
		raw, _ := json.Marshal(one)
		lines = append(lines, raw)
	}
	return lines
}

func whole() []json.RawMessage {
	return said(finding{ID: ping.ID, Verdict: report.Pass}, finding{ID: frames.ID, Verdict: report.Pass}, finding{ID: tcp.ID, Verdict: report.Pass})
}

func verdict(t *testing.T, claims []report.Claim, id string) report.Claim {
	t.Helper()
	for _, c := range claims {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no claim %s", id)
	return report.Claim{}
}

func TestBothWaysPass(t *testing.T) {
	claims := Judge([2]Host{{Name: "a", Lines: whole()}, {Name: "b", Lines: whole()}}, [][]byte{wrapped(t, 1, vni, 4789), wrapped(t, 2, vni, 4789)})
	for _, c := range claims {
		if c.Verdict != report.Pass {
			t.Errorf("%s: %s %s", c.ID, c.Verdict, c.Reason)
		}
	}
}

func TestOneWayIsNotEnough(t *testing.T) {
	hosts := [2]Host{{Name: "a", Lines: whole()}, {Name: "b", Lines: said(finding{ID: ping.ID, Verdict: report.Fail, Reason: "no reply"})}}
	claims := Judge(hosts, [][]byte{wrapped(t, 1, vni, 4789)})
	if c := verdict(t, claims, ping.ID); c.Verdict != report.Fail || !strings.Contains(c.Reason, "b -> a: no reply") {
		t.Errorf("ping: %s %q", c.Verdict, c.Reason)
	}
	if c := verdict(t, claims, tcp.ID); c.Verdict != report.Broken {
		t.Errorf("a host that did not say: %s", c.Verdict)
	}
	if c := verdict(t, claims, wire.ID); c.Verdict != report.Fail {
		t.Errorf("one direction on the segment: %s", c.Verdict)
	}
}

func TestWrongWireFormatFails(t *testing.T) {
	good := wrapped(t, 2, vni, 4789)
	bare := wrapped(t, 1, vni, 4789)[50:]
	flagless := wrapped(t, 1, vni, 4789)
	flagless[42] = 0
	for why, frame := range map[string][]byte{"VNI": wrapped(t, 1, vni+1, 4789), "bare": bare, "I=false": flagless} {
		c := verdict(t, Judge([2]Host{{Name: "a", Lines: whole()}, {Name: "b", Lines: whole()}}, [][]byte{good, frame}), wire.ID)
		if c.Verdict != report.Fail || !strings.Contains(c.Reason, why) {
			t.Errorf("%s: %s %q", why, c.Verdict, c.Reason)
		}
	}
}

func TestLostHostIsBroken(t *testing.T) {
	claims := Judge([2]Host{{Name: "a", Lost: "Kernel panic"}, {Name: "b", Lines: whole()}}, nil)
	for _, c := range claims {
		if c.Verdict != report.Broken || !strings.Contains(c.Reason, "panic") {
			t.Errorf("%s: %s %q", c.ID, c.Verdict, c.Reason)
		}
	}
}

func TestKernelWithoutVXLANIsSkipped(t *testing.T) {
	lacks := func(reason string) (lines []json.RawMessage) {
		for _, c := range all {
			lines = append(lines, said(finding{ID: c.ID, Verdict: report.Skip, Reason: reason})...)
		}
		return lines
	}
	const reason = "CONFIG_VXLAN is not set"
	for _, c := range Judge([2]Host{{Name: "a", Lines: lacks(reason)}, {Name: "b", Lines: lacks("the other kernel: " + reason)}}, nil) {
		if c.Verdict != report.Skip || !strings.HasPrefix(c.Reason, "a -> b: "+reason) {
			t.Errorf("%s: %s %q", c.ID, c.Verdict, c.Reason)
		}
	}
}

// TestMeetingCarriesALack lets one host say what its kernel lacks where the
// other waits for it.
func TestMeetingCarriesALack(t *testing.T) {
	a, err := newMeeting("127.0.0.2", "127.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	b, err := newMeeting("127.0.0.3", "127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() { told <- b.tell(&lack{report.Skip, "CONFIG_VXLAN is not set"}) }()
	var missing *lack
	if err := a.at("set up"); !errors.As(err, &missing) || missing.Verdict != report.Skip || missing.Reason != "the other kernel: CONFIG_VXLAN is not set" {
		t.Fatalf("%v", err)
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
}
