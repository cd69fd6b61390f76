package lie

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func newVeth() []byte {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("v0")))
	req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(1400)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(1, nl.Uint32Attr(7))
	req.AddData(info)
	return req.Serialize()
}

func TestAttributesOfRequest(t *testing.T) {
	b := newVeth()
	found := messages(b)
	if len(found) != 1 || found[0] != (message{"newlink", 0}) {
		t.Fatalf("messages: %v", found)
	}
	var paths []string
	attributesOf(b, found[0], func(path string, _ int) { paths = append(paths, path) })
	if want := []string{"ifname", "mtu", "linkinfo", "linkinfo.1", "linkinfo.2", "linkinfo.2.1"}; !slices.Equal(paths, want) {
		t.Errorf("attributes: %v", paths)
	}
}

func TestRequestWithoutAttribute(t *testing.T) {
	b := newVeth()
	m := messages(b)[0]
	if without(b, m, "nr99") || !without(b, m, "linkinfo.2.1") || without(b, m, "linkinfo.2.1") {
		t.Error("an attribute that is not there was hidden, or one that is was not, or twice")
	}
	if !without(b, m, "mtu") {
		t.Error("the request has no mtu")
	}
	var paths []string
	attributesOf(b, m, func(path string, _ int) { paths = append(paths, path) })
	if want := []string{"ifname", "nr0", "linkinfo", "linkinfo.1", "linkinfo.2", "linkinfo.2.0"}; !slices.Equal(paths, want) {
		t.Errorf("attributes: %v", paths)
	}
}

func TestRequestCutShortIsReadToItsEnd(t *testing.T) {
	whole := newVeth()
	for n := range whole {
		b := slices.Clone(whole[:n])
		if n >= 4 {
			binary.NativeEndian.PutUint32(b, uint32(n))
		}
		for _, m := range messages(b) {
			attributesOf(b, m, func(string, int) {})
			elsewhere(b, m)
		}
	}
}

func TestRequestElsewhere(t *testing.T) {
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, 0)
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	msg.Index = 7
	req.AddData(msg)
	b := req.Serialize()
	m := messages(b)[0]
	if !elsewhere(b, m) || binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr+4:]) != 1 {
		t.Error("the address stays where it was")
	}
	if elsewhere(b, m) {
		t.Error("moved from lo to lo")
	}
}

func TestToOwnSide(t *testing.T) {
	v4 := []byte{unix.AF_INET, 0, 0, 80, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	if !toOwnSide(v4) || !slices.Equal(v4[4:8], []byte{127, 0, 0, 1}) || toOwnSide(v4) {
		t.Errorf("IPv4: %v", v4)
	}
	link := make([]byte, 20)
	binary.NativeEndian.PutUint16(link, unix.AF_PACKET)
	binary.NativeEndian.PutUint32(link[4:], 5)
	if !toOwnSide(link) || binary.NativeEndian.Uint32(link[4:]) != 1 {
		t.Errorf("packet: %v", link)
	}
	if toOwnSide([]byte{unix.AF_UNIX, 0, 'x'}) || toOwnSide(nil) {
		t.Error("a UNIX address, or none, was changed")
	}
}
