package kmod

import (
	"slices"
	"testing"
)

func TestParseInfo(t *testing.T) {
	raw := []byte("license=GPL\x00softdep=pre: crc32c_generic post: late\x00depends=libcrc32c,nf-conntrack\x00name=nf_nat\x00")
	depends, before := parseInfo(raw)
	if !slices.Equal(depends, []string{"libcrc32c", "nf-conntrack"}) || !slices.Equal(before, []string{"crc32c_generic"}) {
		t.Fatalf("depends %v, before %v", depends, before)
	}
}

// set is a Set of modules that have been read already.
func set(modules ...*Module) *Set {
	s := NewSet()
	for _, m := range modules {
		s.read[m.Name] = m
	}
	return s
}

func TestClosureOrder(t *testing.T) {
	s := set(
		&Module{Name: "bridge", Depends: []string{"stp", "llc"}}, &Module{Name: "stp", Depends: []string{"llc"}}, &Module{Name: "llc"},
		&Module{Name: "crc", Before: []string{"crc_generic", "absent"}}, &Module{Name: "crc_generic"},
	)
	order, err := s.Closure([]string{"bridge", "builtin", "crc"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range order {
		names = append(names, m.Name)
	}
	if !slices.Equal(names, []string{"llc", "stp", "bridge", "crc_generic", "crc"}) {
		t.Fatalf("order %v", names)
	}
}

func TestMissingDependency(t *testing.T) {
	if _, err := set(&Module{Name: "a", Depends: []string{"b"}}).Closure([]string{"a"}); err == nil {
		t.Fatal("a module without what it depends on is no closure")
	}
}

func TestIsModule(t *testing.T) {
	for name, want := range map[string]bool{"a.ko": true, "a.ko.xz": true, "a.ko.zst": true, "a.ko.gz": true, "a.o": false, "modules.order": false} {
		if IsModule(name) != want {
			t.Errorf("IsModule(%s) is not %v", name, want)
		}
	}
}
