package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bulkhead/internal/report"
)

func newReportCommand() *cobra.Command {
	var format, path, kernel string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "report FILE...",
		Short: "Show stored results, in any format",
		Long: `Turn what a run left behind into any format: the result of run --json, the
events of run --events, also when they stop in the middle, or the results of
matrix --json. Several files become a matrix, in terminal, json, markdown and html.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(report.Formats, format) {
				return usageError(fmt.Errorf("no format is named %q: the formats are %s", format, strings.Join(report.Formats, ", ")))
			}
			m, err := readResults(args)
			if err == nil && kernel != "" {
				err = m.Keep(kernel)
			}
			if err != nil {
				return usageError(err)
			}
			return writeTo(cmd, path, func(w io.Writer, color bool, width int) error {
				return m.Write(w, format, report.TerminalOptions{Color: color, Verbose: verbose, Width: width})
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "terminal", "`FORMAT`: "+strings.Join(report.Formats, ", "))
	cmd.Flags().StringVar(&kernel, "kernel", "", "only the `KERNEL` of this name or release")
	cmd.Flags().StringVarP(&path, "output", "o", "", "write to `FILE` instead of standard output")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "in terminal: show every claim, with its evidence")
	return cmd
}

// readResults reads the files into one matrix.
func readResults(paths []string) (*report.Matrix, error) {
	all := &report.Matrix{Version: report.SchemaVersion}
	for _, p := range paths {
		m, err := report.ReadFile(p)
		if err != nil {
			return nil, err
		}
		all.Add(m)
	}
	return all, nil
}

// writeTo writes to the file, whole or not at all, or to standard output. An
// error of what is asked for is wrong usage.
func writeTo(cmd *cobra.Command, path string, write func(w io.Writer, color bool, width int) error) error {
	var out io.Writer = cmd.OutOrStdout()
	color, width := terminal(out)
	var file *output
	if path != "" {
		var err error
		if file, err = newOutput(path); err != nil {
			return usageError(err)
		}
		defer file.abandon()
		out, color, width = file, false, 0
	}
	err := write(out, color, width)
	if errors.Is(err, report.ErrOneKernel) {
		return usageError(err)
	}
	if err == nil && file != nil {
		err = file.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead:", err)
		return exitStatus(3)
	}
	return nil
}

// terminal says whether out is a terminal that shows colours, and how wide it
// is; 0 when it is none.
func terminal(out io.Writer) (color bool, width int) {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return false, 0
	}
	width = 80
	if w, _, err := term.GetSize(int(file.Fd())); err == nil && w > 20 {
		width = w
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", width
}
