package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"unsafe"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/internal/claim"
)

// devicesV1 is v1's devices hierarchy.
var devicesV1 = &claim.Need{
	Name: "the devices controller of cgroup v1",
	Try: func(context.Context) error {
		return usable(hierarchy("devices"), "cgroup v1 hierarchy with the devices controller")
	},
	Built: []string{"CONFIG_CGROUPS", "CONFIG_CGROUP_DEVICE"},
}

// deviceNodes is that the suite may make and open devices: a container that it
// runs in may forbid that.
var deviceNodes = &claim.Need{
	Name: "device nodes",
	Try: func(ctx context.Context) error {
		sb := harness.Start(ctx)
		dir := sb.MkdirTemp()
		return errors.Join(useDevice(sb, dir+"/null", nullDevice), useDevice(sb, dir+"/zero", zeroDevice))
	},
}

// The numbers of /dev/null and /dev/zero.
var nullDevice, zeroDevice = unix.Mkdev(1, 3), unix.Mkdev(1, 5)

func useDevice(sb *harness.Sandbox, path string, dev uint64) error {
	if err := sb.Mknod(path, unix.S_IFCHR|0o666, dev); err != nil {
		return err
	}
	return openDevice(sb, path)
}

func openDevice(sb *harness.Sandbox, path string) error {
	fd, err := sb.Open(path, unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	return sb.Close(fd)
}

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v1-devices-deny",
	Text:     "A device denied in the v1 devices controller can be neither opened nor created by members, root included.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "devices controller")},
	Needs:    claim.Needs{claim.Root, devicesV1, deviceNodes},
	Contrast: "both work before, and for another device",
	Try:      "echo 'c 1:3 rwm' > /sys/fs/cgroup/devices/x/devices.deny; echo $$ > /sys/fs/cgroup/devices/x/cgroup.procs; cat /dev/null; mknod /tmp/null c 1 3",
}, func(ctx SpecContext) {
	group := makeCgroup(hierarchy("devices"), "devices", "deny")
	sb := harness.Start(ctx)
	dir := sb.MkdirTemp()
	group.enter(sb)
	before := useDevice(sb, dir+"/null", nullDevice)
	group.set("devices.deny", "c 1:3 rwm")
	opened := openDevice(sb, dir+"/null")
	made := sb.Mknod(dir+"/again", unix.S_IFCHR|0o666, nullDevice)
	other := useDevice(sb, dir+"/zero", zeroDevice)
	claim.Evidence("device 1:3 before: %v; denied: %v; %v; device 1:5: %v", before, opened, made, other)
	Expect(opened).To(harness.FailWith(unix.EPERM), "open(2) of a device that devices.deny names, by root")
	Expect(made).To(harness.FailWith(unix.EPERM), "mknod(2) of a device that devices.deny names, by root")
	Expect(before).To(Succeed(), "contrast: the device before")
	Expect(other).To(Succeed(), "contrast: another device")
})

// denyNull are the instructions of a BPF program that answers a question for
// the device 1:3 with no and for all others with yes: of struct
// bpf_cgroup_dev_ctx it reads major and minor.
var denyNull = []bpfInstruction{
	{code: unix.BPF_LDX | unix.BPF_W | unix.BPF_MEM, registers: 2 | 1<<4, offset: 4},
	{code: unix.BPF_LDX | unix.BPF_W | unix.BPF_MEM, registers: 3 | 1<<4, offset: 8},
	{code: bpfAlu64 | bpfMove, registers: 0, immediate: 1},
	{code: unix.BPF_JMP | bpfJumpNotEqual, registers: 2, offset: 2, immediate: 1},
	{code: unix.BPF_JMP | bpfJumpNotEqual, registers: 3, offset: 1, immediate: 3},
	{code: bpfAlu64 | bpfMove, registers: 0, immediate: 0},
	{code: unix.BPF_JMP | bpfExit},
}

// What x/sys/unix leaves out of linux/bpf.h.
const (
	bpfAlu64        = 0x07
	bpfMove         = 0xb0
	bpfJumpNotEqual = 0x50
	bpfExit         = 0x90
)

// bpfInstruction is struct bpf_insn.
type bpfInstruction struct {
	code byte
	// registers has the destination in the lower half.
	registers byte
	offset    int16
	immediate int32
}

// bpf is bpf(2).
func bpf(command uintptr, attr []byte) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)))
	if errno != 0 {
		return 0, &harness.Error{Op: "bpf", Errno: errno}
	}
	return int(n), nil
}

// loadDeviceProgram loads denyNull and returns its descriptor.
func loadDeviceProgram() (int, error) {
	license := []byte("GPL\x00")
	attr := make([]byte, 48)
	binary.NativeEndian.PutUint32(attr, unix.BPF_PROG_TYPE_CGROUP_DEVICE)
	binary.NativeEndian.PutUint32(attr[4:], uint32(len(denyNull)))
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&denyNull[0])
	pin.Pin(&license[0])
	binary.NativeEndian.PutUint64(attr[8:], uint64(uintptr(unsafe.Pointer(&denyNull[0]))))
	binary.NativeEndian.PutUint64(attr[16:], uint64(uintptr(unsafe.Pointer(&license[0]))))
	return bpf(unix.BPF_PROG_LOAD, attr)
}

// programs are attached to cgroups by BPF_PROG_ATTACH and BPF_PROG_DETACH.
func attachment(command uintptr, cgroup, program int) error {
	attr := make([]byte, 16)
	binary.NativeEndian.PutUint32(attr, uint32(cgroup))
	binary.NativeEndian.PutUint32(attr[4:], uint32(program))
	binary.NativeEndian.PutUint32(attr[8:], unix.BPF_CGROUP_DEVICE)
	_, err := bpf(command, attr)
	return err
}

// bpfAllowed is that nothing but the kernel's options keeps root from bpf(2):
// a security module or a seccomp filter answers EPERM.
var bpfAllowed = &claim.Need{
	Name: "bpf(2) not forbidden",
	Try: func(context.Context) error {
		fd, err := loadDeviceProgram()
		if errors.Is(err, unix.EPERM) {
			return errors.New("bpf(2) is forbidden here: EPERM")
		}
		if err == nil {
			return unix.Close(fd)
		}
		return nil
	},
}

// deviceProgram is that the kernel has BPF programs for devices.
var deviceProgram = claim.Feature("BPF programs for devices", "4.15", []string{"CONFIG_CGROUP_BPF", "CONFIG_BPF_SYSCALL"}, func(context.Context) error {
	fd, err := loadDeviceProgram()
	if err != nil {
		return err
	}
	return unix.Close(fd)
})

var _ = claim.It(claim.Claim{
	ID:       "cgroup/v2-device-control-by-bpf",
	Text:     "In v2 device access is decided by a BPF program attached to the cgroup; there are no devices files.",
	Source:   claim.Sources{claim.Man("cgroups(7)", "Cgroups v2 controllers"), claim.Doc("kernel cgroup-v2.rst", "Device controller")},
	Needs:    claim.Needs{claim.Root, cgroup2, deviceNodes, bpfAllowed, deviceProgram},
	Contrast: "allowed before, after its detachment, and for another device",
}, func(ctx SpecContext) {
	group := newCgroup2("devices")
	sb := harness.Start(ctx)
	null, zero := sb.MkdirTemp()+"/null", sb.MkdirTemp()+"/zero"
	group.enter(sb)
	before := errors.Join(useDevice(sb, null, nullDevice), useDevice(sb, zero, zeroDevice))
	program := harness.Got(loadDeviceProgram())
	DeferCleanup(unix.Close, program)
	dir := harness.Got(unix.Open(group.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
	DeferCleanup(unix.Close, dir)
	Expect(attachment(unix.BPF_PROG_ATTACH, dir, program)).To(Succeed(), "BPF_PROG_ATTACH of a device program to a cgroup")
	denied, other := openDevice(sb, null), openDevice(sb, zero)
	made := sb.Mknod(null+"-again", unix.S_IFCHR|0o666, nullDevice)
	Expect(attachment(unix.BPF_PROG_DETACH, dir, program)).To(Succeed(), "BPF_PROG_DETACH of a device program from a cgroup")
	after := openDevice(sb, null)
	files := 0
	for _, f := range harness.Got(sb.ReadDir(group.dir)) {
		if len(f) > 8 && f[:8] == "devices." {
			files++
		}
	}
	claim.Evidence("devices 1:3 and 1:5 before: %v; 1:3 with the program: %v; %v; 1:5: %v; 1:3 after its detachment: %v; devices files: %d", before, denied, made, other, after, files)
	Expect(denied).To(harness.FailWith(unix.EPERM), "open(2) of a device that the cgroup's BPF program denies, by root")
	Expect(made).To(harness.FailWith(unix.EPERM), "mknod(2) of a device that the cgroup's BPF program denies, by root")
	Expect(files).To(BeZero(), "devices files in a v2 cgroup")
	Expect(before).NotTo(HaveOccurred(), "contrast: both devices before")
	Expect(other).To(Succeed(), "contrast: a device that the program allows")
	Expect(after).To(Succeed(), "contrast: the device after the program's detachment")
})
