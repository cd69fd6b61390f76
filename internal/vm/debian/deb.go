package debian

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/blakesmith/ar"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// Control is what a package says about itself.
type Control struct {
	Package, Version, Architecture string
	Depends                        []string
}

// Walk calls visit for every file of a .deb, with its path without "./".
func Walk(path string, visit func(header *tar.Header, content io.Reader) error) error {
	return member(path, "data.tar", visit)
}

// ReadControl reads the control file of a .deb.
func ReadControl(path string) (Control, error) {
	var c Control
	err := member(path, "control.tar", func(h *tar.Header, content io.Reader) error {
		if h.Name != "control" {
			return nil
		}
		raw, err := io.ReadAll(io.LimitReader(content, 1<<20))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(raw)) {
			field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch field {
			case "Package":
				c.Package = value
			case "Version":
				c.Version = value
			case "Architecture":
				c.Architecture = value
			case "Depends":
				c.Depends = dependencies(value)
			}
		}
		return nil
	})
	if err == nil && c.Package == "" {
		err = fmt.Errorf("%s: has no control file", path)
	}
	return c, err
}

// member walks one of the two tar archives in a .deb.
func member(path, name string, visit func(*tar.Header, io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	magic := make([]byte, 8)
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != "!<arch>\n" {
		return fmt.Errorf("%s: not a Debian package", path)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for in := ar.NewReader(file); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: not a Debian package: it has no %s", path, name)
		} else if err != nil {
			return fmt.Errorf("%s: truncated or damaged: %w", path, err)
		}
		entry := strings.TrimSuffix(strings.TrimSpace(h.Name), "/")
		if !strings.HasPrefix(entry, name) {
			continue
		}
		r, err := decompress(in)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, entry, err)
		}
		for files := tar.NewReader(r); ; {
			header, err := files.Next()
			if errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fmt.Errorf("%s: truncated or damaged: %w", path, err)
			}
			header.Name = strings.TrimPrefix(header.Name, "./")
			if err := visit(header, files); err != nil {
				return fmt.Errorf("%s: %s: %w", path, header.Name, err)
			}
		}
	}
}

// decompress looks at what a stream is compressed with.
func decompress(r io.Reader) (io.Reader, error) {
	magic := make([]byte, 6)
	n, err := io.ReadFull(r, magic)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(magic[:n]), r)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(whole)
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		return xz.NewReader(whole, 0)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(whole)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return whole, nil
}
