package namespaces

import (
	"context"
	"errors"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

// onInitramfs starts a process at the first root of the machine, which lies
// under what was mounted over it: in a mount namespace of its own, where those
// roots are detached.
func onInitramfs(ctx context.Context) (*harness.Sandbox, error) {
	sb, err := harness.TryStart(ctx, harness.New(namespace.Mount))
	if err != nil {
		return nil, err
	}
	own, err := sb.OpenNamespace(namespace.Mount)
	if err != nil {
		return nil, err
	}
	proc, err := sb.Open("/proc", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	// Joining goes to the topmost root, and the first cannot be detached.
	for range 16 {
		if err != nil {
			break
		}
		if err = sb.Setns(own, unix.CLONE_NEWNS); err != nil {
			return nil, err
		}
		err = sb.Umount("/", unix.MNT_DETACH)
	}
	if !errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("the lowest of the roots over each other was not reached: %v", err)
	}
	fd, err := sb.OpenAt(proc, "self/mountinfo", unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := sb.Read(fd, 1<<16)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(info)) {
		f := strings.Fields(line)
		_, kind, _ := strings.Cut(line, " - ")
		if len(f) > 4 && f[4] == "/" && !strings.HasPrefix(kind, "rootfs ") {
			return nil, fmt.Errorf("the root of the mount namespace is no initial ramfs but %q", strings.TrimSpace(kind))
		}
	}
	return sb, nil
}

var initramfsNeed = &claim.Need{
	Name: "an initial ramfs under the root",
	Try: func(ctx context.Context) error {
		_, err := onInitramfs(ctx)
		return err
	},
}

var _ = claim.It(claim.Claim{
	ID:       "mount/pivot-root-refused-on-initramfs",
	Text:     "When the current root is the initial ramfs, pivot_root(2) fails with EINVAL.",
	Source:   claim.Sources{claim.Man("pivot_root(2)", "ERRORS"), claim.Man("pivot_root(2)", "NOTES")},
	Needs:    claim.Needs{mountNeed, claim.Root, initramfsNeed},
	Contrast: "works after what switch_root(8) does",
}, func(ctx SpecContext) {
	sb := harness.Got(onInitramfs(ctx))
	// The initial ramfs is every namespace's: nothing is made in it.
	root := ""
	for _, name := range harness.Got(sb.ReadDir("/")) {
		if sb.Mount("x", "/"+name, "tmpfs", 0, "") == nil {
			root = "/" + name
			break
		}
	}
	if root == "" {
		harness.Broken("the initial ramfs has no directory to mount on")
	}
	harness.Must(sb.Mkdir(root + "/old"))
	refused := sb.PivotRoot(root, root+"/old")
	harness.Must(sb.Chdir(root))
	harness.Must(sb.Mount(".", "/", "", unix.MS_MOVE, ""))
	harness.Must(sb.Chroot("."))
	next := subMount(sb, "", "next")
	harness.Must(sb.Mkdir(next + "/old"))
	allowed := sb.PivotRoot(next, next+"/old")
	claim.Evidence("on the initial ramfs: %v; after switch_root: %v", refused, allowed)
	Expect(refused).To(harness.FailWith(unix.EINVAL), "pivot_root(2) with the initial ramfs as the current root")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: pivot_root(2) once another mount was moved over the initial ramfs")
})
