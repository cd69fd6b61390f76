package guest

import (
	"fmt"
	"os"
	"sort"

	"github.com/vishvananda/netlink"
)

func interfaceUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// hardware is the first interface with hardware behind it, "" for none.
func hardware() (string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return "", fmt.Errorf("list interfaces: %w", err)
	}
	sort.Slice(links, func(i, j int) bool { return links[i].Attrs().Name < links[j].Attrs().Name })
	for _, l := range links {
		if _, err := os.Stat("/sys/class/net/" + l.Attrs().Name + "/device"); err == nil {
			return l.Attrs().Name, nil
		}
	}
	return "", nil
}

// setAddress brings the first Ethernet device of the machine up with an
// address.
func setAddress(address string) error {
	name, err := hardware()
	if err != nil {
		return err
	}
	if name == "" {
		return fmt.Errorf("the guest has no Ethernet device: CONFIG_VIRTIO_NET")
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	addr, err := netlink.ParseAddr(address)
	if err == nil {
		err = netlink.AddrAdd(link, addr)
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, address, err)
	}
	return nil
}
