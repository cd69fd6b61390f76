package proc

import (
	"testing"

	"bulkhead/internal/claim"
)

func TestClaims(t *testing.T) { claim.Suite(t, "proc") }
