package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/prismflow/prismflow/artifacts"
)

func roundTrip(t *testing.T, s artifacts.Store) {
	b := []byte("five little ducks")
	d := Put(t, s, b)
	size, err := s.Stat(ctx, d)
	if err != nil || size != int64(len(b)) {
		t.Errorf("Stat: %d, %v, want %d", size, err, len(b))
	}
	if got := Get(t, s, d); !bytes.Equal(got, b) {
		t.Errorf("Get: %q, want %q", got, b)
	}
}

func emptyBlob(t *testing.T, s artifacts.Store) {
	d := artifacts.DigestOf(nil)
	Absent(t, s, d)
	Put(t, s, nil)
	if size, err := s.Stat(ctx, d); err != nil || size != 0 {
		t.Errorf("Stat: %d, %v, want 0", size, err)
	}
	if got := Get(t, s, d); len(got) != 0 {
		t.Errorf("Get: %d bytes, want none", len(got))
	}
}

func bigBlob(t *testing.T, s artifacts.Store) {
	b := Random(32<<20+7, 1)
	d := Put(t, s, b)
	if !bytes.Equal(Get(t, s, d), b) {
		t.Error("Get returned other bytes")
	}
}

// slowReader: what comes in single bytes, or ends with data and io.EOF at once.
func slowReader(t *testing.T, s artifacts.Store) {
	b := Random(3000, 2)
	for name, wrap := range map[string]func(io.Reader) io.Reader{"one byte": iotest.OneByteReader, "end with data": iotest.DataErrReader} {
		c := append([]byte(name), b...)
		d := artifacts.DigestOf(c)
		if err := s.Put(ctx, d, int64(len(c)), wrap(bytes.NewReader(c))); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r, err := s.Get(ctx, d)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := iotest.TestReader(r, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}

func notFound(t *testing.T, s artifacts.Store) {
	Absent(t, s, artifacts.DigestOf([]byte("never stored")))
	if _, err := s.GetAction(ctx, Key("never asked")); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("GetAction: %v, want ErrNotFound", err)
	}
	var miss *artifacts.Miss
	if _, err := artifacts.Lookup(ctx, s, Key("never asked")); !errors.As(err, &miss) {
		t.Errorf("Lookup: %v, want a Miss", err)
	}
}

func wrongBytes(t *testing.T, s artifacts.Store) {
	b := Random(10000, 3)
	flipped := bytes.Clone(b)
	flipped[5000] ^= 1
	for name, body := range map[string][]byte{
		"other bytes": flipped, "short": b[:9999], "empty": nil,
		"long": append(bytes.Clone(b), 0), "much longer": append(bytes.Clone(b), Random(9<<20, 4)...),
	} {
		t.Run(name, func(t *testing.T) {
			d := artifacts.DigestOf(b)
			err := s.Put(ctx, d, int64(len(b)), bytes.NewReader(body))
			if !errors.Is(err, artifacts.ErrCorrupt) {
				t.Errorf("Put: %v, want ErrCorrupt", err)
			}
			Absent(t, s, d)
			Absent(t, s, artifacts.DigestOf(body))
		})
	}
	t.Run("right bytes, wrong size", func(t *testing.T) {
		d := artifacts.DigestOf(b)
		for _, size := range []int64{int64(len(b)) - 1, int64(len(b)) + 1, 0, -1} {
			if err := s.Put(ctx, d, size, bytes.NewReader(b)); err == nil {
				t.Errorf("Put with size %d: no error", size)
			}
			Absent(t, s, d)
		}
	})
}

func readerFails(t *testing.T, s artifacts.Store) {
	b := Random(9<<20, 5)
	broken := errors.New("the line went dead")
	r := io.MultiReader(bytes.NewReader(b[:5<<20]), iotest.ErrReader(broken))
	d := artifacts.DigestOf(b)
	if err := s.Put(ctx, d, int64(len(b)), r); !errors.Is(err, broken) {
		t.Errorf("Put: %v, want the reader's error", err)
	}
	Absent(t, s, d)
}

func putAgain(t *testing.T, s artifacts.Store) {
	b := Random(100, 6)
	d := Put(t, s, b)
	Put(t, s, b)
	if err := s.Put(ctx, d, 100, strings.NewReader("wrong")); !errors.Is(err, artifacts.ErrCorrupt) {
		t.Errorf("Put of wrong bytes over right ones: %v, want ErrCorrupt", err)
	}
	if !bytes.Equal(Get(t, s, d), b) {
		t.Error("Get returned other bytes")
	}
}

func concurrentPuts(t *testing.T, s artifacts.Store) {
	b := Random(1<<20, 7)
	d := artifacts.DigestOf(b)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			body, fine := bytes.Clone(b), i%4 != 3
			if !fine { // somebody lies at the same time
				body[i] ^= 1
			}
			if err := s.Put(ctx, d, int64(len(b)), bytes.NewReader(body)); (err == nil) != fine {
				t.Errorf("Put %d: %v", i, err)
			}
			r, err := s.Get(ctx, d)
			if errors.Is(err, artifacts.ErrNotFound) && !fine {
				return // nobody was done yet
			}
			if err != nil {
				t.Errorf("Get %d: %v", i, err)
				return
			}
			defer r.Close()
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Errorf("reading %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func cancelled(t *testing.T, s artifacts.Store) {
	b := []byte("a blob")
	d := Put(t, s, b)
	over, cancel := context.WithCancel(ctx)
	cancel()
	calls := map[string]func() error{
		"Stat":      func() error { _, err := s.Stat(over, d); return err },
		"Get":       func() error { _, err := s.Get(over, d); return err },
		"Put":       func() error { return s.Put(over, d, int64(len(b)), bytes.NewReader(b)) },
		"GetAction": func() error { _, err := s.GetAction(over, Key("k")); return err },
		"PutAction": func() error { return s.PutAction(over, Key("k"), []byte("x"), true) },
		"Lookup":    func() error { _, err := artifacts.Lookup(over, s, Key("k")); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	if _, err := s.GetAction(ctx, Key("k")); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("GetAction after a cancelled PutAction: %v, want ErrNotFound", err)
	}
}

func cancelledMidway(t *testing.T, s artifacts.Store) {
	during, cancel := context.WithCancel(ctx)
	b := Random(12<<20, 8)
	d := artifacts.DigestOf(b)
	r := io.MultiReader(bytes.NewReader(b[:6<<20]), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	}), bytes.NewReader(b[6<<20:]))
	if err := s.Put(during, d, int64(len(b)), r); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v, want context.Canceled", err)
	}
	Absent(t, s, d)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// malformed: digests and keys become names, so none but whole ones may pass.
func malformed(t *testing.T, s artifacts.Store) {
	for _, bad := range []string{"", "sha256:", "../../../etc/passwd", "sha256:../" + strings.Repeat("0", 61), strings.Repeat("A", 64), "sha256:" + strings.Repeat("A", 64)} {
		d, k := artifacts.Digest(bad), artifacts.Key(bad)
		if _, err := s.Stat(ctx, d); err == nil {
			t.Errorf("Stat(%q): no error", bad)
		}
		if _, err := s.Get(ctx, d); err == nil {
			t.Errorf("Get(%q): no error", bad)
		}
		if err := s.Put(ctx, d, 0, strings.NewReader("")); err == nil {
			t.Errorf("Put(%q): no error", bad)
		}
		if _, err := s.GetAction(ctx, k); err == nil {
			t.Errorf("GetAction(%q): no error", bad)
		}
		if err := s.PutAction(ctx, k, nil, true); err == nil {
			t.Errorf("PutAction(%q): no error", bad)
		}
	}
}
