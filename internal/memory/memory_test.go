package memory

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func filled(name, content string) *File {
	return NewFile(name, "BULKHEAD_TEST_FILE", func() ([]byte, error) { return []byte(content), nil })
}

func content(t *testing.T, f *File) string {
	t.Helper()
	file, err := f.Get()
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// TestShared is a file that another process has made: here this one itself.
func TestShared(t *testing.T) {
	name, path := share(t, filled("test-file", "made first"))
	t.Setenv(name, path)
	if got := content(t, filled("test-file", "made anew")); got != "made first" {
		t.Errorf("a file that was shared holds %q", got)
	}
}

func share(t *testing.T, f *File) (variable, path string) {
	t.Helper()
	shared, err := f.Share()
	if err != nil {
		t.Fatal(err)
	}
	variable, path, _ = strings.Cut(shared, "=")
	return variable, path
}

// TestNothingToShare: what could not be made is told, not left to child processes.
func TestNothingToShare(t *testing.T) {
	want := errors.New("there is nothing")
	f := NewFile("test-file", "BULKHEAD_TEST_FILE", func() ([]byte, error) { return nil, want })
	if shared, err := f.Share(); !errors.Is(err, want) {
		t.Errorf("Share() = %q, %v", shared, err)
	}
}

// TestNotShared are paths that lead to no memory file of the name: whatever is
// there is not taken for it.
func TestNotShared(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, []byte("a stranger's"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, other := share(t, filled("another", "another's"))
	for _, path := range []string{"", plain, other, "/proc/self/fd/9999", "/nowhere"} {
		t.Setenv("BULKHEAD_TEST_FILE", path)
		if got := content(t, filled("test-file", "made anew")); got != "made anew" {
			t.Errorf("with the path %q the file holds %q", path, got)
		}
	}
}
