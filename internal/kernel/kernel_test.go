package kernel

import (
	"testing"

	"bulkhead/internal/advice"
)

func TestLabelOfAConfinedProcess(t *testing.T) {
	for label, want := range map[string]string{
		"docker-default (enforce)":                              advice.AppArmor.Name,
		"unconfined":                                            "",
		"bulkhead (complain)":                                   "",
		"bulkhead (unconfined)":                                 "",
		"system_u:system_r:container_t:s0:c1,c2\x00":            advice.SELinux.Name,
		"system_u:system_r:container_init_t:s0:c1,c2":           advice.SELinux.Name,
		"system_u:system_r:svirt_lxc_net_t:s0:c1,c2":            advice.SELinux.Name,
		"system_u:system_r:container_runtime_t:s0":              "",
		"system_u:system_r:spc_t:s0":                            "",
		"unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023": "",
		"kernel": "",
		"":       "",
	} {
		got, ok := labelled(label)
		if ok != (want != "") || got.Name != want {
			t.Errorf("%q: %q, %v, not %q", label, got.Name, ok, want)
		}
	}
}
