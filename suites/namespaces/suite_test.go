package namespaces

import (
	"testing"

	"bulkhead/internal/claim"
)

func TestClaims(t *testing.T) { claim.Suite(t, "namespaces") }
