package harness

import "embed"

//go:embed agent/embedded/riscv64
var embedded embed.FS
