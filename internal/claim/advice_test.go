package claim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/internal/advice"
	"bulkhead/internal/kernel"
)

// configured gives the running kernel another configuration for the test.
func configured(t *testing.T, lines ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	config, err := kernel.ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	was := kernel.LoadConfig
	t.Cleanup(func() { kernel.LoadConfig = was })
	kernel.LoadConfig = func() kernel.Config { return config }
}

// TestAnOptionThatIsOffIsNamedWithItsMenu switches each option off.
func TestAnOptionThatIsOffIsNamedWithItsMenu(t *testing.T) {
	var others []string
	for o := range advice.Options {
		others = append(others, o+"=y")
	}
	for option, about := range advice.Options {
		need := &Need{Name: "a feature", Options: []string{"CONFIG_NET_NS", option}}
		if option == "CONFIG_NET_NS" {
			need.Options = need.Options[1:]
		}
		var lines []string
		for _, l := range others {
			if l != option+"=y" {
				lines = append(lines, l)
			}
		}
		configured(t, append(lines, "# "+option+" is not set")...)
		reason, remedy, offered := need.Judge(unix.EOPNOTSUPP)
		if reason != option+" is not set" || remedy != "a kernel built with "+option+" ("+about.Menu+")" || offered {
			t.Errorf("%s off: %q, mended by %q, offered %v", option, reason, remedy, offered)
		}
		// With the option the kernel refuses what it says it has.
		configured(t, others...)
		if _, _, offered := need.Judge(unix.EOPNOTSUPP); !offered {
			t.Errorf("%s on, and a refusal is no failure", option)
		}
	}
}

// TestAllOptionsThatAreOffAreNamed: who builds a kernel wants to do it once.
func TestAllOptionsThatAreOffAreNamed(t *testing.T) {
	configured(t, "CONFIG_NET_NS=y", "CONFIG_BRIDGE=m", "# CONFIG_VETH is not set", "# CONFIG_VXLAN is not set", "# CONFIG_MEMCG is not set")
	first := &Need{Name: "a wire", Options: []string{"CONFIG_NET_NS", "CONFIG_VETH"}}
	reason, remedy, offered := first.Judge(unix.EOPNOTSUPP, Needs{
		{Name: "a bridge", Options: []string{"CONFIG_BRIDGE"}},
		{Name: "a tunnel", Options: []string{"CONFIG_VXLAN", "CONFIG_VETH"}},
		{Name: "a controller", Built: []string{"CONFIG_MEMCG"}},
		{Name: "a thing to come", Options: []string{"CONFIG_TO_COME"}, Since: "99.0"},
	}...)
	if offered || reason != "CONFIG_MEMCG, CONFIG_VETH, CONFIG_VXLAN are not set" {
		t.Errorf("%q, offered %v", reason, offered)
	}
	if want := advice.Build("CONFIG_MEMCG", "CONFIG_VETH", "CONFIG_VXLAN"); remedy != want {
		t.Errorf("mended by %q, not %q", remedy, want)
	}
	// The others say nothing of a need that lacks something else.
	reason, _, _ = (&Need{Name: "a thing to come", Since: "99.0"}).Judge(unix.EOPNOTSUPP, first)
	if !strings.HasSuffix(reason, " < 99.0 (a thing to come)") {
		t.Errorf("%q", reason)
	}
}

func TestAModuleThatIsNotLoadedIsNamed(t *testing.T) {
	for option, about := range advice.Options {
		if about.Module == "" || kernel.ModuleLoaded(about.Module) {
			continue
		}
		configured(t, option+"=m")
		reason, remedy, offered := (&Need{Name: "a feature", Options: []string{option}}).Judge(unix.EOPNOTSUPP)
		want := "modprobe " + about.Module + ", as root of the machine itself"
		if !kernel.ModuleInstalled(about.Module) {
			want = "install the modules of this kernel: /lib/modules/" + kernel.ReleaseName() + " has no " + about.Module
		}
		if !strings.HasPrefix(reason, option+" is a module that is not loaded and could not be: ") || remedy != want || offered {
			t.Errorf("%s: %q, mended by %q, offered %v", option, reason, remedy, offered)
		}
	}
}
