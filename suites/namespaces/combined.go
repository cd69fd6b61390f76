package namespaces

import (
	"fmt"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"bulkhead/harness"
	"bulkhead/harness/namespace"
	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
	"bulkhead/suites/rootfs"
)

// joinPod moves a sandbox into the network, UTS and IPC namespaces of a pod's
// pause process, which the sandbox's /proc shows as pid.
func joinPod(sb *harness.Sandbox, pid int) {
	for _, t := range []namespace.Type{namespace.Network, namespace.UTS, namespace.IPC} {
		fd := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, t.Name), unix.O_RDONLY, 0))
		Expect(sb.Setns(fd, t.Flag)).To(Succeed(), "joining the pod's %s namespace", t)
		harness.Must(sb.Close(fd))
	}
}

var podNeeds = claim.Needs{claim.Inet, claim.Namespace(namespace.PID), mountNeed, netNeed, claim.Namespace(namespace.UTS), claim.Namespace(namespace.IPC)}

var _ = claim.It(claim.Claim{
	ID:       "combined/pod-members-share-localhost",
	Text:     "Containers joined to one network, UTS and IPC namespace reach each other on 127.0.0.1 while having own mount and PID namespaces.",
	Source:   claim.Sources{claim.Man("namespaces(7)", ""), claim.Doc("Kubernetes", "Pods")},
	Needs:    podNeeds,
	Contrast: "ECONNREFUSED from outside the pod",
	Core:     true,
	Try:      "unshare --net --uts sh -c 'ip link set lo up; hostname pod; unshare --mount --pid --fork ping -qc 1 127.0.0.1; unshare --mount --pid --fork hostname'",
	Shows:    "PING …\n…\n1 packets transmitted, 1 received, 0% packet loss, …\n…\npod",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	pause := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network, namespace.UTS, namespace.IPC))
	harness.Must(pause.Sethostname("pod"))
	probe.Raise.In(pause.Agent(ctx), "lo")
	member := func() *harness.Sandbox {
		sb := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount, namespace.PID))
		joinPod(sb, pause.PID())
		return sb
	}
	web, app := member(), member()
	const address = "127.0.0.1:80"
	probe.Serve.In(web.Agent(ctx), probe.Server{Name: "web", Address: address})
	talk, err := probe.Connect.Try(app.Agent(ctx), probe.Dial{Address: address, Send: "hello", Within: 5000})
	stranger := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network)).Agent(ctx)
	probe.Raise.In(stranger, "lo")
	_, outside := probe.Connect.Try(stranger, probe.Dial{Address: address, Send: "hello", Within: 5000})
	claim.Evidence("%q %v; host names %s and %s; PIDs %d and %d; from outside the pod: %v",
		talk.Reply, err, web.Uname().Nodename, app.Uname().Nodename, web.Getpid(), app.Getpid(), outside)
	Expect(err).NotTo(HaveOccurred(), "connect to a port of another container of the pod on 127.0.0.1")
	Expect(talk.Reply).To(HavePrefix("web heard hello"), "what the other container of the pod answers")
	Expect([]string{web.Uname().Nodename, app.Uname().Nodename}).To(Equal([]string{"pod", "pod"}), "host names of the pod's containers")
	Expect([]int{web.Getpid(), app.Getpid()}).To(Equal([]int{1, 1}), "PIDs of the pod's containers, each in its own PID namespace")
	Expect(differing(links(web), links(app))).To(ContainElements("mnt", "pid"), "namespaces that the pod's containers do not share")
	Expect(differing(links(web), links(app))).NotTo(ContainElements("net", "uts", "ipc"), "namespaces that the pod's containers share")
	Expect(outside).To(harness.FailWith(unix.ECONNREFUSED), "contrast: connect from outside the pod")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/pod-network-outlives-app-container",
	Text:     "The network of a pod stays through restarts of its containers as long as the pause process lives.",
	Source:   claim.Sources{claim.Man("namespaces(7)", "Namespace lifetime")},
	Needs:    append(claim.Needs{claim.Wired}, podNeeds...),
	Contrast: "gone with the pause process",
	Try:      "unshare --net sh -c 'ip link set lo up; for i in 1 2; do unshare --mount --pid --fork ip -br -4 addr show lo; done'",
	Shows:    "lo UNKNOWN 127.0.0.1/8\nlo UNKNOWN 127.0.0.1/8",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	agent := host.Agent(ctx)
	pause := harness.Start(ctx, harness.Under(host), harness.New(namespace.Network, namespace.UTS, namespace.IPC))
	veth(agent, pause, "pod0", "eth0")
	harness.Must(setAddress(pause, "eth0", 10, 1, 0, 2))
	// No agents in the pod: their sockets would keep its network.
	app := func() (sb *harness.Sandbox, address string) {
		sb = harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount, namespace.PID))
		joinPod(sb, pause.PID())
		address, err := addressOf(sb, "eth0")
		Expect(err).NotTo(HaveOccurred(), "the address of eth0 in a container of the pod")
		return sb, address
	}
	stop := func(sb *harness.Sandbox) {
		harness.Must(sb.Kill(unix.SIGKILL))
		harness.Got(sb.Parent().Wait(sb))
	}
	first, before := app()
	stop(first)
	second, after := app()
	stop(second)
	_, kept := probe.Find(probe.Links.In(agent, probe.None{}), "pod0")
	harness.Must(pause.Kill(unix.SIGKILL))
	harness.Got(host.Wait(pause))
	Expect(before).To(Equal("10.1.0.2"), "the pod's address in its first container")
	Expect(after).To(Equal(before), "the pod's address in its second container")
	Expect(kept).To(BeTrue(), "the host's end of the pod's veth, without any container but the pause process")
	// The kernel ends network namespaces in a work queue.
	Eventually(func() bool {
		_, there := probe.Find(probe.Links.In(agent, probe.None{}), "pod0")
		return there
	}).WithTimeout(destroyTime).WithPolling(pollTime).Should(BeFalse(), "contrast: the host's end of the veth after the end of the pause process")
	claim.Evidence("first container: %s; second: %s; veth without containers: %v, and gone with the pause process", before, after, kept)
})

var _ = claim.It(claim.Claim{
	ID:       "combined/shared-pid-namespace-exposes-siblings",
	Text:     "Containers sharing a PID namespace see each other's processes and, with privilege, files through /proc/PID/root.",
	Source:   claim.Sources{claim.Man("pid_namespaces(7)", ""), claim.Man("proc(5)", "/proc/pid/root")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), mountNeed},
	Contrast: "own mount view lacks the file",
	Try:      "unshare --pid --fork --mount-proc sh -c 'unshare --mount sh -c \"mount -t tmpfs t /mnt; touch /mnt/private; ls /proc/1/root/mnt; kill -STOP \\$\\$\" & until test -e /proc/$!/root/mnt/private; do :; done; ls /proc/$!/root/mnt; ls /mnt'",
	Shows:    "private",
}, func(ctx SpecContext) {
	pod := harness.Start(ctx, harness.New(namespace.PID, namespace.Mount))
	harness.Must(pod.Mount("proc", "/proc", "proc", 0, ""))
	dir := pod.MkdirTemp()
	container := func() *harness.Sandbox {
		sb := harness.Start(ctx, harness.Under(pod), harness.New(namespace.Mount))
		harness.Must(sb.Mount("tmpfs", dir, "tmpfs", 0, ""))
		return sb
	}
	one, two := container(), container()
	harness.Must(two.CreateFile(dir+"/private", "of the second"))
	listed := harness.Got(one.PIDs("/proc"))
	file := fmt.Sprintf("/proc/%d/root%s/private", two.PID(), dir)
	content, err := one.ReadFile(file)
	_, own := one.Stat(dir + "/private")
	claim.Evidence("the first lists %v, the second being %d; %s: %q %v; its own %s/private: %v", listed, two.PID(), file, content, err, dir, own)
	Expect(listed).To(ContainElement(two.PID()), "processes that a container lists, with a sibling in the same PID namespace")
	Expect(err).NotTo(HaveOccurred(), "a sibling's private file through /proc/PID/root")
	Expect(content).To(Equal("of the second"), "content of a sibling's private file")
	Expect(own).To(harness.FailWith(unix.ENOENT), "contrast: the same path in the container's own mounts")
})

var _ = claim.It(claim.Claim{
	ID:   "combined/killing-init-cleans-everything",
	Text: "Killing a container's init ends its processes, destroys its veth and leaves its cgroup unpopulated.",
	Source: claim.Sources{claim.Man("pid_namespaces(7)", "The namespace init process"), claim.Man("network_namespaces(7)", ""),
		claim.Man("cgroups(7)", "cgroup.events")},
	Needs:    claim.Needs{claim.Root, claim.Namespace(namespace.PID), claim.Wired, cgroup2},
	Contrast: "all present before",
	Core:     true,
	Try:      "unshare --pid --net --fork --kill-child sh -c 'sleep 99 & sleep 99' & until p=$(pgrep -x -n sleep); do :; done; ip link add v0 type veth peer name v1 netns $p; grep -c v0 /proc/net/dev; kill -9 $!; wait; timeout 5 sh -c 'while grep -q v0 /proc/net/dev || pgrep -x sleep; do :; done' > /dev/null; pgrep -c -x sleep; ip link show v0",
	Shows:    "1\n…\n0\nDevice \"v0\" does not exist.",
}, func(ctx SpecContext) {
	host := harness.Start(ctx, harness.New(namespace.Network))
	agent := host.Agent(ctx)
	group := newCgroup2("container")
	events := group.dir + "/cgroup.events"
	populated := func() bool {
		return strings.Contains("\n"+harness.Got(host.ReadFile(events)), "\npopulated 1\n")
	}
	init := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID))
	harness.Must(init.WriteFile(group.dir+"/cgroup.procs", "0"))
	// The sockets between the suite and the members are made by then, in the
	// host's network namespace: they would keep the container's.
	members := []*harness.Sandbox{init.Fork(ctx), init.Fork(ctx), init.Fork(ctx)}
	harness.Must(init.Unshare(unix.CLONE_NEWNET))
	for _, m := range members {
		fd := harness.Got(m.Open(fmt.Sprintf("/proc/%d/ns/net", init.PID()), unix.O_RDONLY, 0))
		harness.Must(m.Setns(fd, unix.CLONE_NEWNET))
		harness.Must(m.Close(fd))
	}
	veth(agent, init, "box0", "eth0")
	_, linked := probe.Find(probe.Links.In(agent, probe.None{}), "box0")
	inUse := populated()
	Expect(linked && inUse).To(BeTrue(), "contrast: veth there: %v, cgroup populated: %v, while the container's init lives", linked, inUse)

	harness.Must(init.Kill(unix.SIGKILL))
	harness.Got(host.Wait(init))
	alive := 0
	for _, m := range members {
		if !m.WaitExit(0) {
			alive++
		}
	}
	Expect(alive).To(BeZero(), "members of the container alive when its killed init has been reaped")
	// The kernel ends network namespaces, and tells of cgroups, in work queues.
	Eventually(populated).WithTimeout(destroyTime).WithPolling(pollTime).Should(BeFalse(), "populated in the cgroup.events of a container whose init was killed")
	Eventually(func() bool {
		_, there := probe.Find(probe.Links.In(agent, probe.None{}), "box0")
		return there
	}).WithTimeout(destroyTime).WithPolling(pollTime).Should(BeFalse(), "the host's end of the veth of a container whose init was killed")
	claim.Evidence("before: 3 members, veth there: %v, cgroup populated: %v; after the end of init: %d members, no veth, cgroup not populated", linked, inUse, alive)
})

var _ = claim.It(claim.Claim{
	ID:       "combined/rootless-container-in-one-call",
	Text:     "An unprivileged user can build a whole container: one unshare of user, mount, PID, UTS, IPC, net and cgroup, then proc, pivot_root and a host name.",
	Source:   claim.Sources{claim.Man("user_namespaces(7)", "Interaction of user namespaces and other types of namespaces")},
	Needs:    claim.Needs{userNeed, unprivileged, mountNeed, claim.Namespace(namespace.PID), claim.Namespace(namespace.UTS), claim.Namespace(namespace.IPC), netNeed, claim.Namespace(namespace.Cgroup)},
	Contrast: "without a user namespace the first step is EPERM",
	Core:     true,
	Try: "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user --mount --pid --fork --uts --ipc --net --cgroup " +
		"sh -c 'hostname box; mount -t proc proc /proc; mount --bind /tmp/tiny-linux /mnt; mount --move /proc /mnt/proc; cd /mnt; pivot_root . .; umount -l .; exec chroot . /bin/sh -c \"id; hostname; ls /proc/1/root/; ps\"'",
}, func(ctx SpecContext) {
	all := namespace.Flags(namespace.Mount, namespace.PID, namespace.UTS, namespace.IPC, namespace.Network, namespace.Cgroup)
	tiny := rootfs.Tiny(ctx)
	builder := ordinary(ctx)
	types := []namespace.Type{namespace.User, namespace.Mount, namespace.PID, namespace.UTS, namespace.IPC, namespace.Network, namespace.Cgroup}
	theHosts := map[namespace.Type]harness.File{}
	for _, t := range types {
		theHosts[t] = harness.Got(builder.Namespace(t))
	}
	without := builder.Unshare(all)
	Expect(builder.Unshare(all|unix.CLONE_NEWUSER)).To(Succeed(), "one unshare of all namespaces by an ordinary user")
	mapSelf(builder, 0, user)
	box := builder.Fork(ctx)
	Expect(box.Mount("proc", tiny.Dir+"/proc", "proc", 0, "")).To(Succeed(), "the rootless container's proc mount")
	Expect(box.PivotInto(tiny.Dir)).To(Succeed(), "pivot_root in the rootless container")
	Expect(box.Sethostname("rootless")).To(Succeed(), "sethostname in the rootless container")
	release := harness.Got(box.ReadFile("/etc/os-release"))
	pids := harness.Got(box.PIDs("/proc"))
	claim.Evidence("PID %d, UID %d, host name %s, /proc lists %v, its own root; the same unshare without CLONE_NEWUSER: %v",
		box.Getpid(), box.Getuid(), box.Uname().Nodename, pids, without)
	for _, t := range types {
		Expect(harness.Got(box.Namespace(t)).SameAs(theHosts[t])).To(BeFalse(), "the rootless container's %s namespace is the host's", t.Name)
	}
	Expect([]int{box.Getpid(), box.Getuid()}).To(Equal([]int{1, 0}), "PID and UID in the rootless container")
	Expect(box.Uname().Nodename).To(Equal("rootless"), "host name in the rootless container")
	Expect(release).To(ContainSubstring("ID="+tiny.ID), "os-release in the rootless container's root")
	Expect(pids).To(Equal([]int{1}), "processes that the rootless container lists")
	Expect(without).To(harness.FailWith(unix.EPERM), "contrast: the same unshare without CLONE_NEWUSER")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/nsenter-must-repeat-the-chroot",
	Text:     "Joining mount, network and PID namespaces alone shows the host's tree for a chroot-made container; the chroot, or the target's root, must be entered too.",
	Source:   claim.Sources{claim.Article2("Configuring Container Network")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), mountNeed, netNeed},
	Contrast: "present with chroot or the target's root",
	Try:      "unshare --mount --net --pid --fork --kill-child chroot /tmp/tiny-linux sleep 99 & until p=$(pgrep -x -n bb) || p=$(pgrep -x -n sleep); do :; done; nsenter --mount --net --pid --target $p test -e /bb || echo no /bb; nsenter --mount --net --pid --root --target $p /bin/cat /etc/hostname",
	Shows:    "no /bb\ntiny-linux",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	jail := rootfs.Jail(ctx)
	box := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount, namespace.Network, namespace.PID), harness.WithChroot(jail))
	join := func() *harness.Sandbox {
		sb := host.Fork(ctx)
		for _, t := range []namespace.Type{namespace.Network, namespace.PID, namespace.Mount} {
			fd := harness.Got(sb.Open(fmt.Sprintf("/proc/%d/ns/%s", box.PID(), t.Name), unix.O_RDONLY, 0))
			harness.Must(sb.Setns(fd, t.Flag))
		}
		return sb
	}
	theirs := map[string]harness.File{}
	for _, t := range []namespace.Type{namespace.Network, namespace.PID, namespace.Mount} {
		theirs[t.Name] = harness.Got(host.Stat(fmt.Sprintf("/proc/%d/ns/%s", box.PID(), t.Name)))
	}
	alone := join()
	for link, name := range map[string]string{"net": "net", "mnt": "mnt", "pid_for_children": "pid"} {
		now, err := alone.Stat("/proc/self/ns/" + link)
		Expect(err).NotTo(HaveOccurred(), "the link %s in /proc/self/ns", link)
		Expect(now.SameAs(theirs[name])).To(BeTrue(), "%s after setns(2) is the container's", link)
	}
	_, before := alone.Stat("/marker")
	harness.Must(alone.Chroot(jail))
	_, chrooted := alone.Stat("/marker")
	byRoot := host.Fork(ctx)
	root := harness.Got(byRoot.Open(fmt.Sprintf("/proc/%d/root", box.PID()), unix.O_RDONLY|unix.O_DIRECTORY, 0))
	fd := harness.Got(byRoot.Open(fmt.Sprintf("/proc/%d/ns/mnt", box.PID()), unix.O_RDONLY, 0))
	harness.Must(byRoot.Setns(fd, unix.CLONE_NEWNS))
	harness.Got(byRoot.Syscall("fchdir", unix.SYS_FCHDIR, root))
	harness.Must(byRoot.Chroot("."))
	_, entered := byRoot.Stat("/marker")
	claim.Evidence("the container's /marker after setns alone: %v; after the chroot: %v; after entering the target's root: %v", before, chrooted, entered)
	Expect(before).To(harness.FailWith(unix.ENOENT), "the container's file after joining its namespaces, without the chroot")
	Expect(chrooted).NotTo(HaveOccurred(), "contrast: the container's file after the chroot too")
	Expect(entered).NotTo(HaveOccurred(), "contrast: the container's file after entering the target's root")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/volume-shared-by-two-containers",
	Text:     "A host directory bound into two containers carries data between them.",
	Source:   claim.Sources{claim.Man("mount(2)", "Creating a bind mount")},
	Needs:    claim.Needs{mountNeed},
	Contrast: "a container without the bind gets ENOENT",
	Try:      "mkdir /tmp/volume; for c in 'echo data > /mnt/file' 'cat /mnt/file'; do unshare --mount sh -c \"mount --bind /tmp/volume /mnt; $c\"; done; cat /mnt/file",
	Shows:    "data\ncat: /mnt/file: No such file or directory",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	volume := host.MkdirTemp()
	container := func(bind bool) *harness.Sandbox {
		jail := rootfs.Jail(ctx)
		sb := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
		harness.Must(sb.Bind(jail, jail, 0))
		if bind {
			Expect(sb.Bind(volume, jail+"/sub", 0)).To(Succeed(), "binding the host's directory into a container")
		}
		harness.Must(sb.PivotInto(jail))
		return sb
	}
	writer, reader, without := container(true), container(true), container(false)
	Expect(writer.CreateFile("/sub/file", "data")).To(Succeed(), "writing to the volume in one container")
	content, err := reader.ReadFile("/sub/file")
	_, none := without.Stat("/sub/file")
	onHost := harness.Got(host.ReadFile(volume + "/file"))
	claim.Evidence("written in one, read in the other: %q %v; on the host: %q; without the bind: %v", content, err, onHost, none)
	Expect(err).NotTo(HaveOccurred(), "reading from the volume in the other container")
	Expect([]string{content, onHost}).To(Equal([]string{"data", "data"}), "the file in the other container and on the host")
	Expect(none).To(harness.FailWith(unix.ENOENT), "contrast: in a container without the bind")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/two-containers-one-image",
	Text:     "Two overlays on one lower directory start equal and keep their changes apart.",
	Source:   claim.Sources{claim.Doc("kernel overlayfs.rst", "")},
	Needs:    claim.Needs{mountNeed, overlayNeed},
	Contrast: "a shared bind leaks the change",
	Try: "cd /tmp; mkdir image; echo image > image/file; for c in 1 2; do mkdir upper$c work$c; unshare --mount sh -c " +
		"\"mount -t overlay o -o lowerdir=image,upperdir=upper$c,workdir=work$c /mnt; cat /mnt/file; echo $c > /mnt/file; cat /mnt/file\"; done; cat image/file",
	Shows: "image\n1\nimage\n2\nimage",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	image := host.MkdirTemp()
	harness.Must(host.CreateFile(image+"/file", "image"))
	container := func(name string) (sb *harness.Sandbox, file, start string) {
		sb = harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
		base := overlayDirs(sb)
		harness.Must(sb.Mount("overlay", base+"/merged", "overlay", 0,
			fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", image, base, base)))
		file = base + "/merged/file"
		start = harness.Got(sb.ReadFile(file))
		Expect(sb.CreateFile(file, name)).To(Succeed(), "writing to the container's copy of the image")
		return sb, file, start
	}
	one, oneFile, oneStart := container("one")
	two, twoFile, twoStart := container("two")
	ends := []string{harness.Got(one.ReadFile(oneFile)), harness.Got(two.ReadFile(twoFile))}
	untouched := harness.Got(host.ReadFile(image + "/file"))
	bound := harness.Start(ctx, harness.Under(host), harness.New(namespace.Mount))
	mnt := bound.MkdirTemp()
	harness.Must(bound.Bind(image, mnt, 0))
	harness.Must(bound.CreateFile(mnt+"/file", "bound"))
	leaked := harness.Got(host.ReadFile(image + "/file"))
	claim.Evidence("start: %s, %s; after each has written: %v; the image: %s; written through a bind: %s", oneStart, twoStart, ends, untouched, leaked)
	Expect([]string{oneStart, twoStart}).To(Equal([]string{"image", "image"}), "a file of the image when each container starts")
	Expect(ends).To(Equal([]string{"one", "two"}), "the file in each container after both have written to it")
	Expect(untouched).To(Equal("image"), "the file in the image after both containers have written to theirs")
	Expect(leaked).To(Equal("bound"), "contrast: a write through a bind of the image")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/masked-path-hides-a-proc-file",
	Text:     "Bind mounting /dev/null over a proc file makes it read empty in the container only.",
	Source:   claim.Sources{claim.Man("mount(2)", "Creating a bind mount"), claim.Doc("OCI runtime specification", "maskedPaths")},
	Needs:    claim.Needs{claim.Namespace(namespace.PID), mountNeed, claim.File("/dev/null")},
	Contrast: "content before the mount",
	Core:     true,
	Try:      "unshare --mount --pid --fork --mount-proc sh -c 'wc -l < /proc/meminfo; mount --bind /dev/null /proc/meminfo; cat /proc/meminfo'; head -1 /proc/meminfo",
	Shows:    "<lines>\nMemTotal: …",
}, func(ctx SpecContext) {
	host := harness.Start(ctx)
	box := harness.Start(ctx, harness.Under(host), harness.New(namespace.PID, namespace.Mount))
	harness.Must(box.Mount("proc", "/proc", "proc", 0, ""))
	const masked = "/proc/meminfo"
	before := harness.Got(box.ReadFile(masked))
	Expect(box.Bind("/dev/null", masked, 0)).To(Succeed(), "a bind mount of /dev/null over %s", masked)
	after := harness.Got(box.ReadFile(masked))
	member := harness.Got(box.Fork(ctx).ReadFile(masked))
	outside := harness.Got(host.ReadFile(masked))
	claim.Evidence("%s in the container: %d bytes before, %d after, %d for its child; outside: %d", masked, len(before), len(after), len(member), len(outside))
	Expect([]string{after, member}).To(Equal([]string{"", ""}), "%s in the container under a mount of /dev/null", masked)
	Expect(outside).NotTo(BeEmpty(), "%s outside of the container", masked)
	Expect(before).NotTo(BeEmpty(), "contrast: %s in the container before the mount", masked)
})

var _ = claim.It(claim.Claim{
	ID:       "combined/readonly-proc-sys-blocks-container-root",
	Text:     "With /proc/sys bound read-only even root's writes fail (EROFS), and without CAP_SYS_ADMIN it cannot be remounted.",
	Source:   claim.Sources{claim.Man("mount(2)", "Remounting an existing mount"), claim.Doc("OCI runtime specification", "readonlyPaths")},
	Needs:    claim.Needs{claim.Sysctls, claim.Namespace(namespace.PID), mountNeed, netNeed},
	Contrast: "with CAP_SYS_ADMIN both succeed",
	Core:     true,
	Try: "unshare --mount --uts sh -c 'mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; echo box > /proc/sys/kernel/hostname; " +
		"mount -o remount,bind,rw /proc/sys; echo box > /proc/sys/kernel/hostname; hostname'",
	Shows: "sh: … /proc/sys/kernel/hostname: Read-only file system\nbox",
}, func(ctx SpecContext) {
	// One that root of a user namespace may write too.
	const file = "/proc/sys/net/ipv4/ip_forward"
	box := harness.Start(ctx, harness.New(namespace.PID, namespace.Mount, namespace.Network))
	harness.Must(box.Mount("proc", "/proc", "proc", 0, ""))
	harness.Must(box.Bind("/proc/sys", "/proc/sys", 0))
	Expect(box.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")).To(Succeed(), "remounting /proc/sys read-only")
	root := box.Fork(ctx)
	harness.Must(root.DropCapability(unix.CAP_SYS_ADMIN))
	write := root.WriteFile(file, "1")
	remount := root.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT, "")
	umount := root.Umount("/proc/sys", unix.MNT_DETACH)
	allowed := box.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT, "")
	written := box.WriteFile(file, "1")
	claim.Evidence("without CAP_SYS_ADMIN: write %v, remount %v, umount %v; with it: remount %v, write %v", write, remount, umount, allowed, written)
	Expect(write).To(harness.FailWith(unix.EROFS), "root's write to %s under a read-only /proc/sys", file)
	Expect(remount).To(harness.FailWith(unix.EPERM), "remounting /proc/sys writable without CAP_SYS_ADMIN")
	Expect(umount).To(harness.FailWith(unix.EPERM), "unmounting the read-only /proc/sys without CAP_SYS_ADMIN")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: remounting with CAP_SYS_ADMIN")
	Expect(written).NotTo(HaveOccurred(), "contrast: the write after it")
})

// seccompMode is the field Seccomp in the process's own status.
func seccompMode(sb *harness.Sandbox) string { return seccompLine(sb, "Seccomp") }

// seccompFilters is how many filters the process has; what the suite runs in
// may have given it some.
func seccompFilters(sb *harness.Sandbox) int {
	return harness.Got(strconv.Atoi(seccompLine(sb, "Seccomp_filters")))
}

func seccompLine(sb *harness.Sandbox, name string) string {
	_, rest, _ := strings.Cut(harness.Got(sb.ReadFile("/proc/self/status")), "\n"+name+":\t")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

var _ = claim.It(claim.Claim{
	ID:       "combined/seccomp-filter-denies-a-syscall",
	Text:     "A seccomp filter makes one chosen system call fail with the given errno and leaves the others.",
	Source:   claim.Sources{claim.Man("seccomp(2)", "SECCOMP_SET_MODE_FILTER"), claim.Man("proc(5)", "Seccomp")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS), claim.SeccompFilters},
	Since:    "5.9",
	Contrast: "it worked before, setdomainname still works",
	Core:     true,
}, func(ctx SpecContext) {
	sb := harness.Start(ctx, harness.New(namespace.UTS))
	before, filters := sb.Sethostname("before"), seccompFilters(sb)
	harness.Must(sb.Filter(unix.SYS_SETHOSTNAME, unix.EPERM))
	denied := sb.Sethostname("denied")
	other := sb.Setdomainname("allowed")
	errno := harness.Start(ctx, harness.New(namespace.UTS))
	harness.Must(errno.Filter(unix.SYS_SETHOSTNAME, unix.EXDEV))
	chosen := errno.Sethostname("denied")
	claim.Evidence("before: %v, %d filters; filtered: %v, another errno chosen: %v, setdomainname: %v, Seccomp %s, %d filters", before, filters, denied, chosen, other, seccompMode(sb), seccompFilters(sb))
	Expect(before).NotTo(HaveOccurred(), "contrast: sethostname before the filter")
	Expect(denied).To(harness.FailWith(unix.EPERM), "sethostname under a filter that answers EPERM")
	Expect(chosen).To(harness.FailWith(unix.EXDEV), "sethostname under a filter that answers EXDEV")
	Expect(sb.Uname().Nodename).To(Equal("before"), "the host name after a denied sethostname")
	Expect(other).NotTo(HaveOccurred(), "setdomainname, which the filter lets through")
	Expect(sb.Uname().Domainname).To(Equal("allowed"), "the domain name after a setdomainname that the filter lets through")
	Expect(seccompMode(sb)).To(Equal("2"), "Seccomp in status under a filter")
	Expect(seccompFilters(sb)).To(Equal(filters+1), "Seccomp_filters in status under one filter more")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/seccomp-filter-inherited-and-permanent",
	Text:     "A seccomp filter passes to children and executed programs and cannot be removed.",
	Source:   claim.Sources{claim.Man("seccomp(2)", "DESCRIPTION")},
	Needs:    claim.Needs{claim.Namespace(namespace.UTS), claim.SeccompFilters},
	Contrast: "the program works without a filter",
}, func(ctx SpecContext) {
	program := rootfs.Tiny(ctx).Dir + "/bin/hostname"
	free := harness.Start(ctx, harness.New(namespace.UTS))
	without := harness.Got(free.Run(ctx, program, "set"))
	Expect(free.Uname().Nodename).To(Equal("set"), "contrast: hostname(1) without a filter: %s", without.Stderr)

	sb := harness.Start(ctx, harness.New(namespace.UTS))
	harness.Must(sb.Sethostname("before"))
	harness.Must(sb.Filter(unix.SYS_SETHOSTNAME, unix.EPERM))
	child := sb.Fork(ctx)
	inherited := child.Sethostname("child")
	run := harness.Got(sb.Run(ctx, program, "program"))
	_, prctl := sb.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_STRICT, 0, 0, 0)
	_, strict := sb.Syscall("seccomp(SECCOMP_SET_MODE_STRICT)", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_STRICT, 0, nil)
	// A further filter that knows nothing of sethostname does not open it again.
	harness.Must(sb.Filter(unix.SYS_SETDOMAINNAME, unix.EPERM))
	still := sb.Sethostname("after")
	claim.Evidence("child: %v, Seccomp %s; program: status %d, %q; to strict mode: %v, %v; with a further filter: %v",
		inherited, seccompMode(child), run.Status.ExitStatus(), strings.TrimSpace(run.Stderr), prctl, strict, still)
	Expect(inherited).To(harness.FailWith(unix.EPERM), "sethostname in a child of a filtered process")
	Expect(seccompMode(child)).To(Equal("2"), "Seccomp in the child's status")
	Expect(run.Status.ExitStatus()).NotTo(BeZero(), "status of hostname(1) under the filter: %s", run.Stderr)
	Expect(sb.Uname().Nodename).To(Equal("before"), "the host name after a program under the filter has tried to set it")
	Expect(prctl).To(harness.FailWith(unix.EINVAL), "prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) of a filtered process")
	Expect(strict).To(harness.FailWith(unix.EINVAL), "seccomp(SECCOMP_SET_MODE_STRICT) of a filtered process")
	Expect(still).To(harness.FailWith(unix.EPERM), "sethostname after a further filter was installed")
})

var _ = claim.It(claim.Claim{
	ID:       "combined/seccomp-filter-needs-no-new-privs",
	Text:     "Without CAP_SYS_ADMIN in its user namespace a process may install a seccomp filter only with no_new_privs set (EACCES).",
	Source:   claim.Sources{claim.Man("seccomp(2)", "SECCOMP_SET_MODE_FILTER")},
	Needs:    claim.Needs{userNeed, newPrivileges, claim.SeccompFilters},
	Contrast: "with no_new_privs, or with CAP_SYS_ADMIN, it may",
}, func(ctx SpecContext) {
	sb := ordinary(ctx)
	refused := sb.Filter(unix.SYS_SETHOSTNAME, unix.EPERM)
	mode := seccompMode(sb)
	harness.Got(sb.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	allowed := sb.Filter(unix.SYS_SETHOSTNAME, unix.EPERM)
	capable := harness.Start(ctx, harness.New(namespace.User)).Filter(unix.SYS_SETHOSTNAME, unix.EPERM)
	claim.Evidence("without capabilities: %v, Seccomp %s; with no_new_privs: %v; with CAP_SYS_ADMIN: %v", refused, mode, allowed, capable)
	Expect(refused).To(harness.FailWith(unix.EACCES), "a seccomp filter of a process with neither CAP_SYS_ADMIN nor no_new_privs")
	Expect(allowed).NotTo(HaveOccurred(), "contrast: the same process with no_new_privs")
	Expect(capable).NotTo(HaveOccurred(), "contrast: a process with CAP_SYS_ADMIN in its user namespace")
})
