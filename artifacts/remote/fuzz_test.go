package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/prismflow/prismflow/artifacts"
)

// FuzzRecord: a record of parts, which anything may have happened to, lists parts of
// the plan alone.
func FuzzRecord(f *testing.F) {
	plan := plan{digest: artifacts.DigestOf([]byte("x")), form: packed, bytes: 10*4096 + 5, part: 4096}
	f.Add([]byte(plan.header() + "\n0 00000000\n10 0badcafe\n"))
	f.Add([]byte(plan.header() + "\n11 00000000\n-1 00000000\n1 zzzzzzzz\n2 123"))
	f.Add([]byte(strings.Replace(plan.header(), "part", "pant", 1) + "\n0 00000000\n"))
	f.Fuzz(func(t *testing.T, record []byte) {
		sums := readRecord(bytes.NewReader(record), plan)
		if len(sums) > 0 && !bytes.HasPrefix(record, []byte(plan.header())) {
			t.Errorf("parts of another plan: %v", sums)
		}
		for i, sum := range sums {
			if i < 0 || i >= plan.count() || !bytes.Contains(bytes.ToLower(record), fmt.Appendf(nil, " %08x", sum)) {
				t.Errorf("part %d, checksum %08x", i, sum)
			}
		}
	})
}

// FuzzUnpacked: whatever a remote has as a packed blob, no more comes out than the
// blob's size, and what is wrong is ErrCorrupt.
func FuzzUnpacked(f *testing.F) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{nil, []byte("five little ducks"), bytes.Repeat([]byte("ab"), 50_000)} {
		f.Add(encoder.EncodeAll(b, nil), int64(len(b)))
		f.Add(encoder.EncodeAll(b, nil), int64(-1))
	}
	f.Fuzz(func(t *testing.T, object []byte, size int64) {
		if size > 1<<20 {
			size %= 1 << 20
		}
		limit := size
		if limit < 0 {
			limit, _ = headerSize(object[:min(len(object), headerBytes)])
		}
		if limit > 1<<24 {
			t.Skip("it may state as much as it likes, and costs its reader as much time")
		}
		n, err := io.Copy(io.Discard, &unpacked{src: bytes.NewReader(object), size: size})
		if n > limit {
			t.Errorf("%d bytes of at most %d", n, limit)
		}
		if err != nil && !errors.Is(err, artifacts.ErrCorrupt) {
			t.Errorf("%v, want ErrCorrupt", err)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "")
	f.Add("Thu, 26 Nov 2026 12:00:05 GMT", "Thu, 26 Nov 2026 12:00:00 GMT")
	f.Fuzz(func(t *testing.T, after, date string) {
		if got := ParseRetryAfter(http.Header{"Retry-After": {after}, "Date": {date}}); got < 0 || got > MaxRetryAfter {
			t.Errorf("%q at %q: %v", after, date, got)
		}
	})
}
