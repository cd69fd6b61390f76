package report

import (
	"bufio"
	"embed"
	"fmt"
	"html/template"
	"io"
	"sort"
	"strings"
)

//go:embed page
var page embed.FS

func pageFile(name string) string {
	raw, err := page.ReadFile("page/" + name)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

type namedCount struct {
	Verdict Verdict
	Count   int
	Word    string
}

func allCounts(s Summary) (all []namedCount) {
	for _, c := range s.counts() {
		all = append(all, namedCount{c.verdict, c.count, words[c.verdict]})
	}
	return all
}

func someCounts(s Summary) (some []namedCount) {
	for _, c := range allCounts(s) {
		if c.Count > 0 {
			some = append(some, c)
		}
	}
	return some
}

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"style":  func() template.CSS { return template.CSS(pageFile("style.css")) },
	"script": func() template.JS { return template.JS(pageFile("script.js")) },
	"counts": someCounts, "all": allCounts,
	"whole": func(r *Result) []string { return r.wholeProblems() },
}).Parse(pageFile("pages.html")))

// htmlClaim is a claim with what the page says of it beside the model.
type htmlClaim struct{ Claim }

// Bad is true for what the page shows open.
func (c htmlClaim) Bad() bool {
	return (c.Verdict == Fail || c.Verdict == Broken) && c.Accepted == nil
}

// Why is the reason without the claim's own text, which stands above it.
func (c htmlClaim) Why() string {
	return strings.TrimSpace(strings.TrimPrefix(c.Reason, c.Text+"\n"))
}

// Drawing is the topology as SVG, or as its text where it is no list of wires.
func (c htmlClaim) Drawing() template.HTML {
	if c.Topology == "" {
		return ""
	}
	if svg := drawTopology(c.Topology); svg != "" {
		return template.HTML(svg)
	}
	return template.HTML("<pre>" + template.HTMLEscapeString(c.Topology) + "</pre>")
}

type bar struct {
	Verdict Verdict
	X, W    int
}

type htmlArea struct {
	Name   string
	Claims []htmlClaim
	Counts []namedCount
	Bars   []bar
	Total  int
	Lines  []htmlLine
}

// WriteHTML writes one page that needs nothing else: no network, no file
// beside it, no script to be read.
func WriteHTML(w io.Writer, r *Result) error {
	var areas []htmlArea
	var problems []htmlClaim
	for _, group := range byArea(r.Claims) {
		a := htmlArea{Name: group[0].Area, Counts: allCounts(Count(group)), Total: len(group)}
		for _, c := range group {
			a.Claims = append(a.Claims, htmlClaim{c})
		}
		x := 0
		for _, n := range a.Counts {
			if n.Count > 0 {
				a.Bars = append(a.Bars, bar{n.Verdict, x, n.Count})
				x += n.Count
			}
		}
		areas = append(areas, a)
	}
	for _, v := range []Verdict{Fail, Broken} {
		for _, c := range r.Claims {
			if c.Verdict == v && c.Accepted == nil {
				problems = append(problems, htmlClaim{c})
			}
		}
	}
	return render(w, "result", map[string]any{
		"Title": "bulkhead: Linux " + r.Kernel.Release + " " + r.Kernel.Arch, "R": r, "Seconds": r.DurationMS / 1000,
		"Whole": r.wholeProblems(), "Problems": problems, "Accepted": r.accepted(), "Areas": areas, "Gaps": r.Missing(),
		"Verdicts": allCounts(r.Summary), "Matrix": false,
	})
}

type htmlLine struct {
	ID, Area, Text, Since, Try, Verdicts string
	Differs                              bool
	Cells                                []Verdict
	Reasons                              []htmlReason
}

// htmlReason is why a claim is not kept, and on which kernels for that reason.
type htmlReason struct {
	Verdict             Verdict
	Text, Mend, Kernels string
}

// WriteMatrixHTML writes claims by kernels as one page.
func WriteMatrixHTML(w io.Writer, m *Matrix) error {
	var areas []htmlArea
	total := 0
	for _, l := range m.lines() {
		total++
		c := htmlClaim{l.claim}
		line := htmlLine{ID: c.ID, Area: c.Area, Text: c.Text, Since: c.Since, Try: c.Try, Differs: l.differs}
		seen := map[Verdict]bool{}
		at := map[string]int{}
		for i, cell := range l.cells {
			if cell == nil {
				line.Cells = append(line.Cells, "")
				continue
			}
			line.Cells = append(line.Cells, cell.Verdict)
			seen[cell.Verdict] = true
			if cell.Verdict == Pass {
				continue
			}
			why := htmlClaim{*cell}.Why()
			j, ok := at[string(cell.Verdict)+why]
			if !ok {
				j = len(line.Reasons)
				at[string(cell.Verdict)+why] = j
				line.Reasons = append(line.Reasons, htmlReason{cell.Verdict, why, cell.Remedy, m.Rows[i].Title()})
				continue
			}
			line.Reasons[j].Kernels += ", " + m.Rows[i].Title()
		}
		var names []string
		for v := range seen {
			names = append(names, string(v))
		}
		sort.Strings(names)
		line.Verdicts = strings.Join(names, " ")
		if len(areas) == 0 || areas[len(areas)-1].Name != c.Area {
			areas = append(areas, htmlArea{Name: c.Area})
		}
		a := &areas[len(areas)-1]
		a.Lines = append(a.Lines, line)
	}
	return render(w, "matrix", map[string]any{
		"Title": fmt.Sprintf("bulkhead: %d kernels", len(m.Rows)), "M": m, "Areas": areas, "Total": total,
		"Columns": len(m.Rows) + 1, "Verdicts": allCounts(Summary{}), "Matrix": true,
	})
}

func render(w io.Writer, name string, data any) error {
	b := bufio.NewWriter(w)
	if err := pages.ExecuteTemplate(b, name, data); err != nil {
		return err
	}
	return b.Flush()
}

// drawTopology draws a list of wires, each a line "host:veth0 ---- c1:eth0":
// machines in columns by how far they are from the first. A wire that stands
// there twice, as of a spec that builds its network again, is drawn once. It
// returns "" for any other text.
func drawTopology(text string) string {
	type wire struct {
		a, b, ifA, ifB string
		// nth is the wire's place among those that join the same two machines.
		nth int
	}
	var wires []wire
	var names []string
	depth, seen, between, most := map[string]int{}, map[string]bool{}, map[[2]string]int{}, map[string]int{}
	add := func(name string, d int) {
		if _, ok := depth[name]; !ok {
			depth[name] = d
			names = append(names, name)
		}
	}
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		left, right, ok := strings.Cut(l, " ---- ")
		if !ok {
			return ""
		}
		a, ifA, okA := strings.Cut(strings.TrimSpace(left), ":")
		b, ifB, okB := strings.Cut(strings.TrimSpace(right), ":")
		if !okA || !okB {
			return ""
		}
		if seen[l] {
			continue
		}
		seen[l] = true
		if _, known := depth[b]; known {
			add(a, depth[b]+1)
		}
		add(a, 0)
		add(b, depth[a]+1)
		// From left to right.
		if depth[a] > depth[b] {
			a, b, ifA, ifB = b, a, ifB, ifA
		}
		nth := between[[2]string{a, b}]
		between[[2]string{a, b}]++
		most[a], most[b] = max(most[a], nth), max(most[b], nth)
		wires = append(wires, wire{a, b, ifA, ifB, nth})
	}
	const boxW, boxH, gapX, gapY, step = 120, 32, 170, 26, 20
	x, y, tall := map[string]int{}, map[string]int{}, map[string]int{}
	// bottom is where a column's next machine may begin.
	bottom := map[int]int{}
	width, height := 0, 0
	for _, n := range names {
		d := depth[n]
		x[n], y[n], tall[n] = 1+d*(boxW+gapX), 1+bottom[d], boxH+step*most[n]
		bottom[d] += tall[n] + gapY
		width, height = max(width, x[n]+boxW+1), max(height, y[n]+tall[n]+1)
	}
	var s strings.Builder
	esc := template.HTMLEscapeString
	fmt.Fprintf(&s, `<svg class="topology" role="img" width="%d" height="%d" viewBox="0 0 %d %d"><title>%s</title>`, width, height, width, height, esc(strings.TrimSpace(text)))
	for _, w := range wires {
		// The far end's own row tells wires that leave one box apart.
		at := y[w.b] + boxH/2 + step*w.nth
		from := y[w.a] + tall[w.a]/2
		if between[[2]string{w.a, w.b}] > 1 {
			from = y[w.a] + boxH/2 + step*w.nth
		}
		fmt.Fprintf(&s, `<path d="M%d %dh18V%dH%d"/>`, x[w.a]+boxW, from, at, x[w.b])
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s – %s</text>`, x[w.b]-6, at-5, esc(w.ifA), esc(w.ifB))
	}
	for _, n := range names {
		fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%d" height="%d" rx="3"/><text x="%d" y="%d" text-anchor="middle">%s</text>`,
			x[n], y[n], boxW, tall[n], x[n]+boxW/2, y[n]+tall[n]/2+4, esc(n))
	}
	s.WriteString("</svg>")
	return s.String()
}
