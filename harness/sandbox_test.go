package harness

import (
	"encoding/binary"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness/namespace"
)

var _ = Describe("a sandbox", func() {
	It("is PID 1 of a new PID namespace", func(ctx SpecContext) {
		sb := Start(ctx, New(namespace.PID))
		Expect(sb.Getpid()).To(Equal(1))
		Expect(Start(ctx).Getpid()).NotTo(Equal(1))
	})

	It("reports the exact errno of a call", func(ctx SpecContext) {
		sb := Start(ctx)
		_, err := sb.Open("/no/such", unix.O_RDONLY, 0)
		Expect(err).To(MatchError(unix.ENOENT))
		Expect(err.Error()).To(Equal("open /no/such: ENOENT (no such file or directory)"))
	})

	It("calls functions of the vDSO, with its errno", func(ctx SpecContext) {
		sb := Start(ctx)
		viaKernel, viaVDSO := make([]byte, 16), make([]byte, 16)
		Got(sb.Syscall("clock_gettime", unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, viaKernel))
		Expect(sb.VDSO("clock_gettime", unix.CLOCK_MONOTONIC, viaVDSO)).To(Succeed())
		seconds := func(b []byte) int64 { return int64(binary.NativeEndian.Uint64(b)) }
		Expect(seconds(viaVDSO)-seconds(viaKernel)).To(BeNumerically("~", 0, 30), "%d and %d", seconds(viaKernel), seconds(viaVDSO))
		Expect(sb.VDSO("clock_gettime", 99, viaVDSO)).To(MatchError(unix.EINVAL))
		Expect(sb.VDSO("no_such", 0, nil)).To(MatchError("the vDSO has no no_such"))
		Expect(sb.Getpid()).To(BeNumerically(">", 1), "the next call")
	})

	It("can enter every kind of new namespace by itself", func(ctx SpecContext) {
		for _, t := range namespace.All() {
			sb := Start(ctx)
			Expect(sb.Unshare(t.Flag)).To(Succeed(), t.Name)
		}
	})

	It("starts in all eight new namespaces at once, as root of its own", func(ctx SpecContext) {
		sb := Start(ctx, New(namespace.All()...))
		Expect(sb.Getuid()).To(Equal(0))
		Expect(sb.Sethostname("inside")).To(Succeed())
		Expect(sb.Uname().Nodename).To(Equal("inside"))
		Expect(Host(ctx).Uname().Nodename).NotTo(Equal("inside"))
	})

	It("runs programs and returns output and status", func(ctx SpecContext) {
		if _, err := os.Stat("/bin/sh"); err != nil {
			Skip("no /bin/sh on this machine")
		}
		out, err := Start(ctx).Run(ctx, "/bin/sh", "-c", "echo out; echo err >&2; exit 3")
		Expect(err).NotTo(HaveOccurred())
		Expect(out.Stdout).To(Equal("out\n"))
		Expect(out.Stderr).To(Equal("err\n"))
		Expect(out.Status.ExitStatus()).To(Equal(3))
	})

	It("says why a program cannot be run", func(ctx SpecContext) {
		_, err := Start(ctx).Run(ctx, "/no/such")
		Expect(err).To(MatchError(unix.ENOENT))
	})

	It("answers probes through an agent", func(ctx SpecContext) {
		sb := Start(ctx, New(namespace.PID, namespace.Mount))
		a := sb.Agent(ctx)
		Expect(a.PID()).To(Equal(2))
	})

	It("leaves no process behind", func(ctx SpecContext) {
		before := Got(Host(ctx).PIDs("/proc"))
		// Clean-up runs last in, first out: this runs after the sandboxes' own.
		DeferCleanup(func(ctx SpecContext) {
			Expect(Host(ctx).PIDs("/proc")).To(Equal(before))
		})
		sb := Start(ctx, New(namespace.PID))
		sb.Fork(ctx).Fork(ctx)
	})

	It("is refused to root outside of the stage", func(ctx SpecContext) {
		if !Privileged() {
			Expect(Caller(ctx).Getuid()).To(Equal(os.Getuid()))
			return
		}
		message := stopped(func() { Caller(ctx) })
		Expect(message).To(HavePrefix(BrokenPrefix + "start a process outside of the stage"))
	})
})
