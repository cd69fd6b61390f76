package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bulkhead/fixtures"
	"bulkhead/internal/report"
	"bulkhead/internal/run"
	"bulkhead/internal/vm"
	"bulkhead/internal/vm/guest"
)

// shellName is the argv[0] by which bulkhead in a guest knows that a person
// wants a prompt.
const shellName = "bulkhead-shell"

// vmFlags say how a guest is made; vm and matrix have them in common.
type vmFlags struct {
	mirror, arch, append, accel string
	offline                     bool
	memory, smp                 int
	timeout                     time.Duration
	// given says whether a flag was, by its name.
	given func(string) bool
}

func (f *vmFlags) register(fl *pflag.FlagSet) {
	f.given = fl.Changed
	fl.StringVar(&f.mirror, "mirror", "", "Debian mirror `URL` or folder (default $BULKHEAD_MIRROR, apt's, else snapshot.debian.org)")
	fl.BoolVar(&f.offline, "offline", false, "use only what is in the cache")
	fl.StringVar(&f.append, "append", "", "`WORDS` to add to the kernel's command line")
	fl.StringVar(&f.accel, "accel", "auto", "auto, kvm, hvf or tcg (software emulation)")
	fl.IntVar(&f.memory, "memory", 0, fmt.Sprintf("the guest's memory in `MiB` (default %d, and %d for each processor)", vm.BaseMemory, vm.ProcessorMemory))
	fl.IntVar(&f.smp, "smp", 0, "the guest's processors (default 2 with emulation, else up to 4)")
	fl.DurationVar(&f.timeout, "timeout", vm.DefaultTimeout, "what the guest may take in all")
}

func (f *vmFlags) check() error {
	if f.memory < 0 || f.memory == 0 && f.given("memory") || f.smp < 0 || f.timeout <= 0 {
		return errors.New("--memory, --smp and --timeout must be positive")
	}
	return nil
}

// guestMiB is the memory of a guest, at most: whether it will be emulated is not
// known yet.
func (f *vmFlags) guestMiB() int {
	return cmp.Or(f.memory, vm.Memory(cmp.Or(f.smp, vm.Processors(f.accel))))
}

// guestClaimTimeout is what one claim may take in a guest.
const guestClaimTimeout = 3 * time.Minute

// registerRun adds run's flags; its --timeout is --claim-timeout here.
func registerRun(f *runFlags, fl *pflag.FlagSet) {
	all := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.register(all)
	all.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "timeout" {
			// Emulation is slow, and guests share processors.
			flag.Name, flag.DefValue = "claim-timeout", guestClaimTimeout.String()
			f.timeout = guestClaimTimeout
		}
		fl.AddFlag(flag)
	})
}

func newVMCommand() *cobra.Command {
	var f vmFlags
	var r runFlags
	var kernelName, peerName, pcap, console string
	var shell bool
	cmd := &cobra.Command{
		Use:   "vm --kernel KERNEL",
		Short: "Check another kernel, in QEMU",
		Long: `Boot a kernel in QEMU with bulkhead as its first process, run the claims in it
and report as "bulkhead run" does, with the same flags, files and exit status.

KERNEL is a vmlinuz, bzImage or Image file, a kernel build tree, a .deb, or
debian:SUITE[/FLAVOUR][/ARCH], as debian:bookworm or
debian:trixie-backports/cloud/arm64. A guest that stops in the middle is broken.

With --peer two guests are booted, joined by an Ethernet segment, and the claims
are those on containers of two hosts with two kernels, joined by a VXLAN.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if kernelName == "" {
				return usageError(errors.New("vm needs --kernel: a kernel file, a build tree, a .deb or debian:SUITE"))
			}
			if err := f.check(); err != nil {
				return usageError(err)
			}
			note := func(s string) { fmt.Fprintln(os.Stderr, "bulkhead:", s) }
			if shell {
				return f.shell(kernelName, note)
			}
			var consoleFile io.Writer
			if console != "" {
				file, err := os.Create(console)
				if err != nil {
					return usageError(err)
				}
				defer file.Close()
				consoleFile = file
			}
			if peerName == "" && pcap != "" {
				return usageError(errors.New("--pcap keeps what passes between two guests: it needs --peer"))
			}
			if peerName != "" {
				for _, name := range []string{"claim", "area", "skip", "core", "fixture", "alpine", "arch", "procs", "seed", "claim-timeout"} {
					if cmd.Flags().Changed(name) {
						return usageError(fmt.Errorf("--%s has no meaning with --peer, which has claims of its own", name))
					}
				}
			}
			var usage error
			r.carryOut = func(ctx context.Context, o run.Options) (*report.Result, error) {
				if peerName != "" {
					result, err := f.peers(ctx, [2]string{kernelName, peerName}, o, pcap, consoleFile, note)
					usage = err
					return result, err
				}
				out, err := f.boot(ctx, kernelName, o, consoleFile, note)
				if err != nil {
					usage = err
					return nil, err
				}
				if out.Result == nil {
					return nil, out.failure(kernelName)
				}
				return out.Result, nil
			}
			err := r.run(cmd)
			if usage != nil {
				// The reason has been said.
				return exitStatus(2)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&kernelName, "kernel", "", "the `KERNEL` to check")
	cmd.Flags().StringVar(&peerName, "peer", "", "the `KERNEL` of a second guest, for the claims on two hosts")
	cmd.Flags().StringVar(&pcap, "pcap", "", "with --peer, write what passes between the guests to `FILE`")
	cmd.Flags().StringVar(&f.arch, "arch", "", "the kernel's `ARCH`, amd64, arm64 or riscv64 (default what the file says)")
	cmd.Flags().StringVar(&console, "keep-console", "", "write all that the guest's console says to `FILE`")
	cmd.Flags().BoolVar(&shell, "shell", false, "a prompt in the guest instead of a run; Ctrl-A X leaves")
	f.register(cmd.Flags())
	registerRun(&r, cmd.Flags())
	return cmd
}

// outcome is what came of a guest, with a word for when that is no result.
type outcome struct{ *vm.Outcome }

func (o outcome) failure(kernel string) error {
	msg := fmt.Sprintf("the guest on kernel %s ended before the run began: %s", kernel, o.Why)
	if o.Why == "" {
		msg = fmt.Sprintf("the run in the guest on kernel %s could not begin (exit status %d)", kernel, o.Status)
	}
	if o.Console != "" {
		msg += "\nthe end of its console:\n" + o.Console
	}
	return errors.New(msg)
}

func (f *vmFlags) find(ctx context.Context, name string) (*vm.Kernel, error) {
	finder := vm.Finder{Mirror: f.mirror, Offline: f.offline, Arch: f.arch}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		finder.Progress = os.Stderr
	}
	return finder.Find(ctx, name)
}

func (f *vmFlags) options(k *vm.Kernel, note func(string)) vm.Options {
	return vm.Options{Kernel: k, Append: f.append, MemoryMiB: f.memory, SMP: f.smp, Timeout: f.timeout, Accel: f.accel, Note: note}
}

// boot carries a run out in a guest.
func (f *vmFlags) boot(ctx context.Context, name string, o run.Options, console io.Writer, note func(string)) (outcome, error) {
	k, err := f.find(ctx, name)
	if err != nil {
		return outcome{}, err
	}
	v := f.options(k, note)
	v.Console, v.Event = console, o.Event
	v.Job.Argv = []string{"bulkhead", "run", "--events", guest.EventsPath, "--claim", strings.Join(o.Claims, ","),
		"--procs", strconv.Itoa(o.Procs), "--seed", strconv.FormatInt(o.Seed, 10), "--timeout", o.Timeout.String()}
	v.Job.Env = o.Env
	if err := shipAlpine(&v, k.Arch); err != nil {
		return outcome{}, err
	}
	out, err := vm.Run(ctx, v)
	return outcome{out}, err
}

// shipAlpine puts the Alpine tarball that the run would use into the guest,
// where it is for the guest's architecture.
func shipAlpine(v *vm.Options, arch string) error {
	const name = "alpine.tar.gz"
	path := ""
	for i, e := range v.Job.Env {
		if given, ok := strings.CutPrefix(e, fixtures.AlpineVariable+"="); ok {
			path = given
			v.Job.Env = append(v.Job.Env[:i:i], v.Job.Env[i+1:]...)
			break
		}
	}
	if path == "" {
		path = os.Getenv(fixtures.AlpineVariable)
	}
	if path == "" {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the Alpine minirootfs: %w", err)
	}
	if is := fixtures.AlpineArch(raw); !fixtures.AlpineIsFor(is, arch) {
		v.Note(fmt.Sprintf("%s is for %s: the %s guest does without", path, is, arch))
		return nil
	}
	v.Files = map[string][]byte{name: raw}
	v.Job.Env = append(v.Job.Env, fixtures.AlpineVariable+"=/"+guest.FilesDir+"/"+name)
	if sum := os.Getenv(fixtures.AlpineSHA256Variable); sum != "" {
		v.Job.Env = append(v.Job.Env, fixtures.AlpineSHA256Variable+"="+sum)
	}
	return nil
}

// shell boots a kernel for a person.
func (f *vmFlags) shell(name string, note func(string)) error {
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGHUP)
	defer cancel()
	k, err := f.find(ctx, name)
	if err != nil {
		return usageError(err)
	}
	v := f.options(k, note)
	// A person takes their time.
	v.Timeout = 24 * time.Hour
	v.Job = guest.Job{Argv: []string{shellName}, Terminal: true}
	if state, err := term.GetState(int(os.Stdin.Fd())); err == nil {
		// QEMU is killed once the guest has said goodbye.
		defer term.Restore(int(os.Stdin.Fd()), state)
	}
	out, err := vm.Run(ctx, v)
	if err != nil {
		return usageError(err)
	}
	if out.Status != 0 && out.Complete {
		return exitStatus(out.Status)
	}
	return nil
}

// guestShell is bulkhead as the shell of a guest: tiny-linux on its root.
func guestShell() int {
	if err := (fixtures.Tiny{}).Unpack(context.Background(), "/"); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead:", err)
		return 3
	}
	fmt.Println("bulkhead is /bin/bulkhead; Ctrl-A X ends the machine")
	// By its path, through which it finds out which of its programs it is.
	err := unix.Exec("/bin/sh", []string{"/bin/sh"}, os.Environ())
	fmt.Fprintln(os.Stderr, "bulkhead: start /bin/sh:", err)
	return 3
}
