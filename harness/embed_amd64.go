package harness

import "embed"

//go:embed agent/embedded/amd64
var embedded embed.FS
