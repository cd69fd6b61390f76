package namespaces

import (
	"context"
	"errors"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/vishvananda/netlink"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// spareDeviceVariable names a network device with hardware behind it that a
// run may move about: the guest of bulkhead vm has one.
const spareDeviceVariable = "BULKHEAD_SPARE_DEVICE"

var spareDevice = &claim.Need{
	Name: "a spare physical network device",
	Try: func(context.Context) error {
		name := os.Getenv(spareDeviceVariable)
		if name == "" {
			return errors.New("no network device with hardware behind it that a run may move")
		}
		_, err := netlink.LinkByName(name)
		return err
	},
}

var _ = claim.It(claim.Claim{
	ID:       "net/physical-device-returns-to-initial-ns",
	Text:     "Freeing a network namespace sends physical devices in it back to the initial namespace, wherever they came from.",
	Source:   claim.Sources{claim.Man("network_namespaces(7)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.Root, claim.Wired, spareDevice},
	Contrast: "a veth is destroyed instead",
	Serial:   true,
	Try:      "unshare --net sleep 99 & ip link set eth0 netns $!; kill $!; wait; ip link show eth0",
}, func(ctx SpecContext) {
	name := os.Getenv(spareDeviceVariable)
	first := harness.Start(ctx, harness.New(namespace.Network), harness.Named("the first namespace"))
	agent := first.Agent(ctx)
	last := harness.Start(ctx, harness.Under(first), harness.New(namespace.Network), harness.Named("the last namespace"))
	inFirst := harness.Got(first.Export(harness.Got(first.OpenNamespace(namespace.Network))))
	device, err := netlink.LinkByName(name)
	harness.Must(err)
	if err := netlink.LinkSetNsFd(device, int(inFirst.Fd())); err != nil {
		harness.Broken("move %s out of the initial namespace: %v", name, err)
	}
	harness.Must(inFirst.Close())
	probe.MoveLink.In(agent, probe.Move{Name: name, PID: last.PID()})
	// A veth goes the same way, as the contrast: after the device, which keeps
	// its index only where that is free.
	probe.AddLink.In(agent, probe.Link{Kind: "veth", Name: "virtual0", Peer: "virtual1"})
	probe.MoveLink.In(agent, probe.Move{Name: "virtual1", PID: last.PID()})
	has := func(sb *harness.Sandbox, link string) bool {
		return strings.Contains(harness.Got(sb.ReadFile("/proc/self/net/dev")), link+":")
	}
	if !has(last, name) || !has(last, "virtual1") {
		harness.Broken("%s and a veth were moved to %s, and are not there", name, last)
	}
	Expect(initialHas(name)).To(BeFalse(), "contrast: %s in the initial namespace while it is in another", name)

	last.Exit(0)
	harness.Got(first.Wait(last))
	// The kernel takes network namespaces down in a work queue.
	Eventually(initialHas).WithArguments(name).WithTimeout(destroyTime).WithPolling(pollTime).
		Should(BeTrue(), "%s in the initial namespace after its namespace's last process has exited", name)
	Eventually(has).WithArguments(first, "virtual0").WithTimeout(destroyTime).WithPolling(pollTime).
		Should(BeFalse(), "contrast: the peer of the veth that was in that namespace")
	claim.Evidence("%s went to %s, on to %s, and when that ended to the initial namespace; the first has it: %v", name, first, last, has(first, name))
	Expect(has(first, name)).To(BeFalse(), "%s in the namespace that it came from", name)
})

func initialHas(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}
