package web

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// Each byte of what is uploaded is counted once, although some are looked at to
// find out whether they shrink.
func TestSentIsCountedOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Accept-Encoding", "zstd")
		if r.Method != http.MethodPut {
			http.NotFound(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()
	store, err := remote.New(open(t, server.URL, Options{}), remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	random := make([]byte, 2*sampleSize)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	want := int64(0)
	for _, content := range [][]byte{random[:sampleSize], random, []byte(strings.Repeat("text ", sampleSize/10)), []byte(strings.Repeat("text ", sampleSize))} {
		source := remote.Content{Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
		if _, err := store.Upload(context.Background(), artifacts.DigestOf(content), source, nil); err != nil {
			t.Fatal(err)
		}
		want += int64(len(content))
		if got := store.Stats().Sent; got != want {
			t.Errorf("%d counted after %d bytes were sent, the last %d of them now", got, want, len(content))
		}
	}
}
