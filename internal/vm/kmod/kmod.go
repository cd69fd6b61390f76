// Package kmod finds out which kernel modules have to be loaded before which.
// It reads what each module says about itself, for kernel packages carry no
// list of it. It loads nothing.
package kmod

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// Module is a module, unpacked.
type Module struct {
	Name    string
	Content []byte
	// Depends must be loaded before, Before (its "softdep pre") should: the names
	// of modules, or aliases of some.
	Depends, Before []string
	Aliases         []string
}

// Rules changes whenever Closure's answers do, for who keeps them.
const Rules = "softdep by alias"

// Set is every module of a kernel as its packages hold it.
type Set struct {
	packed map[string]file
	read   map[string]*Module
}

type file struct {
	path string
	read func() ([]byte, error)
}

// NewSet returns an empty set.
func NewSet() *Set { return &Set{packed: map[string]file{}, read: map[string]*Module{}} }

// IsModule says whether a file name is a module's.
func IsModule(name string) bool {
	for _, ending := range []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"} {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

// Add adds a module file, compressed or not, that is read when it is needed.
func (s *Set) Add(filePath string, read func() ([]byte, error)) {
	name, _, _ := strings.Cut(path.Base(filePath), ".ko")
	s.packed[normal(name)] = file{filePath, read}
}

// normal is a module's name as the kernel spells it.
func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Closure returns the modules of those names that the set has, with all they
// need, in an order in which they can be loaded. Names that it has not are
// built in, or not offered by this kernel; a dependency that is missing is an
// error.
func (s *Set) Closure(names []string) ([]*Module, error) {
	var order []*Module
	state := map[string]bool{}
	var visit func(name, from string) error
	visit = func(name, from string) error {
		name = normal(name)
		if _, seen := state[name]; seen {
			return nil
		}
		state[name] = true
		m, err := s.module(name)
		if err != nil {
			return err
		}
		if m == nil {
			if from != "" {
				return fmt.Errorf("module %s needs %s, which is not among the kernel's modules", from, name)
			}
			return nil
		}
		for _, before := range m.Before {
			names, err := s.called(before)
			if err != nil {
				return err
			}
			for _, n := range names {
				if err := visit(n, ""); err != nil {
					return err
				}
			}
		}
		for _, d := range m.Depends {
			if err := visit(d, name); err != nil {
				return err
			}
		}
		order = append(order, m)
		return nil
	}
	for _, n := range names {
		if err := visit(n, ""); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// called returns the names of the modules that a name stands for: that of a
// module, or an alias. Only the kernel's ciphers and checksums call each other
// by alias ("libcrc32c" needs any "crc32c"), so only they are searched: to read
// every module of a kernel takes a minute.
func (s *Set) called(name string) ([]string, error) {
	if m, err := s.module(normal(name)); m != nil || err != nil {
		return []string{name}, err
	}
	var names []string
	for n, packed := range s.packed {
		if !strings.Contains(packed.path, "/crypto/") {
			continue
		}
		m, err := s.module(n)
		if err != nil {
			return nil, err
		}
		if slices.Contains(m.Aliases, name) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (s *Set) module(name string) (*Module, error) {
	if m, ok := s.read[name]; ok {
		return m, nil
	}
	packed, ok := s.packed[name]
	if !ok {
		return nil, nil
	}
	content, err := packed.read()
	if err == nil {
		content, err = unpack(packed.path, content)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack module %s: %w", packed.path, err)
	}
	m := &Module{Name: name, Content: content}
	if err := m.info(); err != nil {
		return nil, fmt.Errorf("module %s: %w", packed.path, err)
	}
	s.read[name] = m
	return m, nil
}

func unpack(name string, content []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch path.Ext(name) {
	case ".xz":
		r, err = xz.NewReader(bytes.NewReader(content), 0)
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(bytes.NewReader(content)); err == nil {
			defer z.Close()
			r = z
		}
	case ".gz":
		r, err = gzip.NewReader(bytes.NewReader(content))
	default:
		return content, nil
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// info reads a module's .modinfo section: NUL-terminated key=value pairs.
func (m *Module) info() error {
	object, err := elf.NewFile(bytes.NewReader(m.Content))
	if err != nil {
		return err
	}
	section := object.Section(".modinfo")
	if section == nil {
		return fmt.Errorf("has no .modinfo section")
	}
	raw, err := section.Data()
	if err != nil {
		return err
	}
	m.parse(raw)
	return nil
}

func (m *Module) parse(info []byte) {
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case "alias":
			m.Aliases = append(m.Aliases, value)
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				if d != "" {
					m.Depends = append(m.Depends, d)
				}
			}
		case "softdep":
			// "pre: a b post: c"
			pre := false
			for _, word := range strings.Fields(value) {
				switch word {
				case "pre:":
					pre = true
				case "post:":
					pre = false
				default:
					if pre {
						m.Before = append(m.Before, word)
					}
				}
			}
		}
	}
}
