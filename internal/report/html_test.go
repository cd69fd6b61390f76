package report

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

func page1(t testing.TB, m *Matrix) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b, "html", TerminalOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func twentyKernels() *Matrix {
	m := &Matrix{Version: SchemaVersion}
	for i := range 20 {
		r := sample(400)
		r.Kernel.Release = fmt.Sprintf("6.%d.1-test", i)
		m.Rows = append(m.Rows, Row{Kernel: r.Kernel.Release, Result: r})
	}
	return m
}

func TestPagesAreSmallAndQuick(t *testing.T) {
	single, many := one(sample(400)), twentyKernels()
	for _, c := range []struct {
		name  string
		m     *Matrix
		bytes int
	}{{"400 claims", single, 1 << 20}, {"20 kernels", many, 5 << 20}} {
		if n := len(page1(t, c.m)); n > c.bytes {
			t.Errorf("%s: %d bytes, more than %d", c.name, n, c.bytes)
		}
	}
	// The best of several: the machine may be busy with other things.
	best := time.Hour
	for range 5 {
		started := time.Now()
		page1(t, single)
		best = min(best, time.Since(started))
	}
	if best > 100*time.Millisecond {
		t.Errorf("400 claims take %v, more than 100 ms", best)
	}
}

func TestTopologyIsDrawn(t *testing.T) {
	svg := drawTopology("host:veth1 ---- c1:eth0\nhost:veth2 ---- c2:eth0\n")
	if strings.Count(svg, "<rect") != 3 || strings.Count(svg, "<path") != 2 {
		t.Errorf("drawn: %s", svg)
	}
	if got := drawTopology("h:a ---- c:a\nh:b ---- c:b\nh:a ---- c:a"); strings.Count(got, "<rect") != 2 || strings.Count(got, "<path") != 2 ||
		strings.Count(got, "V17H") != 1 || strings.Count(got, "V37H") != 1 {
		t.Errorf("two wires between two machines, one of them twice: %s", got)
	}
	if got := drawTopology("three hosts in a ring"); got != "" {
		t.Errorf("drawn from a sentence: %s", got)
	}
	if got := drawTopology("a:<b> ---- c:d"); strings.Contains(got, "<b>") {
		t.Errorf("not escaped: %s", got)
	}
}

// chromium is one headless browser for all tests; each has a tab of its own.
var chromium struct {
	sync.Once
	ctx context.Context
	end func()
	err error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if chromium.end != nil {
		chromium.end()
	}
	os.Exit(status)
}

func startChromium(path string) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(time.Minute))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	chromium.ctx, _ = chromedp.NewContext(allocator)
	chromium.end, chromium.err = end, chromedp.Run(chromium.ctx)
}

// browser opens a page in headless Chromium and fails the test when the page
// writes to the console, throws, or asks for anything but itself.
func browser(t *testing.T, html []byte, fragment string) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is missing (hack/setup installs it)")
	}
	chromium.Do(func() { startChromium(path) })
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, html, 0o644); err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "file", Path: file, Fragment: fragment}).String()
	ctx, cancel := chromedp.NewContext(chromium.ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	chromedp.ListenTarget(ctx, func(e any) {
		switch e := e.(type) {
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, "file://"+file) && !strings.HasPrefix(u, "data:") {
				t.Errorf("the page asks for %s", u)
			}
		case *cdpruntime.EventConsoleAPICalled:
			t.Errorf("the console: %s %v", e.Type, e.Args)
		case *cdpruntime.EventExceptionThrown:
			t.Errorf("the page throws: %v", e.ExceptionDetails)
		}
	})
	if err := chromedp.Run(ctx, network.Enable(), chromedp.EmulateViewport(1100, 900), chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// shown counts the claims that the page shows, by its own word and by looking.
func shown(t *testing.T, ctx context.Context, actions ...chromedp.Action) int {
	t.Helper()
	var said string
	var seen int
	actions = append(actions, chromedp.Text("output", &said), chromedp.Evaluate(
		`[...document.querySelectorAll("[data-verdicts]")].filter((e) => e.getClientRects().length).length`, &seen))
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(said, fmt.Sprint(seen, " of ")) {
		t.Errorf("the page says %q and shows %d", said, seen)
	}
	return seen
}

// onTop says whether a person sees the elements: nothing lies over where each
// begins.
func onTop(t *testing.T, ctx context.Context, selectors ...string) {
	t.Helper()
	for _, s := range selectors {
		var visible bool
		if err := chromedp.Run(ctx, chromedp.Evaluate(fmt.Sprintf(`(() => {
const e = document.querySelector(%q), r = e.getBoundingClientRect(), at = document.elementFromPoint(r.left + 12, r.top + 6);
return e.contains(at) || !!at && at.contains(e); })()`, s), &visible)); err != nil {
			t.Fatal(err)
		}
		if !visible {
			t.Errorf("%s is covered or out of sight", s)
		}
	}
}

func TestFiltersAndDeepLinksInABrowser(t *testing.T) {
	t.Parallel()
	r := sample(40)
	ctx := browser(t, page1(t, one(r)), "net/claim-016")
	var open bool
	var top float64
	if err := chromedp.Run(ctx, chromedp.Evaluate(`document.getElementById("net/claim-016").open`, &open),
		chromedp.Evaluate(`document.getElementById("net/claim-016").getBoundingClientRect().top`, &top)); err != nil {
		t.Fatal(err)
	}
	if !open || top < 0 || top > 900 {
		t.Errorf("the linked claim: open %v, %v pixels from the top", open, top)
	}
	onTop(t, ctx, "[id='net/claim-016'] summary", "form fieldset", "select")
	if n := shown(t, ctx); n != 40 {
		t.Errorf("%d claims without a filter", n)
	}
	click := func(v Verdict) chromedp.Action {
		return chromedp.Click(fmt.Sprintf("input[value=%s]", v), chromedp.ByQuery)
	}
	if n := shown(t, ctx, click(Pass)); n != 40-r.Summary.Pass {
		t.Errorf("%d claims without passes", n)
	}
	if n := shown(t, ctx, click(Skip), click(Broken)); n != r.Summary.Fail {
		t.Errorf("%d claims with failures alone", n)
	}
	// A link to what the filter hides shows it.
	var visible bool
	if err := chromedp.Run(ctx, chromedp.Evaluate(`location.hash = "#user/claim-039"`, nil),
		chromedp.Poll(`document.getElementById("user/claim-039").open`, nil),
		chromedp.Evaluate(`document.getElementById("user/claim-039").getClientRects().length > 0`, &visible)); err != nil {
		t.Fatal(err)
	}
	if !visible {
		t.Error("a claim that was filtered out is not shown by its link")
	}
	area := chromedp.Evaluate(`(() => { const s = document.querySelector("select"); s.value = "pid"; s.dispatchEvent(new Event("input", {bubbles: true})); })()`, nil)
	if n := shown(t, ctx, area); n != 8 {
		t.Errorf("%d claims of one area", n)
	}
	if n := shown(t, ctx, chromedp.SendKeys("input[type=search]", "claim-025", chromedp.ByQuery)); n != 1 {
		t.Errorf("%d claims by text", n)
	}
}

func TestMatrixFiltersInABrowser(t *testing.T) {
	t.Parallel()
	a, b := sample(10), sample(10)
	b.Claims[0].Verdict, b.Claims[0].Reason = Fail, "differs"
	b.Summary = Count(b.Claims)
	m := &Matrix{Version: SchemaVersion, Rows: []Row{{Kernel: "a", Result: a}, {Kernel: "b", Result: b}, {Kernel: "c", Error: "no guest"}}}
	ctx := browser(t, page1(t, m), "")
	if n := shown(t, ctx); n != 10 {
		t.Errorf("%d claims", n)
	}
	// One differs, one fails and one is broken on both.
	if n := shown(t, ctx, chromedp.Click("[name=differ]", chromedp.ByQuery)); n != 3 {
		t.Errorf("%d claims where kernels differ or fail", n)
	}
}

func TestMatrixDeepLinkInABrowser(t *testing.T) {
	t.Parallel()
	m := &Matrix{Version: SchemaVersion}
	for i := range 6 {
		r := sample(200)
		r.Kernel.Release = fmt.Sprintf("6.%d.1-with-a-long-name-amd64", i)
		m.Rows = append(m.Rows, Row{Kernel: r.Kernel.Release, Result: r})
	}
	ctx := browser(t, page1(t, m), "pid/claim-150")
	onTop(t, ctx, "[id='pid/claim-150'] summary", ".matrix thead th:first-child", ".matrix thead th:nth-child(3)", "form fieldset", "select")
}

// TestPagesFitAPhone has the longest words that reports have: names of options
// and of claims, paths, and what cannot be broken at a space.
func TestPagesFitAPhone(t *testing.T) {
	t.Parallel()
	r := sample(30)
	long := "CONFIG_NETFILTER_XT_TARGET_MASQUERADE, CONFIG_NETFILTER_XT_NAT are not set"
	r.Claims[7].Reason, r.Claims[7].Remedy = long, "a kernel built with "+long+" ("+strings.Repeat("Networking support > ", 9)+strings.Repeat("x", 90)+")"
	r.Claims[3].ID, r.Claims[3].Reason = "chroot/"+strings.Repeat("a-long-name-", 8)+"of-a-claim", strings.Repeat("/a/long/path", 30)
	r.Claims[3].Try, r.Claims[3].Evidence = strings.Repeat("unshare;", 40), []string{strings.Repeat("0123456789", 20)}
	for name, m := range map[string]*Matrix{"result": one(r), "matrix": {Version: SchemaVersion, Rows: []Row{
		{Kernel: "a", Result: r}, {Kernel: "b", Result: r}, {Kernel: "c", Result: sample(30)}, {Kernel: "d", Error: "no guest"}}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := browser(t, page1(t, m), "")
			var width, screen int
			var wide []string
			if err := chromedp.Run(ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile),
				chromedp.Evaluate(`document.querySelectorAll("details").forEach((d) => d.open = true)`, nil),
				chromedp.Evaluate("document.documentElement.scrollWidth", &width),
				chromedp.Evaluate("document.documentElement.clientWidth", &screen),
				chromedp.Evaluate(`[...document.querySelectorAll("main *")].filter((e) => !e.closest(".scroll") && e.getBoundingClientRect().right > 361).map((e) => e.outerHTML.slice(0, 150))`, &wide)); err != nil {
				t.Fatal(err)
			}
			if width > screen || len(wide) > 0 {
				t.Errorf("the page is %d wide on a screen of %d: %q", width, screen, wide)
			}
		})
	}
}

func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	axe, err := os.ReadFile("../../hack/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Skip("axe-core is missing (npm ci --prefix hack/axe, which hack/setup runs, fetches it)")
	}
	for name, m := range map[string]*Matrix{"result": one(sample(30)), "matrix": {Version: SchemaVersion, Rows: []Row{
		{Kernel: "a", Result: sample(30)}, {Kernel: "b", Error: "no guest"}}}} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				ctx := browser(t, page1(t, m), "")
				var violations []string
				err := chromedp.Run(ctx,
					emulate(scheme),
					chromedp.Evaluate(`document.querySelectorAll("details").forEach((d) => d.open = true)`, nil),
					chromedp.Evaluate(string(axe), nil),
					chromedp.Evaluate(`axe.run().then((r) => r.violations.map((v) => v.id + ": " + v.help + " " + v.nodes[0].html + " " + v.nodes[0].failureSummary))`,
						&violations, func(p *cdpruntime.EvaluateParams) *cdpruntime.EvaluateParams { return p.WithAwaitPromise(true) }))
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range violations {
					t.Error(v)
				}
			})
		}
	}
}
