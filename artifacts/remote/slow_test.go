package remote_test

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// A line moves so many bytes at a time, and no more.
type line struct {
	piece int
	every time.Duration
}

// A lineDriver is reached over a line, in both directions.
type lineDriver struct {
	remote.Driver
	line line
}

func (d lineDriver) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := d.Driver.Read(ctx, name, offset, length)
	return &lineReader{ReadCloser: r, ctx: ctx, line: d.line}, err
}

func (d lineDriver) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	over := remote.Content{Size: content.Size, Open: func() (io.ReadCloser, error) {
		r, err := content.Open()
		return &lineReader{ReadCloser: r, ctx: ctx, line: d.line}, err
	}}
	return d.Driver.Write(ctx, name, over, ifAbsent)
}

type lineReader struct {
	io.ReadCloser
	ctx  context.Context
	line line
	came int // of the last piece, and was not read yet
}

func (l *lineReader) Read(p []byte) (int, error) {
	if l.came == 0 {
		select {
		case <-time.After(l.line.every):
			l.came = l.line.piece
		case <-l.ctx.Done():
			return 0, l.ctx.Err()
		}
	}
	n, err := l.ReadCloser.Read(p[:min(len(p), l.came)])
	l.came -= n
	return n, err
}

// transfers are the ways in which bytes move from or to a remote, which has them
// already or, for a way to it, has not.
var transfers = map[string]struct {
	to   bool
	move func(t *testing.T, s *remote.Store, b []byte) error
}{
	"Get": {false, func(t *testing.T, s *remote.Store, b []byte) error {
		_, err := getAll(s, artifacts.DigestOf(b))
		return err
	}},
	"Download": {false, func(t *testing.T, s *remote.Store, b []byte) error {
		return download(t, s, filepath.Join(t.TempDir(), "file"), b)
	}},
	"GetAction": {false, func(t *testing.T, s *remote.Store, b []byte) error {
		_, err := s.GetAction(ctx, key)
		return err
	}},
	"Upload": {true, func(t *testing.T, s *remote.Store, b []byte) error {
		_, err := s.Upload(ctx, artifacts.DigestOf(b), remotetest.Bytes(b), nil)
		return err
	}},
	"PutAction": {true, func(t *testing.T, s *remote.Store, b []byte) error { return s.PutAction(ctx, key, b, false) }},
}

// moveOver moves b over a line in each way, in fake time, and tells check what came
// of it and how long it took.
func moveOver(t *testing.T, l line, b []byte, opts remote.Options, check func(t *testing.T, err error, took time.Duration)) {
	opts.Attempts = 1
	for name, transfer := range transfers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := remotetest.NewMemory(remote.Traits{Ranges: true})
				if !transfer.to {
					m.Set("cas/"+artifacts.DigestOf(b).Hex(), b)
					m.Set("ac/"+string(key), b)
				}
				s, err := remote.New(lineDriver{m, l}, opts)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = transfer.move(t, s, b)
				check(t, err, time.Since(began))
				if made := len(m.Names()); transfer.to && err != nil && made > 0 {
					t.Errorf("%d objects were made", made)
				}
			})
		})
	}
}

// A remote that always moves something, and hardly anything, is cut off as a
// silent one is, in the time that its rate leaves it of a minute.
func TestTooSlow(t *testing.T) {
	b := storetest.Random(1<<20, 11)
	for _, row := range []struct {
		what string
		line line
		opts remote.Options
		want time.Duration
		says string
	}{
		{"a byte within each time-out", line{1, 29 * time.Second}, remote.Options{}, time.Minute, "less than 256 bytes a second over 1m0s: the remote is too slow"},
		{"a byte a second", line{1, time.Second}, remote.Options{}, time.Minute, "less than 256"},
		{"just too slow", line{192, time.Second}, remote.Options{}, 4 * time.Minute, "less than 256"},
		{"slower than is asked for", line{5 << 10, time.Second}, remote.Options{MinRate: 10 << 10}, 2 * time.Minute, "less than 10240"},
		{"a longer time-out", line{1, 5 * time.Minute}, remote.Options{Timeout: 10 * time.Minute}, 20 * time.Minute, "less than 256 bytes a second over 20m0s"},
	} {
		t.Run(row.what, func(t *testing.T) {
			moveOver(t, row.line, b, row.opts, func(t *testing.T, err error, took time.Duration) {
				if err == nil || !errSaying(row.says).is(err) {
					t.Errorf("after %v: %v, want %q", took, err, row.says)
				}
				if took < row.want-3*time.Second || took > row.want+3*time.Second {
					t.Errorf("it took %v, want %v", took, row.want)
				}
			})
		})
	}
}

// A slow line is none that is too slow: one of 32 kbit/s, of which eight requests
// share, one that moves in bursts, few bytes however slowly, a bandwidth that the
// user set himself.
func TestSlowLines(t *testing.T) {
	for _, row := range []struct {
		what string
		line line
		size int
		opts remote.Options
	}{
		{"an eighth of 32 kbit/s", line{500, time.Second}, 500_000, remote.Options{}},
		{"just fast enough", line{256, time.Second}, 200_000, remote.Options{}},
		{"in bursts", line{8 << 10, 29 * time.Second}, 500_000, remote.Options{}},
		{"in bursts, patiently", line{300 << 10, 9 * time.Minute}, 1_000_000, remote.Options{Timeout: 10 * time.Minute}},
		{"few bytes", line{1, 3 * time.Second}, 17, remote.Options{}},
		{"allowed", line{1, 20 * time.Second}, 100, remote.Options{MinRate: 1, Timeout: 1000 * time.Second}},
		{"bandwidth", line{16 << 10, time.Millisecond}, 100_000, remote.Options{Bandwidth: 100}},
	} {
		t.Run(row.what, func(t *testing.T) {
			moveOver(t, row.line, storetest.Random(row.size, 12), row.opts, func(t *testing.T, err error, took time.Duration) {
				if err != nil {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// A driver that takes large parts at once and sends each for as long as a slow line
// needs is not slow.
func TestPartsThatTakeLong(t *testing.T) {
	b := storetest.Random(40<<20, 13)
	synctest.Test(t, func(t *testing.T) {
		m := remotetest.NewMemory(remote.Traits{})
		s, _ := remote.New(lineDriver{m, line{8 << 20, 29 * time.Second}}, remote.Options{Attempts: 1})
		upload(t, s, b)
		if !bytes.Equal(m.Object("cas/"+artifacts.DigestOf(b).Hex()), b) {
			t.Error("other bytes came")
		}
	})
}
