package claim

import "testing"

func TestShown(t *testing.T) {
	for _, c := range []struct {
		shows, output string
		ok            bool
	}{
		{"1", "1\n", true},
		{"1", "11\n", false},
		{"1", "", false},
		{"", "1\n", false},
		{"", "", true},
		{"a b", "a \t b  \n", true},
		{"unshare: …: No space left on device", "unshare: unshare failed: No space left on device\n", true},
		{"1", "1\n2\n", false},
		{"1\n…", "1\n2\n3\n", true},
		{"…\n3", "1\n2\n3\n", true},
		{"…\n4", "1\n2\n3\n", false},
		{"1\n…\n2", "1\n2\n", true},
		{"uts:[<here>]\nuts:[<here>]", "uts:[1]\nuts:[1]\n", true},
		{"uts:[<here>]\nuts:[<here>]", "uts:[1]\nuts:[12]\n", false},
		{"uts:[<here>]\nuts:[<there>]", "uts:[1]\nuts:[2]\n", true},
		{"uts:[<here>]\nuts:[<there>]", "uts:[1]\nuts:[1]\n", false},
		{"<a> <a>", "x x\n", true},
		{"<a> <a>", "x y\n", false},
		{"…\n<a>\n<a>", "1\n2\n2\n", true},
	} {
		if err := (Claim{Shows: c.shows}).Shown(c.output); (err == nil) != c.ok {
			t.Errorf("shows %q, output %q: %v", c.shows, c.output, err)
		}
	}
}
