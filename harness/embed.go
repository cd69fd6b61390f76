package harness

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// program is a descriptor of the agent's executable, in memory.
var program = sync.OnceValues(func() (*os.File, error) {
	name := "agent/embedded/" + runtime.GOARCH + "/bulkhead-agent"
	image, err := embedded.ReadFile(name)
	if err != nil {
		return nil, errors.New("the agent is not built into this binary: run make")
	}
	// Where vm.memfd_noexec is set an executable memory file has to be asked
	// for; kernels before 6.3 do not know the flag.
	fd, err := unix.MemfdCreate("bulkhead-agent", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("bulkhead-agent", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create for the agent: %w", err)
	}
	f := os.NewFile(uintptr(fd), "bulkhead-agent")
	if _, err := f.Write(image); err != nil {
		return nil, fmt.Errorf("write the agent to memory: %w", err)
	}
	return f, nil
})
