package namespaces

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/advice"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
)

var (
	ipcNeed = claim.Namespace(namespace.IPC)
	sysvipc = claim.Feature("System V IPC", "", []string{"CONFIG_SYSVIPC"}, func(ctx context.Context) error {
		_, err := shmget(harness.Start(ctx, harness.New(namespace.IPC)), 1, unix.IPC_CREAT|0o600)
		return err
	})
	mqueue = claim.Feature("POSIX message queues", "", []string{"CONFIG_POSIX_MQUEUE"}, func(ctx context.Context) error {
		_, err := mqOpen(harness.Start(ctx, harness.New(namespace.IPC)), "need", unix.O_CREAT|unix.O_RDWR)
		return mqueueLimit(err)
	})
	lockable = &claim.Need{Name: "RLIMIT_MEMLOCK", Try: func(ctx context.Context) error { return limitLocked(harness.Start(ctx)) }}
)

// mqueueLimit tells a kernel that has no queue from a user who may have none.
func mqueueLimit(err error) error {
	var limit unix.Rlimit
	if errors.Is(err, unix.EMFILE) && unix.Getrlimit(unix.RLIMIT_MSGQUEUE, &limit) == nil {
		return &advice.Lack{Why: fmt.Sprintf("%v: RLIMIT_MSGQUEUE is %d bytes", err, limit.Cur), Mend: advice.MessageQueues}
	}
	return err
}

// lockSize is how much memory the user may lock who is the locker of a claim:
// not more than old kernels grant everybody, and a page at least.
var lockSize = max(32<<10, os.Getpagesize())

// limitLocked limits what the sandbox's user may lock to lockSize.
func limitLocked(sb *harness.Sandbox) error {
	limit := binary.NativeEndian.AppendUint64(nil, uint64(lockSize))
	_, err := sb.Syscall("prlimit64(RLIMIT_MEMLOCK)", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_MEMLOCK, append(limit, limit...), nil)
	return err
}

// mqueueFiles is the possibility to make a queue by making a file.
var mqueueFiles = claim.Feature("files created in an mqueue mount", "", []string{"CONFIG_POSIX_MQUEUE"}, func(ctx context.Context) error {
	sb := harness.Start(ctx, harness.New(namespace.IPC, namespace.Mount))
	dir := sb.MkdirTemp()
	if err := sb.Mount("mqueue", dir, "mqueue", 0, ""); err != nil {
		return err
	}
	return mqueueLimit(sb.CreateFile(dir+"/need", ""))
})

// ipcSysctlsWritten is that the kernel takes what is written to the limits of
// an IPC namespace.
var ipcSysctlsWritten = claim.Feature("writable limits in /proc/sys/kernel", "", []string{"CONFIG_SYSVIPC_SYSCTL"}, func(ctx context.Context) error {
	return harness.Start(ctx, harness.New(namespace.IPC)).WriteFile("/proc/sys/kernel/msgmax", "8192")
})

const ipcKey = 0x62756c6b

// shmLock is SHM_LOCK of linux/shm.h.
const shmLock = 11

func shmget(sb *harness.Sandbox, size, flags int) (int, error) {
	id, err := sb.Syscall("shmget", unix.SYS_SHMGET, ipcKey, size, flags)
	return int(id), err
}

func semget(sb *harness.Sandbox, flags int) (int, error) {
	id, err := sb.Syscall("semget", unix.SYS_SEMGET, ipcKey, 1, flags)
	return int(id), err
}

func msgget(sb *harness.Sandbox, flags int) (int, error) {
	id, err := sb.Syscall("msgget", unix.SYS_MSGGET, ipcKey, flags)
	return int(id), err
}

// mqOpen is mq_open(3): the system call takes the name without its slash.
func mqOpen(sb *harness.Sandbox, name string, flags int) (int, error) {
	fd, err := sb.Syscall("mq_open /"+name, unix.SYS_MQ_OPEN, name, flags|unix.O_CLOEXEC, 0o600, nil)
	return int(fd), err
}

// semaphore operations and commands of semctl(2).
const (
	semSetVal = 16
	semGetVal = 12
	semUndo   = 0x1000
)

var _ = claim.It(claim.Claim{
	ID:       "ipc/shm-isolated",
	Text:     "A System V shared memory segment is not found by its key from another IPC namespace.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("ipc_namespaces(7)", "")},
	Needs:    claim.Needs{ipcNeed, sysvipc},
	Contrast: "a plain child finds it",
	Core:     true,
	Try:      "ipcmk -M 4096; ipcs -m | grep -c 0x; unshare --ipc ipcs -m | grep -c 0x",
	Shows:    "… id: <id>\n1\n0",
}, func(ctx SpecContext) {
	creator := harness.Start(ctx, harness.New(namespace.IPC))
	id, err := shmget(creator, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	Expect(err).NotTo(HaveOccurred(), "making a shared memory segment in a new IPC namespace, which has none")
	_, other := shmget(harness.Start(ctx, harness.Under(creator), harness.New(namespace.IPC)), 0, 0)
	same, plain := shmget(creator.Fork(ctx), 0, 0)
	claim.Evidence("another IPC namespace: %v; a plain child: %v", other, plain)
	Expect(other).To(harness.FailWith(unix.ENOENT), "shmget(key) in another IPC namespace")
	Expect(plain).NotTo(HaveOccurred(), "contrast: a plain child")
	Expect(same).To(Equal(id), "contrast: the segment that a plain child finds by the key")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/semaphores-isolated",
	Text:     "A System V semaphore set is not found by its key from another IPC namespace.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", "")},
	Needs:    claim.Needs{ipcNeed, sysvipc},
	Contrast: "plain child finds it",
	Try:      "ipcmk -S 1; ipcs -s | grep -c 0x; unshare --ipc ipcs -s | grep -c 0x",
	Shows:    "… id: <id>\n1\n0",
}, func(ctx SpecContext) {
	creator := harness.Start(ctx, harness.New(namespace.IPC))
	_, err := semget(creator, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	Expect(err).NotTo(HaveOccurred(), "making a semaphore set in a new IPC namespace, which has none")
	_, other := semget(harness.Start(ctx, harness.Under(creator), harness.New(namespace.IPC)), 0)
	_, plain := semget(creator.Fork(ctx), 0)
	claim.Evidence("another IPC namespace: %v; a plain child: %v", other, plain)
	Expect(other).To(harness.FailWith(unix.ENOENT), "semget(key) in another IPC namespace")
	Expect(plain).NotTo(HaveOccurred(), "contrast: a plain child")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/message-queues-isolated",
	Text:     "A System V message queue is not found by its key from another IPC namespace.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("ipc_namespaces(7)", "")},
	Needs:    claim.Needs{ipcNeed, sysvipc},
	Contrast: "plain child finds it",
	Try:      "ipcmk -Q; ipcs -q | grep -c 0x; unshare --ipc ipcs -q | grep -c 0x",
	Shows:    "… id: <id>\n1\n0",
}, func(ctx SpecContext) {
	creator := harness.Start(ctx, harness.New(namespace.IPC))
	_, err := msgget(creator, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	Expect(err).NotTo(HaveOccurred(), "making a message queue in a new IPC namespace, which has none")
	_, other := msgget(harness.Start(ctx, harness.Under(creator), harness.New(namespace.IPC)), 0)
	_, plain := msgget(creator.Fork(ctx), 0)
	claim.Evidence("another IPC namespace: %v; a plain child: %v", other, plain)
	Expect(other).To(harness.FailWith(unix.ENOENT), "msgget(key) in another IPC namespace")
	Expect(plain).NotTo(HaveOccurred(), "contrast: a plain child")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/posix-queues-isolated",
	Text:     "A POSIX message queue name is not visible in another IPC namespace.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", ""), claim.Man("mq_overview(7)", "")},
	Needs:    claim.Needs{ipcNeed, mqueue},
	Contrast: "plain child opens it",
	Try:      "mount -t mqueue m /mnt && touch /mnt/q && ls /mnt; unshare --ipc --mount sh -c 'mount -t mqueue m /mnt; ls /mnt'",
	Shows:    "q",
}, func(ctx SpecContext) {
	creator := harness.Start(ctx, harness.New(namespace.IPC))
	_, err := mqOpen(creator, "queue", unix.O_CREAT|unix.O_EXCL|unix.O_RDWR)
	harness.Must(err)
	_, other := mqOpen(harness.Start(ctx, harness.Under(creator), harness.New(namespace.IPC)), "queue", unix.O_RDWR)
	_, plain := mqOpen(creator.Fork(ctx), "queue", unix.O_RDWR)
	claim.Evidence("another IPC namespace: %v; a plain child: %v", other, plain)
	Expect(other).To(harness.FailWith(unix.ENOENT), "mq_open in another IPC namespace")
	Expect(plain).NotTo(HaveOccurred(), "contrast: a plain child")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/mqueue-mount-shows-own-queues",
	Text:     "A mount of the mqueue type lists the queues of the mounter's IPC namespace, and files created there are queues.",
	Source:   claim.Sources{claim.Man("mq_overview(7)", "Mounting"), claim.Man("ipc_namespaces(7)", "")},
	Needs:    claim.Needs{ipcNeed, mqueue},
	Contrast: "a mount from a new namespace is empty",
	Try:      `unshare --ipc --mount sh -c 'mount -t mqueue m /mnt; touch /mnt/q; ls /mnt; unshare --ipc --mount sh -c "mount -t mqueue m /mnt; ls /mnt"'`,
	Shows:    "q",
}, func(ctx SpecContext) {
	creator := harness.Start(ctx, harness.New(namespace.IPC, namespace.Mount))
	dir := creator.MkdirTemp()
	harness.Got(mqOpen(creator, "called", unix.O_CREAT|unix.O_RDWR))
	Expect(creator.Mount("mqueue", dir, "mqueue", 0, "")).To(Succeed(), "mounting mqueue in the namespace that owns the queues")
	Expect(creator.CreateFile(dir+"/touched", "")).To(Succeed(), "creating a file in an mqueue mount")
	listed := harness.Got(creator.ReadDir(dir))
	_, opened := mqOpen(creator, "touched", unix.O_RDWR)
	other := harness.Start(ctx, harness.Under(creator), harness.New(namespace.IPC, namespace.Mount))
	otherDir := other.MkdirTemp()
	harness.Must(other.Mount("mqueue", otherDir, "mqueue", 0, ""))
	empty := harness.Got(other.ReadDir(otherDir))
	claim.Evidence("listed: %v; mq_open of a file made there: %v; in a new namespace: %v", listed, opened, empty)
	Expect(listed).To(ConsistOf("called", "touched"), "queues listed in the mount")
	Expect(opened).NotTo(HaveOccurred(), "mq_open of a file created in the mount")
	Expect(empty).To(BeEmpty(), "contrast: a mount from a new namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/mqueue-mount-outlives-members",
	Text:     "An mqueue mount keeps listing its IPC namespace's queues after the last member exits, but no new queue can be created (EACCES).",
	Source:   claim.Sources{claim.Man("namespaces(7)", "Namespace lifetime")},
	Needs:    claim.Needs{ipcNeed, mqueue, mqueueFiles},
	Contrast: "nothing left after umount",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.IPC))
	harness.Got(mqOpen(member, "kept", unix.O_CREAT|unix.O_RDWR))
	harness.Must(member.Mount("mqueue", dir, "mqueue", 0, ""))
	harness.Must(member.CreateFile(dir+"/before", ""))
	member.Exit(0)
	harness.Got(host.Wait(member))
	listed := harness.Got(host.ReadDir(dir))
	err := host.CreateFile(dir+"/after", "")
	harness.Must(host.Umount(dir, 0))
	claim.Evidence("after the last member: listed %v; creating a queue: %v", listed, err)
	Expect(listed).To(ConsistOf("kept", "before"), "queues still listed after the last member has exited")
	Expect(err).To(harness.FailWith(unix.EACCES), "creating a queue after the last member has exited")
	Expect(host.ReadDir(dir)).To(BeEmpty(), "contrast: after umount")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/objects-die-with-namespace",
	Text:     "All IPC objects are destroyed when their namespace's last member exits.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", "")},
	Needs:    claim.Needs{ipcNeed, sysvipc, lockable},
	Contrast: "held while a member lives",
	Try:      "unshare --ipc sh -c 'ipcmk -M 4096; ipcs -m | grep -c 0x'; ipcs -m | grep -c 0x",
	Shows:    "Shared memory id: <id>\n1\n0",
}, func(ctx SpecContext) {
	// A segment that exists counts against its locker's RLIMIT_MEMLOCK, which
	// is one for a user's processes in all IPC namespaces: root's is a user that
	// no other run takes.
	locker := 1<<20 + os.Getpid()
	start := func() (*harness.Sandbox, int) {
		sb := harness.Start(ctx, harness.New(namespace.IPC))
		harness.Must(limitLocked(sb))
		if kernel.IsRoot() {
			// CAP_IPC_LOCK in the initial user namespace knows no limit.
			harness.Must(sb.SetIDs(locker, locker))
		}
		return sb, harness.Got(shmget(sb, lockSize, unix.IPC_CREAT|0o600))
	}
	member, held := start()
	other, id := start()
	harness.Got(member.Syscall("shmctl(SHM_LOCK)", unix.SYS_SHMCTL, held, shmLock, 0))
	lock := func() error {
		_, err := other.Syscall("shmctl(SHM_LOCK)", unix.SYS_SHMCTL, id, shmLock, 0)
		return err
	}
	full := lock()
	claim.Evidence("a member of another IPC namespace locks as much as its user may: %v while a segment is there", full)
	Expect(full).To(harness.FailWith(unix.ENOMEM), "contrast: locking memory when a segment of another IPC namespace, which has a living member, holds what the user may lock")
	member.Exit(0)
	harness.Got(member.Parent().Wait(member))
	// The kernel frees IPC namespaces in a work queue.
	Eventually(lock).WithTimeout(destroyTime).WithPolling(pollTime).Should(Succeed(), "locking as much memory as the user may, after the last member of the IPC namespace has exited whose segment held it")
	claim.Evidence("after its last member's exit: success")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/proc-sysvipc-follows-reader",
	Text:     "/proc/sysvipc shows only the objects of the reader's IPC namespace.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", ""), claim.Man("proc(5)", "/proc/sysvipc")},
	Needs:    claim.Needs{ipcNeed, sysvipc, claim.File("/proc/sysvipc/shm", "CONFIG_SYSVIPC", "CONFIG_PROC_FS")},
	Contrast: "one entry in the creator's view",
	Try:      `ipcmk -M 4096; wc -l < /proc/sysvipc/shm; unshare --ipc sh -c "wc -l < /proc/sysvipc/shm"`,
	Shows:    "Shared memory id: <id>\n2\n1",
}, func(ctx SpecContext) {
	creator := harness.Start(ctx, harness.New(namespace.IPC))
	harness.Got(shmget(creator, 4096, unix.IPC_CREAT|0o600))
	harness.Got(semget(creator, unix.IPC_CREAT|0o600))
	harness.Got(msgget(creator, unix.IPC_CREAT|0o600))
	inside := harness.Start(ctx, harness.Under(creator), harness.New(namespace.IPC))
	for _, file := range []string{"shm", "sem", "msg"} {
		own := strings.Count(harness.Got(creator.ReadFile("/proc/sysvipc/"+file)), "\n")
		other := strings.Count(harness.Got(inside.ReadFile("/proc/sysvipc/"+file)), "\n")
		claim.Evidence("%s: %d lines for the creator, %d in a new namespace", file, own, other)
		Expect(other).To(Equal(1), "lines of /proc/sysvipc/%s in a new IPC namespace: the header", file)
		Expect(own).To(Equal(2), "contrast: lines of /proc/sysvipc/%s for the creator", file)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/sysctls-per-namespace",
	Text:     "msgmax, msgmnb, msgmni, sem, shmall, shmmax, shmmni and shm_rmid_forced are separate in each IPC namespace.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", "")},
	Needs:    claim.Needs{ipcNeed, claim.File("/proc/sys/kernel/shmmax", "CONFIG_SYSVIPC_SYSCTL")},
	Contrast: "host values unchanged",
	Try:      "unshare --ipc sh -c 'echo 100 > /proc/sys/kernel/msgmni; cat /proc/sys/kernel/msgmni'; cat /proc/sys/kernel/msgmni",
	Shows:    "100\n32000",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.IPC))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.IPC))
	for name, value := range map[string]string{
		"msgmax": "1111", "msgmnb": "2222", "msgmni": "333", "sem": "44\t444\t4\t44",
		"shmall": "5555", "shmmax": "6666666", "shmmni": "77", "shm_rmid_forced": "1",
	} {
		path := "/proc/sys/kernel/" + name
		before := harness.Got(host.ReadFile(path))
		Expect(inside.WriteFile(path, value)).To(Succeed(), "kernel.%s", name)
		own, after := strings.TrimSpace(harness.Got(inside.ReadFile(path))), harness.Got(host.ReadFile(path))
		claim.Evidence("%s inside: %s; outside: %s", name, own, strings.TrimSpace(after))
		Expect(own).To(Equal(value), "kernel.%s where it was written", name)
		Expect(after).To(Equal(before), "contrast: kernel.%s of the namespace outside", name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/sysctls-start-at-kernel-defaults",
	Text:     "A new IPC namespace starts with the kernel's built-in IPC limits, not with its creator's settings.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", "")},
	Needs:    claim.Needs{ipcNeed, claim.File("/proc/sys/kernel/shmmni", "CONFIG_SYSVIPC_SYSCTL"), ipcSysctlsWritten},
	Contrast: "a plain child keeps the creator's",
	Try:      "echo 1111 > /proc/sys/kernel/msgmax; cat /proc/sys/kernel/msgmax; unshare --ipc cat /proc/sys/kernel/msgmax",
	Shows:    "1111\n8192",
}, func(ctx SpecContext) {
	// The creator's setting and the kernel's default of each.
	settings := map[string][2]string{
		"msgmax": {"1111", "8192"}, "msgmnb": {"2222", "16384"}, "msgmni": {"33", "32000"}, "shmmni": {"77", "4096"}, "shm_rmid_forced": {"1", "0"},
		"shmmax": {"4444", "18446744073692774399"}, "shmall": {"5555", "18446744073692774399"},
		"sem": {"9\t99\t9\t9", "32000\t1024000000\t500\t32000"},
	}
	creator := harness.Start(ctx, harness.New(namespace.IPC))
	for name, values := range settings {
		harness.Must(creator.WriteFile("/proc/sys/kernel/"+name, values[0]))
	}
	fresh := harness.Start(ctx, harness.Under(creator), harness.New(namespace.IPC))
	plain := creator.Fork(ctx)
	read := func(sb *harness.Sandbox, name string) string {
		return strings.TrimSpace(harness.Got(sb.ReadFile("/proc/sys/kernel/" + name)))
	}
	for name, values := range settings {
		got, kept := read(fresh, name), read(plain, name)
		claim.Evidence("%s: in a new namespace %q; of a plain child %q", name, got, kept)
		Expect(got).To(Equal(values[1]), "%s of a new IPC namespace whose creator had %s", name, values[0])
		Expect(kept).To(Equal(values[0]), "contrast: %s of a plain child", name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/mqueue-sysctls-start-at-kernel-defaults",
	Text:     "The limits of POSIX queues in a new IPC namespace are the kernel's built-in ones, not its creator's settings.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", ""), claim.Man("mq_overview(7)", "/proc interfaces")},
	Needs:    claim.Needs{ipcNeed, mqueue, claim.File("/proc/sys/fs/mqueue/msg_max", "CONFIG_POSIX_MQUEUE_SYSCTL"), ipcSysctls},
	Contrast: "a plain child keeps the creator's",
	Try:      "echo 7 > /proc/sys/fs/mqueue/msg_max; cat /proc/sys/fs/mqueue/msg_max; unshare --ipc cat /proc/sys/fs/mqueue/msg_max",
	Shows:    "7\n10",
}, func(ctx SpecContext) {
	settings := map[string][2]string{"msg_max": {"7", "10"}, "msgsize_max": {"777", "8192"}, "queues_max": {"77", "256"}, "msg_default": {"3", "10"}, "msgsize_default": {"333", "8192"}}
	creator := harness.Start(ctx, harness.New(namespace.IPC))
	for name, values := range settings {
		harness.Must(creator.WriteFile("/proc/sys/fs/mqueue/"+name, values[0]))
	}
	fresh := harness.Start(ctx, harness.Under(creator), harness.New(namespace.IPC))
	plain := creator.Fork(ctx)
	read := func(sb *harness.Sandbox, name string) string {
		return strings.TrimSpace(harness.Got(sb.ReadFile("/proc/sys/fs/mqueue/" + name)))
	}
	for name, values := range settings {
		got, kept := read(fresh, name), read(plain, name)
		claim.Evidence("%s: in a new namespace %s; of a plain child %s", name, got, kept)
		Expect(got).To(Equal(values[1]), "%s of a new IPC namespace whose creator had %s", name, values[0])
		Expect(kept).To(Equal(values[0]), "contrast: %s of a plain child", name)
	}
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/mqueue-sysctls-per-namespace",
	Text:     "The /proc/sys/fs/mqueue limits are separate in each IPC namespace.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", ""), claim.Man("mq_overview(7)", "")},
	Needs:    claim.Needs{ipcNeed, mqueue, claim.File("/proc/sys/fs/mqueue/msg_max", "CONFIG_POSIX_MQUEUE_SYSCTL")},
	Contrast: "host value unchanged",
	Try:      "unshare --ipc sh -c 'echo 20 > /proc/sys/fs/mqueue/msg_max; cat /proc/sys/fs/mqueue/msg_max'; cat /proc/sys/fs/mqueue/msg_max",
	Shows:    "20\n10",
}, func(ctx SpecContext) {
	const path = "/proc/sys/fs/mqueue/msg_max"
	host := harness.Start(ctx, harness.New(namespace.IPC))
	before := harness.Got(host.ReadFile(path))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.IPC))
	Expect(inside.WriteFile(path, "20")).To(Succeed(), "writing %s in an IPC namespace", path)
	own, after := strings.TrimSpace(harness.Got(inside.ReadFile(path))), harness.Got(host.ReadFile(path))
	claim.Evidence("inside: %s; outside: %s", own, strings.TrimSpace(after))
	Expect(own).To(Equal("20"), "msg_max where it was written")
	Expect(after).To(Equal(before), "contrast: msg_max of the namespace outside")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/posix-shm-follows-mount-not-ipc",
	Text:     "POSIX shared memory (files in /dev/shm) is isolated by the mount namespace, not by the IPC namespace.",
	Source:   claim.Sources{claim.Man("ipc_namespaces(7)", ""), claim.Man("shm_overview(7)", "")},
	Needs:    claim.Needs{ipcNeed, claim.Namespace(namespace.Mount)},
	Contrast: "hidden by an own tmpfs on /dev/shm",
	Try:      "touch /dev/shm/x; unshare --ipc ls /dev/shm; unshare --mount sh -c 'mount -t tmpfs t /dev/shm; ls /dev/shm'",
	Shows:    "x",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	// A directory stands for /dev/shm, which not every machine has.
	shm := host.MkdirTemp()
	harness.Must(host.CreateFile(shm+"/object", "shared"))
	ipc := harness.Start(ctx, harness.Under(host), harness.New(namespace.IPC))
	content, err := ipc.ReadFile(shm + "/object")
	mount := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	harness.Must(mount.Mount("tmpfs", shm, "tmpfs", 0, ""))
	_, hidden := mount.Stat(shm + "/object")
	claim.Evidence("after CLONE_NEWIPC: %q %v; with an own tmpfs: %v", content, err, hidden)
	Expect(err).NotTo(HaveOccurred(), "a shared memory file after CLONE_NEWIPC")
	Expect(hidden).To(harness.FailWith(unix.ENOENT), "contrast: with an own tmpfs there")
})

var _ = claim.It(claim.Claim{
	ID:       "ipc/unshare-applies-semaphore-undo",
	Text:     "unshare(CLONE_NEWIPC) applies the caller's pending SEM_UNDO adjustments, as an exit would.",
	Source:   claim.Sources{claim.Man("unshare(2)", "CLONE_NEWIPC, CLONE_SYSVSEM")},
	Needs:    claim.Needs{ipcNeed, sysvipc},
	Contrast: "it was 5 before",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.IPC))
	id := harness.Got(semget(host, unix.IPC_CREAT|0o600))
	op := binary.NativeEndian.AppendUint16(nil, 0)
	op = binary.NativeEndian.AppendUint16(op, 5)
	op = binary.NativeEndian.AppendUint16(op, semUndo)
	value := func() int {
		return int(harness.Got(host.Syscall("semctl(GETVAL)", unix.SYS_SEMCTL, id, 0, semGetVal, 0)))
	}
	raise := func() *harness.Sandbox {
		sb := host.Fork(ctx)
		harness.Got(sb.Syscall("semop", unix.SYS_SEMOP, id, op, 1))
		return sb
	}
	leaver := raise()
	leaver.Exit(0)
	harness.Got(host.Wait(leaver))
	left := value()
	member := raise()
	before := value()
	Expect(member.Unshare(unix.CLONE_NEWIPC)).To(Succeed(), "unshare(CLONE_NEWIPC)")
	after := value()
	claim.Evidence("semaphore after the exit of a process that raised it: %d; raised by another: %d; after that one's unshare(CLONE_NEWIPC): %d", left, before, after)
	Expect(left).To(Equal(0), "the semaphore after the exit of a process with an undo of 5")
	Expect(after).To(Equal(0), "the semaphore after unshare(CLONE_NEWIPC) of a live process with an undo of 5")
	Expect(before).To(Equal(5), "contrast: before")
})
