package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bulkhead/internal/report"
)

func newCompareCommand() *cobra.Command {
	var format, path, failOn string
	cmd := &cobra.Command{
		Use:   "compare OLD NEW...",
		Short: "Say what changed between stored results",
		Long: `Compare each NEW result with OLD: regressions first, then fixes, then the rest.
Files are those that "bulkhead report" reads. The kernels of two matrices are
paired by the names they were asked for by; one result is compared with every
kernel of a matrix.

A regression is a claim that was kept and fails, is broken, is skipped or is gone;
a claim that was skipped and now fails or is broken; and a run that is broken now.
A claim that OLD does not have is news, whatever its verdict.

Exit status: 0, or 1 with --fail-on regression and a regression; 2 wrong usage.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(report.CompareFormats, format) {
				return usageError(fmt.Errorf("no format is named %q: the formats are %s", format, strings.Join(report.CompareFormats, ", ")))
			}
			if failOn != "" && failOn != "regression" {
				return usageError(fmt.Errorf("--fail-on %q: only regression is known", failOn))
			}
			var files []*report.Matrix
			for _, p := range args {
				m, err := report.ReadFile(p)
				if err != nil {
					return usageError(err)
				}
				files = append(files, m)
			}
			all, err := report.CompareFiles(args, files)
			if err != nil {
				return usageError(err)
			}
			if err := writeTo(cmd, path, func(w io.Writer, color bool, width int) error {
				return report.WriteComparisons(w, all, format, report.TerminalOptions{Color: color, Width: width})
			}); err != nil {
				return err
			}
			for i := range all {
				if failOn != "" && all[i].Regressed() {
					return exitStatus(1)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "terminal", "`FORMAT`: "+strings.Join(report.CompareFormats, ", "))
	cmd.Flags().StringVarP(&path, "output", "o", "", "write to `FILE` instead of standard output")
	cmd.Flags().StringVar(&failOn, "fail-on", "", "exit with status 1 when there is a `regression`")
	return cmd
}
