// Package docs holds those of the documents that the program itself reads.
package docs

import _ "embed"

// Survivors is the table of accepted survivors of bulkhead prove.
//
//go:embed survivors.md
var Survivors string
