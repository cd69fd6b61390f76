package namespaces

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"bulkhead/harness"
	"bulkhead/internal/claim"
)

var _ = claim.It(claim.Claim{
	ID:       "cgroup/meminfo-ignores-the-limit",
	Text:     "A memory limit does not change MemTotal in /proc/meminfo.",
	Source:   claim.Sources{claim.Article("The /proc Virtual Filesystem"), claim.Man("cgroups(7)", "memory controller")},
	Needs:    claim.Needs{claim.Root, controller("memory")},
	Contrast: "the limit is in force",
	Try:      "echo 64M > /sys/fs/cgroup/x/memory.max; echo $$ > /sys/fs/cgroup/x/cgroup.procs; grep MemTotal /proc/meminfo",
}, func(ctx SpecContext) {
	const limit = 64 << 20
	sb := harness.Start(ctx)
	memTotal := func() string {
		line, _, _ := strings.Cut(harness.Got(sb.ReadFile("/proc/meminfo")), "\n")
		return line
	}
	before := memTotal()
	group := newController("memory", "meminfo")
	group.set(group.memoryLimit(), limit)
	group.enter(sb)
	Expect(group.path(sb)).To(HaveSuffix("/"+group.name), "contrast: the cgroup with the limit is the process's")
	after := memTotal()
	inForce := group.text(group.memoryLimit())
	claim.Evidence("outside: %s; in a cgroup limited to %s bytes: %s", before, inForce, after)
	Expect(after).To(Equal(before), "MemTotal inside a cgroup with a memory limit")
	Expect(inForce).To(Equal(fmt.Sprint(limit)), "contrast: the limit is in force")
})
