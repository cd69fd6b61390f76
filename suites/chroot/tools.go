package chroot

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/probe"
	"bulkhead/suites/rootfs"
)

func refuse(sb *harness.Sandbox, nr uintptr, errno unix.Errno) { harness.Must(sb.Filter(nr, errno)) }

// chrootCommand is where the fixture keeps chroot(8).
func chrootCommand(root rootfs.Root) string {
	if root.Name == "alpine-linux" {
		return "/usr/sbin/chroot"
	}
	return "/bin/chroot"
}

// firstID is the ID= line of an os-release.
func firstID(osRelease string) string {
	for _, line := range strings.Split(osRelease, "\n") {
		if strings.HasPrefix(line, "ID=") {
			return line
		}
	}
	return ""
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV}

// dynamicELF is an executable for this machine that consists of nothing but
// the name of its interpreter.
func dynamicELF(interpreter string) string {
	const headers = 64 + 2*56
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	put(elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machines[runtime.GOARCH]), Version: uint32(elf.EV_CURRENT),
		Entry: 0x400000, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	})
	name := interpreter + "\x00"
	put(elf.Prog64{Type: uint32(elf.PT_INTERP), Flags: uint32(elf.PF_R), Off: headers, Vaddr: 0x400000 + headers, Filesz: uint64(len(name)), Memsz: uint64(len(name)), Align: 1})
	size := uint64(headers + len(name))
	put(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: 0x400000, Filesz: size, Memsz: size, Align: 0x1000})
	b.WriteString(name)
	return b.String()
}

// addVeth gives the host's network namespace an interface besides lo.
func addVeth(ctx context.Context, host *harness.Sandbox) {
	probe.AddLink.In(host.Agent(ctx), probe.Link{Kind: "veth", Name: "veth0", Peer: "veth1"})
}
