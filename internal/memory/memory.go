// Package memory keeps contents in memory files, which no crash leaves behind, and
// lets every process of a run find those that the first has made. It refuses to
// know what the contents are.
package memory

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// File is a memory file that this process was told of or makes.
type File struct {
	name, variable string
	fill           func() ([]byte, error)
	file           func() (*os.File, error)
}

// NewFile is a file with a name for /proc/PID/maps and an environment variable
// for its path. fill is called where the variable leads nowhere.
func NewFile(name, variable string, fill func() ([]byte, error)) *File {
	f := &File{name: name, variable: variable, fill: fill}
	f.file = sync.OnceValues(f.open)
	return f
}

// Get returns the file, which is the same for all callers and stays open.
func (f *File) Get() (*os.File, error) { return f.file() }

// Share is the environment by which child processes find the file, as long as
// this process lives.
func (f *File) Share() (string, error) {
	file, err := f.file()
	if err != nil {
		return "", err
	}
	// The number of this process in the mounted /proc, which may be an outer PID
	// namespace's.
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s=/proc/%s/fd/%d", f.variable, self, file.Fd()), nil
}

func (f *File) open() (*os.File, error) {
	path := os.Getenv(f.variable)
	if target, err := os.Readlink(path); err == nil && target == "/memfd:"+f.name+" (deleted)" {
		if file, err := os.Open(path); err == nil {
			return file, nil
		}
	}
	content, err := f.fill()
	if err != nil {
		return nil, err
	}
	return Create(f.name, content)
}

// Create makes a memory file, which may be executed.
func Create(name string, content []byte) (*os.File, error) {
	// Where vm.memfd_noexec is set an executable memory file has to be asked
	// for; kernels before 6.3 do not know the flag.
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create for %s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.Write(content); err != nil {
		file.Close()
		return nil, fmt.Errorf("write %s to memory: %w", name, err)
	}
	return file, nil
}
