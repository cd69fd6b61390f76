package vm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"bulkhead/internal/vm/guest"
	"bulkhead/internal/vm/kmod"
)

// archive is an initramfs in the making.
type archive struct {
	out    bytes.Buffer
	writer cpio.RecordWriter
	made   map[string]bool
}

func newArchive() *archive {
	a := &archive{made: map[string]bool{}}
	a.writer = cpio.Newc.Writer(&a.out)
	return a
}

func (a *archive) dir(name string) error {
	if name == "." || a.made[name] {
		return nil
	}
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	a.made[name] = true
	return a.writer.WriteRecord(cpio.Directory(name, 0o755))
}

func (a *archive) file(name string, mode uint64, content []byte) error {
	name = strings.TrimPrefix(name, "/")
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	record := cpio.StaticFile(name, "", mode)
	record.ReaderAt, record.FileSize = bytes.NewReader(content), uint64(len(content))
	return a.writer.WriteRecord(record)
}

func (a *archive) end() ([]byte, error) {
	if err := cpio.WriteTrailer(a.writer); err != nil {
		return nil, err
	}
	for a.out.Len()%512 != 0 {
		a.out.WriteByte(0)
	}
	return a.out.Bytes(), nil
}

// baseArchive is the part of the initramfs that only depends on the kernel:
// its modules, numbered in the order of loading, and its configuration.
func baseArchive(release string, config []byte, modules []*kmod.Module) ([]byte, error) {
	a := newArchive()
	err := a.dir("dev")
	if err == nil {
		// The kernel opens it before /init runs.
		err = a.writer.WriteRecord(cpio.CharDev("dev/console", 0o600, 5, 1))
	}
	for i, m := range modules {
		if err == nil {
			err = a.file(fmt.Sprintf("%s/%03d-%s.ko", guest.ModulesDir, i, m.Name), 0o644, m.Content)
		}
	}
	if err == nil && len(config) > 0 && release != "" {
		err = a.file("boot/config-"+release, 0o644, config)
	}
	if err != nil {
		return nil, fmt.Errorf("make the initramfs: %w", err)
	}
	return a.end()
}

// jobArchive is the part of the initramfs that depends on the run.
func jobArchive(program []byte, job guest.Job, files map[string][]byte) ([]byte, error) {
	a := newArchive()
	raw, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	err = a.file("init", 0o755, program)
	if err == nil {
		err = a.file(guest.JobFile, 0o644, raw)
	}
	for name, content := range files {
		if err == nil {
			err = a.file(name, 0o644, content)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make the initramfs: %w", err)
	}
	return a.end()
}
