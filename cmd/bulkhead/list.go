package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bulkhead/internal/claim"
	"bulkhead/internal/report"
)

func newListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List every claim",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON {
				models := []report.Claim{}
				for _, c := range claim.All() {
					models = append(models, c.Model())
				}
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				return enc.Encode(map[string]any{"version": report.SchemaVersion, "claims": models})
			}
			for _, c := range claim.All() {
				fmt.Fprintf(cmd.OutOrStdout(), "%-50s %s\n", c.ID, c.Text)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, as in a result")
	return cmd
}

func newExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID",
		Short: "Explain one claim and how to see it by hand",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, ok := claim.Get(args[0])
			if !ok {
				return usageError(unknownID(args[0]))
			}
			out := cmd.OutOrStdout()
			m := c.Model()
			row := func(name, value string) {
				if value != "" {
					fmt.Fprintf(out, "  %-9s %s\n", name, value)
				}
			}
			fmt.Fprintf(out, "%s\n\n  %s\n\n", c.ID, c.Text)
			row("contrast", c.Contrast)
			row("source", strings.Join(m.Source, "; "))
			row("needs", strings.Join(m.Needs, ", "))
			row("since", c.Since)
			if c.Core {
				row("core", "yes: Docker, Podman or Kubernetes containers break without it")
			}
			if c.Try != "" {
				fmt.Fprintf(out, "\n  to see it by hand, as root:\n\n%s\n", indented(c.Try))
			}
			if c.Shows != "" {
				fmt.Fprintf(out, "\n  which prints:\n\n%s\n", indented(c.Shows))
			}
			row("by hand", claim.Untyped[c.ID])
			return nil
		},
	}
}

func indented(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

func unknownID(id string) error {
	for _, c := range claim.All() {
		if _, name, _ := strings.Cut(c.ID, "/"); name == id || strings.Contains(c.ID, id) {
			return fmt.Errorf("no claim has the ID %q; did you mean %s?", id, c.ID)
		}
	}
	return fmt.Errorf("no claim has the ID %q (bulkhead list prints them all)", id)
}
