package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/internal/memory"
	"bulkhead/internal/vm/guest"
)

// machine is what QEMU is told for an architecture.
type machine struct {
	program, debian, console string
	args, tcg, native        []string
}

var machines = map[string]machine{
	"amd64": {
		program: "qemu-system-x86_64", debian: "qemu-system-x86", console: "ttyS0",
		args: []string{"-M", "q35"}, tcg: []string{"-cpu", "max"}, native: []string{"-cpu", "host"},
	},
	"arm64": {
		program: "qemu-system-aarch64", debian: "qemu-system-arm", console: "ttyAMA0",
		// Without the quick pointer authentication a guest takes three times as long.
		args: []string{"-M", "virt"}, tcg: []string{"-cpu", "max,pauth-impdef=on"}, native: []string{"-cpu", "host"},
	},
	"riscv64": {
		program: "qemu-system-riscv64", debian: "qemu-system-misc and opensbi", console: "ttyS0",
		args: []string{"-M", "virt"}, tcg: []string{"-cpu", "rv64"}, native: []string{"-cpu", "host"},
	},
}

// qemuProgram finds the QEMU of an architecture.
func qemuProgram(arch string) (string, error) {
	m, ok := machines[arch]
	if !ok {
		return "", fmt.Errorf("no guest of architecture %s: there are amd64, arm64 and riscv64", arch)
	}
	path, err := exec.LookPath(m.program)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: on Debian, apt-get install %s", m.program, m.debian)
	}
	return path, nil
}

// process is a running QEMU.
type process struct {
	cmd      *exec.Cmd
	lifeline *os.File
	stderr   tail
	// console is its first serial port, lines what comes over the port.
	console, lines *os.File
	ended          chan struct{}
	err            error
}

// spec is what one QEMU is started with.
type spec struct {
	kernel    *Kernel
	initramfs []byte
	accel     string
	memory    int
	smp       int
	append    string
	// ethernet is the guest's end of a Segment, nil for none.
	ethernet *os.File
	terminal bool
}

func (s spec) argv(program string) []string {
	m := machines[s.kernel.Arch]
	argv := append([]string{program}, m.args...)
	if s.accel == "tcg" {
		// A thread for each processor spreads the guest's work over the host's.
		// But an x86 kernel patches code that other processors run, which QEMU's
		// threads may see half done: guests panicked.
		thread := "multi"
		if s.smp == 1 || s.kernel.Arch == "amd64" {
			thread = "single"
		}
		argv = append(argv, "-accel", "tcg,thread="+thread)
		argv = append(argv, m.tcg...)
	} else {
		argv = append(argv, "-accel", s.accel)
		argv = append(argv, m.native...)
	}
	// Without fb_tunnels=none ip_gre puts three interfaces into every network namespace.
	words := []string{"console=" + m.console, "panic=-1", "fb_tunnels=none", guest.Word + "=1"}
	if !s.terminal {
		words = append(words, "quiet")
	}
	if s.accel == "tcg" {
		// What protects from the processor's speculation protects nothing
		// here, and costs a quarter of the time.
		words = append(words, "mitigations=off")
	}
	if s.append != "" {
		words = append(words, s.append)
	}
	serial := "stdio"
	if s.terminal {
		serial = "mon:stdio"
	}
	fd := func(n int) string { return fmt.Sprintf("/dev/fd/%d", firstQEMUFD+n) }
	argv = append(argv, "-m", strconv.Itoa(s.memory), "-smp", strconv.Itoa(s.smp),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", fd(0), "-initrd", fd(1), "-append", strings.Join(words, " "),
		"-serial", serial,
		"-chardev", "file,id=lines,path="+fd(2),
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=lines,name="+guest.PortName,
	)
	if s.kernel.Arch == "amd64" {
		// For a kernel without virtio.
		argv = append(argv, "-chardev", "file,id=serial,path="+fd(2), "-serial", "chardev:serial")
	}
	if s.ethernet == nil {
		// A device with hardware behind it that a claim may move about, on a
		// wire to nowhere.
		argv = append(argv, "-netdev", "hubport,id=spare,hubid=0", "-device", "virtio-net-pci,netdev=spare,romfile=")
	} else {
		argv = append(argv, "-netdev", fmt.Sprintf("dgram,id=ethernet,local.type=fd,local.str=%d", firstQEMUFD+3),
			"-device", "virtio-net-pci,netdev=ethernet,romfile=,mac="+macOf(s.ethernet))
	}
	return argv
}

// start starts a QEMU that does not outlive this process.
func start(s spec) (*process, error) {
	program, err := qemuProgram(s.kernel.Arch)
	if err != nil {
		return nil, err
	}
	image, err := memory.Create("bulkhead-kernel", s.kernel.Image)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	initrd, err := memory.Create("bulkhead-initramfs", s.initramfs)
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	lines, theirLines, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirLines.Close()
	p := &process{lines: lines, ended: make(chan struct{})}
	files := []*os.File{image, initrd, theirLines}
	if s.ethernet != nil {
		files = append(files, s.ethernet)
	}
	err = p.launch(s.argv(program), s.terminal, files...)
	if err != nil {
		lines.Close()
		return nil, err
	}
	return p, nil
}

// launch runs a command under a reaper with the files as firstQEMUFD and on.
func (p *process) launch(argv []string, terminal bool, files ...*os.File) error {
	theirs, lifeline, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	p.cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{reaperName}, argv...),
		ExtraFiles: append([]*os.File{theirs}, files...), Stderr: &p.stderr,
	}
	var console *os.File
	if terminal {
		p.cmd.Stdin, p.cmd.Stdout = os.Stdin, os.Stdout
	} else {
		// A Ctrl-C at the terminal is for bulkhead to act on.
		p.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
		if p.console, console, err = os.Pipe(); err != nil {
			lifeline.Close()
			return err
		}
		p.cmd.Stdout = console
	}
	err = p.cmd.Start()
	if console != nil {
		console.Close()
	}
	if err != nil {
		lifeline.Close()
		return fmt.Errorf("start %s: %w", argv[0], err)
	}
	p.lifeline = lifeline
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// stop ends QEMU and waits for it.
func (p *process) stop() {
	p.lifeline.Close()
	<-p.ended
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailBytes = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailBytes; extra > tailBytes {
		t.kept = append([]byte(nil), t.kept[extra:]...)
	}
	return len(p), nil
}

// last returns the last n lines, without carriage returns and escapes.
func (t *tail) last(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range bytes.Lines(t.kept) {
		text := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' {
				return -1
			}
			return r
		}, strings.TrimSpace(string(line)))
		if text != "" {
			lines = append(lines, text)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// chooseAccel finds out which of QEMU's ways to run a guest works here. The
// note says why it is not the one that might be expected.
func chooseAccel(ctx context.Context, wanted, arch string) (accel, note string, err error) {
	switch wanted {
	case "kvm", "hvf":
		if arch != runtime.GOARCH {
			return "", "", fmt.Errorf("--accel %s runs %s guests only, not %s: leave it out for software emulation", wanted, runtime.GOARCH, arch)
		}
		return wanted, "", nil
	case "tcg":
		return "tcg", "", nil
	case "auto", "":
	default:
		return "", "", fmt.Errorf("--accel %s: it is auto, kvm, hvf or tcg", wanted)
	}
	if arch != runtime.GOARCH {
		return "tcg", "a guest of another architecture: software emulation", nil
	}
	if err := tryKVM(ctx); err != nil {
		return "tcg", fmt.Sprintf("KVM cannot be used here (%v): software emulation", err), nil
	}
	return "kvm", "", nil
}

// kvmPatience bounds the trial of KVM; where it works it takes a tenth of a
// second.
const kvmPatience = 5 * time.Second

// trialROM is a machine's whole firmware, 64 KiB with the reset vector in its
// last 16 bytes. It reads memory that no device answers for, which the
// processor cannot do without KVM's help, and then ends QEMU with status 85
// through the debug-exit device. Nested virtualisation often hangs at either.
func trialROM() []byte {
	rom := bytes.Repeat([]byte{0xf4}, 64<<10)
	copy(rom[len(rom)-16:], []byte{
		0xb8, 0x00, 0xa0, // mov ax, 0xa000
		0x8e, 0xd8, // mov ds, ax
		0xa0, 0x00, 0x00, // mov al, [0]
		0xb0, 0x2a, // mov al, 42
		0xe6, 0xf4, // out 0xf4, al
		0xf4, // hlt
	})
	return rom
}

func tryKVM(ctx context.Context) error {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	kvm.Close()
	if runtime.GOARCH != "amd64" {
		// There the guest itself is the trial: see Run.
		return nil
	}
	return trial(ctx, "kvm", kvmPatience)
}

// trial runs the trial ROM.
func trial(ctx context.Context, accel string, patience time.Duration) error {
	program, err := qemuProgram("amd64")
	if err != nil {
		return err
	}
	rom, err := memory.Create("bulkhead-trial", trialROM())
	if err != nil {
		return err
	}
	defer rom.Close()
	p := &process{ended: make(chan struct{})}
	err = p.launch([]string{program, "-accel", accel, "-M", "pc", "-m", "8", "-nodefaults", "-no-user-config", "-display", "none",
		"-bios", fmt.Sprintf("/dev/fd/%d", firstQEMUFD), "-device", "isa-debug-exit,iobase=0xf4,iosize=4"}, false, rom)
	if err != nil {
		return err
	}
	defer p.stop()
	defer p.console.Close()
	go io.Copy(io.Discard, p.console)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(patience):
		return fmt.Errorf("a guest of a few instructions hung for %s", patience)
	case <-p.ended:
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) && exit.ExitCode() == 42<<1|1 {
		return nil
	}
	if why := p.stderr.last(1); why != "" {
		return errors.New(why)
	}
	return fmt.Errorf("a guest of a few instructions did not run: %v", p.err)
}
