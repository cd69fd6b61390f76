package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bulkhead/fixtures"
)

// fixtureEnv tells the worker processes which fixtures the flags ask for, and
// finds out beforehand whether they can be used.
func fixtureEnv(f *runFlags) ([]string, error) {
	if err := fixtures.Select(f.fixtures); err != nil {
		return nil, err
	}
	// Workers have another working directory.
	alpine := cmp.Or(f.alpine, os.Getenv(fixtures.AlpineVariable))
	if alpine != "" {
		absolute, err := filepath.Abs(alpine)
		if err != nil {
			return nil, fmt.Errorf("the tarball %s: %w", alpine, err)
		}
		alpine = absolute
	}
	var env []string
	for name, value := range map[string]string{
		fixtures.AlpineVariable: alpine, fixtures.AlpineSHA256Variable: f.alpineSHA256,
		fixtures.SelectionVariable: strings.Join(f.fixtures, ","),
	} {
		if value != "" {
			env = append(env, name+"="+value)
			if err := os.Setenv(name, value); err != nil {
				return nil, err
			}
		}
	}
	all, err := fixtures.All()
	if err != nil {
		return nil, err
	}
	for _, fixture := range all {
		if alpine, ok := fixture.(fixtures.Alpine); ok {
			if err := alpine.Verify(os.Getenv(fixtures.AlpineSHA256Variable)); err != nil {
				return nil, err
			}
		}
	}
	return env, nil
}
