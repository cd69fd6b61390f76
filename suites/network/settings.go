package network

import (
	"errors"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/internal/kernel"
)

// setting is a file below /proc/sys/net and what it holds.
type setting struct{ file, value string }

// builtIn are the kernel's own settings of a network namespace, as far as
// topologies rely on them. A machine may hand on others to new namespaces: its
// IPv4 settings always (kube-proxy sets route_localnet, systemd rp_filter), all
// of them as net.core.devconf_inherit_init_net says. Forwarding is first, for
// it changes others.
var builtIn = func() (all []setting) {
	each := func(family, key, value string) {
		for _, conf := range []string{"all", "default"} {
			all = append(all, setting{family + "/conf/" + conf + "/" + key, value})
		}
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		each(family, "forwarding", "0")
	}
	for _, key := range []string{"route_localnet", "accept_local", "rp_filter", "arp_filter", "arp_ignore", "arp_announce", "proxy_arp"} {
		each("ipv4", key, "0")
	}
	each("ipv6", "disable_ipv6", "0")
	// lo is there already, with what was the default when it was made.
	return append(all, setting{"ipv6/conf/lo/disable_ipv6", "0"}, setting{"ipv6/conf/default/addr_gen_mode", "0"})
}()

var handedOn struct {
	sync.Mutex
	known  bool
	differ []setting
}

// settle gives a new network namespace the kernel's own settings, whatever the
// machine's are.
func settle(sb *harness.Sandbox) {
	// Duplicate address detection takes a second and has no place in what
	// topologies show.
	set(sb, setting{"ipv6/conf/default/accept_dad", "0"})
	handedOn.Lock()
	defer handedOn.Unlock()
	if !handedOn.known {
		handedOn.differ = differing(sb)
		handedOn.known = true
	}
	for _, s := range handedOn.differ {
		set(sb, s)
	}
}

// differing are the settings of a new namespace that are not the kernel's own.
func differing(sb *harness.Sandbox) (list []setting) {
	// With 3 they come from the namespace of whoever makes the new one, which
	// may be another each time.
	if v, err := kernel.Sysctl("net.core.devconf_inherit_init_net"); err == nil && v == "3" {
		return builtIn
	}
	for _, s := range builtIn {
		v, err := sb.ReadFile("/proc/sys/net/" + s.file)
		if !errors.Is(err, unix.ENOENT) {
			harness.Must(err)
			if strings.TrimSpace(v) != s.value {
				list = append(list, s)
			}
		}
	}
	return list
}

// set writes a setting that this kernel has.
func set(sb *harness.Sandbox, s setting) {
	if err := sb.WriteFile("/proc/sys/net/"+s.file, s.value); !errors.Is(err, unix.ENOENT) {
		harness.Must(err)
	}
}
