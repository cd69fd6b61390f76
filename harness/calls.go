package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/harness/namespace"
)

// The calls below are raw: one system call each (but for those that say
// otherwise), its errno in an *Error.

// Unshare is unshare(2).
func (sb *Sandbox) Unshare(flags uintptr) error {
	_, err := sb.Syscall("unshare("+FlagNames(flags)+")", unix.SYS_UNSHARE, flags)
	if err == nil {
		sb.unshared(flags)
	}
	return err
}

// Setns is setns(2); flags 0 accepts any type.
func (sb *Sandbox) Setns(fd int, flags uintptr) error {
	name := "0"
	if flags != 0 {
		name = FlagNames(flags)
	}
	_, err := sb.Syscall(fmt.Sprintf("setns(fd, %s)", name), unix.SYS_SETNS, fd, flags)
	sb.moved()
	return err
}

// Open is openat(2) relative to the working directory, with O_CLOEXEC added.
func (sb *Sandbox) Open(path string, flags int, mode uint32) (int, error) {
	return sb.OpenAt(unix.AT_FDCWD, path, flags, mode)
}

// OpenAt is openat(2), with O_CLOEXEC added.
func (sb *Sandbox) OpenAt(dir int, path string, flags int, mode uint32) (int, error) {
	fd, err := sb.Syscall(fmt.Sprintf("open %s", path), unix.SYS_OPENAT, dir, path, flags|unix.O_CLOEXEC, mode)
	return int(fd), err
}

// Close is close(2).
func (sb *Sandbox) Close(fd int) error {
	_, err := sb.Syscall("close", unix.SYS_CLOSE, fd)
	return err
}

// Read is read(2) of at most n bytes.
func (sb *Sandbox) Read(fd, n int) ([]byte, error) {
	buf := make([]byte, n)
	got, err := sb.Syscall("read", unix.SYS_READ, fd, buf, n)
	if err != nil {
		return nil, err
	}
	return buf[:got], nil
}

// Write is write(2).
func (sb *Sandbox) Write(fd int, data []byte) error {
	_, err := sb.Syscall(fmt.Sprintf("write %q", clip(string(data))), unix.SYS_WRITE, fd, data, len(data))
	return err
}

// ReadFile opens, reads to the end and closes.
func (sb *Sandbox) ReadFile(path string) (string, error) {
	fd, err := sb.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	var all []byte
	for {
		part, err := sb.Read(fd, 1<<16)
		if err != nil {
			Must(sb.Close(fd))
			err.(*Error).Op = "read " + path
			return "", err
		}
		if len(part) == 0 {
			return string(all), sb.Close(fd)
		}
		all = append(all, part...)
	}
}

// WriteFile opens an existing file, writes data in one write(2) and closes.
func (sb *Sandbox) WriteFile(path, data string) error {
	return sb.writeFile(path, data, unix.O_WRONLY)
}

// CreateFile is WriteFile for a file that is made, or emptied, first.
func (sb *Sandbox) CreateFile(path, data string) error {
	return sb.writeFile(path, data, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
}

func (sb *Sandbox) writeFile(path, data string, flags int) error {
	fd, err := sb.Open(path, flags, 0o644)
	if err != nil {
		return err
	}
	if data != "" {
		if err := sb.Write(fd, []byte(data)); err != nil {
			Must(sb.Close(fd))
			err.(*Error).Op = fmt.Sprintf("write %q to %s", clip(data), path)
			return err
		}
	}
	return sb.Close(fd)
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// Mkdir is mkdirat(2) with mode 0755.
func (sb *Sandbox) Mkdir(path string) error {
	_, err := sb.Syscall("mkdir "+path, unix.SYS_MKDIRAT, unix.AT_FDCWD, path, 0o755)
	return err
}

// MkdirTemp makes a new directory on the stage's tmpfs and returns its path.
// It lives as long as the stage.
func (sb *Sandbox) MkdirTemp() string {
	dir := sb.stage.Scratch + "/" + sb.stage.unique("d")
	Must(sb.Mkdir(dir))
	return dir
}

// Rmdir is unlinkat(2) with AT_REMOVEDIR.
func (sb *Sandbox) Rmdir(path string) error {
	_, err := sb.Syscall("rmdir "+path, unix.SYS_UNLINKAT, unix.AT_FDCWD, path, unix.AT_REMOVEDIR)
	return err
}

// Unlink is unlinkat(2).
func (sb *Sandbox) Unlink(path string) error {
	_, err := sb.Syscall("unlink "+path, unix.SYS_UNLINKAT, unix.AT_FDCWD, path, 0)
	return err
}

// Symlink is symlinkat(2).
func (sb *Sandbox) Symlink(target, path string) error {
	_, err := sb.Syscall("symlink "+path, unix.SYS_SYMLINKAT, target, unix.AT_FDCWD, path)
	return err
}

// Rename is renameat2(2) without flags.
func (sb *Sandbox) Rename(from, to string) error {
	_, err := sb.Syscall("rename "+from+" to "+to, unix.SYS_RENAMEAT2, unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0)
	return err
}

// Mknod is mknodat(2).
func (sb *Sandbox) Mknod(path string, mode uint32, dev uint64) error {
	_, err := sb.Syscall("mknod "+path, unix.SYS_MKNODAT, unix.AT_FDCWD, path, mode, dev)
	return err
}

// Chmod is fchmodat(2).
func (sb *Sandbox) Chmod(path string, mode uint32) error {
	_, err := sb.Syscall("chmod "+path, unix.SYS_FCHMODAT, unix.AT_FDCWD, path, mode)
	return err
}

// Chown is fchownat(2).
func (sb *Sandbox) Chown(path string, uid, gid int) error {
	_, err := sb.Syscall(fmt.Sprintf("chown %s to %d:%d", path, uid, gid), unix.SYS_FCHOWNAT, unix.AT_FDCWD, path, uid, gid, 0)
	return err
}

// Readlink is readlinkat(2).
func (sb *Sandbox) Readlink(path string) (string, error) {
	buf := make([]byte, 4096)
	n, err := sb.Syscall("readlink "+path, unix.SYS_READLINKAT, unix.AT_FDCWD, path, buf, len(buf))
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// File is what statx(2) says of a path.
type File struct {
	DevMajor, DevMinor uint32
	Inode              uint64
	Mode               uint16
	UID, GID           uint32
	Size               uint64
	MountID            uint64
	RdevMajor          uint32
	RdevMinor          uint32
}

// SameAs says whether both are the same file: equal device and inode.
func (f File) SameAs(g File) bool {
	return f.DevMajor == g.DevMajor && f.DevMinor == g.DevMinor && f.Inode == g.Inode
}

func (f File) String() string {
	return fmt.Sprintf("device %d:%d inode %d", f.DevMajor, f.DevMinor, f.Inode)
}

// Stat is statx(2), following symbolic links.
func (sb *Sandbox) Stat(path string) (File, error) { return sb.statx(path, 0) }

// Lstat is statx(2), not following a symbolic link at the end.
func (sb *Sandbox) Lstat(path string) (File, error) { return sb.statx(path, unix.AT_SYMLINK_NOFOLLOW) }

func (sb *Sandbox) statx(path string, flags int) (File, error) {
	buf := make([]byte, 256)
	if _, err := sb.Syscall("stat "+path, unix.SYS_STATX, unix.AT_FDCWD, path, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, buf); err != nil {
		return File{}, err
	}
	return parseStatx(buf), nil
}

func parseStatx(buf []byte) File {
	u32 := func(i int) uint32 { return binary.NativeEndian.Uint32(buf[i:]) }
	u64 := func(i int) uint64 { return binary.NativeEndian.Uint64(buf[i:]) }
	return File{
		UID: u32(20), GID: u32(24), Mode: binary.NativeEndian.Uint16(buf[28:]),
		Inode: u64(32), Size: u64(40),
		RdevMajor: u32(128), RdevMinor: u32(132), DevMajor: u32(136), DevMinor: u32(140), MountID: u64(144),
	}
}

// ReadDir lists the names in a directory, without . and .., by getdents64(2).
func (sb *Sandbox) ReadDir(path string) ([]string, error) {
	fd, err := sb.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 1<<16)
	for {
		n, err := sb.Syscall("getdents64 "+path, unix.SYS_GETDENTS64, fd, buf, len(buf))
		if err != nil {
			Must(sb.Close(fd))
			return nil, err
		}
		if n == 0 {
			return names, sb.Close(fd)
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// PIDs lists the numbered directories of a proc mount.
func (sb *Sandbox) PIDs(proc string) ([]int, error) {
	names, err := sb.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, n := range names {
		var pid int
		if _, err := fmt.Sscanf(n, "%d", &pid); err == nil && fmt.Sprint(pid) == n {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Mount is mount(2).
func (sb *Sandbox) Mount(source, target, fstype string, flags uintptr, data string) error {
	what := fstype
	if what == "" {
		what = source
	}
	_, err := sb.Syscall(strings.TrimSpace(fmt.Sprintf("mount %s on %s %s", what, target, data)),
		unix.SYS_MOUNT, orNil(source), target, orNil(fstype), flags, orNil(data))
	return err
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Bind is mount(2) with MS_BIND and the further flags.
func (sb *Sandbox) Bind(source, target string, flags uintptr) error {
	_, err := sb.Syscall(fmt.Sprintf("bind mount %s on %s", source, target),
		unix.SYS_MOUNT, source, target, nil, unix.MS_BIND|flags, nil)
	return err
}

// Propagation is mount(2) with one of MS_SHARED, MS_SLAVE, MS_PRIVATE,
// MS_UNBINDABLE, and MS_REC where wanted.
func (sb *Sandbox) Propagation(target string, flags uintptr) error {
	_, err := sb.Syscall("change propagation of "+target, unix.SYS_MOUNT, nil, target, nil, flags, nil)
	return err
}

// Umount is umount2(2).
func (sb *Sandbox) Umount(target string, flags int) error {
	_, err := sb.Syscall("umount "+target, unix.SYS_UMOUNT2, target, flags)
	return err
}

// Chroot is chroot(2).
func (sb *Sandbox) Chroot(dir string) error {
	_, err := sb.Syscall("chroot "+dir, unix.SYS_CHROOT, dir)
	return err
}

// Chdir is chdir(2).
func (sb *Sandbox) Chdir(dir string) error {
	_, err := sb.Syscall("chdir "+dir, unix.SYS_CHDIR, dir)
	return err
}

// Getcwd is getcwd(2).
func (sb *Sandbox) Getcwd() (string, error) {
	buf := make([]byte, 4096)
	n, err := sb.Syscall("getcwd", unix.SYS_GETCWD, buf, len(buf))
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(buf[:n]), "\x00"), nil
}

// PivotRoot is pivot_root(2).
func (sb *Sandbox) PivotRoot(newRoot, putOld string) error {
	_, err := sb.Syscall(fmt.Sprintf("pivot_root %s %s", newRoot, putOld), unix.SYS_PIVOT_ROOT, newRoot, putOld)
	return err
}

// PivotInto makes dir the root of the sandbox's own mount namespace, as
// container runtimes do: bound onto itself, pivot_root(".", "."), the old root
// detached.
func (sb *Sandbox) PivotInto(dir string) error {
	if err := sb.Bind(dir, dir, unix.MS_REC); err != nil {
		return err
	}
	if err := sb.Chdir(dir); err != nil {
		return err
	}
	if err := sb.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := sb.Umount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return sb.Chdir("/")
}

// Getpid is getpid(2).
func (sb *Sandbox) Getpid() int {
	return int(Got(sb.Syscall("getpid", unix.SYS_GETPID)))
}

// Getppid is getppid(2).
func (sb *Sandbox) Getppid() int {
	return int(Got(sb.Syscall("getppid", unix.SYS_GETPPID)))
}

// Getuid is getuid(2).
func (sb *Sandbox) Getuid() int { return int(Got(sb.Syscall("getuid", unix.SYS_GETUID))) }

// Geteuid is geteuid(2).
func (sb *Sandbox) Geteuid() int { return int(Got(sb.Syscall("geteuid", unix.SYS_GETEUID))) }

// Getgid is getgid(2).
func (sb *Sandbox) Getgid() int { return int(Got(sb.Syscall("getgid", unix.SYS_GETGID))) }

// Signal is kill(2), made in the sandbox. Kill instead signals the sandbox.
func (sb *Sandbox) Signal(pid int, sig unix.Signal) error {
	_, err := sb.Syscall(fmt.Sprintf("kill(%d, %s)", pid, signalName(sig)), unix.SYS_KILL, pid, sig)
	return err
}

func signalName(sig unix.Signal) string {
	if sig == 0 {
		return "0"
	}
	return unix.SignalName(sig)
}

// Wait4 is wait4(2): it returns the status of the child that pid names.
// options 0 blocks until the child has ended.
func (sb *Sandbox) Wait4(pid, options int) (unix.WaitStatus, error) {
	got, ws, err := sb.WaitAny(pid, options)
	if err == nil && got == 0 {
		return 0, fmt.Errorf("wait4: %d has not changed state", pid)
	}
	return ws, err
}

// WaitAny is Wait4 that also says which child it was; 0 with WNOHANG and no
// child ready.
func (sb *Sandbox) WaitAny(pid, options int) (int, unix.WaitStatus, error) {
	buf := make([]byte, 8)
	got, err := sb.Syscall(fmt.Sprintf("wait4(%d)", pid), unix.SYS_WAIT4, pid, buf, options|unix.WALL, nil)
	return int(got), unix.WaitStatus(binary.NativeEndian.Uint32(buf)), err
}

// Wait reaps child, which must be sb's own, and returns its status.
func (sb *Sandbox) Wait(child *Sandbox) (unix.WaitStatus, error) {
	ws, err := sb.Wait4(child.pid, 0)
	if err == nil && (ws.Exited() || ws.Signaled()) {
		child.reaped = true
	}
	return ws, err
}

// Survives runs act, which calls the sandbox, and says whether the process
// lived to answer: false when it has ended, or stands still for longer than can
// be waited. The error is act's.
func (sb *Sandbox) Survives(act func() error) (bool, error) {
	ctx := sb.ctx
	sb.bind(context.Background())
	_ = sb.conn.SetDeadline(time.Now().Add(settleTime))
	err := act()
	sb.bind(ctx)
	return sb.lost == nil, err
}

// Answers says whether the process lives and makes system calls.
func (sb *Sandbox) Answers() bool {
	if sb.lost != nil {
		return false
	}
	lives, _ := sb.Survives(func() error {
		_, err := sb.Syscall("getpid", unix.SYS_GETPID)
		return err
	})
	return lives
}

// Exit makes the sandbox's process call exit_group(2), and waits until it has
// exited; its parent may still reap it.
func (sb *Sandbox) Exit(status int) {
	sb.BeginExit(status)
	if !sb.WaitExit(settleTime) {
		Broken("%s did not exit within %s", sb.name, settleTime)
	}
}

// BeginExit is Exit that does not wait for the exit's end, which for PID 1 of a
// namespace comes after that of all other members.
func (sb *Sandbox) BeginExit(status int) {
	c := sb.begin("exit_group")
	// There is no answer but the end of the connection.
	sb.ctx, sb.lost = context.Background(), nil
	_, _ = c.do(unix.SYS_EXIT_GROUP, uintptr(status))
	sb.lost = errors.New("it has exited")
}

// Sethostname is sethostname(2).
func (sb *Sandbox) Sethostname(name string) error {
	_, err := sb.Syscall(fmt.Sprintf("sethostname(%q)", clip(name)), unix.SYS_SETHOSTNAME, name, len(name))
	return err
}

// Setdomainname is setdomainname(2).
func (sb *Sandbox) Setdomainname(name string) error {
	_, err := sb.Syscall(fmt.Sprintf("setdomainname(%q)", clip(name)), unix.SYS_SETDOMAINNAME, name, len(name))
	return err
}

// Uname is what uname(2) says.
type Uname struct{ Sysname, Nodename, Release, Version, Machine, Domainname string }

// Uname is uname(2).
func (sb *Sandbox) Uname() Uname {
	buf := make([]byte, 6*65)
	Got(sb.Syscall("uname", unix.SYS_UNAME, buf))
	field := func(i int) string {
		s, _, _ := strings.Cut(string(buf[i*65:(i+1)*65]), "\x00")
		return s
	}
	return Uname{field(0), field(1), field(2), field(3), field(4), field(5)}
}

// Prctl is prctl(2).
func (sb *Sandbox) Prctl(option int, args ...any) (int, error) {
	r, err := sb.Syscall(fmt.Sprintf("prctl(%d)", option), unix.SYS_PRCTL, append([]any{option}, args...)...)
	return int(r), err
}

// SetIDs gives the process the IDs, all three of each kind, and no
// supplementary groups.
func (sb *Sandbox) SetIDs(uid, gid int) error {
	if _, err := sb.Syscall("setgroups(0)", unix.SYS_SETGROUPS, 0, nil); err != nil {
		return err
	}
	if _, err := sb.Syscall(fmt.Sprintf("setresgid(%d)", gid), unix.SYS_SETRESGID, gid, gid, gid); err != nil {
		return err
	}
	return sb.Setresuid(uid, uid, uid)
}

// Setresuid is setresuid(2).
func (sb *Sandbox) Setresuid(r, e, s int) error {
	_, err := sb.Syscall(fmt.Sprintf("setresuid(%d, %d, %d)", r, e, s), unix.SYS_SETRESUID, r, e, s)
	return err
}

// Capabilities are the three sets of capget(2), a bit each.
type Capabilities struct{ Effective, Permitted, Inheritable uint64 }

// Has says whether the capability is in the effective set.
func (c Capabilities) Has(capability uintptr) bool { return c.Effective>>capability&1 == 1 }

// Capget is capget(2) of the process itself.
func (sb *Sandbox) Capget() (Capabilities, error) {
	data := make([]byte, 24)
	if _, err := sb.Syscall("capget", unix.SYS_CAPGET, capHeader(), data); err != nil {
		return Capabilities{}, err
	}
	set := func(i int) uint64 {
		return uint64(binary.NativeEndian.Uint32(data[i*4:])) | uint64(binary.NativeEndian.Uint32(data[12+i*4:]))<<32
	}
	return Capabilities{set(0), set(1), set(2)}, nil
}

// Capset is capset(2) of the process itself.
func (sb *Sandbox) Capset(c Capabilities) error {
	data := make([]byte, 24)
	for i, v := range []uint64{c.Effective, c.Permitted, c.Inheritable} {
		binary.NativeEndian.PutUint32(data[i*4:], uint32(v))
		binary.NativeEndian.PutUint32(data[12+i*4:], uint32(v>>32))
	}
	_, err := sb.Syscall("capset", unix.SYS_CAPSET, capHeader(), data)
	return err
}

func capHeader() []byte {
	header := make([]byte, 8)
	binary.NativeEndian.PutUint32(header, unix.LINUX_CAPABILITY_VERSION_3)
	return header
}

// DropCapability takes capabilities out of the bounding set and of all three
// sets of capset(2).
func (sb *Sandbox) DropCapability(caps ...uintptr) error {
	for _, c := range caps {
		if _, err := sb.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return err
		}
	}
	have, err := sb.Capget()
	if err != nil {
		return err
	}
	for _, c := range caps {
		have.Effective &^= 1 << c
		have.Permitted &^= 1 << c
		have.Inheritable &^= 1 << c
	}
	return sb.Capset(have)
}

// WriteMaps writes the sandbox's uid_map and gid_map from its parent.
func (sb *Sandbox) WriteMaps(uids, gids []Mapping) error {
	for file, maps := range map[string][]Mapping{"uid_map": uids, "gid_map": gids} {
		if err := sb.parent.WriteFile(fmt.Sprintf("/proc/%d/%s", sb.pid, file), MapText(maps)); err != nil {
			return err
		}
	}
	return nil
}

// MapText is the content of a uid_map or gid_map.
func MapText(maps []Mapping) string {
	var b strings.Builder
	for _, m := range maps {
		fmt.Fprintf(&b, "%d %d %d\n", m.Inside, m.Outside, m.Size)
	}
	return b.String()
}

// Namespace identifies the sandbox's namespace of a type: the device and
// inode of its link in /proc/self/ns.
func (sb *Sandbox) Namespace(t namespace.Type) (File, error) {
	return sb.Stat("/proc/self/ns/" + t.Name)
}

// OpenNamespace opens the sandbox's own namespace of a type, for setns(2).
func (sb *Sandbox) OpenNamespace(t namespace.Type) (int, error) {
	return sb.Open("/proc/self/ns/"+t.Name, unix.O_RDONLY, 0)
}

// ioctlNames are the names of requests in errors.
var ioctlNames = map[uintptr]string{
	unix.NS_GET_NSTYPE: "NS_GET_NSTYPE", unix.NS_GET_OWNER_UID: "NS_GET_OWNER_UID", unix.NS_GET_PARENT: "NS_GET_PARENT", unix.NS_GET_USERNS: "NS_GET_USERNS",
	unix.SIOCGIFADDR: "SIOCGIFADDR", unix.SIOCSIFADDR: "SIOCSIFADDR", unix.TIOCGPTN: "TIOCGPTN", unix.TUNSETIFF: "TUNSETIFF",
}

// Ioctl is ioctl(2).
func (sb *Sandbox) Ioctl(fd int, request uintptr, arg any) (int, error) {
	name := ioctlNames[request]
	if name == "" {
		name = fmt.Sprintf("%#x", request)
	}
	r, err := sb.Syscall("ioctl("+name+")", unix.SYS_IOCTL, fd, request, arg)
	return int(r), err
}

// Socket is socket(2), with SOCK_CLOEXEC.
func (sb *Sandbox) Socket(domain, typ, proto int) (int, error) {
	fd, err := sb.Syscall("socket", unix.SYS_SOCKET, domain, typ|unix.SOCK_CLOEXEC, proto)
	return int(fd), err
}

// Pipe is pipe2(2): the reading and the writing end.
func (sb *Sandbox) Pipe() (r, w int, err error) {
	buf := make([]byte, 8)
	_, err = sb.Syscall("pipe2", unix.SYS_PIPE2, buf, unix.O_CLOEXEC)
	return int(binary.NativeEndian.Uint32(buf)), int(binary.NativeEndian.Uint32(buf[4:])), err
}

// Dup is dup3(2).
func (sb *Sandbox) Dup(from, to int) error {
	_, err := sb.Syscall("dup3", unix.SYS_DUP3, from, to, 0)
	return err
}

// resetClocks moves the process to a time namespace whose clocks are those of
// the initial one, where it is in another: specs count from them.
func (sb *Sandbox) resetClocks() error {
	const file = "/proc/self/timens_offsets"
	lines, err := sb.ReadFile(file)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	var seconds, nanoseconds [2]int
	if _, err := fmt.Sscanf(lines, "monotonic %d %d\nboottime %d %d", &seconds[0], &nanoseconds[0], &seconds[1], &nanoseconds[1]); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if seconds == [2]int{} && nanoseconds == [2]int{} {
		return nil
	}
	if err := sb.Unshare(unix.CLONE_NEWTIME); err != nil {
		return err
	}
	if err := sb.WriteFile(file, "monotonic 0 0\nboottime 0 0\n"); err != nil {
		return err
	}
	fd, err := sb.Open("/proc/self/ns/time_for_children", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if err := sb.Setns(fd, unix.CLONE_NEWTIME); err != nil {
		return err
	}
	return sb.Close(fd)
}

// raiseLoopback sets IFF_UP on lo.
func (sb *Sandbox) raiseLoopback() error {
	fd, err := sb.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		// Any socket will do where CONFIG_INET is off.
		fd, err = sb.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	}
	if err != nil {
		return err
	}
	ifr := make([]byte, 40)
	copy(ifr, "lo")
	binary.NativeEndian.PutUint16(ifr[16:], unix.IFF_UP|unix.IFF_RUNNING)
	if _, err := sb.Syscall("raise lo", unix.SYS_IOCTL, fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		// gVisor has no such call, and its lo is up from the beginning.
		if _, gerr := sb.Syscall("flags of lo", unix.SYS_IOCTL, fd, unix.SIOCGIFFLAGS, ifr); gerr != nil ||
			binary.NativeEndian.Uint16(ifr[16:])&unix.IFF_UP == 0 {
			return err
		}
	}
	return sb.Close(fd)
}

// Exec replaces the sandbox's process by a program, whose standard streams are
// the sandbox's. An error is the execve(2)'s; without one the sandbox makes no
// further calls, and can still be signalled and waited for.
func (sb *Sandbox) Exec(path string, argv, env []string) error {
	return sb.execve("exec "+path, unix.SYS_EXECVE, nil, path, argv, env)
}

func (sb *Sandbox) execve(op string, nr uintptr, dir any, path string, argv, env []string) error {
	c := sb.begin(op)
	list := func(ss []string) uintptr {
		ptrs := make([]byte, 8*(len(ss)+1))
		for i, s := range ss {
			binary.NativeEndian.PutUint64(ptrs[i*8:], uint64(c.bytes(append([]byte(s), 0))))
		}
		return c.bytes(ptrs)
	}
	args := []uintptr{c.bytes(append([]byte(path), 0)), list(argv), list(env)}
	if fd, at := dir.(int); at {
		args = append(append([]uintptr{uintptr(fd)}, args...), unix.AT_EMPTY_PATH)
	}
	bound := sb.ctx
	// The control descriptor closes on exec: losing it is success.
	sb.ctx = context.Background()
	sb.moved()
	_, err := c.do(nr, args...)
	sb.ctx = bound
	var errno *Error
	if errors.As(err, &errno) {
		return err
	}
	if err != nil && sb.lost != nil && sb.lost.Error() == "its process has ended" {
		sb.lost = errors.New("it runs " + path)
		return nil
	}
	if err == nil {
		err = errors.New("the call returned")
	}
	Broken("%s in %s: %v", op, sb.name, err)
	return err
}

// Output is what a program printed and how it ended.
type Output struct {
	Stdout, Stderr string
	Status         unix.WaitStatus
}

// Start forks a child that runs a program of the sandbox's root, without
// waiting for it: its standard streams are its parent's.
func (sb *Sandbox) StartProgram(ctx context.Context, path string, args ...string) (*Sandbox, error) {
	child := sb.Fork(ctx)
	return child, child.Exec(path, append([]string{path}, args...), sb.env)
}

// Run runs a program of the sandbox's root, as a child of the sandbox and with
// its environment, until it ends. An error is the execve(2)'s.
func (sb *Sandbox) Run(ctx context.Context, path string, args ...string) (Output, error) {
	child := sb.Fork(ctx)
	in, inW, err := child.Pipe()
	Must(err)
	outR, outW, err := child.Pipe()
	Must(err)
	errR, errW, err := child.Pipe()
	Must(err)
	files, err := child.export(outR, errR)
	Must(err)
	Must(child.Close(inW))
	for to, from := range []int{in, outW, errW} {
		Must(child.Dup(from, to))
		Must(child.Close(from))
	}
	var o Output
	execErr := child.Exec(path, append([]string{path}, args...), sb.env)
	if execErr != nil {
		child.Exit(127)
	}
	texts := make(chan string, 1)
	undo := context.AfterFunc(ctx, func() { _ = child.Kill(unix.SIGKILL) })
	defer undo()
	go func() {
		text, _ := io.ReadAll(files[1])
		texts <- string(text)
	}()
	text, _ := io.ReadAll(files[0])
	o.Stdout, o.Stderr = string(text), <-texts
	for _, f := range files {
		f.Close()
	}
	o.Status, err = sb.Wait(child)
	Must(err)
	return o, execErr
}

// Fstat is statx(2) of a descriptor.
func (sb *Sandbox) Fstat(fd int) (File, error) {
	buf := make([]byte, 256)
	if _, err := sb.Syscall("fstat", unix.SYS_STATX, fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, buf); err != nil {
		return File{}, err
	}
	return parseStatx(buf), nil
}

// Filter installs a seccomp filter that answers the system call nr with errno
// and lets all others through.
func (sb *Sandbox) Filter(nr uintptr, errno unix.Errno) error {
	// Without CAP_SYS_ADMIN a filter wants no_new_privs; with it, it does not.
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(nr)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	raw := make([]byte, 0, 8*len(program))
	for _, f := range program {
		raw = binary.NativeEndian.AppendUint16(raw, f.Code)
		raw = append(raw, f.Jt, f.Jf)
		raw = binary.NativeEndian.AppendUint32(raw, f.K)
	}
	c := sb.begin("seccomp(SECCOMP_SET_MODE_FILTER)")
	header := make([]byte, 16)
	binary.NativeEndian.PutUint16(header, uint16(len(program)))
	binary.NativeEndian.PutUint64(header[8:], uint64(c.bytes(raw)))
	_, err := c.do(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, c.bytes(header))
	return err
}

// ReceiveControl receives one message by recvmsg(2) and returns its control
// data.
func (sb *Sandbox) ReceiveControl(fd int) []byte {
	c := sb.begin("recvmsg")
	iov, msg := make([]byte, 16), make([]byte, 56)
	control := c.bytes(make([]byte, 256))
	binary.NativeEndian.PutUint64(iov, uint64(c.bytes(make([]byte, 64))))
	binary.NativeEndian.PutUint64(iov[8:], 64)
	binary.NativeEndian.PutUint64(msg[16:], uint64(c.bytes(iov)))
	binary.NativeEndian.PutUint64(msg[24:], 1)
	binary.NativeEndian.PutUint64(msg[32:], uint64(control))
	binary.NativeEndian.PutUint64(msg[40:], 256)
	header := c.bytes(msg)
	Got(c.do(unix.SYS_RECVMSG, uintptr(fd), header, 0))
	n := int(binary.NativeEndian.Uint64(c.view(header, 56)[40:]))
	return append([]byte(nil), c.view(control, n)...)
}
