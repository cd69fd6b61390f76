package harness

import "embed"

//go:embed agent/embedded/arm64
var embedded embed.FS
