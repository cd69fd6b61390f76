package harness

import (
	"os"
	"time"
)

// SlowVariable is set in the environment of a machine that is much slower than
// others, as emulated ones are.
const SlowVariable = "BULKHEAD_SLOW"

// Scaled is a bound on real time for a machine at full speed, ten times as
// long where SlowVariable is set.
func Scaled(d time.Duration) time.Duration {
	if os.Getenv(SlowVariable) != "" {
		return 10 * d
	}
	return d
}
