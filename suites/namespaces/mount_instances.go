package namespaces

import (
	"context"
	"encoding/binary"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

// newDevpts mounts a devpts instance and returns where.
func newDevpts(sb *harness.Sandbox) (string, error) {
	dir := sb.MkdirTemp()
	return dir, sb.Mount("devpts", dir, "devpts", 0, "ptmxmode=0666")
}

var devptsNeed = claim.Feature("devpts", "4.7", []string{"CONFIG_UNIX98_PTYS"}, func(ctx context.Context) error {
	sb, err := harness.TryStart(ctx, harness.New(namespace.Mount))
	if err != nil {
		return err
	}
	_, err = newDevpts(sb)
	return err
})

// newPTY opens the instance's ptmx and returns the number of the new terminal.
func newPTY(sb *harness.Sandbox, instance string) int {
	fd := harness.Got(sb.Open(instance+"/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0))
	number := make([]byte, 4)
	harness.Got(sb.Ioctl(fd, unix.TIOCGPTN, number))
	return int(binary.NativeEndian.Uint32(number))
}

var _ = claim.It(claim.Claim{
	ID:       "mount/devpts-instances-independent",
	Text:     "Every devpts mount is an instance of its own that numbers its terminals from 0.",
	Source:   claim.Sources{claim.Doc("kernel devpts.rst", ""), claim.Man("pts(4)", "")},
	Needs:    claim.Needs{mountNeed, devptsNeed},
	Contrast: "a second terminal of one instance is number 1; a bind mount shows the first instance's",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	one, two, three := harness.Got(newDevpts(sb)), harness.Got(newDevpts(sb)), harness.Got(newDevpts(sb))
	bound := sb.MkdirTemp()
	harness.Must(sb.Bind(one, bound, 0))
	first, second := newPTY(sb, one), newPTY(sb, one)
	other := newPTY(sb, two)
	list := func(dir string) []string { return harness.Got(sb.ReadDir(dir)) }
	claim.Evidence("first instance: terminals %d and %d; second: %d; listed: %q, %q, third %q, bind mount of the first %q",
		first, second, other, list(one), list(two), list(three), list(bound))
	Expect(first).To(Equal(0), "the number of the first terminal of a new devpts instance")
	Expect(other).To(Equal(0), "the number of the first terminal of a second devpts instance")
	Expect(list(two)).To(ConsistOf("ptmx", "0"), "the files of the second instance, which has one terminal")
	Expect(list(three)).To(ConsistOf("ptmx"), "the files of an instance without a terminal")
	Expect(second).To(Equal(1), "contrast: the number of the second terminal of the first instance")
	Expect(list(bound)).To(ConsistOf("ptmx", "0", "1"), "contrast: the first instance, bind mounted")
})

// idmap mounts source once more at target, with the IDs shifted as the maps of
// the member's user namespace say: an Inside of a file shows as its Outside.
func idmap(sb, member *harness.Sandbox, source, target string) error {
	users := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/user", member.PID()), unix.O_RDONLY, 0))
	tree, err := sb.Syscall("open_tree(OPEN_TREE_CLONE)", unix.SYS_OPEN_TREE, unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE)
	if err != nil {
		return err
	}
	attr := make([]byte, 32)
	binary.NativeEndian.PutUint64(attr, unix.MOUNT_ATTR_IDMAP)
	binary.NativeEndian.PutUint64(attr[24:], uint64(users))
	if _, err := sb.Syscall("mount_setattr(MOUNT_ATTR_IDMAP)", unix.SYS_MOUNT_SETATTR, tree, "", unix.AT_EMPTY_PATH, attr, len(attr)); err != nil {
		return err
	}
	_, err = sb.Syscall("move_mount", unix.SYS_MOVE_MOUNT, tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	return err
}

// shifted are an own tmpfs, and the same ID-mapped: 1000 shows as 2000.
func shifted(ctx context.Context, sb *harness.Sandbox) (plain, mapped string, err error) {
	plain, mapped = sb.MkdirTemp(), sb.MkdirTemp()
	if err := sb.Mount("plain", plain, "tmpfs", 0, "mode=0777,uid=1000,gid=1000"); err != nil {
		return "", "", err
	}
	ids := []harness.Mapping{{Inside: 1000, Outside: 2000, Size: 1}}
	member := harness.Start(ctx, harness.New(namespace.User), harness.WithIDs(ids, ids))
	return plain, mapped, idmap(sb, member, plain, mapped)
}

var idmapNeed = claim.Feature("ID-mapped tmpfs mounts", "6.3", []string{"CONFIG_TMPFS", "CONFIG_USER_NS"}, func(ctx context.Context) error {
	_, _, err := shifted(ctx, harness.Start(ctx, harness.New(namespace.Mount)))
	return err
})

var _ = claim.It(claim.Claim{
	ID:       "mount/idmapped-mount-shifts-owners",
	Text:     "An ID-mapped mount shows and stores shifted owners through that mount only; files of owners without mapping read as the overflow ID's and cannot be written (EACCES).",
	Source:   claim.Sources{claim.Man("mount_setattr(2)", "ID-mapped mounts")},
	Needs:    claim.Needs{claim.Root, userNeed, mountNeed, idmapNeed},
	Contrast: "the original mount shows the owners as they are stored",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.Mount))
	plain, mapped, err := shifted(ctx, sb)
	harness.Must(err)
	harness.Must(sb.CreateFile(plain+"/old", ""))
	harness.Must(sb.Chown(plain+"/old", 1000, 1000))
	harness.Must(sb.CreateFile(plain+"/foreign", ""))
	harness.Must(sb.Chown(plain+"/foreign", 3000, 3000))
	harness.Must(sb.Chmod(plain+"/foreign", 0o666))
	writer := sb.Fork(ctx)
	harness.Must(writer.SetIDs(2000, 2000))
	created := writer.CreateFile(mapped+"/new", "")
	foreign, through := writer.WriteFile(mapped+"/foreign", "x"), writer.WriteFile(plain+"/foreign", "x")
	owner := func(path string) string {
		f := harness.Got(sb.Stat(path))
		return fmt.Sprintf("%d:%d", f.UID, f.GID)
	}
	claim.Evidence("stored as 1000: %s through the ID-mapped mount; stored as 3000: %s; created there by 2000: %v; writing 3000's: %v", owner(mapped+"/old"), owner(mapped+"/foreign"), created, foreign)
	Expect(owner(mapped+"/old")).To(Equal("2000:2000"), "the owner of 1000's file through a mount that maps 1000 to 2000")
	Expect(owner(mapped+"/foreign")).To(Equal(fmt.Sprintf("%d:%d", sysctlNumber("kernel.overflowuid"), sysctlNumber("kernel.overflowgid"))), "the owner of 3000's file through a mount that does not map 3000")
	Expect(created).NotTo(HaveOccurred(), "creating a file as 2000 through a mount that maps 1000 to 2000")
	Expect(owner(plain+"/new")).To(Equal("1000:1000"), "the stored owner of a file that 2000 created through a mount that maps 1000 to 2000")
	Expect(foreign).To(MatchError(unix.EACCES), "writing a file for everybody of 3000's through a mount that does not map 3000")
	Expect(through).NotTo(HaveOccurred(), "contrast: writing it through the original mount")
	Expect(owner(plain+"/old")).To(Equal("1000:1000"), "contrast: the owner of 1000's file through the original mount")
})
