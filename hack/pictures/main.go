// Command pictures makes the README's pictures from the JSON of a matrix: what
// the terminal shows of its first kernel (SVG), and its page of claims by
// kernels in headless Chromium (PNG).
package main

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chromedp/chromedp"

	"bulkhead/internal/report"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pictures MATRIX.json FOLDER")
		os.Exit(2)
	}
	if err := draw(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func draw(path, folder string) error {
	m, err := report.ReadFile(path)
	if err != nil {
		return err
	}
	if m.Rows[0].Result == nil {
		return fmt.Errorf("%s: its first kernel has no result", path)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "terminal.svg"), terminal(m.Rows[0].Result), 0o644); err != nil {
		return err
	}
	png, err := matrix(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "matrix.png"), png, 0o644)
}

// The size of a character of the terminal, in pixels, and of the rim around.
const (
	wide, high, rim = 8.4, 19.0, 16.0
	columns         = 100
)

var (
	escape = regexp.MustCompile("\x1b\\[([0-9;]*)m")
	// styles are what the report's own escape sequences look like.
	styles = map[string]string{
		"32": `fill="#7fd19c"`, "1;31": `fill="#ff8f8f" font-weight="bold"`, "35": `fill="#e29bef"`, "33": `fill="#e3c566"`, "2": `fill="#8b929e"`,
	}
)

// terminal draws what bulkhead run prints at its end in 100 columns.
func terminal(r *report.Result) []byte {
	var text bytes.Buffer
	fmt.Fprintln(&text, "$ sudo ./bulkhead run")
	report.WriteTerminal(&text, r, report.TerminalOptions{Color: true, Width: columns})
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	var b bytes.Buffer
	w, h := columns*wide+2*rim, float64(len(lines))*high+2*rim
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<title>What bulkhead run prints</title>\n"+`<rect width="100%%" height="100%%" rx="8" fill="#15171b"/>`+"\n")
	fmt.Fprintln(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" fill="#e4e6ea">`)
	for i, line := range lines {
		y, column, style := rim+high*float64(i)+14, 0, ""
		span := func(s string) {
			n := utf8.RuneCountInString(s)
			if trimmed := strings.TrimLeft(s, " "); strings.TrimSpace(s) != "" {
				indent := n - utf8.RuneCountInString(trimmed)
				// The length holds columns in place, whatever font there is.
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" textLength="%.1f" xml:space="preserve" %s>%s</text>`+"\n",
					rim+wide*float64(column+indent), y, wide*float64(n-indent), style, html.EscapeString(trimmed))
			}
			column += n
		}
		for {
			at := escape.FindStringSubmatchIndex(line)
			if at == nil {
				span(line)
				break
			}
			span(line[:at[0]])
			style = styles[line[at[2]:at[3]]]
			line = line[at[1]:]
		}
	}
	b.WriteString("</g></svg>\n")
	return b.Bytes()
}

// matrix is the top of the page of several kernels where they differ.
func matrix(m *report.Matrix) ([]byte, error) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("%w (hack/setup reports installs it)", err)
	}
	dir, err := os.MkdirTemp("", "pictures-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "matrix.html")
	var page bytes.Buffer
	if err := report.WriteMatrixHTML(&page, m); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(time.Minute))...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	var png []byte
	err = chromedp.Run(ctx, chromedp.EmulateViewport(1200, 900), chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()),
		chromedp.Click("[name=differ]", chromedp.ByQuery), chromedp.CaptureScreenshot(&png))
	return png, err
}
