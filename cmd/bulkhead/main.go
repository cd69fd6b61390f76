// Command bulkhead checks that a Linux kernel keeps the promises that
// containers stand on.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bulkhead/internal/lie"
	"bulkhead/internal/peer"
	"bulkhead/internal/run"
	"bulkhead/internal/vm"
	"bulkhead/internal/vm/guest"

	_ "bulkhead/suites/chroot"
	_ "bulkhead/suites/namespaces"
	_ "bulkhead/suites/network"
	_ "bulkhead/suites/proc"
)

// version is set when a release is built.
var version = "devel"

// usageError is wrong usage: one line, exit status 2.
func usageError(err error) error { return &statusError{err, 2} }

// exitStatus ends the command with a status and nothing more to say.
func exitStatus(status int) error { return &statusError{nil, status} }

type statusError struct {
	err    error
	status int
}

func (e *statusError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

func main() {
	guest.Main()
	vm.ReaperMain()
	peer.Main()
	lie.Main()
	if os.Args[0] == shellName {
		os.Exit(guestShell())
	}
	if os.Args[0] == run.WorkerName {
		os.Exit(run.Work())
	}
	os.Exit(execute())
}

func execute() int {
	err := newRootCommand().Execute()
	var status *statusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		if status.err != nil {
			fmt.Fprintln(os.Stderr, "bulkhead:", status.err)
		}
		return status.status
	}
	// What cobra itself finds wrong is wrong usage.
	fmt.Fprintf(os.Stderr, "bulkhead: %v (bulkhead --help says more)\n", err)
	return 2
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bulkhead",
		Short: "Check that a Linux kernel keeps the promises containers stand on",
		Long: `bulkhead checks that a Linux kernel keeps the promises that containers stand on:
chroot, /proc, namespaces, cgroups, veth, bridges, NAT, overlays. It builds each
situation for real and says what processes inside and outside could see and do.

  sudo bulkhead run          check the kernel of this machine
  bulkhead list              every claim it checks
  bulkhead explain ID        one claim, and how to see it by hand`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newRunCommand(), newProveCommand(), newListCommand(), newExplainCommand(), newFixturesCommand(), newVMCommand(), newMatrixCommand(), newReportCommand(), newCompareCommand(), newDocsCommand())
	return root
}
