package main

import (
	"os"
	"strings"
	"testing"
)

func TestClaimsReferenceIsFresh(t *testing.T) {
	var fresh strings.Builder
	if err := writeClaims(&fresh); err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../../docs/claims.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) == fresh.String() {
		return
	}
	was, is := strings.Split(string(committed), "\n"), strings.Split(fresh.String(), "\n")
	for i := range min(len(was), len(is)) {
		if was[i] != is[i] {
			t.Fatalf("docs/claims.md is stale, run make docs: line %d\nis      %q\nwould be %q", i+1, was[i], is[i])
		}
	}
	t.Fatalf("docs/claims.md is stale, run make docs: it has %d lines and would have %d", len(was), len(is))
}
