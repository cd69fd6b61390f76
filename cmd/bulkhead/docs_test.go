package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestGeneratedDocumentsAreFresh(t *testing.T) {
	for path, write := range map[string]func(io.Writer) error{"docs/claims.md": writeClaims, "docs/advice.md": writeAdvice} {
		var fresh strings.Builder
		if err := write(&fresh); err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		if string(committed) == fresh.String() {
			continue
		}
		was, is := strings.Split(string(committed), "\n"), strings.Split(fresh.String(), "\n")
		where := "it has " + strconv.Itoa(len(was)) + " lines and would have " + strconv.Itoa(len(is))
		for i := range min(len(was), len(is)) {
			if was[i] != is[i] {
				where = fmt.Sprintf("line %d\nis      %q\nwould be %q", i+1, was[i], is[i])
				break
			}
		}
		t.Errorf("%s is stale, run make docs: %s", path, where)
	}
}
