package advice

import "testing"

// TestTheMenuOfSeveralOptionsIsNamedOnce: six options of Netfilter are a page
// otherwise.
func TestTheMenuOfSeveralOptionsIsNamedOnce(t *testing.T) {
	for _, c := range []struct {
		options []string
		want    string
	}{
		{[]string{"CONFIG_PID_NS"}, "a kernel built with CONFIG_PID_NS (General setup > Namespaces support > PID Namespaces)"},
		{[]string{"CONFIG_IPC_NS", "CONFIG_MEMCG", "CONFIG_PID_NS"},
			"a kernel built with CONFIG_IPC_NS, CONFIG_MEMCG, CONFIG_PID_NS (General setup > Namespaces support > IPC namespace; Control Group support > Memory controller; Namespaces support > PID Namespaces)"},
		{[]string{"CONFIG_PID_NS", "CONFIG_TUN"},
			"a kernel built with CONFIG_PID_NS, CONFIG_TUN (General setup > Namespaces support > PID Namespaces; Device Drivers > Network device support > Network core driver support > Universal TUN/TAP device driver support)"},
		// One option without a prompt comes along with the other.
		{[]string{"CONFIG_SYSCTL", "CONFIG_SYSVIPC_SYSCTL"},
			"a kernel built with CONFIG_SYSCTL, CONFIG_SYSVIPC_SYSCTL (File systems > Pseudo filesystems > Sysctl support (/proc/sys))"},
		// One menu is the beginning of another's.
		{[]string{"CONFIG_BRIDGE", "CONFIG_BRIDGE_VLAN_FILTERING"},
			"a kernel built with CONFIG_BRIDGE, CONFIG_BRIDGE_VLAN_FILTERING (Networking support > Networking options > 802.1d Ethernet Bridging; 802.1d Ethernet Bridging > VLAN filtering)"},
		{[]string{"CONFIG_UNHEARD_OF"}, "a kernel built with CONFIG_UNHEARD_OF"},
	} {
		if got := Build(c.options...); got != c.want {
			t.Errorf("%v: %q\n%q", c.options, got, c.want)
		}
	}
}
