package harness

import (
	"errors"
	"runtime"

	"bulkhead/internal/memory"
)

// Program is the agent's executable.
var Program = memory.NewFile("bulkhead-agent", "BULKHEAD_AGENT", func() ([]byte, error) {
	image, err := embedded.ReadFile("agent/embedded/" + runtime.GOARCH + "/bulkhead-agent")
	if err != nil {
		return nil, errors.New("the agent is not built into this binary: run make")
	}
	return image, nil
})
