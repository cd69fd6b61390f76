// Package guest is bulkhead as the first process of a virtual machine: it
// makes an ordinary machine of a bare kernel, runs one program and tells the
// host how it ended. It refuses to know what that program verifies.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Word is the kernel command line's word that turns /init into a guest.
	// The kernel hands it to its first process as an environment variable.
	Word = "bulkhead_guest"
	// PortName is the name of the virtio-serial port to the host.
	PortName = "bulkhead"
	// ModulesDir and JobFile are where the initramfs has the modules and the
	// job.
	ModulesDir = "bulkhead/modules"
	JobFile    = "bulkhead/job.json"
	// FilesDir is where the guest finds the files that the host gave it.
	FilesDir = "bulkhead/files"
	// EventsPath is the file to which the program writes lines for the host.
	EventsPath = "/dev/fd/3"
	// SpareDeviceVariable names, in the program's environment, the network
	// device with hardware behind it that nobody needs.
	SpareDeviceVariable = "BULKHEAD_SPARE_DEVICE"
)

// Job is what the host wants of the guest.
type Job struct {
	// Argv is the program with its arguments; the program itself is bulkhead,
	// whatever Argv[0] says.
	Argv []string `json:"argv"`
	// Env is added to the program's environment.
	Env []string `json:"env,omitempty"`
	// Address, as "10.0.0.1/24", is given to the first Ethernet interface.
	Address string `json:"address,omitempty"`
	// Terminal runs the program on the console, as a person's shell.
	Terminal bool `json:"terminal,omitempty"`
}

// Message is a line from the guest itself, among those of the program. Both
// are JSON objects; the guest's have "guest" set.
type Message struct {
	// Guest is "hello", "note" or "exit".
	Guest   string `json:"guest"`
	Release string `json:"release,omitempty"`
	Arch    string `json:"arch,omitempty"`
	Note    string `json:"note,omitempty"`
	// Status is the program's exit status; Signal is set when one ended it.
	Status int    `json:"status,omitempty"`
	Signal string `json:"signal,omitempty"`
}

// Main takes over when this process is the first one of a guest, and does not
// return then. Call it before anything else in main.
func Main() {
	if os.Getpid() != 1 || os.Args[0] != "/init" || os.Getenv(Word) == "" {
		return
	}
	g := &guest{}
	if err := g.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead guest:", err)
		g.send(Message{Guest: "note", Note: err.Error()})
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

type guest struct{ port *os.File }

// mount is one line of a machine's mount table. Only what is required stops
// the guest; for the rest a claim will say what is missing.
type mount struct {
	source, target, fstype, data string
	flags                        uintptr
	required                     bool
}

var early = []mount{
	{"devtmpfs", "/dev", "devtmpfs", "mode=0755", unix.MS_NOSUID, true},
	{"proc", "/proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, true},
	{"sysfs", "/sys", "sysfs", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, true},
}

var late = []mount{
	{"devpts", "/dev/pts", "devpts", "gid=5,mode=0620,ptmxmode=0666", unix.MS_NOSUID | unix.MS_NOEXEC, false},
	{"tmpfs", "/dev/shm", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV, true},
	{"mqueue", "/dev/mqueue", "mqueue", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, false},
	{"tmpfs", "/run", "tmpfs", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV, true},
	{"tmpfs", "/tmp", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV, true},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", "nsdelegate", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, false},
	// Version 1 beside it, with a controller that v2 does not have and one that
	// nobody misses there.
	{"cgroup", "/run/cgroup/devices", "cgroup", "devices", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, false},
	{"cgroup", "/run/cgroup/rdma", "cgroup", "rdma", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, false},
	{"securityfs", "/sys/kernel/security", "securityfs", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, false},
}

func mountAll(table []mount) error {
	for _, m := range table {
		// A folder in a kernel's own file system is there or cannot be made.
		_ = os.MkdirAll(m.target, 0o755)
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil && m.required {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.target, err)
		}
	}
	return nil
}

func (g *guest) run() error {
	if err := mountAll(early); err != nil {
		return err
	}
	// The host learns of an early death from the console alone, so what runs
	// out of memory must not be this process.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	notes := loadModules("/" + ModulesDir)
	var err error
	if g.port, err = openPort(); err != nil {
		return err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	g.send(Message{Guest: "hello", Release: unix.ByteSliceToString(u.Release[:]), Arch: unix.ByteSliceToString(u.Machine[:])})
	for _, n := range notes {
		g.send(Message{Guest: "note", Note: n})
	}
	raw, err := os.ReadFile("/" + JobFile)
	if err != nil {
		return err
	}
	var job Job
	if err := json.Unmarshal(raw, &job); err != nil {
		return fmt.Errorf("%s: %w", JobFile, err)
	}
	if err := leaveInitramfs(); err != nil {
		return err
	}
	if err := mountAll(late); err != nil {
		return err
	}
	if err := furnish(); err != nil {
		return err
	}
	if err := interfaceUp("lo"); err != nil {
		return err
	}
	if job.Address != "" {
		if err := setAddress(job.Address); err != nil {
			return err
		}
	} else if spare, err := hardware(); err == nil && spare != "" {
		job.Env = append(job.Env, SpareDeviceVariable+"="+spare)
	}
	status, err := g.program(job)
	if err != nil {
		return err
	}
	m := Message{Guest: "exit", Status: status.ExitStatus()}
	if status.Signaled() {
		m.Status, m.Signal = 3, unix.SignalName(status.Signal())
	}
	g.send(m)
	return nil
}

// loadModules loads the modules in the order of their file names. It returns
// those that the kernel refused, each with the errno.
func loadModules(dir string) (notes []string) {
	entries, _ := os.ReadDir(dir)
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		file, err := os.Open(path)
		if err == nil {
			err = unix.FinitModule(int(file.Fd()), "", 0)
			file.Close()
			// Its memory is wanted for the run.
			os.Remove(path)
		}
		if err != nil && !errors.Is(err, unix.EEXIST) {
			notes = append(notes, fmt.Sprintf("load module %s: %s", e.Name(), errnoName(err)))
		}
	}
	return notes
}

func errnoName(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Sprintf("%s (%s)", unix.ErrnoName(errno), errno.Error())
	}
	return err.Error()
}

// openPort opens the way to the host: the virtio-serial port, else the second
// serial port.
func openPort() (*os.File, error) {
	// The ports of a virtio console appear some time after its driver.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, n := range names {
			raw, err := os.ReadFile(n)
			if err == nil && strings.TrimSpace(string(raw)) == PortName {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(n)), os.O_WRONLY, 0)
			}
		}
		devices, _ := filepath.Glob("/sys/bus/virtio/devices/*")
		if len(devices) == 0 || time.Now().After(deadline) {
			break
		}
	}
	port, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, errors.New("no way to the host: the kernel has no virtio console (CONFIG_VIRTIO_PCI, CONFIG_VIRTIO_CONSOLE) and no second serial port")
	}
	// As it comes: no carriage returns for line feeds.
	t, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err == nil {
		t.Oflag &^= unix.OPOST
		t.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
		t.Cflag = t.Cflag&^unix.CBAUD | unix.B115200
		err = unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, t)
	}
	if err != nil {
		return nil, fmt.Errorf("set up /dev/ttyS1, the kernel has no virtio console: %w", err)
	}
	return port, nil
}

func (g *guest) send(m Message) {
	if g.port == nil {
		return
	}
	line, err := json.Marshal(m)
	if err == nil {
		_, _ = g.port.Write(append(line, '\n'))
	}
}

// leaveInitramfs moves to a tmpfs: the initramfs is the one file system that
// pivot_root could not leave before Linux 7.
func leaveInitramfs() error {
	const root = "/newroot"
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs for the root: %w", err)
	}
	for _, d := range []string{"bin", "boot", "dev", "etc", "lib", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "var/tmp", "var/lib", FilesDir} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	moves := map[string]string{"/init": "/bin/bulkhead"}
	for _, pattern := range []string{"/boot/*", "/" + FilesDir + "/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, f := range files {
			moves[f] = f
		}
	}
	for from, to := range moves {
		if err := move(from, filepath.Join(root, to)); err != nil {
			return err
		}
	}
	for _, m := range early {
		if err := unix.Mount(m.target, root+m.target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", m.target, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}

func move(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Remove(from))
}

// furnish gives the machine the few files and settings every machine has.
func furnish() error {
	for name, content := range map[string]string{
		"/etc/os-release": "NAME=\"bulkhead guest\"\nID=bulkhead-guest\nPRETTY_NAME=\"bulkhead guest\"\n",
		"/etc/passwd":     "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"/etc/group":      "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
		"/etc/hosts":      "127.0.0.1 localhost\n::1 localhost\n",
		"/etc/hostname":   "bulkhead-guest\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte("bulkhead-guest")); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	// As systemd does; a controller that the kernel lacks cannot be turned on.
	for _, c := range []string{"cpuset", "cpu", "io", "memory", "pids"} {
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+"+c), 0)
	}
	for from, to := range map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, from); err != nil {
			return err
		}
	}
	return nil
}

// program runs the job's program to its end, and reaps everybody's orphans.
// What the program writes to EventsPath goes straight to the host, which has
// it when the write returns, whatever becomes of the guest then.
func (g *guest) program(job Job) (unix.WaitStatus, error) {
	attr := &syscall.ProcAttr{
		Dir:   "/root",
		Env:   append([]string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root", "TERM=vt100"}, job.Env...),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if g.port != nil {
		attr.Files = append(attr.Files, g.port.Fd())
	}
	if job.Terminal {
		if err := g.terminal(attr); err != nil {
			return 0, err
		}
	}
	// The program inherits this, and must be as killable as any other: only
	// this process, which reports, is kept.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)
	pid, err := syscall.ForkExec("/bin/bulkhead", job.Argv, attr)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", strings.Join(job.Argv, " "), err)
	}
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait4: %w", err)
		case ended == pid:
			return status, nil
		}
	}
}

// terminal puts the program on the console's real device, as a session of its
// own, so that Ctrl-C and job control work.
func (g *guest) terminal(attr *syscall.ProcAttr) error {
	raw, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		return err
	}
	names := strings.Fields(string(raw))
	if len(names) == 0 {
		return errors.New("the kernel has no console")
	}
	tty, err := os.OpenFile("/dev/"+names[len(names)-1], os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	attr.Files[0], attr.Files[1], attr.Files[2] = tty.Fd(), tty.Fd(), tty.Fd()
	attr.Sys.Setctty, attr.Sys.Ctty = true, 0
	return nil
}
