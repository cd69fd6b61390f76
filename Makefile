agent:
	CGO_ENABLED=0 go build -ldflags '-s -w' -trimpath -o harness/agent/embedded/amd64/bulkhead-agent ./cmd/bulkhead-agent
