package claim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/advice"
	"bulkhead/internal/kernel"
)

// Need is something that a claim's spec cannot do without. Whether it is there
// is found by trying, once a stage for all the claims that share the Need.
type Need struct {
	// Name is the need in a few words, as "CONFIG_VXLAN" or "root": the name of
	// what advice.Needs has for it, which several may share.
	Name string
	// Try returns nil when it is there. Its error is part of the skip's reason.
	Try func(ctx context.Context) error
	// Options are the kernel options that provide it. When the running
	// kernel's configuration has them all, built in or as modules that are
	// loaded, and Try failed, the kernel refuses what it says it offers: the
	// claim fails.
	Options []string
	// Built are options without which it cannot be there, and with which it is
	// still the machine's to decide.
	Built []string
	// Since is the first release that has it, as "5.12".
	Since string
}

// Needs are a claim's needs.
type Needs []*Need

// Root is root in the initial user namespace.
var Root = &Need{
	Name: "root",
	Try: func(context.Context) error {
		if lack := kernel.RootObstacle(); lack != nil {
			return lack
		}
		return nil
	},
}

// UnprivilegedUserNamespaces is that no switch keeps ordinary users from
// creating user namespaces.
var UnprivilegedUserNamespaces = &Need{
	Name: "user namespaces for ordinary users",
	Try: func(context.Context) error {
		if lack := kernel.UserNamespaceObstacle(); lack != nil {
			return &advice.Lack{Why: "ordinary users may not create user namespaces: " + lack.Why, Mend: lack.Mend}
		}
		return nil
	},
}

// OrdinaryUser is somebody without privileges for harness.Nobody to act as.
var OrdinaryUser = &Need{
	Name: "an ordinary user",
	Try: func(ctx context.Context) error {
		sb, err := harness.TryNobody(ctx)
		if err != nil {
			return fmt.Errorf("the suite's user namespace has no ordinary user: %w", err)
		}
		return sb.Kill(unix.SIGKILL)
	},
}

// Kernel is a release of at least since, for a behaviour that nothing but the
// release tells beforehand.
func Kernel(since string) *Need {
	return &Need{
		Name: "kernel " + since,
		Try: func(context.Context) error {
			major, minor := kernel.Release()
			if !kernel.AtLeastString(since) {
				return &advice.Lack{Why: fmt.Sprintf("kernel %d.%d < %s", major, minor, since), Mend: advice.Release(since)}
			}
			return nil
		},
	}
}

var namespaceOptions = map[string]string{
	"cgroup": "CONFIG_CGROUPS", "ipc": "CONFIG_IPC_NS", "mnt": "", "net": "CONFIG_NET_NS",
	"pid": "CONFIG_PID_NS", "time": "CONFIG_TIME_NS", "user": "CONFIG_USER_NS", "uts": "CONFIG_UTS_NS",
}

// namespaces are the needs of all types.
var namespaces = func() map[namespace.Type]*Need {
	all := map[namespace.Type]*Need{}
	for _, t := range namespace.All() {
		all[t] = newNamespace(t)
	}
	return all
}()

// Namespace is the possibility to create namespaces of the type.
func Namespace(t namespace.Type) *Need { return namespaces[t] }

func newNamespace(t namespace.Type) *Need {
	n := &Need{
		Name: t.Name + " namespaces",
		Try: func(ctx context.Context) error {
			sb, err := harness.TryStart(ctx, harness.New(t))
			if err != nil {
				return err
			}
			if t == namespace.Cgroup {
				// A kernel without cgroups takes CLONE_NEWCGROUP and does nothing.
				_, err = sb.Namespace(t)
			}
			return errors.Join(err, sb.Kill(unix.SIGKILL))
		},
	}
	if option := namespaceOptions[t.Name]; option != "" {
		n.Options = []string{option}
	}
	if t == namespace.Time {
		n.Since = "5.6"
	}
	return n
}

// Device is the possibility to make an interface like link, which an option
// provides; with a Parent, a veth is made to be that.
func Device(kind, option string, link probe.Link) *Need {
	return Feature(kind, "", []string{"CONFIG_NET_NS", option}, func(ctx context.Context) error {
		sb, err := harness.TryStart(ctx, harness.New(namespace.Network), harness.Held())
		if err != nil {
			return err
		}
		agent := sb.Agent(ctx)
		if link.Parent != "" {
			if _, err := probe.AddLink.Try(agent, probe.Link{Kind: "veth", Name: link.Parent, Peer: "peer0"}); err != nil {
				return err
			}
		}
		_, err = probe.AddLink.Try(agent, link)
		return err
	})
}

var (
	// Veth is the possibility to make a veth pair.
	Veth = Device("veth", "CONFIG_VETH", probe.Link{Kind: "veth", Name: "need0", Peer: "need1"})
	// Bridge is the possibility to make a bridge.
	Bridge = Device("bridge", "CONFIG_BRIDGE", probe.Link{Kind: "bridge", Name: "need0"})
	// Wired is a veth pair that can lead from one network namespace to another.
	Wired = Feature("veth from one network namespace to another", "", []string{"CONFIG_NET_NS", "CONFIG_VETH"}, func(ctx context.Context) error {
		near, err := harness.TryStart(ctx, harness.New(namespace.Network), harness.Held())
		if err != nil {
			return err
		}
		far, err := harness.TryStart(ctx, harness.New(namespace.Network), harness.Held())
		if err != nil {
			return err
		}
		agent := near.Agent(ctx)
		if _, err := probe.AddLink.Try(agent, probe.Link{Kind: "veth", Name: "need0", Peer: "need1", PeerPID: far.PID()}); err != nil {
			return err
		}
		links, err := probe.Links.Try(agent, probe.None{})
		if err != nil {
			return err
		}
		if _, here := probe.Find(links, "need1"); here {
			return errors.New("the end for another network namespace was made in the maker's own")
		}
		_, err = probe.MoveLink.Try(agent, probe.Move{Name: "need0", PID: far.PID()})
		return err
	})
)

// File is a file that the stage must have for a spec to look at.
func File(path string, options ...string) *Need {
	return &Need{
		Name: path,
		Try: func(ctx context.Context) error {
			_, err := harness.Host(ctx).Stat(path)
			return err
		},
		Options: options,
	}
}

var (
	// Inet is IPv4, which all that has addresses needs.
	Inet = Feature("IPv4", "", []string{"CONFIG_INET"}, func(ctx context.Context) error {
		sb := harness.Host(ctx)
		fd, err := sb.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		return sb.Close(fd)
	})
	// SeccompFilters is the possibility to install a seccomp filter.
	SeccompFilters = Feature("seccomp filters", "3.5", []string{"CONFIG_SECCOMP_FILTER"}, func(ctx context.Context) error {
		return harness.Start(ctx).Filter(unix.SYS_SETHOSTNAME, unix.EPERM)
	})
	// Sysctls are those of the kernel in general.
	Sysctls = File("/proc/sys/kernel", "CONFIG_SYSCTL")
)

// Feature is what try finds out, provided by kernel options since a release.
func Feature(name string, since string, options []string, try func(ctx context.Context) error) *Need {
	return &Need{Name: name, Since: since, Options: options, Try: try}
}

// Loaded is that the module of an option is in the kernel already, for one whose
// loading would make interfaces on the machine.
func Loaded(option string) *Need {
	module := advice.Module(option)
	return &Need{
		Name: module,
		Try: func(context.Context) error {
			value, known := kernel.LoadConfig().Option(option)
			switch {
			case value == "y" || kernel.ModuleLoaded(module):
				return nil
			case known && value == "":
				return &advice.Lack{Why: option + " is not set", Mend: advice.Build(option)}
			}
			return fmt.Errorf("the module %s is not loaded, and loading it would make interfaces on the machine", module)
		},
	}
}

// met are the needs that were found met on a stage. One that was not is tried
// again: the machine may have been short of something.
var met known

type known struct {
	stage *harness.Stage
	needs map[*Need]bool
}

func (k *known) holds(n *Need) bool {
	if stage, _ := harness.CurrentStage(); k.stage != stage {
		k.stage, k.needs = stage, map[*Need]bool{}
	}
	return k.needs[n]
}

// Check ends the spec at the first need that is missing: as skipped, as failed
// when the kernel says that it offers what it refuses, or as broken.
func (needs Needs) Check(ctx context.Context) {
	if _, err := harness.CurrentStage(); err != nil {
		var shared *harness.SharedNamespace
		if errors.As(err, &shared) {
			if slices.Contains(needs, Namespace(shared.Type)) {
				ginkgo.Fail(err.Error(), 1)
			}
			harness.Broken("set up the stage: %v", err)
		}
		if harness.Privileged() {
			option := needs.blame(err)
			if errors.Is(err, unix.ENOSPC) {
				if limit := kernel.NamespaceLimit(); limit != nil {
					skip(fmt.Sprintf("%v: %s", err, limit.Why), limit.Mend)
				}
			}
			harness.Broken("set up the stage: %v", errors.Join(append([]error{fmt.Errorf("%w%s%s", err, option, taskLimit())}, confinements()...)...))
		}
		// A stage that died (EOF) was refused nothing either.
		if exhausted(err) || errors.Is(err, io.EOF) {
			harness.Broken("set up the stage: %v%s", err, taskLimit())
		}
		lack := noStage(err)
		skip("needs root, or user namespaces for ordinary users: "+lack.Why, lack.Mend+"; or "+advice.NotRoot)
	}
	for i, n := range needs {
		if met.holds(n) {
			continue
		}
		err := n.Try(ctx)
		if probe.Silent(err) {
			// The kernel was busy loading modules, which a first try asks for.
			err = n.Try(ctx)
		}
		if err == nil {
			met.needs[n] = true
			continue
		}
		if probe.Silent(err) {
			harness.Broken("%s: %v", n.Name, err)
		}
		if exhausted(err) {
			harness.Broken("%s: %v%s", n.Name, err, taskLimit())
		}
		if why := harness.Stayed(); why != "" {
			ginkgo.Fail(fmt.Sprintf("%s; then: %s: %v", why, n.Name, err), 1)
		}
		reason, remedy, offered := n.Judge(err, needs[i+1:]...)
		if offered {
			ginkgo.Fail(fmt.Sprintf("%s: %s, yet the kernel refuses it: %v", n.Name, reason, err), 1)
		}
		skip(reason, remedy)
	}
}

// exhausted says whether err is that of something of which the caller has none
// left, which says nothing of the kernel.
func exhausted(err error) bool {
	return slices.ContainsFunc([]unix.Errno{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE}, func(errno unix.Errno) bool {
		return errors.Is(err, errno)
	})
}

// taskLimit says, to go behind an error, what may be the cause of an EAGAIN;
// empty when nothing limits the suite's processes.
func taskLimit() string {
	limit := kernel.Tasks()
	if limit == nil {
		return ""
	}
	return fmt.Sprintf("; no more than %d tasks are allowed (%s)", limit.Most, limit.Name)
}

// noStage says what keeps an ordinary user from having a stage.
func noStage(err error) *advice.Lack {
	if lack := kernel.UserNamespaceObstacle(); lack != nil {
		return lack
	}
	if errors.Is(err, unix.ENOSPC) {
		if limit := kernel.NamespaceLimit(); limit != nil {
			return &advice.Lack{Why: err.Error() + ": " + limit.Why, Mend: limit.Mend}
		}
	}
	if kernel.SeccompFiltered() {
		return &advice.Lack{Why: err.Error() + "; a seccomp filter, as container runtimes set one, may be what refuses it", Mend: advice.Seccomp.Mend}
	}
	if lacking := kernel.Lacking(); len(lacking) > 0 && os.Geteuid() == 0 {
		return &advice.Lack{Why: err.Error() + "; this root lacks " + strings.Join(lacking, ", "), Mend: advice.Capability(lacking...)}
	}
	return &advice.Lack{Why: err.Error(), Mend: advice.OfNamespace}
}

// blame ends the spec when there is no stage because the kernel refuses the type
// of namespace that the claim is about: as failed when the kernel says that it
// offers it, or as skipped. For another claim it says, to go behind an error, what
// the kernel lacks.
func (needs Needs) blame(stage error) string {
	var refused *harness.RefusedNamespace
	if !errors.As(stage, &refused) || kernel.SeccompFiltered() {
		return ""
	}
	about := Namespace(refused.Type)
	// The stage would be refused the next of them then.
	var others Needs
	for _, t := range harness.StageTypes() {
		others = append(others, Namespace(t))
	}
	reason, remedy, offered := about.Judge(refused, others...)
	switch {
	case offered && slices.Contains(needs, about):
		ginkgo.Fail(fmt.Sprintf("%s, yet the kernel refuses it: %v", reason, refused), 2)
	case !offered && slices.Contains(needs, about):
		skip(reason, remedy)
	case !offered:
		return fmt.Sprintf("; %s: %s", reason, remedy)
	}
	return ""
}

// unset are those of the options that the kernel's configuration does not have.
func unset(options []string) (missing []string) {
	for _, o := range options {
		if v, known := kernel.LoadConfig().Option(o); known && v == "" {
			missing = append(missing, o)
		}
	}
	return missing
}

// lacking says which options of the needs are not set, all of them: who builds a
// kernel for a claim wants to do it once.
func (needs Needs) lacking() (reason, remedy string) {
	var options []string
	for _, n := range needs {
		if n.Since == "" || kernel.AtLeastString(n.Since) {
			options = append(options, unset(slices.Concat(n.Built, n.Options))...)
		}
	}
	slices.Sort(options)
	options = slices.Compact(options)
	verb := " is not set"
	if len(options) > 1 {
		verb = " are not set"
	}
	return strings.Join(options, ", ") + verb, advice.Build(options...)
}

// Judge tells a feature that is not offered from one that is refused although
// the kernel's own configuration, or its release, has it. err is what
// trying it gave, others are the needs that were not tried because of that.
func (n *Need) Judge(err error, others ...*Need) (reason, remedy string, offered bool) {
	var lack *advice.Lack
	if errors.As(err, &lack) {
		return err.Error(), lack.Mend, false
	}
	if len(unset(n.Built)) > 0 {
		reason, remedy = append(Needs{n}, others...).lacking()
		return reason, remedy, false
	}
	remedy = strings.ReplaceAll(advice.Needs[n.Name], advice.Cgroup2, kernel.Cgroup2Mount())
	if errors.Is(err, unix.ENOSPC) {
		if limit := kernel.NamespaceLimit(); limit != nil {
			return fmt.Sprintf("%v: %s", err, limit.Why), limit.Mend, false
		}
	}
	if n.Since != "" && !kernel.AtLeastString(n.Since) {
		major, minor := kernel.Release()
		return fmt.Sprintf("kernel %d.%d < %s (%s)", major, minor, n.Since, n.Name), advice.Release(n.Since), false
	}
	if len(n.Options) == 0 {
		if n.Since != "" {
			major, minor := kernel.Release()
			return fmt.Sprintf("kernel %d.%d has %s, since %s", major, minor, n.Name, n.Since), remedy, true
		}
		return err.Error(), remedy, false
	}
	config := kernel.LoadConfig()
	if !config.Known() {
		return fmt.Sprintf("%s: %v (the kernel's configuration cannot be read)", n.Name, err), advice.Build(n.Options...), false
	}
	// One that is not set is why, whatever the others are.
	if len(unset(n.Options)) > 0 {
		reason, remedy = append(Needs{n}, others...).lacking()
		return reason, remedy, false
	}
	var built, modules []string
	for _, o := range n.Options {
		switch v, _ := config.Option(o); {
		case v == "y":
			built = append(built, o+"=y")
		case kernel.ModuleLoaded(advice.Module(o)):
			built = append(built, o+"=m and loaded")
		default:
			modules = append(modules, o)
		}
	}
	if len(modules) > 0 {
		name := advice.Module(modules[0])
		return fmt.Sprintf("%s is a module that is not loaded and could not be: %v", modules[0], err),
			advice.Load(modules[0], kernel.ReleaseName(), kernel.ModuleInstalled(name), kernel.Blacklisted(name)), false
	}
	return strings.Join(built, ", "), remedy, true
}

// confinements are what is in force for bulkhead itself, and what lifts each.
func confinements() (all []error) {
	for _, c := range kernel.Confinements() {
		all = append(all, fmt.Errorf("%s is in force for bulkhead: %s", c.Name, c.Mend))
	}
	return all
}

// mend is what is known to mend a failure of the claim on this machine.
func mend(id string) string {
	if around := confinements(); len(around) > 0 {
		return errors.Join(around...).Error()
	}
	return advice.Elsewhere(id)
}

func skip(reason, remedy string) {
	if remedy != "" {
		ginkgo.AddReportEntry(remedyEntry, remedy, ginkgo.ReportEntryVisibilityNever)
	}
	ginkgo.Skip(reason, 2)
}
