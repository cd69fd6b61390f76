package claim

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// Shown says whether output is what the claim's Shows says that its Try prints;
// the error names the first line that is not, or is missing.
//
// Empty lines and blanks at either end of a line count for nothing, and any
// blanks between words for one. In a line of Shows, … is any text; alone in its line it is any
// number of lines. A word in angle brackets, as <pid>, is a text that the
// machine chooses: the same at every place of the same word, and another than
// that of every other word.
func (c Claim) Shown(output string) error {
	chosen := map[string]string{}
	want, got := lines(c.Shows), lines(output)
	if i, ok := match(want, got, chosen); !ok {
		missing := "no more lines"
		if i < len(want) {
			missing = fmt.Sprintf("the line %q", want[i])
		}
		return fmt.Errorf("expected %s here:\n%s\n\nof what should be shown:\n%s", missing, indent(output), indent(c.Shows))
	}
	for word, text := range chosen {
		for other, same := range chosen {
			if word < other && text == same {
				return fmt.Errorf("%s and %s are both %q:\n%s\n\nof what should be shown:\n%s", word, other, text, indent(output), indent(c.Shows))
			}
		}
	}
	return nil
}

const anything = "…"

// match tries want against got and keeps the texts of words in chosen. i is the
// line of want that was reached.
func match(want, got []string, chosen map[string]string) (i int, ok bool) {
	if len(want) == 0 {
		return 0, len(got) == 0
	}
	if want[0] == anything {
		far := 0
		for skip := range len(got) + 1 {
			guess := maps.Clone(chosen)
			if i, ok = match(want[1:], got[skip:], guess); ok {
				maps.Copy(chosen, guess)
				return i + 1, true
			}
			far = max(far, i+1)
		}
		return far, false
	}
	if len(got) == 0 || !matchLine(want[0], got[0], chosen) {
		return 0, false
	}
	i, ok = match(want[1:], got[1:], chosen)
	return i + 1, ok
}

var parts = regexp.MustCompile(`…|<[a-z][a-z0-9 ]*>`)

// matchLine tries one line.
func matchLine(want, got string, chosen map[string]string) bool {
	var pattern strings.Builder
	var words []string
	last := 0
	for _, at := range parts.FindAllStringIndex(want, -1) {
		pattern.WriteString(regexp.QuoteMeta(want[last:at[0]]))
		last = at[1]
		word := want[at[0]:at[1]]
		text, known := chosen[word]
		switch {
		case word == anything:
			pattern.WriteString(`.*?`)
		case known:
			pattern.WriteString(regexp.QuoteMeta(text))
		default:
			pattern.WriteString(`(\S+?)`)
			words = append(words, word)
		}
	}
	pattern.WriteString(regexp.QuoteMeta(want[last:]))
	found := regexp.MustCompile("^" + pattern.String() + "$").FindStringSubmatch(got)
	if found == nil {
		return false
	}
	fresh := map[string]string{}
	for i, word := range words {
		if text, twice := fresh[word]; twice && text != found[i+1] {
			return false
		}
		fresh[word] = found[i+1]
	}
	maps.Copy(chosen, fresh)
	return true
}

func lines(s string) []string {
	var all []string
	for line := range strings.Lines(s) {
		if words := strings.Fields(line); len(words) > 0 {
			all = append(all, strings.Join(words, " "))
		}
	}
	return all
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}
