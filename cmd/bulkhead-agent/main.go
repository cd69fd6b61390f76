// Command bulkhead-agent is the program inside sandboxes. The harness carries
// it embedded and runs it from memory; nobody else does.
package main

import (
	"fmt"
	"os"

	"bulkhead/harness/agent"
)

func main() {
	switch os.Args[0] {
	case agent.StageName:
		os.Exit(agent.Stage())
	case agent.CallerName:
		os.Exit(agent.Caller())
	case agent.ProbeName:
		os.Exit(agent.Serve())
	}
	fmt.Fprintln(os.Stderr, "bulkhead-agent is started by bulkhead, not by hand")
	os.Exit(2)
}
