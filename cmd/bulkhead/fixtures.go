package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bulkhead/fixtures"
)

func newFixturesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "fixtures", Short: "Look at and fetch root filesystems", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "List the fixtures that are here", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := fixtures.All()
			if err != nil {
				return usageError(err)
			}
			for _, f := range all {
				fmt.Fprintln(cmd.OutOrStdout(), f.Name())
			}
			return nil
		},
	})
	var mirror string
	fetch := &cobra.Command{
		Use: "fetch", Short: "Download the article's Alpine minirootfs into the cache", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
			defer cancel()
			f := fixtures.Fetcher{Mirror: mirror}
			if term.IsTerminal(int(os.Stderr.Fd())) {
				f.Progress = os.Stderr
			}
			path, err := f.Fetch(ctx)
			if err != nil {
				fmt.Fprintln(os.Stderr, "bulkhead:", err)
				return exitStatus(3)
			}
			fmt.Fprintln(cmd.OutOrStdout(), path)
			return nil
		},
	}
	fetch.Flags().StringVar(&mirror, "mirror", fixtures.AlpineMirror, "base `URL` of an Alpine mirror")
	cmd.AddCommand(fetch)
	return cmd
}
