package machine

import (
	"slices"
	"testing"
)

func TestCompare(t *testing.T) {
	before := Snapshot{
		"sysctl": {"net.ipv4.ip_forward": "0", "kernel.gone": "1"},
		"mount":  {"20 /": "ext4"},
		"link":   {"lo": "1"},
	}
	after := Snapshot{
		// What a module brings that the kernel has loaded is no leftover.
		"sysctl": {"net.ipv4.ip_forward": "1", "net.netfilter.nf_conntrack_max": "65536"},
		"mount":  {"20 /": "ext4", "30 /tmp/x": "tmpfs"},
		"link":   {"lo": "1"},
		"rule":   {"2 to 10.0.0.0/8": ""},
	}
	want := []string{
		"mount 30 /tmp/x is new", "rule 2 to 10.0.0.0/8 is new",
		`sysctl kernel.gone is gone`, `sysctl net.ipv4.ip_forward was "0" and is "1"`,
	}
	if got := Compare(before, after); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := Compare(before, before); len(got) != 0 {
		t.Errorf("nothing changed, yet %q", got)
	}
}
