// Package rootfs puts root filesystems on the stage for specs to enter: the
// fixtures, unpacked once, and small jails. It knows nothing of what is
// claimed about them.
package rootfs

import (
	"context"
	"os"

	"bulkhead/fixtures"
	"bulkhead/harness"
)

// Root is a root filesystem on the stage. Specs do not write to it.
type Root struct {
	// Name is the fixture's name, ID the ID= of its os-release.
	Name, ID string
	// Dir is its path on the stage.
	Dir string
}

var unpacked = map[string]Root{}

// Each returns every fixture that is present, unpacked on the stage. One that
// cannot be unpacked ends the spec as broken.
func Each(ctx context.Context) []Root {
	all, err := fixtures.All()
	harness.Must(err)
	roots := make([]Root, len(all))
	for i, f := range all {
		roots[i] = unpack(ctx, f)
	}
	return roots
}

// Tiny returns tiny-linux, unpacked on the stage.
func Tiny(ctx context.Context) Root { return unpack(ctx, fixtures.Tiny{}) }

func unpack(ctx context.Context, f fixtures.Fixture) Root {
	stage := harness.Got(harness.CurrentStage())
	dir := stage.Scratch + "/" + f.Name()
	if root, done := unpacked[f.Name()]; done {
		// A stage that died took its files along.
		if _, err := os.Stat(stage.Outside(dir)); err == nil {
			return root
		}
	}
	harness.Must(os.Mkdir(stage.Outside(dir), 0o755))
	harness.Must(f.Unpack(ctx, stage.Outside(dir)))
	unpacked[f.Name()] = Root{f.Name(), f.OSReleaseID(), dir}
	return unpacked[f.Name()]
}

// Jail makes a new directory on the stage with the files /marker and
// /etc/os-release (ID=jail) and the empty directories /proc, /sys, /dev, /tmp
// and /sub in it.
func Jail(ctx context.Context) string {
	host := harness.Host(ctx)
	dir := host.MkdirTemp()
	for _, d := range []string{"proc", "sys", "dev", "tmp", "sub", "etc"} {
		harness.Must(host.Mkdir(dir + "/" + d))
	}
	harness.Must(host.CreateFile(dir+"/marker", "inside the jail\n"))
	harness.Must(host.CreateFile(dir+"/etc/os-release", "ID=jail\n"))
	return dir
}
