package peer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/harness/probe"
	"bulkhead/internal/claim"
	"bulkhead/internal/kernel"
	"bulkhead/internal/report"
)

const (
	// HostName and containerName are the argv[0] by which bulkhead in a guest
	// knows its part. The host's argument is its number, 1 or 2.
	HostName      = "bulkhead-host"
	containerName = "bulkhead-container"

	vni = 100
	// patience is for the other guest, which may boot more slowly.
	patience = 3 * time.Minute
	// replyTime bounds what must come, silence is how long nothing must.
	replyTime = 30 * time.Second
	silence   = 500 * time.Millisecond
)

// address is a host's on the segment, inside its container's on the overlay.
func address(n int) string { return fmt.Sprintf("192.0.2.%d", n) }
func inside(n int) string  { return fmt.Sprintf("10.0.0.1%d", n) }

// Address is the host's address on the segment, with its prefix.
func Address(n int) string { return address(n) + "/24" }

// about is a host's first line.
type about struct {
	Kernel report.Kernel `json:"kernel"`
}

// finding is a line of a host: a claim in one direction.
type finding struct {
	ID         string         `json:"id"`
	Verdict    report.Verdict `json:"verdict"`
	Reason     string         `json:"reason,omitempty"`
	Evidence   []string       `json:"evidence,omitempty"`
	DurationMS float64        `json:"duration_ms"`
}

// Main takes over when this process is a host or a container, and does not
// return then. Call it before any flag is parsed.
func Main() {
	switch os.Args[0] {
	case containerName:
		serve(os.Stdin, os.Stdout)
		os.Exit(0)
	case HostName:
		if err := host(os.Args[1], json.NewEncoder(os.NewFile(3, "lines"))); err != nil {
			fmt.Fprintln(os.Stderr, "bulkhead guest: host:", err)
			os.Exit(3)
		}
		os.Exit(0)
	}
}

// serve answers probes until nobody asks any more.
func serve(in io.Reader, out io.Writer) {
	for from, to := json.NewDecoder(in), json.NewEncoder(out); ; {
		var call probe.Call
		if from.Decode(&call) != nil || to.Encode(probe.Run(call)) != nil {
			return
		}
	}
}

// here runs probes in this process, remote in a container.
type here struct{}

func (here) Ask(name string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return answer(probe.Run(probe.Call{Name: name, In: raw}), out)
}

func (here) Stop(err error) { panic(err) }

type remote struct {
	pid int
	enc *json.Encoder
	dec *json.Decoder
}

func (r *remote) Ask(name string, in, out any) error {
	raw, err := json.Marshal(in)
	if err == nil {
		err = r.enc.Encode(probe.Call{Name: name, In: raw})
	}
	var a probe.Answer
	if err == nil {
		err = r.dec.Decode(&a)
	}
	if err != nil {
		return fmt.Errorf("ask the container: %w", err)
	}
	return answer(a, out)
}

func (r *remote) Stop(err error) { panic(err) }

func answer(a probe.Answer, out any) error {
	if a.Err != nil {
		return a.Err
	}
	return json.Unmarshal(a.Out, out)
}

func newContainer() (*remote, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{containerName}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL,
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a container: %w", err)
	}
	return &remote{cmd.Process.Pid, json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}, nil
}

// lack is that one of the kernels has not what the claims are about. Both hosts
// give it as the verdict on all of them.
type lack struct {
	Verdict report.Verdict `json:"verdict"`
	Reason  string         `json:"reason"`
}

func (l *lack) Error() string { return l.Reason }

// device makes an interface of a kind that a kernel may be without.
func device(l probe.Link, option string) {
	_, err := probe.AddLink.Try(here{}, l)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		if err != nil {
			panic(err)
		}
		return
	}
	reason, _, offered := (&claim.Need{Name: l.Kind, Options: []string{option}}).Judge(err)
	if offered {
		panic(&lack{report.Fail, fmt.Sprintf("%s, yet the kernel refuses it: %v", reason, err)})
	}
	panic(&lack{report.Skip, reason})
}

// host is a machine of the article's second part. What cannot be set up is an
// error; what the claims are about is a finding.
func host(number string, lines *json.Encoder) (err error) {
	var meet *meeting
	defer func() {
		var missing *lack
		switch r := recover().(type) {
		case nil:
			if !errors.As(err, &missing) {
				return
			}
		case *lack:
			missing = r
			if err = meet.tell(missing); err != nil {
				return
			}
		default:
			err = fmt.Errorf("set up: %v", r)
			return
		}
		err = nil
		for _, c := range all {
			err = errors.Join(err, lines.Encode(finding{ID: c.ID, Verdict: missing.Verdict, Reason: missing.Reason}))
		}
	}()
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 2 {
		return fmt.Errorf("host number %q", number)
	}
	if err := lines.Encode(about{kernel.Identify()}); err != nil {
		return err
	}
	me, other := here{}, 3-n
	if meet, err = newMeeting(address(n), address(other)); err != nil {
		return err
	}
	c, err := newContainer()
	if err != nil {
		return err
	}
	device(probe.Link{Kind: "veth", Name: "veth0", Peer: "passing"}, "CONFIG_VETH")
	probe.MoveLink.In(me, probe.Move{Name: "passing", PID: c.pid})
	probe.SetLink.In(c, probe.Change{Name: "passing", Rename: "eth0"})
	probe.AddAddress.In(c, probe.Address{Link: "eth0", CIDR: inside(n) + "/24"})
	device(probe.Link{Kind: "bridge", Name: "br0"}, "CONFIG_BRIDGE")
	probe.SetMaster.In(me, probe.Attach{Name: "veth0", Master: "br0"})
	device(probe.Link{Kind: "vxlan", Name: "vxlan0", ID: vni, Local: address(n), Remote: address(other), Port: 4789, Parent: segmentLink(me, n)}, "CONFIG_VXLAN")
	for _, l := range []string{"lo", "eth0"} {
		probe.Raise.In(c, l)
	}
	for _, l := range []string{"veth0", "br0", "vxlan0"} {
		probe.Raise.In(me, l)
	}
	// As large as the overlay carries, with the 50 bytes that VXLAN adds.
	probe.SetLink.In(c, probe.Change{Name: "eth0", MTU: overlayMTU})
	server := probe.Server{Name: "container" + number, Address: inside(n) + ":8080"}
	probe.Serve.In(c, server)

	if err := meet.at("set up"); err != nil {
		return err
	}
	before, err := probe.Ping.Try(c, probe.Echo{Dst: inside(other), Within: int(silence.Milliseconds())})
	if err != nil {
		return err
	}
	if err := meet.at("the VTEPs may be attached"); err != nil {
		return err
	}
	probe.SetMaster.In(me, probe.Attach{Name: "vxlan0", Master: "br0"})
	if err := meet.at("the VTEPs are attached"); err != nil {
		return err
	}
	for _, check := range []struct {
		id string
		do func(c *remote, other int, f *finding) error
	}{{ping.ID, checkPing(before)}, {frames.ID, checkFrames}, {tcp.ID, checkTCP}} {
		f := finding{ID: check.id, Verdict: report.Pass}
		began := time.Now()
		if err := check.do(c, other, &f); err != nil {
			f.Verdict, f.Reason = report.Fail, err.Error()
		}
		f.DurationMS = float64(time.Since(began).Microseconds()) / 1000
		if err := lines.Encode(f); err != nil {
			return err
		}
	}
	return meet.at("all was verified")
}

// overlayMTU is what is left of 1500 behind 50 bytes of VXLAN.
const overlayMTU = 1450

// segmentLink is the name of the interface that has the host's address.
func segmentLink(t probe.Target, n int) string {
	for _, l := range probe.Links.In(t, probe.None{}) {
		for _, a := range l.Addresses {
			if strings.HasPrefix(a, address(n)+"/") {
				return l.Name
			}
		}
	}
	panic(fmt.Sprintf("no interface has the address %s", address(n)))
}

func checkPing(before probe.Reply) func(c *remote, other int, f *finding) error {
	return func(c *remote, other int, f *finding) error {
		if before.From != "" {
			return fmt.Errorf("without the VTEP on the bridge a reply came from %s: the ping proves nothing", before.From)
		}
		f.Evidence = append(f.Evidence, fmt.Sprintf("without the VTEP on the bridge: %d requests, no reply", before.Sent))
		r, err := probe.Ping.Try(c, probe.Echo{Dst: inside(other), Within: int(replyTime.Milliseconds())})
		if err != nil {
			return err
		}
		if r.From != inside(other) || !r.Intact {
			return fmt.Errorf("container -> br0 -> vxlan0 -> segment -> vxlan0 -> br0 -> container: expected a whole reply from %s, saw %q after %d requests in %s", inside(other), r.From, r.Sent, replyTime)
		}
		f.Evidence = append(f.Evidence, fmt.Sprintf("a reply from %s at request %d", r.From, r.Sent))
		return nil
	}
}

func checkFrames(c *remote, other int, f *finding) error {
	// 20 bytes are the IPv4 header, 8 the ICMP header.
	const fits = overlayMTU - 28
	r, err := probe.Ping.Try(c, probe.Echo{Dst: inside(other), Size: fits, DontFragment: true, Within: int(replyTime.Milliseconds())})
	if err != nil {
		return err
	}
	if r.From != inside(other) || !r.Intact {
		return fmt.Errorf("a packet of %d bytes with DF: expected it back whole, saw a reply from %q, intact %v, kernel: %q", overlayMTU, r.From, r.Intact, r.Problem)
	}
	f.Evidence = append(f.Evidence, fmt.Sprintf("%d bytes with DF came back whole", overlayMTU))
	big, err := probe.Ping.Try(c, probe.Echo{Dst: inside(other), Size: fits + 1, DontFragment: true, Within: int(silence.Milliseconds())})
	if err != nil && !errors.Is(err, unix.EMSGSIZE) {
		return err
	}
	if big.From != "" {
		return fmt.Errorf("a packet of %d bytes with DF crossed an overlay with an MTU of %d", overlayMTU+1, overlayMTU)
	}
	f.Evidence = append(f.Evidence, fmt.Sprintf("%d bytes with DF: no reply (%s)", overlayMTU+1, orElse(big.Problem, fmt.Sprint(err))))
	return nil
}

func checkTCP(c *remote, other int, f *finding) error {
	// What is sent and its echo each fit into one segment: probes read once.
	text := strings.Repeat("bulkhead ", 100)
	talk, err := probe.Connect.Try(c, probe.Dial{Address: inside(other) + ":8080", Send: text, Within: int(replyTime.Milliseconds())})
	if err != nil {
		return err
	}
	if !strings.HasPrefix(talk.Reply, fmt.Sprintf("container%d heard bulkhead ", other)) || !strings.HasSuffix(talk.Reply, "from "+talk.Local) {
		return fmt.Errorf("expected that container%d heard what was sent from %s, it said %.80q", other, talk.Local, talk.Reply)
	}
	f.Evidence = append(f.Evidence, fmt.Sprintf("container%d heard from %s", other, talk.Local))
	_, err = probe.Connect.Try(c, probe.Dial{Address: inside(other) + ":8081", Send: "x", Within: int(replyTime.Milliseconds())})
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("a port that nobody listens on: expected ECONNREFUSED across the overlay, saw %v", err)
	}
	f.Evidence = append(f.Evidence, "port 8081: ECONNREFUSED")
	return nil
}

// meeting is how two hosts wait for each other, over the segment itself.
type meeting struct {
	other    string
	arrivals chan string
}

func newMeeting(own, other string) (*meeting, error) {
	l, err := net.Listen("tcp", own+":7000")
	if err != nil {
		return nil, err
	}
	m := &meeting{other: other + ":7000", arrivals: make(chan string, 16)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			word, err := bufio.NewReader(conn).ReadString('\n')
			if err == nil {
				m.arrivals <- strings.TrimSpace(word)
			}
			conn.Close()
		}
	}()
	return m, nil
}

// lacking begins the word of a host whose kernel has not what the claims are
// about.
const lacking = "lacking "

// tell tells the other host what this one's kernel lacks, and hears it out.
func (m *meeting) tell(l *lack) error {
	raw, err := json.Marshal(lack{l.Verdict, "the other kernel: " + l.Reason})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	if err := m.say(lacking+string(raw), deadline); err != nil {
		return err
	}
	select {
	case <-m.arrivals:
		return nil
	case <-time.After(time.Until(deadline)):
		return fmt.Errorf("the other host said nothing in %s", patience)
	}
}

// at tells the other host that this one is here, and waits for it to say so.
// The error is a *lack when the other says that instead.
func (m *meeting) at(point string) error {
	deadline := time.Now().Add(patience)
	if err := m.say(point, deadline); err != nil {
		return err
	}
	for {
		select {
		case word := <-m.arrivals:
			if word == point {
				return nil
			}
			if raw, ok := strings.CutPrefix(word, lacking); ok {
				l := &lack{}
				if err := json.Unmarshal([]byte(raw), l); err != nil {
					return err
				}
				return l
			}
		case <-time.After(time.Until(deadline)):
			return fmt.Errorf("the other host did not get there in %s: %s", patience, point)
		}
	}
}

// say tells the other host a word.
func (m *meeting) say(word string, deadline time.Time) error {
	for {
		conn, err := net.DialTimeout("tcp", m.other, 5*time.Second)
		if err == nil {
			_, err = fmt.Fprintln(conn, word)
			// It hangs up once it has heard.
			_ = conn.SetReadDeadline(deadline)
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
			if err == nil {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the other host was not reached in %s (%s): %w", patience, word, err)
		}
		// It may not be up yet.
		time.Sleep(100 * time.Millisecond)
	}
}
