package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// Blobs are counted once in each share, also where one result names one twice,
// and are a share's own where no other has them.
func TestSharesCountBlobsOnce(t *testing.T) {
	file := func(name string, bytes int64) artifacts.OutputFile {
		return artifacts.OutputFile{Digest: artifacts.DigestOf([]byte(name)), Bytes: bytes}
	}
	var s shares
	s.add("ann", []artifacts.OutputFile{file("a", 1), file("common", 10), file("common", 10)})
	s.add("ann", []artifacts.OutputFile{file("a", 1), file("b", 100)})
	s.add("bob", []artifacts.OutputFile{file("common", 10), file("c", 1000)})
	want := []cacheShare{{Name: "bob", Results: 1, Bytes: 1010, Own: 1000}, {Name: "ann", Results: 2, Bytes: 111, Own: 101}}
	if got := s.list(); !slices.Equal(got, want) {
		t.Errorf("shares %+v, want %+v", got, want)
	}
}

// Of long work a pipe has a line every few seconds, a terminal one line that is
// drawn again and goes in the end.
func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		what     string
		terminal bool
		want     string
	}{
		{"train", false, "…        train: 2.0 KiB of 4.0 KiB, 214 B/s, 9.5 s left, 6.0 s\n"},
		{"", false, "…        2.0 KiB of 4.0 KiB, 214 B/s, 9.5 s left, 6.0 s\n"},
		{"", true, "\r\x1b[K1.0 KiB of 4.0 KiB, 170 B/s, 18.0 s left, 3.0 s\r\x1b[K2.0 KiB of 4.0 KiB, 214 B/s, 9.5 s left, 6.0 s\r\x1b[K"},
	} {
		said, now := &bytes.Buffer{}, time.Unix(0, 0)
		s := &streams{err: stream{Writer: said, terminal: c.terminal}, now: func() time.Time { return now }, lookupEnv: func(string) (string, bool) { return "", false }}
		line := newProgressLine(s, c.what, "bytes")
		line.show(512, 4096) // too soon to be told
		now = now.Add(3 * time.Second)
		line.show(1024, 4096)
		now = now.Add(3 * time.Second)
		line.show(2048, 4096)
		line.clear()
		if got := said.String(); got != c.want {
			t.Errorf("terminal %v: %q, want %q", c.terminal, got, c.want)
		}
	}
}

// A verification that is interrupted tells what it found, and that it did not end.
func TestVerifyInterrupted(t *testing.T) {
	dir, said := t.TempDir(), &bytes.Buffer{}
	store, err := disk.Open(dir, disk.Options{})
	if err == nil {
		err = store.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancelCause(context.Background())
	interrupt(interruption{os.Interrupt})
	s := &streams{
		out: stream{Writer: said}, err: stream{Writer: io.Discard}, now: time.Now, dir: dir,
		lookupEnv: func(string) (string, bool) { return "", false },
	}
	if code := execute(ctx, []string{"cache", "verify", "--cache", dir}, s); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if got, want := said.String(), "0 results, 0 blobs, 0 B: interrupted; so far ok\n"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}
