// Package peer verifies what containers on two machines with two kernels
// promise each other: it is the program in both guests, and judges what the
// two saw and what passed between them. It refuses to know how guests are
// made.
package peer

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"bulkhead/internal/claim"
	"bulkhead/internal/report"
)

const topology = `10.0.0.11 container1:eth0 -- veth0:host1:br0 -- vxlan0 == 192.0.2.1 eth0
                                                                  |
                                                      bulkhead's Ethernet segment
                                                                  |
10.0.0.12 container2:eth0 -- veth0:host2:br0 -- vxlan0 == 192.0.2.2 eth0`

var (
	sources = claim.Sources{claim.Article2("VXLAN"), claim.Doc("RFC 7348", "4. VXLAN"), claim.Doc("Linux kernel documentation", "Virtual eXtensible Local Area Networking")}

	ping = claim.Claim{
		ID:       "overlay/ping-between-two-kernels",
		Text:     "Containers on bridges of two hosts with two kernels reach each other through a VXLAN, both ways.",
		Contrast: "before the VTEP is a port of the bridge, no reply comes",
	}
	frames = claim.Claim{
		ID:       "overlay/full-frames-between-two-kernels",
		Text:     "A packet as large as the VXLAN's MTU crosses between two kernels whole, without being cut up.",
		Contrast: "a packet one byte larger is refused with EMSGSIZE or never answered",
	}
	tcp = claim.Claim{
		ID:       "overlay/tcp-between-two-kernels",
		Text:     "A TCP connection between containers on two kernels carries data both ways, and each end sees the other's own address.",
		Contrast: "a port that nobody listens on refuses the connection across the overlay",
	}
	wire = claim.Claim{
		ID:       "overlay/wire-format-between-two-kernels",
		Text:     "Both kernels put each frame behind an outer UDP header to port 4789 and a VXLAN header with the I flag and the VNI, between the hosts' own addresses.",
		Contrast: "no frame of a container passes the segment bare",
	}
	all = []*claim.Claim{&frames, &ping, &tcp, &wire}
)

func init() {
	for _, c := range all {
		c.Source, c.Topology, c.Core = sources, topology, false
	}
}

// Claims are the claims on two kernels, without verdicts.
func Claims() []report.Claim {
	var models []report.Claim
	for _, c := range all {
		m := c.Model()
		m.Needs = []string{"a second machine: bulkhead vm --peer"}
		models = append(models, m)
	}
	return models
}

// Host is one of the two, and what came of it.
type Host struct {
	// Name is what it is called when it did not say its kernel's release.
	Name string
	// Lines are what the program in it said.
	Lines []json.RawMessage
	// Lost says why the program did not come to its end; empty when it did.
	Lost string
}

// Kernel is what the host said of its kernel; without its word only the
// release is set, to the host's name.
func (h Host) Kernel() report.Kernel {
	for _, raw := range h.Lines {
		var a about
		if json.Unmarshal(raw, &a) == nil && a.Kernel.Release != "" {
			return a.Kernel
		}
	}
	return report.Kernel{Release: h.Name}
}

func (h Host) release() string { return h.Kernel().Release }

// Judge gives each claim the worse verdict of the two directions and adds what
// the frames of the segment say.
func Judge(hosts [2]Host, passed [][]byte) []report.Claim {
	claims := Claims()
	byID := map[string]*report.Claim{}
	for i := range claims {
		byID[claims[i].ID] = &claims[i]
	}
	for i, h := range hosts {
		way := h.release() + " -> " + hosts[1-i].release()
		for _, raw := range h.Lines {
			var f finding
			if json.Unmarshal(raw, &f) != nil || byID[f.ID] == nil {
				continue
			}
			c := byID[f.ID]
			for _, e := range f.Evidence {
				c.Evidence = append(c.Evidence, way+": "+e)
			}
			c.DurationMS = max(c.DurationMS, f.DurationMS)
			settle(c, f.Verdict, way+": "+f.Reason)
		}
	}
	for i := range claims {
		c := &claims[i]
		if c.ID == wire.ID {
			judgeWire(c, hosts, passed)
			continue
		}
		for _, h := range hosts {
			said := false
			for _, raw := range h.Lines {
				var f finding
				said = said || json.Unmarshal(raw, &f) == nil && f.ID == c.ID
			}
			if !said {
				settle(c, report.Broken, fmt.Sprintf("the host on %s did not say: %s", h.release(), orElse(h.Lost, "its program ended early")))
			}
		}
	}
	return claims
}

// settle keeps the worse verdict: fail, broken, skip, pass.
func settle(c *report.Claim, v report.Verdict, reason string) {
	rank := map[report.Verdict]int{"": 0, report.Pass: 1, report.Skip: 2, report.Broken: 3, report.Fail: 4}
	if v != report.Pass && rank[v] == rank[c.Verdict] {
		c.Reason += "\n" + reason
	}
	if rank[v] > rank[c.Verdict] {
		c.Verdict, c.Reason = v, ""
		if v != report.Pass {
			c.Reason = reason
		}
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// judgeWire decodes what passed.
func judgeWire(c *report.Claim, hosts [2]Host, passed [][]byte) {
	var wrapped [2]int
	var wrong []string
	for _, data := range passed {
		p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
		outer, _ := p.NetworkLayer().(*layers.IPv4)
		if outer == nil {
			continue
		}
		if strings.HasPrefix(outer.SrcIP.String(), "10.0.0.") {
			wrong = append(wrong, fmt.Sprintf("a bare packet from %s to %s", outer.SrcIP, outer.DstIP))
			continue
		}
		header, _ := p.Layer(layers.LayerTypeVXLAN).(*layers.VXLAN)
		if header == nil {
			continue
		}
		var inner *layers.IPv4
		for _, l := range p.Layers() {
			if ip, ok := l.(*layers.IPv4); ok && ip != outer {
				inner = ip
			}
		}
		if inner == nil {
			continue
		}
		from := 0
		if outer.SrcIP.String() == address(2) {
			from = 1
		}
		udp, _ := p.TransportLayer().(*layers.UDP)
		switch {
		case outer.SrcIP.String() != address(from+1), outer.DstIP.String() != address(2-from):
			wrong = append(wrong, fmt.Sprintf("outer addresses %s -> %s", outer.SrcIP, outer.DstIP))
		case !header.ValidIDFlag, header.VNI != vni:
			wrong = append(wrong, fmt.Sprintf("%s: VXLAN header with I=%v and VNI %d, not %d", hosts[from].release(), header.ValidIDFlag, header.VNI, vni))
		case udp == nil || udp.DstPort != 4789:
			wrong = append(wrong, hosts[from].release()+": not to UDP port 4789")
		case inner.SrcIP.String() != inside(from+1), inner.DstIP.String() != inside(2-from):
			// The hosts' bridges and what speaks to groups.
		default:
			wrapped[from]++
		}
	}
	c.Evidence = append(c.Evidence, fmt.Sprintf("%d frames on the segment; between the containers, wrapped: %d from %s, %d from %s",
		len(passed), wrapped[0], hosts[0].release(), wrapped[1], hosts[1].release()))
	if c.Verdict == report.Skip || c.Verdict == report.Fail {
		// A kernel has no VXLAN, so that nothing could pass.
		return
	}
	settle(c, report.Pass, "")
	switch {
	case len(wrong) > 0:
		settle(c, report.Fail, fmt.Sprintf("%d frames are not as RFC 7348 says; the first: %s", len(wrong), wrong[0]))
	case hosts[0].Lost != "" || hosts[1].Lost != "":
		settle(c, report.Broken, "a host did not come to its end: "+orElse(hosts[0].Lost, hosts[1].Lost))
	case wrapped[0] == 0 || wrapped[1] == 0:
		settle(c, report.Fail, fmt.Sprintf("expected VXLAN frames between the containers in both directions, saw %d and %d", wrapped[0], wrapped[1]))
	}
}
