package vm

import (
	"bytes"
	"compress/gzip"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// inspect finds out for which architecture a kernel image is, unpacks it if
// QEMU could not, and refuses one that is cut short.
func inspect(image []byte) (arch string, unpacked []byte, err error) {
	le := binary.LittleEndian
	switch {
	case len(image) < 4096:
		return "", nil, fmt.Errorf("is only %d bytes long: not a kernel, or truncated", len(image))
	case bytes.Equal(image[0x202:0x206], []byte("HdrS")):
		// The x86 boot protocol: the real-mode part, then syssize paragraphs.
		sectors := int(image[0x1f1])
		if sectors == 0 {
			sectors = 4
		}
		want := (sectors+1)*512 + 16*int(le.Uint32(image[0x1f4:]))
		if want > len(image)+15 {
			return "", nil, fmt.Errorf("is truncated: its header says %d bytes, it has %d", want, len(image))
		}
		if le.Uint16(image[0x206:]) >= 0x20c && image[0x236]&1 == 0 {
			return "", nil, errors.New("is a 32-bit x86 kernel; bulkhead is built for amd64, arm64 and riscv64")
		}
		return "amd64", image, nil
	case bytes.Equal(image[0x38:0x3c], []byte("ARM\x64")):
		return wholeImage("arm64", image)
	case bytes.Equal(image[0x38:0x3c], []byte("RSC\x05")):
		return wholeImage("riscv64", image)
	case bytes.Equal(image[:2], []byte("MZ")) && bytes.Equal(image[4:8], []byte("zimg")):
		// A compressed kernel within an EFI program.
		from, size := uint64(le.Uint32(image[8:])), uint64(le.Uint32(image[12:]))
		if from+size > uint64(len(image)) {
			return "", nil, fmt.Errorf("is truncated: its header says %d bytes, it has %d", from+size, len(image))
		}
		return inspectPacked(image[from : from+size])
	case bytes.Equal(image[:4], []byte("\x7fELF")):
		return "", nil, errors.New("is an ELF file (vmlinux?): give the bootable image, arch/*/boot/bzImage or Image")
	case bytes.Equal(image[:3], []byte("070")):
		return "", nil, errors.New("is an initramfs, not a kernel")
	}
	if looksPacked(image) {
		return inspectPacked(image)
	}
	return "", nil, errors.New("is not a kernel image of amd64, arm64 or riscv64")
}

// wholeImage checks an image that is an EFI program, too, against the sections
// that it says it has.
func wholeImage(arch string, image []byte) (string, []byte, error) {
	if !bytes.Equal(image[:2], []byte("MZ")) {
		return arch, image, nil
	}
	program, err := pe.NewFile(bytes.NewReader(image))
	if err != nil {
		return "", nil, fmt.Errorf("is truncated or damaged: %w", err)
	}
	for _, s := range program.Sections {
		if end := uint64(s.Offset) + uint64(s.Size); end > uint64(len(image)) {
			return "", nil, fmt.Errorf("is truncated: its header says %d bytes, it has %d", end, len(image))
		}
	}
	return arch, image, nil
}

func looksPacked(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0x1f, 0x8b}) || bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")) || bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd})
}

func inspectPacked(packed []byte) (string, []byte, error) {
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(packed, []byte{0x1f, 0x8b}):
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(packed)); err == nil {
			z.Multistream(false)
			r = z
		}
	case bytes.HasPrefix(packed, []byte("\xfd7zXZ\x00")):
		r, err = xz.NewReader(bytes.NewReader(packed), 0)
	case bytes.HasPrefix(packed, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(bytes.NewReader(packed)); err == nil {
			defer z.Close()
			r = z
		}
	default:
		return "", nil, errors.New("is compressed in a way that is not known here (gzip, xz and zstd are)")
	}
	if err != nil {
		return "", nil, fmt.Errorf("cannot be decompressed: %w", err)
	}
	image, err := io.ReadAll(r)
	if err != nil {
		return "", nil, fmt.Errorf("is truncated or damaged: %w", err)
	}
	if looksPacked(image) {
		return "", nil, errors.New("is compressed twice")
	}
	return inspect(image)
}
