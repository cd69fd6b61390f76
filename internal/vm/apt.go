package vm

import (
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"bulkhead/internal/vm/debian"
)

// MirrorVariable names the environment variable with the Debian mirror.
const MirrorVariable = "BULKHEAD_MIRROR"

// DefaultMirror is the mirror of the environment, else of the machine's apt
// configuration, else Debian's public snapshot archive.
func DefaultMirror() string {
	if m := os.Getenv(MirrorVariable); m != "" {
		return m
	}
	if m := aptMirror("/etc/apt"); m != "" {
		return m
	}
	return debian.Snapshot
}

var aptLine = regexp.MustCompile(`^\s*(?:deb\s+(?:\[[^\]]*\]\s+)?|URIs:\s*)(https?://\S+/debian/?)(\s|$)`)

// aptMirror reads the Debian mirror from apt's lists of sources, in either of
// their two forms.
func aptMirror(etc string) string {
	files := []string{filepath.Join(etc, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, _ := filepath.Glob(filepath.Join(etc, "sources.list.d", pattern))
		sort.Strings(more)
		files = append(files, more...)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(raw)) {
			if m := aptLine.FindStringSubmatch(line); m != nil {
				return strings.TrimSuffix(m[1], "/")
			}
		}
	}
	return ""
}
