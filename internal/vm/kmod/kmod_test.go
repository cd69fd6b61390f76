package kmod

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	var m Module
	m.parse([]byte("license=GPL\x00softdep=pre: crc32c post: late\x00depends=libcrc32c,nf-conntrack\x00alias=crypto-x\x00alias=x\x00name=nf_nat\x00"))
	if !slices.Equal(m.Depends, []string{"libcrc32c", "nf-conntrack"}) || !slices.Equal(m.Before, []string{"crc32c"}) || !slices.Equal(m.Aliases, []string{"crypto-x", "x"}) {
		t.Fatalf("depends %v, before %v, aliases %v", m.Depends, m.Before, m.Aliases)
	}
}

// set is a Set of modules that have been read already.
func set(modules ...*Module) *Set {
	s := NewSet()
	for _, m := range modules {
		s.Add("kernel/crypto/"+m.Name+".ko", nil)
		s.read[m.Name] = m
	}
	return s
}

// Debian's generic kernel has libcrc32c, which needs one of two crc32c.
func TestSoftDependencyByAlias(t *testing.T) {
	s := set(&Module{Name: "libcrc32c", Before: []string{"crc32c"}}, &Module{Name: "crc32c_generic", Aliases: []string{"crypto-crc32c", "crc32c"}},
		&Module{Name: "aes_generic", Aliases: []string{"aes"}}, &Module{Name: "crc32c_intel", Aliases: []string{"crc32c"}})
	order, err := s.Closure([]string{"libcrc32c"})
	if err != nil {
		t.Fatal(err)
	}
	if got := names(order); !slices.Equal(got, []string{"crc32c_generic", "crc32c_intel", "libcrc32c"}) {
		t.Fatalf("order %v", got)
	}
}

func names(modules []*Module) (all []string) {
	for _, m := range modules {
		all = append(all, m.Name)
	}
	return all
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
	if got := names(order); !slices.Equal(got, []string{"llc", "stp", "bridge", "crc_generic", "crc"}) {
		t.Fatalf("order %v", got)
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
