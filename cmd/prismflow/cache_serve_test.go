package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// A cacheServer is `prismflow cache serve` in a process of its own.
type cacheServer struct {
	cmd *exec.Cmd
	url string
}

// startServer starts the server of a cache, and returns when it listens.
func startServer(t *testing.T, args ...string) *cacheServer {
	t.Helper()
	args = append([]string{"cache", "serve", "--listen", "127.0.0.1:0", "--log-level", "warn"}, args...)
	cmd := exec.CommandContext(t.Context(), "prismflow", args...) // this test binary (see TestMain)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the server says %q, %v", line, err)
	}
	return &cacheServer{cmd, url}
}

func (s *cacheServer) signal(t *testing.T, sig os.Signal) error {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	return s.cmd.Wait()
}

// A server that is killed in the middle of uploads has nothing half in its store,
// and all that it said was there.
func TestKilledCacheServer(t *testing.T) {
	dir := t.TempDir()
	var acknowledged sync.Map // contents, by digest
	var count atomic.Int64
	for round := range 6 {
		server := startServer(t, "--dir", dir, "--anonymous", "write")
		if round > 0 {
			wantAll(t, server.url, &acknowledged)
		}
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for n := range 8 {
			clients.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(round), uint64(n)))
				for ctx.Err() == nil {
					content := bytes.Repeat(fmt.Append(nil, rng.Uint64()), 1+rng.IntN(50_000))
					digest := artifacts.DigestOf(content)
					if putTo(ctx, server.url+"/cas/"+digest.Hex(), content) {
						acknowledged.Store(digest, len(content))
						count.Add(1)
					}
				}
			})
		}
		for enough := count.Load() + 2 + rand.Int64N(60); count.Load() < enough; { // a random moment
			time.Sleep(time.Millisecond)
		}
		_ = server.signal(t, syscall.SIGKILL)
		stop()
		clients.Wait()
	}
	t.Logf("%d uploads were acknowledged", count.Load())
	server := startServer(t, "--dir", dir, "--anonymous", "read")
	wantAll(t, server.url, &acknowledged)
	store, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	report, err := store.Verify(t.Context(), disk.VerifyOptions{})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("%v, %v", report.Problems, err)
	}
	if usage, err := store.Usage(t.Context()); err != nil || usage.Temp.Bytes > 0 {
		t.Errorf("the server left %+v of those before it, %v", usage.Temp, err)
	}
	if err := server.signal(t, syscall.SIGTERM); err != nil {
		t.Errorf("the server was told to end: %v", err)
	}
}

// putTo says whether the server acknowledged an upload.
func putTo(ctx context.Context, url string, content []byte) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(content))
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusCreated
}

// wantAll wants what was acknowledged to be there.
func wantAll(t *testing.T, url string, acknowledged *sync.Map) {
	t.Helper()
	acknowledged.Range(func(digest, size any) bool {
		resp, err := http.Get(url + "/cas/" + digest.(artifacts.Digest).Hex())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || artifacts.DigestOf(got) != digest || len(got) != size {
			t.Errorf("%s of %d bytes: status %d, %d bytes, %v", digest, size, resp.StatusCode, len(got), err)
		}
		return true
	})
}
