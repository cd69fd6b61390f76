package main

import "strings"

// fixtureEnv tells the worker processes which fixtures the flags ask for.
func fixtureEnv(f *runFlags) ([]string, error) {
	var env []string
	if f.alpine != "" {
		env = append(env, "BULKHEAD_ALPINE="+f.alpine)
	}
	if f.alpineSHA256 != "" {
		env = append(env, "BULKHEAD_ALPINE_SHA256="+f.alpineSHA256)
	}
	if len(f.fixtures) > 0 {
		env = append(env, "BULKHEAD_FIXTURES="+strings.Join(f.fixtures, ","))
	}
	return env, nil
}
