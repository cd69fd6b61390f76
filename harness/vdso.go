package harness

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/harness/internal/wire"
)

const (
	// vdsoStack is more than any function of the vDSO uses, in bytes.
	vdsoStack = 16 << 10
	// vdsoSize bounds the vDSO's image in bytes.
	vdsoSize = 1 << 20
	// auxVDSO is AT_SYSINFO_EHDR, the entry of the auxiliary vector that holds
	// the address of the vDSO (getauxval(3)).
	auxVDSO = 33
)

// vdsoFunctions are the offsets in the vDSO of its functions, read from that of
// this process: the kernel maps the same one everywhere.
var vdsoFunctions = sync.OnceValues(func() (map[string]uint64, error) {
	aux, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return nil, err
	}
	base := vdsoBase(aux)
	if base == 0 {
		return nil, errors.New("the kernel maps no vDSO")
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	image := make([]byte, vdsoSize)
	n, _ := mem.ReadAt(image, int64(base)) // The mapping ends before.
	file, err := elf.NewFile(bytes.NewReader(image[:n]))
	if err != nil {
		return nil, fmt.Errorf("the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("the vDSO: %w", err)
	}
	offsets := map[string]uint64{}
	for _, s := range symbols {
		for _, prefix := range []string{"__vdso_", "__kernel_"} {
			if name, ok := strings.CutPrefix(s.Name, prefix); ok {
				offsets[name] = s.Value
			}
		}
	}
	return offsets, nil
})

// vdsoBase is the address of the vDSO in an auxiliary vector, 0 without one.
func vdsoBase(aux []byte) uint64 {
	for len(aux) >= 16 {
		if binary.NativeEndian.Uint64(aux) == auxVDSO {
			return binary.NativeEndian.Uint64(aux[8:])
		}
		aux = aux[16:]
	}
	return 0
}

// VDSO calls a function of the vDSO (vdso(7)) in the sandbox, named as the system
// call that it stands for, with its two arguments as Syscall takes them. It is
// what a program in the sandbox's place would be told without entering the
// kernel; the process has not executed anything since it was forked.
func (sb *Sandbox) VDSO(name string, a, b any) error {
	offsets, err := vdsoFunctions()
	if err != nil {
		return err
	}
	offset, ok := offsets[name]
	if !ok {
		return fmt.Errorf("the vDSO has no %s", name)
	}
	aux, err := sb.ReadFile("/proc/self/auxv")
	if err != nil {
		return err
	}
	base := vdsoBase([]byte(aux))
	if base == 0 {
		return fmt.Errorf("no vDSO is mapped in %s", sb.name)
	}
	op := "vDSO " + name
	ret, err := sb.Syscall(op, wire.Call, uintptr(base+offset), make([]byte, vdsoStack), vdsoStack, a, b)
	// It is an int in C.
	if result := int32(ret); err == nil && result < 0 {
		err = &Error{op, unix.Errno(-result)}
	}
	return err
}
