package debian

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"golang.org/x/sys/unix"
)

// archive is a fake mirror on loopback with a key of its own.
type archive struct {
	files  map[string][]byte
	server *httptest.Server
	// cut, when set, ends the answer for a path after so many bytes, once.
	cut    map[string]int
	ranges []string
	key    *openpgp.Entity
}

func digest(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

func newArchive(t *testing.T, until time.Time) (*archive, *Mirror) {
	t.Helper()
	key, err := openpgp.NewEntity("test", "", "test@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{files: map[string][]byte{}, cut: map[string]int{}, key: key}
	payload := bytes.Repeat([]byte("package "), 4096)
	a.files["pool/binary.deb"] = payload
	index := fmt.Sprintf("Package: linux-image-test\nVersion: 1\nDepends: linux-binary-test (= 1), other | linux-modules-gone\nFilename: pool/binary.deb\nSize: %d\nSHA256: %s\n\n"+
		"Package: linux-binary-test\nVersion: 1\nFilename: pool/binary.deb\nSize: %d\nSHA256: %s\n",
		len(payload), digest(payload), len(payload), digest(payload))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(index))
	z.Close()
	a.files["dists/test/main/binary-amd64/Packages.gz"] = packed.Bytes()
	release := fmt.Sprintf("Suite: test\nCodename: tester\nValid-Until: %s\nSHA256:\n %s %d main/binary-amd64/Packages\n %s %d main/binary-amd64/Packages.gz\n",
		until.UTC().Format(time.RFC1123), digest([]byte(index)), len(index), digest(packed.Bytes()), packed.Len())
	var signed bytes.Buffer
	w, err := clearsign.Encode(&signed, key.PrivateKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(release))
	w.Close()
	signed.WriteByte('\n')
	a.files["dists/test/InRelease"] = signed.Bytes()
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/")
		content, ok := a.files[path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if h := r.Header.Get("Range"); h != "" {
			a.ranges = append(a.ranges, h)
		}
		if n, ok := a.cut[path]; ok {
			delete(a.cut, path)
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:n])
			return
		}
		http.ServeContent(w, r, path, time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(a.server.Close)
	return a, &Mirror{Base: a.server.URL, Cache: t.TempDir(), Keys: openpgp.EntityList{key}}
}

var follow = regexp.MustCompile(`^linux-`)

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

func TestResolveAndFetch(t *testing.T) {
	_, m := newArchive(t, tomorrow())
	packages, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) != 2 || packages[1].Name != "linux-binary-test" {
		t.Fatalf("resolved %v", packages)
	}
	if _, err := m.Fetch(context.Background(), packages[1]); err != nil {
		t.Fatal(err)
	}
	// Cached, the network is not needed.
	m.Offline = true
	if _, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Fetch(context.Background(), packages[0]); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Fatalf("error %v, want one with %q", err, part)
	}
}

func TestForeignSignature(t *testing.T) {
	_, m := newArchive(t, tomorrow())
	other, err := openpgp.NewEntity("other", "", "other@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Keys = openpgp.EntityList{other}
	_, err = m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	wantError(t, err, "signature is not one of the Debian archive's")
}

func TestChangedAfterSigning(t *testing.T) {
	a, m := newArchive(t, tomorrow())
	a.files["dists/test/InRelease"] = bytes.Replace(a.files["dists/test/InRelease"], []byte("tester"), []byte("tampered"), 1)
	_, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	wantError(t, err, "signature is not one of the Debian archive's")
}

func TestStaleOrWrongSuite(t *testing.T) {
	a, m := newArchive(t, time.Now().Add(-time.Hour))
	_, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	wantError(t, err, "expired")
	a.files["dists/sid/InRelease"] = a.files["dists/test/InRelease"]
	_, err = m.Resolve(context.Background(), "sid", "amd64", "linux-image-test", follow)
	wantError(t, err, "signed for the suite test")
}

func TestLyingMirror(t *testing.T) {
	a, m := newArchive(t, tomorrow())
	packages, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	if err != nil {
		t.Fatal(err)
	}
	evil := bytes.Clone(a.files["pool/binary.deb"])
	evil[100] ^= 1
	a.files["pool/binary.deb"] = evil
	_, err = m.Fetch(context.Background(), packages[0])
	wantError(t, err, "not what the archive signed")
	left, _ := os.ReadDir(filepath.Join(m.Cache, "files"))
	for _, f := range left {
		if strings.HasPrefix(f.Name(), packages[0].SHA256) {
			t.Fatalf("the lie stays in the cache: %s", f.Name())
		}
	}
}

func TestResume(t *testing.T) {
	a, m := newArchive(t, tomorrow())
	packages, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	if err != nil {
		t.Fatal(err)
	}
	a.cut["pool/binary.deb"] = 1000
	_, err = m.Fetch(context.Background(), packages[0])
	if err == nil {
		t.Fatal("a cut download passed for whole")
	}
	if _, err := os.Stat(filepath.Join(m.Cache, "files", packages[0].SHA256)); !os.IsNotExist(err) {
		t.Fatalf("half a file stands under the whole one's name: %v", err)
	}
	path, err := m.Fetch(context.Background(), packages[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(a.ranges) != 1 || a.ranges[0] != "bytes=1000-" {
		t.Fatalf("asked for %v, want the rest only", a.ranges)
	}
	got, _ := os.ReadFile(path)
	if !bytes.Equal(got, a.files["pool/binary.deb"]) {
		t.Fatal("the two pieces do not make the file")
	}
}

// TestNoSpace has a cache that is too small, a tmpfs in a mount namespace of a
// process of its own.
func TestNoSpace(t *testing.T) {
	const inside = "BULKHEAD_TEST_NO_SPACE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNoSpace$")
		cmd.Env = append(os.Environ(), inside+"=1")
		ids := []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		groups := []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: groups}
		switch out, err := cmd.CombinedOutput(); {
		case errors.Is(err, unix.EPERM):
			t.Skip("no user namespace for an ordinary user: ", err)
		case err != nil:
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	_, m := newArchive(t, tomorrow())
	if err := unix.Mount("tmpfs", m.Cache, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(m.Cache, 0)
	packages, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Fetch(context.Background(), packages[0])
	wantError(t, err, "no space left")
	left, err := filepath.Glob(filepath.Join(m.Cache, "files", packages[0].SHA256+"*"))
	if err != nil || len(left) > 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

func TestOfflineWithoutCache(t *testing.T) {
	_, m := newArchive(t, tomorrow())
	m.Offline = true
	_, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	wantError(t, err, "--offline")
}

func TestNoServer(t *testing.T) {
	a, m := newArchive(t, tomorrow())
	a.server.Close()
	_, err := m.Resolve(context.Background(), "test", "amd64", "linux-image-test", follow)
	wantError(t, err, "no network?")
}

func TestArchiveKeys(t *testing.T) {
	keys, err := openpgp.ReadKeyRing(bytes.NewReader(embeddedKeyring))
	if err != nil || len(keys) < 3 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
}

func TestNotAPackage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.deb")
	os.WriteFile(path, []byte("hello"), 0o644)
	_, err := ReadControl(path)
	wantError(t, err, "not a Debian package")
}
