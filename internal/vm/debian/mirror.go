// Package debian fetches packages from a Debian mirror and reads them. It
// believes the archive's signature and the digests below it, and nothing else
// that a mirror says. It knows nothing of kernels.
package debian

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/mikelolasagasti/xz"
)

// Snapshot is the public archive in which every version stays for good.
const Snapshot = "https://snapshot.debian.org/archive/debian/20261122T000000Z"

// SystemKeyring is where Debian's own package puts the archive's keys. It is
// preferred to the embedded copy, for it is kept up to date.
const SystemKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

//go:embed archive-keyring.gpg
var embeddedKeyring []byte

// ArchiveKeys are the keys that sign Debian's archive.
func ArchiveKeys() (openpgp.EntityList, error) {
	raw, err := os.ReadFile(SystemKeyring)
	if err != nil {
		raw = embeddedKeyring
	}
	return openpgp.ReadKeyRing(bytes.NewReader(raw))
}

// Mirror is a Debian mirror with a cache in front of it.
type Mirror struct {
	// Base is a URL, as "https://deb.debian.org/debian", or a folder.
	Base string
	// Cache is the folder to keep downloads in, by digest.
	Cache string
	// Offline forbids the network; only the cache answers.
	Offline bool
	// Progress is where progress goes; nil for none.
	Progress io.Writer
	// Keys are accepted as signers; nil is ArchiveKeys.
	Keys openpgp.EntityList
	// Patience is how long a server may stay silent, 20 s when 0.
	Patience time.Duration
}

// Package is one entry of a Packages index.
type Package struct {
	Name, Version, Filename, SHA256 string
	Size                            int64
	// Depends are names of packages, without versions; alternatives are all
	// in the list.
	Depends []string
}

// Resolve returns the package of that name and those among its dependencies,
// however deep, whose names match follow.
func (m *Mirror) Resolve(ctx context.Context, suite, arch, name string, follow *regexp.Regexp) ([]Package, error) {
	index, err := m.index(ctx, suite, arch)
	if err != nil {
		return nil, err
	}
	// Reading an index of 60 MB takes a second; what was found is kept.
	memo := filepath.Join(m.Cache, "resolved", index.sha256[:32]+"-"+name+".json")
	var found []Package
	if raw, err := os.ReadFile(memo); err == nil && json.Unmarshal(raw, &found) == nil && len(found) > 0 {
		return found, nil
	}
	path, err := m.fetch(ctx, index)
	if err != nil {
		return nil, err
	}
	known, err := readPackages(path, func(p string) bool { return p == name || follow.MatchString(p) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index.url, err)
	}
	if _, ok := known[name]; !ok {
		return nil, fmt.Errorf("%s has no package %s for %s", suite, name, arch)
	}
	seen := map[string]bool{name: true}
	for todo := []string{name}; len(todo) > 0; todo = todo[1:] {
		p := known[todo[0]]
		found = append(found, p)
		for _, d := range p.Depends {
			if _, ok := known[d]; ok && !seen[d] {
				seen[d] = true
				todo = append(todo, d)
			}
		}
	}
	raw, err := json.Marshal(found)
	if err != nil {
		return nil, err
	}
	if err := writeWhole(memo, raw); err != nil {
		return nil, err
	}
	return found, nil
}

// Fetch returns the path of the package's file, downloaded if it is not in
// the cache. The file has the digest that the signed index gives.
func (m *Mirror) Fetch(ctx context.Context, p Package) (string, error) {
	return m.fetch(ctx, item{url: p.Filename, sha256: p.SHA256, size: p.Size, name: p.Name})
}

// item is something on a mirror whose digest is known.
type item struct {
	url, sha256, name string
	size              int64
}

// index finds the Packages file of a suite through its signed InRelease.
func (m *Mirror) index(ctx context.Context, suite, arch string) (item, error) {
	release, err := m.release(ctx, suite)
	if err != nil {
		return item{}, err
	}
	offered := map[string]item{}
	section := ""
	for lines := bufio.NewScanner(bytes.NewReader(release)); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, " ") {
			section = line
			continue
		}
		fields := strings.Fields(line)
		if section != "SHA256:" || len(fields) != 3 || !isDigest(fields[0]) {
			continue
		}
		if size, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			offered[fields[2]] = item{sha256: fields[0], size: size}
		}
	}
	base := "main/binary-" + arch + "/Packages"
	plain, ok := offered[base]
	if !ok {
		return item{}, fmt.Errorf("%s of %s has no packages for %s", suite, m.Base, arch)
	}
	plain.url, plain.name = "dists/"+suite+"/"+base, suite+" "+arch+" index"
	if m.local() {
		if _, err := os.Stat(filepath.Join(m.folder(), plain.url)); err == nil {
			return plain, nil
		}
	}
	// gzip is read faster than xz, and every suite of the kernels here has it
	// or xz.
	for _, ending := range []string{".gz", ".xz"} {
		if it, ok := offered[base+ending]; ok {
			it.url, it.name = plain.url+ending, plain.name
			return it, nil
		}
	}
	return plain, nil
}

// release returns the text of the suite's InRelease once its signature is
// verified.
func (m *Mirror) release(ctx context.Context, suite string) ([]byte, error) {
	digest := sha256.Sum256([]byte(m.Base))
	kept := filepath.Join(m.Cache, "releases", hex.EncodeToString(digest[:8])+"-"+strings.ReplaceAll(suite, "/", "_"))
	if m.Offline {
		raw, err := os.ReadFile(kept)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("--offline: the index of %s is not in the cache %s: run once without --offline", suite, m.Cache)
		} else if err != nil {
			return nil, err
		}
		return m.verify(raw, suite)
	}
	raw, err := m.get(ctx, "dists/"+suite+"/InRelease", 8<<20)
	if err != nil {
		return nil, err
	}
	text, err := m.verify(raw, suite)
	if err != nil {
		return nil, fmt.Errorf("%s/dists/%s/InRelease: %w", m.Base, suite, err)
	}
	return text, writeWhole(kept, raw)
}

func (m *Mirror) verify(raw []byte, suite string) ([]byte, error) {
	keys := m.Keys
	if keys == nil {
		var err error
		if keys, err = ArchiveKeys(); err != nil {
			return nil, fmt.Errorf("read the archive's keys: %w", err)
		}
	}
	block, rest := clearsign.Decode(raw)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("is not a signed file")
	}
	if _, err := block.VerifySignature(keys, nil); err != nil {
		return nil, fmt.Errorf("the signature is not one of the Debian archive's: %w", err)
	}
	fields := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(block.Plaintext)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ": "); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	// A mirror may not pass one suite off as another.
	if s := fields["Suite"]; suite != s && suite != fields["Codename"] && !strings.HasPrefix(suite, "stable") && suite != "oldstable" {
		return nil, fmt.Errorf("is signed for the suite %s (%s), not for %s", s, fields["Codename"], suite)
	}
	if until, err := time.Parse(time.RFC1123, fields["Valid-Until"]); err == nil && time.Now().After(until) &&
		!m.Offline && !strings.Contains(m.Base, "snapshot") && !m.local() {
		return nil, fmt.Errorf("expired on %s: the mirror is stale, or the clock is wrong", until.Format(time.DateOnly))
	}
	return block.Plaintext, nil
}

// readPackages reads the entries whose names are wanted. Of several versions
// the last one in the file counts.
func readPackages(path string, wanted func(name string) bool) (map[string]Package, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	var r io.Reader = in
	switch magic, _ := in.Peek(6); {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		if r, err = gzip.NewReader(in); err != nil {
			return nil, err
		}
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		if r, err = xz.NewReader(in, 0); err != nil {
			return nil, err
		}
	}
	found := map[string]Package{}
	var p Package
	keep := false
	end := func() {
		if keep && p.Filename != "" && isDigest(p.SHA256) {
			found[p.Name] = p
		}
		p, keep = Package{}, false
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			end()
			continue
		}
		if name, ok := bytes.CutPrefix(line, []byte("Package: ")); ok {
			p.Name = string(name)
			keep = wanted(p.Name)
			continue
		}
		if !keep {
			continue
		}
		field, value, _ := strings.Cut(string(line), ": ")
		switch field {
		case "Version":
			p.Version = value
		case "Filename":
			p.Filename = value
		case "SHA256":
			p.SHA256 = value
		case "Size":
			p.Size, _ = strconv.ParseInt(value, 10, 64)
		case "Depends":
			p.Depends = dependencies(value)
		}
	}
	end()
	return found, lines.Err()
}

// dependencies are the names in a Depends field.
func dependencies(field string) []string {
	var names []string
	for _, d := range strings.FieldsFunc(field, func(r rune) bool { return r == ',' || r == '|' }) {
		name, _, _ := strings.Cut(strings.TrimSpace(d), " ")
		name, _, _ = strings.Cut(name, ":")
		names = append(names, name)
	}
	return names
}

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func isDigest(s string) bool { return digestPattern.MatchString(s) }

// writeWhole writes a file that appears whole or not at all.
func writeWhole(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}
