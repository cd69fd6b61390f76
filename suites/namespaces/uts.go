package namespaces

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/internal/claim"
)

var utsNeed = claim.Namespace(namespace.UTS)

var _ = claim.It(claim.Claim{
	ID:       "uts/hostname-isolated",
	Text:     "A host name set in a new UTS namespace is not seen outside it.",
	Source:   claim.Sources{claim.Article("How Linux Namespaces Work"), claim.Man("uts_namespaces(7)", "")},
	Needs:    claim.Needs{utsNeed},
	Contrast: "a child in the same namespace does change it",
	Core:     true,
	Try:      "unshare --uts sh -c 'hostname inside; hostname'; hostname",
	Shows:    "inside\n<host>",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.UTS))
	harness.Must(host.Sethostname("outside"))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	Expect(inside.Sethostname("inside")).To(Succeed(), "sethostname(2) in a new UTS namespace")
	in, out := inside.Uname().Nodename, host.Uname().Nodename
	claim.Evidence("inside: %q; outside: %q", in, out)
	Expect(in).To(Equal("inside"), "the host name just set, read inside")
	Expect(out).To(Equal("outside"), "the host's name after one was set inside")
	sibling := harness.Start(ctx, harness.Under(host))
	Expect(sibling.Sethostname("changed")).To(Succeed(), "sethostname(2) by another process of the namespace")
	Expect(host.Uname().Nodename).To(Equal("changed"), "contrast: set by a child in the host's UTS namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "uts/domainname-isolated",
	Text:     "The NIS domain name is isolated the same way.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("uts_namespaces(7)", "")},
	Needs:    claim.Needs{utsNeed},
	Contrast: "same-namespace change is seen",
	Try:      "unshare --uts sh -c 'echo inside > /proc/sys/kernel/domainname; cat /proc/sys/kernel/domainname'; cat /proc/sys/kernel/domainname",
	Shows:    "inside\n<domain>",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.UTS))
	harness.Must(host.Setdomainname("outside"))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	Expect(inside.Setdomainname("inside")).To(Succeed(), "setdomainname(2) in a new UTS namespace")
	in, out := inside.Uname().Domainname, host.Uname().Domainname
	claim.Evidence("inside: %q; outside: %q", in, out)
	Expect(in).To(Equal("inside"), "the domain name just set, read inside")
	Expect(out).To(Equal("outside"), "the host's domain name after one was set inside")
	harness.Must(host.Fork(ctx).Setdomainname("changed"))
	Expect(host.Uname().Domainname).To(Equal("changed"), "contrast: set by a child in the host's UTS namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "uts/values-copied-at-creation",
	Text:     "A new UTS namespace starts with its creator's host and domain name and then goes its own way.",
	Source:   claim.Sources{claim.Man("uts_namespaces(7)", ""), claim.Man("clone(2)", "CLONE_NEWUTS")},
	Needs:    claim.Needs{utsNeed},
	Contrast: "a later change by the creator does not follow",
	Try:      "hostname; unshare --uts hostname; unshare --uts hostname changed; hostname",
	Shows:    "<host>\n<host>\n<host>",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.UTS))
	harness.Must(host.Sethostname("copied"))
	harness.Must(host.Setdomainname("copied.example"))
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	first := inside.Uname()
	harness.Must(host.Sethostname("later"))
	later := inside.Uname().Nodename
	claim.Evidence("right after creation: %q and %q; after the creator changed its own: %q", first.Nodename, first.Domainname, later)
	Expect(first.Nodename).To(Equal("copied"), "host name of a new UTS namespace")
	Expect(first.Domainname).To(Equal("copied.example"), "domain name of a new UTS namespace")
	Expect(later).To(Equal("copied"), "contrast: a later change by the creator does not follow")
})

var _ = claim.It(claim.Claim{
	ID:       "uts/members-share-changes",
	Text:     "Processes of one UTS namespace see each other's changes at once.",
	Source:   claim.Sources{claim.Man("uts_namespaces(7)", "")},
	Needs:    claim.Needs{utsNeed},
	Contrast: "outside does not",
	Try:      "unshare --uts sh -c '(hostname shared); hostname'",
	Shows:    "shared",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	member := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	sibling := member.Fork(ctx)
	harness.Must(member.Sethostname("shared"))
	in, out := sibling.Uname().Nodename, host.Uname().Nodename
	claim.Evidence("sibling: %q; outside: %q", in, out)
	Expect(in).To(Equal("shared"), "the host name that another member reads")
	Expect(out).NotTo(Equal("shared"), "contrast: outside")
})

var _ = claim.It(claim.Claim{
	ID:       "uts/proc-file-follows-reader",
	Text:     "/proc/sys/kernel/hostname reads and writes the UTS namespace of the process using it, also on one and the same proc mount.",
	Source:   claim.Sources{claim.Man("proc(5)", "/proc/sys/kernel/hostname"), claim.Man("uts_namespaces(7)", "")},
	Needs:    claim.Needs{claim.Sysctls, claim.Root, utsNeed},
	Contrast: "outside equals uname",
	Try:      "unshare --uts sh -c 'hostname inside; cat /proc/sys/kernel/hostname'; cat /proc/sys/kernel/hostname",
	Shows:    "inside\n<host>",
}, func(ctx SpecContext) {
	const path = "/proc/sys/kernel/hostname"
	host := harness.Start(ctx)
	inside := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	Expect(inside.WriteFile(path, "by-file")).To(Succeed(), "writing %s in a new UTS namespace", path)
	in, out := strings.TrimSpace(harness.Got(inside.ReadFile(path))), strings.TrimSpace(harness.Got(host.ReadFile(path)))
	claim.Evidence("one file of one proc mount, read inside: %q; outside: %q", in, out)
	Expect(in).To(Equal("by-file"), "%s read inside", path)
	Expect(inside.Uname().Nodename).To(Equal("by-file"), "uname(2) inside")
	Expect(out).To(Equal(host.Uname().Nodename), "contrast: %s read outside is the outside's name", path)
	Expect(out).NotTo(Equal("by-file"), "contrast: the host name that %s shows outside, after a write inside", path)
})

var _ = claim.It(claim.Claim{
	ID:       "uts/host-name-protected-from-userns-root",
	Text:     "Setting the host name or the domain name needs CAP_SYS_ADMIN in the user namespace owning the UTS namespace: root of a user namespace may not set the host's.",
	Source:   claim.Sources{claim.Man("sethostname(2)", "ERRORS"), claim.Man("user_namespaces(7)", "Interaction")},
	Needs:    claim.Needs{utsNeed, claim.Namespace(namespace.User)},
	Contrast: "works in an own UTS namespace",
	Try:      "unshare --user --map-root-user hostname x; unshare --user --map-root-user --uts sh -c 'hostname x; hostname'",
	Shows:    "hostname: you must be root to change the host name\nx",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.UTS))
	foreign := harness.Start(ctx, harness.Under(host), harness.New(namespace.User))
	own := harness.Start(ctx, harness.Under(host), harness.New(namespace.User, namespace.UTS))
	refused, refusedDomain := foreign.Sethostname("x"), foreign.Setdomainname("x")
	allowed, allowedDomain := own.Sethostname("x"), own.Setdomainname("x")
	claim.Evidence("in the host's UTS namespace: %v, %v; in an own one: %v, %v", refused, refusedDomain, allowed, allowedDomain)
	Expect(refused).To(harness.FailWith(unix.EPERM), "root of a user namespace setting the host's name")
	Expect(refusedDomain).To(harness.FailWith(unix.EPERM), "root of a user namespace setting the host's domain name")
	Expect(allowed).To(Succeed(), "contrast: sethostname in an own UTS namespace")
	Expect(allowedDomain).To(Succeed(), "contrast: setdomainname in an own UTS namespace")
})

var _ = claim.It(claim.Claim{
	ID:       "uts/hostname-limit-64-bytes",
	Text:     "A host name of 64 bytes is accepted and 65 bytes is EINVAL.",
	Source:   claim.Sources{claim.Man("sethostname(2)", "NOTES, ERRORS")},
	Needs:    claim.Needs{utsNeed},
	Contrast: "length 64 read back",
	Try:      "unshare --uts sh -c 'hostname $(printf %064d 1); hostname; hostname $(printf %065d 1)'",
	Shows:    "0000000000000000000000000000000000000000000000000000000000000001\nhostname: name too long",
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.UTS))
	name := strings.Repeat("a", 64)
	err := sb.Sethostname(name + "b")
	fits := sb.Sethostname(name)
	claim.Evidence("65 bytes: %v; 64 bytes: %v", err, fits)
	Expect(err).To(harness.FailWith(unix.EINVAL), "a host name of 65 bytes")
	Expect(fits).To(Succeed(), "a host name of 64 bytes")
	Expect(sb.Uname().Nodename).To(Equal(name), "contrast: 64 bytes are read back")
})

var _ = claim.It(claim.Claim{
	ID:       "uts/dns-not-isolated",
	Text:     "A UTS namespace does not isolate DNS settings: resolv.conf and hosts stay the same files.",
	Source:   claim.Sources{claim.Article("Introduction to Linux Namespaces"), claim.Man("uts_namespaces(7)", "says NIS")},
	Needs:    claim.Needs{utsNeed, claim.Namespace(namespace.Mount)},
	Contrast: "a bind mount over /etc/resolv.conf is what isolates them",
	Try:      `cksum < /etc/hosts; unshare --uts cksum < /etc/hosts; unshare --uts --mount sh -c "mount --bind /dev/null /etc/hosts; cat /etc/hosts"`,
	Shows:    "<sum> <size>\n<sum> <size>",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Mount))
	dir := host.MkdirTemp()
	resolv := dir + "/resolv.conf"
	harness.Must(host.CreateFile(resolv, "nameserver 192.0.2.53\n"))
	harness.Must(host.CreateFile(dir+"/own", "nameserver 192.0.2.99\n"))
	isolated := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS))
	same := harness.Got(isolated.Stat(resolv)).SameAs(harness.Got(host.Stat(resolv)))
	bound := harness.Start(ctx, harness.Under(host), harness.New(namespace.UTS, namespace.Mount))
	harness.Must(bound.Bind(dir+"/own", resolv, 0))
	claim.Evidence("with a UTS namespace resolv.conf is the same file: %v; with a bind mount it reads %q", same, harness.Got(bound.ReadFile(resolv)))
	Expect(same).To(BeTrue(), "resolv.conf in a new UTS namespace is the host's file")
	Expect(isolated.ReadFile(resolv)).To(Equal("nameserver 192.0.2.53\n"), "resolv.conf read in a new UTS namespace, where another has a bind mount on it")
	Expect(bound.ReadFile(resolv)).To(Equal("nameserver 192.0.2.99\n"), "contrast: a bind mount is what isolates it")
	Expect(host.ReadFile(resolv)).To(Equal("nameserver 192.0.2.53\n"), "resolv.conf outside, where another mount namespace has a bind mount on it")
})
