package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/onsi/ginkgo/v2/types"
	"golang.org/x/sys/unix"

	"bulkhead/internal/advice"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
	"bulkhead/internal/report"
)

// TestEveryNeedHasItsAdvice finds a need that nothing would mend, and advice
// for what nobody needs.
func TestEveryNeedHasItsAdvice(t *testing.T) {
	options, needs := map[string]bool{}, map[string]bool{}
	for _, c := range claim.All() {
		for _, n := range c.Needs {
			needs[n.Name] = true
			for _, o := range slices.Concat(n.Options, n.Built) {
				options[o] = true
				if _, ok := advice.Options[o]; !ok {
					t.Errorf("%s needs %s, which advice.Options does not have", c.ID, o)
				}
			}
			release := n.Since != "" || strings.HasPrefix(n.Name, "kernel ")
			if len(n.Options) == 0 && !release && n.Name != claim.Root.Name && advice.Needs[n.Name] == "" {
				t.Errorf("%s needs %q, and advice.Needs does not say what would mend it", c.ID, n.Name)
			}
		}
	}
	for o := range advice.Options {
		if !options[o] {
			t.Errorf("no claim needs %s of advice.Options", o)
		}
	}
	for n := range advice.Needs {
		if !needs[n] {
			t.Errorf("no claim has the need %q of advice.Needs", n)
		}
	}
}

// TestOptionsExist looks for the options of the advice in the configurations
// that are to be had: the running kernel's and those of BULKHEAD_CONFIGS, files
// separated by colons.
func TestOptionsExist(t *testing.T) {
	known := map[string]bool{}
	paths := []string{"/proc/config.gz", "/boot/config-" + kernel.ReleaseName()}
	for _, path := range append(paths, filepath.SplitList(os.Getenv("BULKHEAD_CONFIGS"))...) {
		if c, err := kernel.ReadConfig(path); err == nil {
			for _, name := range c.Names() {
				known[name] = true
				if v, _ := c.Option(name); v != "" {
					known[name+"=y"] = true
				}
			}
		}
	}
	if len(known) == 0 {
		t.Skip("no kernel configuration to be read")
	}
	// Without the option above it an option does not stand in a configuration.
	above := map[string]string{
		"CONFIG_BRIDGE_NETFILTER": "CONFIG_NETFILTER_ADVANCED", "CONFIG_BRIDGE_VLAN_FILTERING": "CONFIG_VLAN_8021Q",
		"CONFIG_NET_IPGRE": "CONFIG_NET_IPGRE_DEMUX", "CONFIG_IKCONFIG_PROC": "CONFIG_IKCONFIG", "CONFIG_CGROUP_BPF": "CONFIG_BPF_SYSCALL",
	}
	for o := range advice.Options {
		if !known[o] && (above[o] == "" || known[above[o]+"=y"]) {
			t.Errorf("no kernel configuration here has %s", o)
		}
	}
}

// TestAdviceOnAMachineWithTheFault gives bulkhead each fault that needs no
// other kernel, and asks for the reason and for what mends it.
func TestAdviceOnAMachineWithTheFault(t *testing.T) {
	inUserNamespace := func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	}
	limit := func(sysctl, as string) []string {
		return []string{"sh", "-c", "echo 0 > /proc/sys/" + sysctl + " && exec " + as + ` "$@"`, "sh"}
	}
	const ordinary = "setpriv --reuid 1000 --regid 1000 --clear-groups"
	withOrdinary := func(cmd *exec.Cmd) {
		ids := []syscall.SysProcIDMap{{Size: 1}, {ContainerID: 1000, HostID: 1000, Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
	}
	// Mounts that are gone, or others, for one process.
	mounts := func(script, as string) []string {
		return []string{"unshare", "--mount", "sh", "-c", script + " && exec " + as + ` "$@"`, "sh"}
	}
	const noCgroups = "umount -R /sys/fs/cgroup"
	for _, c := range []struct {
		name string
		// root is true for a fault that only root can be given.
		root    bool
		wrap    []string
		prepare func(*exec.Cmd)
		claim   string
		reason  string
		mend    string
	}{
		{"an ordinary user", true, strings.Fields(ordinary), nil,
			"user/privileged-parent-maps-ranges", "needs root", advice.NotRoot},
		{"the root of a user namespace", false, nil, inUserNamespace,
			"user/privileged-parent-maps-ranges", "needs root: this is the root of a user namespace", advice.OfNamespace},
		{"root without CAP_SYS_ADMIN", true, []string{"setpriv", "--bounding-set", "-sys_admin"}, nil,
			"user/privileged-parent-maps-ranges", "needs root: this root lacks CAP_SYS_ADMIN", "docker run or podman run --cap-add SYS_ADMIN, or --privileged"},
		{"root without two capabilities", true, []string{"setpriv", "--bounding-set", "-mknod,-sys_time"}, nil,
			"cgroup/v2-device-control-by-bpf", "needs root: this root lacks CAP_SYS_TIME, CAP_MKNOD", "docker run or podman run --cap-add SYS_TIME --cap-add MKNOD, or --privileged"},
		{"root that may map no root", true, []string{"setpriv", "--bounding-set", "-setfcap"}, nil,
			"uts/members-share-changes", "this root lacks CAP_SETFCAP", "docker run or podman run --cap-add SETFCAP, or --privileged"},
		{"no_new_privs", true, []string{"setpriv", "--no-new-privs"}, nil,
			"mount/nosuid-ignores-setuid-bit", "no_new_privs is set for the suite itself", advice.Needs["no_new_privs not set"]},
		{"no user namespaces", true, limit("user/max_user_namespaces", ordinary), withOrdinary,
			"uts/members-share-changes", "needs root, or user namespaces for ordinary users: user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=15000"},
		// No kernel here has these two: their files are put where they would be.
		{"AppArmor's switch", true, mounts("mount -t tmpfs none /proc/sys/kernel && echo 1 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns", ordinary), nil,
			"user/creation-needs-no-privilege", "needs root, or user namespaces for ordinary users: kernel.apparmor_restrict_unprivileged_userns is 1", "an AppArmor profile for bulkhead with the rule userns,"},
		{"Debian's switch", true, mounts("mount -t tmpfs none /proc/sys/kernel && echo 0 > /proc/sys/kernel/unprivileged_userns_clone", ordinary), nil,
			"user/creation-needs-no-privilege", "needs root, or user namespaces for ordinary users: kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"no network namespaces", false, limit("user/max_net_namespaces", ""), inUserNamespace,
			"net/loopback-needs-to-be-raised", "user.max_net_namespaces is 0", advice.Raise("user.max_net_namespaces")},
		{"no time namespaces", false, limit("user/max_time_namespaces", ""), inUserNamespace,
			"time/monotonic-offset-applies", "user.max_time_namespaces is 0", advice.Raise("user.max_time_namespaces")},
		{"no message queues", true, []string{"prlimit", "--msgqueue=0"}, nil,
			"ipc/posix-queues-isolated", "RLIMIT_MSGQUEUE is 0 bytes", advice.MessageQueues},
		{"no locked memory", true, []string{"prlimit", "--memlock=0", "setpriv", "--bounding-set", "-sys_resource"}, nil,
			"ipc/objects-die-with-namespace", "prlimit64(RLIMIT_MEMLOCK): EPERM", advice.Needs["RLIMIT_MEMLOCK"]},
		{"one CPU", true, []string{"taskset", "-c", "0"}, nil,
			"cgroup/cpuset-limits-affinity", "the suite may run on the CPUs [0] only", advice.Needs["two CPUs"]},
		{"no cgroup hierarchy", true, mounts(noCgroups, ""), nil,
			"cgroup/fork-inherits-membership", "no cgroup hierarchy is mounted", "mount -t cgroup2 none /sys/fs/cgroup"},
		{"no cgroup v2", true, mounts(noCgroups, ""), nil,
			"cgroup/delegated-subtree-usable-unprivileged", "no cgroup2 hierarchy is mounted", "mount -t cgroup2 none /sys/fs/cgroup"},
		{"no memory controller", true, mounts(noCgroups, ""), nil,
			"cgroup/meminfo-ignores-the-limit", "no mounted hierarchy has the memory controller", "echo +memory > /sys/fs/cgroup/cgroup.subtree_control"},
		{"no cgroup v1", true, mounts(noCgroups+" && mount -t cgroup2 none /sys/fs/cgroup", ""), nil,
			"cgroup/proc-cgroup-line-format", "no cgroup v1 hierarchy is mounted beside v2", advice.Needs["cgroup v1 beside v2"]},
		{"no devices controller", true, mounts(noCgroups+" && mount -t cgroup2 none /sys/fs/cgroup", ""), nil,
			"cgroup/v1-devices-deny", "no cgroup v1 hierarchy with the devices controller is mounted", advice.Needs["the devices controller of cgroup v1"]},
		{"no sysfs", true, mounts("umount -R /sys", ordinary), nil,
			"user/mounting-sysfs-needs-own-net-ns", "/sys/kernel: ENOENT", "mount -t sysfs sysfs /sys"},
		{"an empty /dev", true, mounts("mount -t tmpfs none /dev", ordinary), nil,
			"network/tap-usable-in-own-user-and-net-ns", "/dev/net/tun: ENOENT", "docker run or podman run --device /dev/net/tun"},
		{"no /dev/null", true, mounts("mount -t tmpfs none /dev", ordinary), nil,
			"combined/masked-path-hides-a-proc-file", "/dev/null: ENOENT", "mknod -m 666 /dev/null c 1 3"},
		{"another network namespace", true, []string{"unshare", "--net"}, nil,
			"net/ipv4-sysctls-seeded-from-initial-ns", "bulkhead itself is not in the initial network namespace", "run bulkhead on the machine itself"},
		{"setgroups(2) denied", false, nil, inUserNamespace,
			"user/setgroups-deny-impossible-after-gid-map", "setgroups(2) is denied in the user namespace", advice.NotRoot},
		{"no project IDs", false, nil, inUserNamespace,
			"user/projid-map-needs-no-capability", "the suite's own user namespace has no project IDs", advice.NotRoot},
		{"the machine's root without its rights", true, []string{"setpriv", "--bounding-set", "-sys_admin"}, nil,
			"user/files-created-get-outer-owner", "the suite runs as the machine's root, without its privileges", "run bulkhead as an ordinary user"},
		// As container runtimes do it: the capability is gone too.
		{"a seccomp filter", true, []string{"setpriv", "--bounding-set", "-sys_admin"}, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, seccompVariable+"=1") },
			"uts/members-share-changes", "a seccomp filter, as container runtimes set one, may be what refuses it", advice.Seccomp.Mend},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && !kernel.IsRoot() {
				t.Skip("needs root")
			}
			t.Parallel()
			events, err := os.CreateTemp(t.TempDir(), "events")
			if err != nil {
				t.Fatal(err)
			}
			defer events.Close()
			cmd := command("run", "--claim", c.claim, "--events", "/dev/fd/3")
			cmd.ExtraFiles = []*os.File{events}
			if len(c.wrap) > 0 {
				wrap(t, cmd, c.wrap...)
			}
			if c.prepare != nil {
				c.prepare(cmd)
			}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			_ = cmd.Run()
			m, err := report.ReadFile(events.Name())
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			r := m.Single()
			if len(r.Claims) != 1 || r.Claims[0].Verdict != report.Skip || !strings.Contains(r.Claims[0].Reason, c.reason) || !strings.Contains(r.Claims[0].Remedy, c.mend) {
				t.Errorf("%+v\nwant a skip for %q, mended by %q", r.Claims, c.reason, c.mend)
			}
			if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), c.mend) {
				t.Errorf("the terminal does not say %q:\n%s", c.mend, out.String())
			}
		})
	}
}

// seccompVariable makes the command run under refuseNamespaces.
const seccompVariable = "BULKHEAD_TEST_SECCOMP"

// refuseNamespaces makes unshare(2), clone3(2) and clone(2) with namespaces fail as
// the default profile of container runtimes does, for this process and those
// that it starts.
func refuseNamespaces() error {
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	is := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		answer = unix.BPF_RET | unix.BPF_K
		spaces = unix.CLONE_NEWUSER | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS
	)
	program := []unix.SockFilter{
		stmt(load, 0), // the number of the call
		is(unix.SYS_UNSHARE, 4, 0),
		is(unix.SYS_CLONE3, 4, 0),
		is(unix.SYS_CLONE, 0, 4),
		stmt(load, 16), // the low half of its flags, on a little-endian machine
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: spaces, Jt: 0, Jf: 2},
		stmt(answer, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)),
		stmt(answer, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)),
		stmt(answer, unix.SECCOMP_RET_ALLOW),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return errno
	}
	return nil
}

// TestACoreClaimThatFailsComesWithAdvice has no kernel with the fault: the
// verdict is made from what Ginkgo would say of it.
func TestACoreClaimThatFailsComesWithAdvice(t *testing.T) {
	for _, c := range claim.All() {
		failed := types.SpecReport{LeafNodeText: c.ID + ": " + c.Text, State: types.SpecStateFailed, Failure: types.Failure{Message: "it is not so"}}
		found, ran := claim.Judge(failed)
		if !ran || found.Verdict != report.Fail {
			t.Fatalf("%s: %+v", c.ID, found)
		}
		want := advice.Elsewhere(c.ID)
		for _, around := range kernel.Confinements() {
			want = around.Mend
		}
		if c.Core != strings.Contains(found.Remedy, want) {
			t.Errorf("%s, core %v: mended by %q", c.ID, c.Core, found.Remedy)
		}
	}
}
