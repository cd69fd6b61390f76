// Package advice is the one place for what would mend what a kernel or a
// machine lacks: options, modules, sysctls, rights. It knows their names and
// refuses to look at the machine.
package advice

import (
	"fmt"
	"slices"
	"strings"
)

// Lack is an error that says what would mend it.
type Lack struct{ Why, Mend string }

func (l *Lack) Error() string { return l.Why }

// Option is a kernel option as menuconfig shows it.
type Option struct {
	// Menu is the path to it, the prompt last. An option without a prompt has
	// that of the option which brings it along.
	Menu string
	// Module is the name of its module, empty when it can only be built in.
	Module string
}

const (
	menuSeparator = " > "

	general   = "General setup > "
	cgroups   = general + "Control Group support > "
	spaces    = general + "Namespaces support > "
	networks  = "Networking support > Networking options > "
	netfilter = networks + "Network packet filtering framework (Netfilter) > "
	devices   = "Device Drivers > Network device support > Network core driver support > "
	pseudo    = "File systems > Pseudo filesystems > "
)

// Options are the kernel options that claims need.
var Options = map[string]Option{
	"CONFIG_BONDING":                        {devices + "Bonding driver support", "bonding"},
	"CONFIG_BPF_SYSCALL":                    {general + "BPF subsystem > Enable bpf() system call", ""},
	"CONFIG_BRIDGE":                         {networks + "802.1d Ethernet Bridging", "bridge"},
	"CONFIG_BRIDGE_NETFILTER":               {netfilter + "Bridged IP/ARP packets filtering", "br_netfilter"},
	"CONFIG_BRIDGE_VLAN_FILTERING":          {networks + "802.1d Ethernet Bridging > VLAN filtering", ""},
	"CONFIG_CFS_BANDWIDTH":                  {cgroups + "CPU controller > CPU bandwidth provisioning for FAIR_GROUP_SCHED", ""},
	"CONFIG_CGROUPS":                        {general + "Control Group support", ""},
	"CONFIG_CGROUP_BPF":                     {cgroups + "Support for eBPF programs attached to cgroups", ""},
	"CONFIG_CGROUP_DEVICE":                  {cgroups + "Device controller", ""},
	"CONFIG_CGROUP_PIDS":                    {cgroups + "PIDs controller", ""},
	"CONFIG_CGROUP_SCHED":                   {cgroups + "CPU controller", ""},
	"CONFIG_CHECKPOINT_RESTORE":             {general + "Checkpoint/restore support", ""},
	"CONFIG_CPUSETS":                        {cgroups + "Cpuset controller", ""},
	"CONFIG_DUMMY":                          {devices + "Dummy net driver support", "dummy"},
	"CONFIG_FHANDLE":                        {general + "open by fhandle syscalls", ""},
	"CONFIG_GENEVE":                         {devices + "Generic Network Virtualization Encapsulation", "geneve"},
	"CONFIG_IKCONFIG_PROC":                  {general + "Kernel .config support > Enable access to .config through /proc/config.gz", ""},
	"CONFIG_INET":                           {networks + "TCP/IP networking", ""},
	"CONFIG_IPC_NS":                         {spaces + "IPC namespace", ""},
	"CONFIG_IPV6":                           {networks + "The IPv6 protocol", "ipv6"},
	"CONFIG_IPVLAN":                         {devices + "IP-VLAN support", "ipvlan"},
	"CONFIG_IP_NF_IPTABLES":                 {netfilter + "IP: Netfilter Configuration > IP tables support", "ip_tables"},
	"CONFIG_IP_NF_NAT":                      {netfilter + "IP: Netfilter Configuration > IP tables support > iptables NAT support", "iptable_nat"},
	"CONFIG_KEYS":                           {"Security options > Enable access key retention support", ""},
	"CONFIG_MACVLAN":                        {devices + "MAC-VLAN support", "macvlan"},
	"CONFIG_MEMCG":                          {cgroups + "Memory controller", ""},
	"CONFIG_MULTIUSER":                      {general + "Configure standard kernel features (expert users) > Multiple users, groups and capabilities support", ""},
	"CONFIG_NET":                            {"Networking support", ""},
	"CONFIG_NETFILTER_XT_NAT":               {netfilter + "Core Netfilter Configuration > Netfilter Xtables support > \"SNAT and DNAT\" targets support", "xt_nat"},
	"CONFIG_NETFILTER_XT_TARGET_MASQUERADE": {netfilter + "Core Netfilter Configuration > Netfilter Xtables support > MASQUERADE target support", "xt_MASQUERADE"},
	"CONFIG_NET_IPGRE":                      {networks + "TCP/IP networking > IP: GRE tunnels over IP", "ip_gre"},
	"CONFIG_NET_NS":                         {spaces + "Network namespace", ""},
	"CONFIG_NFT_MASQ":                       {netfilter + "Core Netfilter Configuration > Netfilter nf_tables masquerade support", "nft_masq"},
	"CONFIG_NFT_NAT":                        {netfilter + "Core Netfilter Configuration > Netfilter nf_tables nat module", "nft_nat"},
	"CONFIG_NF_CONNTRACK":                   {netfilter + "Core Netfilter Configuration > Netfilter connection tracking support", "nf_conntrack"},
	"CONFIG_NF_CT_NETLINK":                  {netfilter + "Core Netfilter Configuration > Connection tracking netlink interface", "nf_conntrack_netlink"},
	"CONFIG_NF_NAT":                         {netfilter + "Core Netfilter Configuration > Network Address Translation support", "nf_nat"},
	"CONFIG_NF_TABLES":                      {netfilter + "Core Netfilter Configuration > Netfilter nf_tables support", "nf_tables"},
	"CONFIG_NF_TABLES_IPV4":                 {netfilter + "IP: Netfilter Configuration > IPv4 nf_tables support", ""},
	"CONFIG_OVERLAY_FS":                     {"File systems > Overlay filesystem support", "overlay"},
	"CONFIG_PID_NS":                         {spaces + "PID Namespaces", ""},
	"CONFIG_POSIX_MQUEUE":                   {general + "POSIX Message Queues", ""},
	"CONFIG_POSIX_MQUEUE_SYSCTL":            {pseudo + "Sysctl support (/proc/sys)", ""},
	"CONFIG_PROC_FS":                        {pseudo + "/proc file system support", ""},
	"CONFIG_SECCOMP_FILTER":                 {"General architecture-dependent options > Enable seccomp to safely execute untrusted bytecode", ""},
	"CONFIG_SMP":                            {"Processor type and features > Symmetric multi-processing support", ""},
	"CONFIG_SWAP":                           {"Memory Management options > Support for paging of anonymous memory (swap)", ""},
	"CONFIG_SYSCTL":                         {pseudo + "Sysctl support (/proc/sys)", ""},
	"CONFIG_SYSFS":                          {pseudo + "sysfs file system support", ""},
	"CONFIG_SYSVIPC":                        {general + "System V IPC", ""},
	"CONFIG_SYSVIPC_SYSCTL":                 {pseudo + "Sysctl support (/proc/sys)", ""},
	"CONFIG_TIME_NS":                        {spaces + "TIME namespace", ""},
	"CONFIG_TMPFS_XATTR":                    {pseudo + "Tmpfs virtual memory file system support (former shm fs) > Tmpfs extended attributes", ""},
	"CONFIG_TUN":                            {devices + "Universal TUN/TAP device driver support", "tun"},
	"CONFIG_UNIX98_PTYS":                    {"Device Drivers > Character devices > Enable TTY > Unix98 PTY support", ""},
	"CONFIG_USER_NS":                        {spaces + "User namespace", ""},
	"CONFIG_UTS_NS":                         {spaces + "UTS namespace", ""},
	"CONFIG_VETH":                           {devices + "Virtual ethernet pair device", "veth"},
	"CONFIG_VLAN_8021Q":                     {networks + "802.1Q/802.1ad VLAN Support", "8021q"},
	"CONFIG_VXLAN":                          {devices + "Virtual eXtensible Local Area Network (VXLAN)", "vxlan"},
	"CONFIG_WIREGUARD":                      {devices + "WireGuard secure network tunnel", "wireguard"},
}

// Module is the name of an option's module.
func Module(option string) string {
	if o := Options[option]; o.Module != "" {
		return o.Module
	}
	return strings.ToLower(strings.TrimPrefix(option, "CONFIG_"))
}

// Build is the kernel that has the options. The menu that they are all in is
// named once.
func Build(options ...string) string {
	var menus [][]string
	for _, name := range options {
		if o, ok := Options[name]; ok {
			menus = append(menus, strings.Split(o.Menu, menuSeparator))
		}
	}
	text := "a kernel built with " + strings.Join(options, ", ")
	if len(menus) == 0 {
		return text
	}
	shared := 0
	for inAll(menus, shared) {
		shared++
	}
	var rest []string
	for _, m := range menus {
		rest = append(rest, strings.Join(m[shared:], menuSeparator))
	}
	return text + " (" + strings.Join(append(slices.Clone(menus[0][:shared]), strings.Join(slices.Compact(rest), "; ")), menuSeparator) + ")"
}

// inAll says whether the menus are the same at the depth, and menus still.
func inAll(menus [][]string, depth int) bool {
	return !slices.ContainsFunc(menus, func(m []string) bool { return depth >= len(m)-1 || m[depth] != menus[0][depth] })
}

// Load is what gets an option's module into the kernel. installed says whether
// the module is in the folder of this kernel's modules, blacklisted whether the
// kernel's command line keeps it out.
func Load(option, release string, installed, blacklisted bool) string {
	if blacklisted {
		return "boot without " + Module(option) + " in module_blacklist="
	}
	if !installed {
		return "install the modules of this kernel: /lib/modules/" + release + " has no " + Module(option)
	}
	return "modprobe " + Module(option) + ", as root of the machine itself"
}

// Release is the kernel that has what came with a release.
func Release(since string) string { return "a kernel of release " + since + " or newer" }

// Switch is a sysctl that keeps a healthy kernel from doing what claims need.
type Switch struct {
	Sysctl string
	// Off is the value that keeps it.
	Off  string
	Mend string
}

// Switches are the sysctls on ordinary users' user namespaces.
var Switches = []Switch{
	{"kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"},
	{"user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"},
	{"kernel.apparmor_restrict_unprivileged_userns", "1",
		"an AppArmor profile for bulkhead with the rule userns, (docs/advice.md has one), or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
}

// IPv6 turns on what the module's parameter turned off.
const IPv6 = "boot without ipv6.disable=1 on the kernel's command line, and in /etc/modprobe.d where IPv6 is a module"

// MessageQueues lifts the limit on the bytes that a user's POSIX message queues
// may take, to what it is where nobody lowered it.
const MessageQueues = "ulimit -q 819200 before bulkhead runs, as root"

// OpenFiles lifts the limit on open files to what a run needs.
func OpenFiles(need int) string {
	return fmt.Sprintf("ulimit -n %d before bulkhead runs, as root; docker run or podman run --ulimit nofile=%[1]d", need)
}

// Processes lifts the limit on a user's processes and threads, TasksOf that of a
// cgroup, to what is enough for two specs at a time.
const Processes = "ulimit -u 200 before bulkhead runs, as root"

// TasksOf is for the cgroup of a directory.
func TasksOf(group string) string {
	return "echo 200 > " + group + "/pids.max, as root of the machine; docker run or podman run --pids-limit 200"
}

// Raise lifts a limit on namespaces.
func Raise(sysctl string) string {
	return "sysctl -w " + sysctl + "=15000, in the user namespace that sets the limit"
}

// What the rights of this process lack, and what gives them.
const (
	NotRoot     = "sudo bulkhead run, on the machine itself"
	OfNamespace = "run bulkhead outside of the user namespace: as the machine's root, or in a container of a rootful runtime without --userns"
)

// Capability gives root capabilities that a container runtime took.
func Capability(names ...string) string {
	var add []string
	for _, name := range names {
		add = append(add, "--cap-add "+strings.TrimPrefix(name, "CAP_"))
	}
	return "docker run or podman run " + strings.Join(add, " ") + ", or --privileged"
}

// Confinement is something around this process that refuses what the kernel
// offers.
type Confinement struct{ Name, Mend string }

var (
	Seccomp  = Confinement{"a seccomp filter", "docker run or podman run --security-opt seccomp=unconfined"}
	AppArmor = Confinement{"an AppArmor profile", "docker run or podman run --security-opt apparmor=unconfined"}
	SELinux  = Confinement{"an SELinux domain of containers", "docker run or podman run --security-opt label=disable"}
)

// Elsewhere tells a fault of the kernel from one of the machine, where nothing
// is known that would mend it.
func Elsewhere(id string) string {
	return "nothing known on this machine; see whether a stock kernel keeps it: bulkhead vm --kernel debian:trixie --claim " + id
}

// Cgroup2 stands in a text for where cgroup v2 is mounted.
const Cgroup2 = "{cgroup2}"

const (
	mountCgroup2 = "mount -t cgroup2 none /sys/fs/cgroup"
	mountDevices = "mkdir -p /run/devices && mount -t cgroup -o devices none /run/devices"
	itself       = "run bulkhead on the machine itself, not in a container"
)

// enable is what makes a controller known to cgroups below v2's root.
func enable(controller string) string {
	return "echo +" + controller + " > " + Cgroup2 + "/cgroup.subtree_control, with cgroup2 mounted there; where a v1 hierarchy has the controller, boot with cgroup_no_v1=" +
		controller + " first"
}

// Needs are what mends a need that no option and no release provides, by the
// need's name.
var Needs = map[string]string{
	"user namespaces for ordinary users":             "set the named sysctl the other way",
	"an ordinary user":                               "run bulkhead as root, or as an ordinary user, of the machine itself",
	"setgroups(2) not denied":                        NotRoot,
	"mapped project IDs":                             NotRoot,
	"IPC sysctls that can be written":                NotRoot,
	"the machine's root apart from the suite's user": "run bulkhead as an ordinary user, or with all of root's capabilities: docker run or podman run --privileged",
	"no_new_privs not set":                           "run bulkhead without no_new_privs: no --security-opt no-new-privileges, no NoNewPrivileges= of its service",
	"fs.suid_dumpable not 1":                         "sysctl -w fs.suid_dumpable=0",
	"a mounted cgroup hierarchy":                     mountCgroup2,
	"cgroup v2":                                      mountCgroup2,
	"cgroup v2 mounted with nsdelegate":              "mount -o remount,nsdelegate " + Cgroup2,
	"cgroup v1 beside v2":                            mountDevices,
	"the devices controller of cgroup v1":            mountDevices,
	"a v2 controller for cgroups below the root":     enable("memory"),
	"a v2 controller that knows no thread mode":      enable("memory"),
	"mnt namespaces":                                 "sysctl -w user.max_mnt_namespaces=15000, or, in a container, " + Seccomp.Mend,
	"root that may change the machine":               itself,
	"RLIMIT_MEMLOCK":                                 "ulimit -l 64 before bulkhead runs, as root",
	"RLIMIT_NICE":                                    "ulimit -e 0 before bulkhead runs",
	"bonding":                                        "modprobe bonding, as root of a machine that may have its interfaces",
	"dummy":                                          "modprobe dummy, as root of a machine that may have its interfaces",
	"ip_gre":                                         "modprobe ip_gre, as root of a machine that may have its interfaces",
	"/dev/null":                                      "mknod -m 666 /dev/null c 1 3",
	"/proc/version":                                  "mount -t proc proc /proc",
	"/proc/vmallocinfo":                              "mount -t proc proc /proc, or, in a container, docker run or podman run --security-opt systempaths=unconfined",
	"/proc/sys/vm/swappiness":                        Build("CONFIG_SYSCTL"),
	"/proc/sys/net/ipv4/ip_unprivileged_port_start":  Build("CONFIG_INET"),
	"/sys/kernel":                                    "mount -t sysfs sysfs /sys",
	"/sys/devices/system/cpu/online":                 "mount -t sysfs sysfs /sys",
	"the cpu controller":                             enable("cpu"),
	"the cpuset controller":                          enable("cpuset"),
	"the memory controller":                          enable("memory"),
	"the pids controller":                            enable("pids"),
	"net.core.devconf_inherit_init_net = 0, and the initial network namespace to compare with": "sysctl -w net.core.devconf_inherit_init_net=0, and " + itself,
	"device nodes":                    itself,
	"bpf(2) not forbidden":            itself,
	"clock_gettime(2) in the vDSO":    "boot without vdso=0 on the kernel's command line",
	"two CPUs":                        "a machine with two CPUs, or a CPU mask for bulkhead that has two (taskset, --cpuset-cpus)",
	"an initial ramfs under the root": itself + ", with a kernel before 7.0",
	"a spare physical network device": "bulkhead vm, whose guest has one; or name one that may be moved: BULKHEAD_SPARE_DEVICE=eth1 bulkhead run",
	"an oom_score_adj above -1000":    "run bulkhead with a higher oom_score_adj: choom -n 0 bulkhead run",
	"the kernel log":                  "a kernel built with CONFIG_PRINTK (General setup > Configure standard kernel features (expert users) > Enable support for printk), and a device cgroup that allows c 1:11 (docker run or podman run --device /dev/kmsg)",
	"/dev/net/tun":                    "modprobe tun, and chmod 666 /dev/net/tun, as root of the machine itself (docker run or podman run --device /dev/net/tun)",
}
