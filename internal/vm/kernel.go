// Package vm boots kernels in QEMU with bulkhead as their first process and
// brings back what the run inside found. It refuses to know what a claim says.
package vm

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"bulkhead/internal/vm/debian"
	"bulkhead/internal/vm/kmod"
)

// Kernel is a kernel that can be booted: its image and the first part of an
// initramfs with its modules and configuration.
type Kernel struct {
	// Name is what the user called it.
	Name string `json:"-"`
	// Arch is its GOARCH.
	Arch string `json:"arch"`
	// Release is as in uname -r, empty when only the image is known.
	Release string `json:"release"`
	// Modules counts the modules that are loaded in the guest.
	Modules int `json:"modules"`

	Image []byte `json:"-"`
	Base  []byte `json:"-"`
}

// Finder finds kernels.
type Finder struct {
	// Mirror is a Debian mirror, a URL or a folder; DefaultMirror when empty.
	Mirror string
	// Cache is the folder for downloads and unpacked kernels; CacheDir when
	// empty.
	Cache string
	// Arch is the GOARCH to take when a name leaves it open.
	Arch     string
	Offline  bool
	Progress io.Writer
}

// CacheDir is the folder for kernels in the user's cache folder.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		// A guest, a container or a service may have no HOME.
		return filepath.Join(os.TempDir(), fmt.Sprintf("bulkhead-cache-%d", os.Getuid())), nil
	}
	return filepath.Join(dir, "bulkhead", "vm"), nil
}

// Find returns the kernel that name means: a kernel image, a kernel build
// tree, a .deb, or debian:SUITE[/FLAVOUR][/ARCH].
func (f Finder) Find(ctx context.Context, name string) (*Kernel, error) {
	if f.Cache == "" {
		var err error
		if f.Cache, err = CacheDir(); err != nil {
			return nil, err
		}
	}
	k, err := f.find(ctx, name)
	if err != nil {
		return nil, err
	}
	k.Name = name
	if f.Arch != "" && k.Arch != f.Arch {
		return nil, fmt.Errorf("kernel %s is for %s, not for %s", name, k.Arch, f.Arch)
	}
	return k, nil
}

func (f Finder) find(ctx context.Context, name string) (*Kernel, error) {
	if spec, ok := strings.CutPrefix(name, "debian:"); ok {
		return f.fromArchive(ctx, spec)
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("kernel %s: no such file; a kernel is a vmlinuz, bzImage or Image file, a kernel build tree, a .deb or debian:SUITE[/FLAVOUR][/ARCH]", name)
	case err != nil:
		return nil, fmt.Errorf("kernel %w", err)
	case info.IsDir():
		return fromTree(name)
	case strings.HasSuffix(name, ".deb"):
		return f.fromPackages(ctx, name)
	}
	return fromImage(name)
}

var debianArch = regexp.MustCompile(`^(amd64|arm64|riscv64)$`)

// parseDebian reads SUITE[/FLAVOUR][/ARCH].
func parseDebian(spec, arch string) (suite, flavour, outArch string, err error) {
	if arch == "" {
		arch = runtime.GOARCH
	}
	parts := strings.Split(spec, "/")
	suite = parts[0]
	for _, p := range parts[1:] {
		if debianArch.MatchString(p) {
			arch = p
		} else if flavour == "" && p != "" {
			flavour = p
		} else {
			suite = ""
		}
	}
	if !regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(suite) || !regexp.MustCompile(`^[a-z0-9-]*$`).MatchString(flavour) {
		return "", "", "", fmt.Errorf("kernel debian:%s: it is debian:SUITE[/FLAVOUR][/ARCH], as debian:bookworm or debian:trixie-backports/cloud/arm64", spec)
	}
	if flavour == "" {
		// The cloud flavour is the small one; riscv64 has none.
		flavour = "cloud"
		if arch == "riscv64" {
			flavour = "generic"
		}
	}
	return suite, flavour, arch, nil
}

// parts of a kernel in Debian's packages.
var kernelPackages = regexp.MustCompile(`^linux-((image|binary|modules)-|base-[0-9])`)

func (f Finder) fromArchive(ctx context.Context, spec string) (*Kernel, error) {
	suite, flavour, arch, err := parseDebian(spec, f.Arch)
	if err != nil {
		return nil, err
	}
	m := f.mirror()
	name := "linux-image-" + flavour + "-" + arch
	if flavour == "generic" {
		name = "linux-image-" + arch
	}
	packages, err := m.Resolve(ctx, suite, arch, name, kernelPackages)
	if err != nil {
		return nil, fmt.Errorf("kernel debian:%s: %w", spec, err)
	}
	sum := sha256.New()
	for _, p := range packages {
		fmt.Fprintln(sum, p.SHA256)
	}
	return f.cached(sum.Sum(nil), func() (*Kernel, error) {
		var paths []string
		for _, p := range packages {
			path, err := m.Fetch(ctx, p)
			if err != nil {
				return nil, fmt.Errorf("kernel debian:%s: %w", spec, err)
			}
			paths = append(paths, path)
		}
		return fromDebs(paths)
	})
}

func (f Finder) mirror() *debian.Mirror {
	base := f.Mirror
	if base == "" {
		base = DefaultMirror()
	}
	return &debian.Mirror{Base: base, Cache: filepath.Join(f.Cache, "debian"), Offline: f.Offline, Progress: f.Progress}
}

// fromPackages unpacks a .deb with what it depends on: packages of the same
// version beside it.
func (f Finder) fromPackages(ctx context.Context, path string) (*Kernel, error) {
	have := map[string]string{}
	first, err := debian.ReadControl(path)
	if err != nil {
		return nil, fmt.Errorf("kernel %w", err)
	}
	beside, err := filepath.Glob(filepath.Join(filepath.Dir(path), "linux-*.deb"))
	if err != nil {
		return nil, err
	}
	for _, b := range beside {
		name, _, _ := strings.Cut(filepath.Base(b), "_")
		have[name] = b
	}
	paths, seen, missing := []string{path}, map[string]bool{first.Package: true}, []string{}
	for todo := first.Depends; len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if seen[name] || !kernelPackages.MatchString(name) {
			continue
		}
		seen[name] = true
		other, ok := have[name]
		if !ok {
			// The configuration alone is no reason to give up.
			if !strings.HasPrefix(name, "linux-base-") {
				missing = append(missing, name)
			}
			continue
		}
		control, err := debian.ReadControl(other)
		if err != nil {
			return nil, fmt.Errorf("kernel %w", err)
		}
		paths = append(paths, other)
		todo = append(todo, control.Depends...)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("kernel %s: it depends on %s: put the package files beside it", path, strings.Join(missing, " and "))
	}
	sum := sha256.New()
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		file, err := os.Open(p)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(sum, file)
		file.Close()
		if err != nil {
			return nil, err
		}
	}
	return f.cached(sum.Sum(nil), func() (*Kernel, error) { return fromDebs(paths) })
}

// cached keeps a kernel unpacked: its image and modules ready to boot.
func (f Finder) cached(digest []byte, unpack func() (*Kernel, error)) (*Kernel, error) {
	// Another choice of modules makes another base.
	sum := sha256.Sum256(append(digest, usefulModules.String()+strings.Join(wantedModules, " ")+kmod.Rules...))
	dir := filepath.Join(f.Cache, "kernels", hex.EncodeToString(sum[:16]))
	read := func() (*Kernel, error) {
		k := &Kernel{}
		about, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(about, k); err != nil {
			return nil, err
		}
		if k.Image, err = os.ReadFile(filepath.Join(dir, "image")); err != nil {
			return nil, err
		}
		k.Base, err = os.ReadFile(filepath.Join(dir, "base.cpio"))
		return k, err
	}
	if k, err := read(); err == nil {
		return k, nil
	}
	k, err := unpack()
	if err != nil {
		return nil, err
	}
	if err := k.keep(dir); err != nil {
		return nil, fmt.Errorf("keep the kernel in the cache: %w", err)
	}
	return k, nil
}

// keep writes the kernel to a folder that appears whole or not at all.
func (k *Kernel) keep(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	about, err := json.Marshal(k)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"kernel.json": about, "image": k.Image, "base.cpio": k.Base} {
		if err := os.WriteFile(filepath.Join(part, name), content, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(part, 0o755); err != nil {
		return err
	}
	if err := os.Rename(part, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// usefulModules leaves out the drivers that nothing here needs; the generic
// flavour has thousands of them.
var usefulModules = regexp.MustCompile(`/kernel/(arch|block|crypto|fs|lib|mm|net|security|drivers/(virtio|char|block|vhost|net/[^/]*\.ko|net/(vxlan|wireguard|ipvlan|netdevsim|bonding|team|ovpn)|tty|ptp|tap))`)

// fromDebs unpacks a kernel from its packages.
func fromDebs(paths []string) (*Kernel, error) {
	var image, config []byte
	var imagePath string
	modules := kmod.NewSet()
	for _, p := range paths {
		err := debian.Walk(p, func(h *tar.Header, content io.Reader) (err error) {
			if h.Typeflag != tar.TypeReg {
				return nil
			}
			base := filepath.Base(h.Name)
			switch {
			case strings.HasPrefix(base, "vmlinu") && (strings.HasPrefix(h.Name, "boot/") || strings.Contains(h.Name, "lib/modules/")):
				imagePath = h.Name
				image, err = io.ReadAll(content)
			case strings.HasPrefix(h.Name, "boot/config-"), strings.HasSuffix(h.Name, "/config") && strings.Contains(h.Name, "lib/modules/"):
				config, err = io.ReadAll(content)
			case kmod.IsModule(base) && usefulModules.MatchString(h.Name):
				var raw []byte
				if raw, err = io.ReadAll(content); err == nil {
					modules.Add(h.Name, func() ([]byte, error) { return raw, nil })
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if image == nil {
		return nil, fmt.Errorf("%s: there is no kernel image in it", strings.Join(paths, ", "))
	}
	// boot/vmlinuz-RELEASE or usr/lib/modules/RELEASE/vmlinuz.
	release, ok := strings.CutPrefix(imagePath, "boot/vmlinuz-")
	if !ok {
		release = filepath.Base(filepath.Dir(imagePath))
	}
	return assemble(paths[0], image, release, config, modules)
}

// fromImage takes a bare image, with the modules that lie where the image's
// machine keeps them, if there are any.
func fromImage(path string) (*Kernel, error) {
	image, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("kernel %w", err)
	}
	modules, release := kmod.NewSet(), ""
	var config []byte
	if r, ok := strings.CutPrefix(filepath.Base(path), "vmlinuz-"); ok {
		release = r
		config, _ = os.ReadFile(filepath.Join(filepath.Dir(path), "config-"+r))
		root := filepath.Dir(filepath.Dir(path))
		for _, lib := range []string{"lib/modules", "usr/lib/modules"} {
			if err := addModules(modules, filepath.Join(root, lib, r)); err != nil {
				return nil, err
			}
		}
	}
	return assemble(path, image, release, config, modules)
}

// fromTree takes a kernel build tree.
func fromTree(dir string) (*Kernel, error) {
	var image []byte
	var path string
	for _, candidate := range []string{"arch/x86/boot/bzImage", "arch/arm64/boot/Image", "arch/riscv/boot/Image"} {
		raw, err := os.ReadFile(filepath.Join(dir, candidate))
		if err == nil {
			image, path = raw, filepath.Join(dir, candidate)
			break
		}
	}
	if image == nil {
		return nil, fmt.Errorf("kernel %s: a folder without arch/x86/boot/bzImage, arch/arm64/boot/Image or arch/riscv/boot/Image: not a built kernel tree", dir)
	}
	config, _ := os.ReadFile(filepath.Join(dir, ".config"))
	release, _ := os.ReadFile(filepath.Join(dir, "include/config/kernel.release"))
	modules := kmod.NewSet()
	if err := addModules(modules, dir); err != nil {
		return nil, err
	}
	return assemble(path, image, strings.TrimSpace(string(release)), config, modules)
}

// addModules adds every module below a folder. A folder that is not there has
// none.
func addModules(set *kmod.Set, dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		if entry.Type().IsRegular() && kmod.IsModule(path) {
			set.Add(path, func() ([]byte, error) { return os.ReadFile(path) })
		}
		return nil
	})
}

func assemble(from string, image []byte, release string, config []byte, modules *kmod.Set) (*Kernel, error) {
	arch, unpacked, err := inspect(image)
	if err != nil {
		return nil, fmt.Errorf("kernel %s %w", from, err)
	}
	if err := checkConfig(config); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", from, err)
	}
	order, err := modules.Closure(wantedModules)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", from, err)
	}
	base, err := baseArchive(release, config, order)
	if err != nil {
		return nil, err
	}
	return &Kernel{Arch: arch, Release: release, Modules: len(order), Image: unpacked, Base: base}, nil
}

// checkConfig refuses a kernel that could not even start the guest.
func checkConfig(config []byte) error {
	if len(config) == 0 {
		return nil
	}
	for _, needed := range guestOptions {
		if !bytes.Contains(config, []byte("\n"+needed.option+"=y\n")) {
			return fmt.Errorf("%s is not set: %s", needed.option, needed.without)
		}
	}
	return nil
}

// guestOptions are what the guest's first process and bulkhead itself cannot do
// without.
var guestOptions = []struct{ option, without string }{
	{"CONFIG_BLK_DEV_INITRD", "it cannot boot from an initramfs"},
	{"CONFIG_BINFMT_ELF", "it cannot run programs"},
	{"CONFIG_FUTEX", "it cannot run Go programs"},
	{"CONFIG_EPOLL", "it cannot run Go programs"},
	{"CONFIG_PROC_FS", "it has no /proc"},
	{"CONFIG_SYSFS", "it has no /sys"},
	{"CONFIG_DEVTMPFS", "it has no /dev"},
	{"CONFIG_TMPFS", "it has no tmpfs to work in"},
	{"CONFIG_NET", "it has no sockets, by which bulkhead drives its processes"},
	{"CONFIG_MULTIUSER", "it has no users, and no namespaces without them"},
	{"CONFIG_NAMESPACES", "it has no namespaces"},
	{"CONFIG_UNIX", "it has no UNIX sockets, by which bulkhead drives its processes"},
}
