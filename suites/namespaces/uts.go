package namespaces

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

var utsNeeds = claim.Needs{claim.Namespace(namespace.UTS)}

var _ = claim.It(claim.Claim{
	ID:       "uts/hostname-isolated",
	Text:     "A host name set in a new UTS namespace is not seen outside it.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("uts_namespaces(7)", "")},
	Needs:    utsNeeds,
	Contrast: "a child in the same UTS namespace does change it",
	Core:     true,
	Try:      `unshare --uts sh -c 'hostname inside; hostname'; hostname`,
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.UTS), harness.Named("the host"))
	harness.Must(host.Sethostname("outside"))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	Expect(inside.Sethostname("inside")).To(Succeed())
	claim.Evidence("inside: %q; outside: %q", inside.Uname().Nodename, host.Uname().Nodename)
	Expect(inside.Uname().Nodename).To(Equal("inside"), "the name just set, read inside")
	Expect(host.Uname().Nodename).To(Equal("outside"), "the host's name after it was set inside")

	sibling := harness.Start(ctx, harness.Under(host))
	Expect(sibling.Sethostname("changed")).To(Succeed())
	Expect(host.Uname().Nodename).To(Equal("changed"), "contrast: set by a child in the host's UTS namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "uts/hostname-limit-64-bytes",
	Text:     "A host name of 64 bytes is accepted and one of 65 bytes is refused with EINVAL.",
	Source:   claim.Sources{claim.Man("sethostname(2)", "ERRORS")},
	Needs:    utsNeeds,
	Contrast: "the 64 bytes are read back whole",
	Try:      `unshare --uts sh -c 'hostname $(printf %064d 1); hostname; hostname $(printf %065d 1)'`,
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.UTS))
	long := "a234567890123456789012345678901234567890123456789012345678901234"
	err := sb.Sethostname(long + "x")
	claim.Evidence("65 bytes: %v", err)
	Expect(err).To(MatchError(unix.EINVAL), "a host name of 65 bytes")
	Expect(sb.Sethostname(long)).To(Succeed(), "contrast: a host name of 64 bytes")
	Expect(sb.Uname().Nodename).To(Equal(long))
})
