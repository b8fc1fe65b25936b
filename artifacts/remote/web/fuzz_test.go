package web

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzContentRange: what is accepted is written the same way again, and does not
// contradict itself.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/100", "bytes 5-5/*", "bytes */0", "BYTES 0-0/1", "bytes 9-0/100", "bytes 0-100/100", "bytes -1-5/9",
		"bytes 0-9223372036854775807/*", "bytes 0-9223372036854775808/*", "bytes +1-5/9", "bytes 1 -5/9", "bytes 0-9", "items 0-9/10", "bytes */*", "bytes", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseContentRange(text)
		if err != nil {
			return
		}
		size, span := "*", "*"
		if got.size >= 0 {
			size = fmt.Sprint(got.size)
		}
		if got.first >= 0 {
			span = fmt.Sprintf("%d-%d", got.first, got.last)
		}
		again, err := parseContentRange("bytes " + span + "/" + size)
		if err != nil || again != got {
			t.Errorf("%q is %+v, which is %+v, %v", text, got, again, err)
		}
		if got.last < got.first || got.size >= 0 && got.last >= got.size || got.first < 0 && got.size < 0 {
			t.Errorf("%q is %+v, which contradicts itself", text, got)
		}
	})
}

// FuzzPart: whatever the headers of a part and its body are, no more bytes are
// yielded than were asked for, and an end is none unless all announced bytes came.
func FuzzPart(f *testing.F) {
	f.Add("bytes 5-9/1000", "", int64(5), []byte("fives"), int64(5), int64(5))
	f.Add("bytes 5-9/10", "identity", int64(-1), []byte("fives"), int64(5), int64(-1))
	f.Add("bytes 0-1/2", "zstd", int64(2), []byte("xy"), int64(0), int64(2))
	f.Fuzz(func(t *testing.T, contentRange, coding string, contentLength int64, body []byte, offset, length int64) {
		if offset < 0 || length == 0 || length < -1 || offset > 1<<40 || length > 1<<40 {
			t.Skip()
		}
		resp := &http.Response{
			Header:        http.Header{"Content-Range": {contentRange}, "Content-Encoding": {coding}},
			ContentLength: contentLength,
			Body:          io.NopCloser(bytes.NewReader(body)),
		}
		r, err := part(resp, offset, length)
		if err != nil {
			return
		}
		got, err := io.ReadAll(r)
		if !bytes.HasPrefix(body, got) || length >= 0 && int64(len(got)) > length {
			t.Errorf("%d bytes were read of %d, asked for %d", len(got), len(body), length)
		}
		span, _ := parseContentRange(contentRange)
		if announced := span.last - span.first + 1; (err == nil) != (int64(len(got)) == announced) {
			t.Errorf("%d bytes of %d: %v", len(got), announced, err)
		}
	})
}

// FuzzShown: what a server says is a short line, without what was confided to it.
func FuzzShown(f *testing.F) {
	f.Add("quota of 5 GiB is used up\nsee the wiki")
	f.Add(token[:4] + "\x00" + token[4:])
	f.Add("\x1b]0;title\x07 " + token + "\xff")
	f.Fuzz(func(t *testing.T, text string) {
		d := &Driver{secrets: []string{token}}
		got := d.shown(text)
		if strings.ContainsAny(got, "\n\r\x1b\x00") || utf8.RuneCountInString(got) > maxWords+1 || !utf8.ValidString(got) || strings.Contains(got, token) {
			t.Errorf("%q is shown as %q", text, got)
		}
	})
}
