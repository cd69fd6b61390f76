package network

import (
	"context"
	"encoding/binary"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
)

// tunDevice is a path of the TUN device that everybody may open: root makes a
// node of its own for that, where it may.
func tunDevice(ctx context.Context) string {
	const machines = "/dev/net/tun"
	host := harness.Outermost(ctx)
	if host != harness.Host(ctx) {
		return machines
	}
	path := host.MkdirTemp() + "/tun"
	if host.Mknod(path, unix.S_IFCHR|0o666, unix.Mkdev(10, 200)) != nil {
		return machines
	}
	harness.Must(host.Chmod(path, 0o666))
	fd, err := host.Open(path, unix.O_RDWR, 0)
	if err != nil {
		return machines
	}
	harness.Must(host.Close(fd))
	return path
}

// makeTap makes a tap device named tap0 by TUNSETIFF, which lives as long as
// the descriptor.
func makeTap(sb *harness.Sandbox, device string) error {
	fd, err := sb.Open(device, unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	ifr := make([]byte, 40)
	copy(ifr, "tap0")
	binary.NativeEndian.PutUint16(ifr[16:], unix.IFF_TAP|unix.IFF_NO_PI)
	_, err = sb.Ioctl(fd, unix.TUNSETIFF, ifr)
	return err
}

var (
	// A missing or closed device file says nothing of the kernel.
	tunFileNeed = &claim.Need{
		Name: "/dev/net/tun",
		Try: func(ctx context.Context) error {
			sb := harness.Nobody(ctx)
			_, err := sb.Open(tunDevice(ctx), unix.O_RDWR, 0)
			return err
		},
		Built: []string{"CONFIG_TUN"},
	}
	tunNeed = claim.Feature("tap", "", []string{"CONFIG_NET_NS", "CONFIG_TUN"}, func(ctx context.Context) error {
		sb, err := tryNetwork(ctx)
		if err != nil {
			return err
		}
		return makeTap(sb, tunDevice(ctx))
	})
)

var _ = claim.It(claim.Claim{
	ID:       "network/tap-usable-in-own-user-and-net-ns",
	Text:     "An unprivileged user may create a tap device in a network namespace its user namespace owns, as slirp4netns and pasta do.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Effect of capabilities within a user namespace"), claim.Doc("kernel tuntap", "")},
	Needs:    claim.Needs{claim.OrdinaryUser, claim.UnprivilegedUserNamespaces, tunFileNeed, tunNeed},
	Contrast: "EPERM in the host's network namespace",
	Core:     true,
	Try:      "mknod tun c 10 200; chmod 666 tun; mount --bind tun /dev/net/tun; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'ip tuntap add tap0 mode tap; unshare --user --map-root-user --net sh -c \"ip tuntap add tap0 mode tap; ip -br link show tap0\"'",
	Shows:    "ioctl(TUNSETIFF): Operation not permitted\ntap0 DOWN …",
}, func(ctx SpecContext) {
	device := tunDevice(ctx)
	nobody := harness.Nobody(ctx)
	outside := makeTap(nobody, device)
	inside := harness.Start(ctx, harness.Under(nobody), harness.New(namespace.User, namespace.Network), harness.WithoutIDs(), harness.Named("container"))
	harness.Must(nobody.WriteFile(fmt.Sprintf("/proc/%d/setgroups", inside.PID()), "deny"))
	harness.Must(inside.WriteMaps(
		[]harness.Mapping{{Inside: 0, Outside: nobody.Getuid(), Size: 1}},
		[]harness.Mapping{{Inside: 0, Outside: nobody.Getgid(), Size: 1}}))
	made := makeTap(inside, device)
	Expect(made).NotTo(HaveOccurred(), "an ordinary user, root of a user namespace, makes tap0 in the network namespace that it owns")
	agent := inside.Agent(ctx)
	_, listed := probe.Find(probe.Links.In(agent, probe.None{}), "tap0")
	raised := func() error { _, err := probe.Raise.Try(agent, "tap0"); return err }()
	claim.Evidence("in the host's network namespace: %v; in its own: %v, listed %v, raised: %v", outside, made, listed, raised)
	Expect(listed).To(BeTrue(), "tap0 among the interfaces of the network namespace")
	Expect(raised).NotTo(HaveOccurred(), "raising tap0")
	Expect(outside).To(harness.FailWith(unix.EPERM), "contrast: tap0 in the network namespace of the host")
})
