package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"
)

func (m *Mirror) local() bool {
	return !strings.Contains(m.Base, "://") || strings.HasPrefix(m.Base, "file://")
}

func (m *Mirror) folder() string { return strings.TrimPrefix(m.Base, "file://") }

// get returns something small whose digest nobody knows yet.
func (m *Mirror) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	ctx, silence, cancel := m.patience(ctx)
	defer cancel()
	body, _, err := m.open(ctx, path, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(silence(body), limit)); err != nil {
		return nil, m.explain(ctx, path, err)
	}
	return out.Bytes(), nil
}

// fetch returns the path of the item in the cache, downloading it at need. An
// interrupted download is kept under another name and taken up again.
func (m *Mirror) fetch(ctx context.Context, it item) (string, error) {
	path := filepath.Join(m.Cache, "files", it.sha256)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if m.Offline {
		return "", fmt.Errorf("--offline: %s is not in the cache %s: run once without --offline", it.name, m.Cache)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	part, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return "", err
	}
	defer part.Close()
	// Another bulkhead that fetches the same thing is waited for.
	if err := unix.Flock(int(part.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("flock %s: %w", part.Name(), err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	resumed, err := m.download(ctx, it, part)
	if errors.Is(err, errDigest) && resumed {
		// The piece from an earlier time may be what is wrong.
		if err = part.Truncate(0); err == nil {
			_, err = m.download(ctx, it, part)
		}
	}
	if err != nil {
		// A disk that is full is not to stay so.
		if errors.Is(err, errDigest) || errors.Is(err, unix.ENOSPC) {
			os.Remove(part.Name())
		}
		return "", err
	}
	if err := errors.Join(part.Sync(), os.Rename(part.Name(), path)); err != nil {
		return "", err
	}
	return path, nil
}

var errDigest = errors.New("the mirror's file is not what the archive signed")

func (m *Mirror) download(ctx context.Context, it item, part *os.File) (resumed bool, err error) {
	sum := sha256.New()
	have, err := hashFile(part, sum)
	if err != nil {
		return false, err
	}
	if have >= it.size {
		if have, err = 0, part.Truncate(0); err != nil {
			return false, err
		}
		sum.Reset()
	}
	ctx, silence, cancel := m.patience(ctx)
	defer cancel()
	body, from, err := m.open(ctx, it.url, have)
	if err != nil {
		return false, err
	}
	defer body.Close()
	if from != have {
		sum.Reset()
		if err := part.Truncate(from); err != nil {
			return false, err
		}
	}
	if _, err := part.Seek(from, io.SeekStart); err != nil {
		return false, err
	}
	out := io.MultiWriter(part, sum)
	if m.Progress != nil {
		bar := progressbar.NewOptions64(it.size, progressbar.OptionSetWriter(m.Progress), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription(it.name), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(200*time.Millisecond))
		defer bar.Close()
		_ = bar.Set64(from)
		out = io.MultiWriter(out, bar)
	}
	n, err := io.Copy(out, io.LimitReader(silence(body), it.size-from+1))
	if err != nil {
		return from > 0, m.explain(ctx, it.url, err)
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if from+n < it.size {
		return from > 0, fmt.Errorf("%s/%s: the connection ended after %d of %d bytes", m.Base, it.url, from+n, it.size)
	}
	if got != it.sha256 {
		return from > 0, fmt.Errorf("%s/%s: %w: SHA-256 %s, not %s", m.Base, it.url, errDigest, got, it.sha256)
	}
	return from > 0, nil
}

func hashFile(f *os.File, sum hash.Hash) (int64, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(sum, f)
}

// open begins to read something of the mirror at an offset. from is where the
// mirror begins, the offset or 0.
func (m *Mirror) open(ctx context.Context, path string, offset int64) (body io.ReadCloser, from int64, err error) {
	if m.local() {
		file, err := os.Open(filepath.Join(m.folder(), filepath.FromSlash(path)))
		return file, 0, err
	}
	patience := m.silence()
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: patience}).DialContext}}
	url := strings.TrimSuffix(m.Base, "/") + "/" + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, m.explain(ctx, path, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, 0, nil
	case http.StatusPartialContent:
		return resp.Body, offset, nil
	}
	resp.Body.Close()
	return nil, 0, fmt.Errorf("fetch %s: the server says %s", url, resp.Status)
}

func (m *Mirror) silence() time.Duration {
	if m.Patience > 0 {
		return m.Patience
	}
	return 20 * time.Second
}

// patience gives up a server that says nothing for too long, but none that is
// slow.
func (m *Mirror) patience(parent context.Context) (context.Context, func(io.Reader) io.Reader, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	timer := time.AfterFunc(m.silence(), func() { cancel(fmt.Errorf("the server said nothing for %s", m.silence())) })
	return ctx, func(r io.Reader) io.Reader { return awake{r, timer, m.silence()} }, func() { timer.Stop(); cancel(nil) }
}

type awake struct {
	io.Reader
	timer    *time.Timer
	patience time.Duration
}

func (a awake) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.timer.Reset(a.patience)
	}
	return n, err
}

// explain puts into one line what went wrong and what helps.
func (m *Mirror) explain(ctx context.Context, path string, err error) error {
	url := strings.TrimSuffix(m.Base, "/") + "/" + path
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("fetch %s: %w", url, cause)
	}
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fetch %s: the cache %s: %w", url, m.Cache, unix.ENOSPC)
	}
	var netErr *net.OpError
	if errors.As(err, &netErr) {
		return fmt.Errorf("fetch %s: %w (no network? --mirror names another mirror, --offline uses what is cached)", url, netErr)
	}
	return fmt.Errorf("fetch %s: %w", url, err)
}
