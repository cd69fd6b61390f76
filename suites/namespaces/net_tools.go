package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
	"bulkhead/suites/rootfs"
)

var netNeed = claim.Namespace(namespace.Network)

// netClass is a sysfs that lists network devices.
var netClass = claim.Feature("/sys/class/net", "", []string{"CONFIG_SYSFS", "CONFIG_NET"}, func(ctx context.Context) error {
	sb := harness.Start(ctx, harness.New(namespace.Network, namespace.Mount))
	dir := sb.MkdirTemp()
	if err := sb.Mount("sysfs", dir, "sysfs", 0, ""); err != nil {
		return err
	}
	_, err := sb.Stat(dir + "/class/net")
	return err
})

// inheritInit is the default setting by which a new namespace takes its IPv4
// values from the initial one, which this process must be in to know them.
var inheritInit = &claim.Need{
	Name: "net.core.devconf_inherit_init_net = 0, and the initial network namespace to compare with",
	Try: func(context.Context) error {
		if v, err := kernel.Sysctl("net.core.devconf_inherit_init_net"); err == nil && v != "0" {
			return fmt.Errorf("net.core.devconf_inherit_init_net is %s", v)
		}
		// The initial namespace alone has the sysctls that are not per namespace.
		if _, err := kernel.Sysctl("net.core.netdev_budget"); err != nil {
			return errors.New("bulkhead itself is not in the initial network namespace")
		}
		return nil
	},
	Built: []string{"CONFIG_SYSCTL"},
}

func kernelSysctl(name string) string { return harness.Got(kernel.Sysctl(name)) }

// physical leaves out the fallback devices that some tunnel modules put into
// every network namespace.
func physical(all []probe.Link) []probe.Link {
	fallback := map[string]bool{"sit0": true, "tunl0": true, "gre0": true, "gretap0": true, "erspan0": true, "ip_vti0": true, "ip6_vti0": true, "ip6tnl0": true, "ip6gre0": true}
	var found []probe.Link
	for _, l := range all {
		if !fallback[l.Name] {
			found = append(found, l)
		}
	}
	return found
}

func names(all []probe.Link) []string {
	var list []string
	for _, l := range all {
		list = append(list, l.Name)
	}
	return list
}

func describe(all []probe.Link) string {
	var list []string
	for _, l := range all {
		list = append(list, fmt.Sprintf("%s up=%v %v", l.Name, l.Up, l.Addresses))
	}
	return strings.Join(list, ", ")
}

// ipCommand is where the fixture keeps ip(8).
func ipCommand(root rootfs.Root) string {
	if root.Name == "alpine-linux" {
		return "/sbin/ip"
	}
	return "/bin/ip"
}

// inet4 is a struct sockaddr_in.
func inet4(a, b, c, d byte, port uint16) []byte {
	raw := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
	raw = binary.BigEndian.AppendUint16(raw, port)
	return append(append(raw, a, b, c, d), make([]byte, 8)...)
}

// sockaddrUn is a struct sockaddr_un; a name that begins with NUL is abstract.
func sockaddrUn(name string) []byte {
	return append(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX), name...)
}

// missing says whether the path does not exist for the sandbox.
func missing(sb *harness.Sandbox, path string) bool {
	_, err := sb.Stat(path)
	return errors.Is(err, unix.ENOENT)
}

// ifreq is a struct ifreq with a struct sockaddr_in.
func ifreq(name string, a, b, c, d byte) []byte {
	raw := make([]byte, 40)
	copy(raw, name)
	copy(raw[16:], inet4(a, b, c, d, 0))
	return raw
}

// setAddress gives an interface an IPv4 address, by ioctl(2).
func setAddress(sb *harness.Sandbox, name string, a, b, c, d byte) error {
	fd := harness.Got(sb.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	defer func() { harness.Must(sb.Close(fd)) }()
	_, err := sb.Ioctl(fd, unix.SIOCSIFADDR, ifreq(name, a, b, c, d))
	return err
}

// addressOf is an interface's IPv4 address, by ioctl(2).
func addressOf(sb *harness.Sandbox, name string) (string, error) {
	fd := harness.Got(sb.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	defer func() { harness.Must(sb.Close(fd)) }()
	raw := ifreq(name, 0, 0, 0, 0)
	_, err := sb.Ioctl(fd, unix.SIOCGIFADDR, raw)
	return fmt.Sprintf("%d.%d.%d.%d", raw[20], raw[21], raw[22], raw[23]), err
}
