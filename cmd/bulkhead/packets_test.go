package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bulkhead/internal/kernel"
)

// TestNoPacketLeavesTheStage runs the network claims on a machine of whose
// traffic everything is known: a network namespace with lo and one interface,
// whose network is one that the specs use too. Not one of its counters may move.
func TestNoPacketLeavesTheStage(t *testing.T) {
	if !kernel.IsRoot() {
		t.Skip("a network namespace for the machine needs root")
	}
	// The thread stays in its namespace, and ends with the test.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	// IPv6 would speak by itself.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	nic := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up0"}, PeerName: "up1"}
	address, err := netlink.ParseAddr("192.0.2.1/24")
	if err := errors.Join(err, netlink.LinkAdd(nic), netlink.AddrAdd(nic, address)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lo", "up0", "up1"} {
		link, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	counters := func() string {
		raw, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	before := counters()
	var out bytes.Buffer
	cmd := command("run", "--area", "net,network")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if after := counters(); after != before {
		t.Errorf("the machine's counters before the run:\n%s\nand after:\n%s", before, after)
	}
	conn, err := net.Dial("udp", "192.0.2.2:9")
	if err == nil {
		_, err = conn.Write([]byte("x"))
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if counters() == before {
		t.Error("contrast: a packet that does leave by up0, or the question for its neighbour, is not counted")
	}
}
