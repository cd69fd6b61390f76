// Package lie proves that claims can fail: it puts a supervisor between the
// processes of a stage and the kernel, which misbehaves in one chosen way, and
// looks which claims notice. It refuses to know what a claim says, and nothing
// in the suites or the harness knows of it.
package lie

import (
	_ "embed"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Lie is one misbehaviour of the kernel, told at the system call boundary.
type Lie struct {
	// Name is unique.
	Name string
	// Bug is the kernel bug that it stands for, in one sentence.
	Bug string
	// Means says how it is told.
	Means string
	// calls are the system calls that have to be looked at.
	calls []uintptr
	// keeps is a type of namespace, by its name in /proc/PID/ns, of which none
	// that is made ends while the lie is told.
	keeps string
	// start begins a life of the lie, in one supervisor. The function that it
	// returns decides on one call and says whether it told the lie; one that
	// has to wait for the call's end says false and uses Call.After.
	start func() func(*Call) bool
}

func (l *Lie) concerns(nr uintptr) bool { return slices.Contains(l.calls, nr) }

// Claims are the IDs of the claims that are known to notice the lie.
func (l *Lie) Claims() []string { return noticed().claims[l.Name] }

// table says which claims notice which lies: a line for each pair, the lie's
// name and the claim's ID. bulkhead prove --learn writes it.
//
//go:embed noticed.txt
var table string

// pairs are the claims of each lie, and the lies of each claim, the most telling
// first.
type pairs struct{ claims, lies map[string][]string }

var noticed = sync.OnceValue(func() pairs { return readTable(table) })

func readTable(text string) pairs {
	t := pairs{map[string][]string{}, map[string][]string{}}
	for _, line := range strings.Split(text, "\n") {
		if fields := strings.Fields(line); len(fields) == 2 {
			t.claims[fields[0]] = append(t.claims[fields[0]], fields[1])
			t.lies[fields[1]] = append(t.lies[fields[1]], fields[0])
		}
	}
	for _, names := range t.lies {
		sort.SliceStable(names, func(i, j int) bool { return rank(names[i]) < rank(names[j]) })
	}
	return t
}

// All returns the lies by name: those of their own, and of the families those
// that a claim is known to notice.
func All() []*Lie {
	names := map[string]bool{}
	for name := range single {
		names[name] = name != honestName && name != quietName
	}
	for name := range noticed().claims {
		names[name] = true
	}
	var all []*Lie
	for name, is := range names {
		if l, ok := ByName(name); ok && is {
			all = append(all, l)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// ByName returns the lie with the name, which may be one of a family: see
// families.go for how those are called.
func ByName(name string) (*Lie, bool) {
	if l, ok := single[name]; ok {
		return l, true
	}
	return member(name)
}
