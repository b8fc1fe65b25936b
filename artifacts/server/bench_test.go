package server

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// sizes are those of a small and of an ordinary artifact.
var sizes = map[string]int{"20KiB": 20 << 10, "4MiB": 4 << 20}

// BenchmarkGet compares a GET with that of http.FileServer, over loopback. The
// clients are in this process, and cost as much as the server.
func BenchmarkGet(b *testing.B) {
	for name, size := range sizes {
		content := random(size, 1)
		r := newRig(b, Options{})
		r.want(r.ask("PUT", cas(content), content), 201)
		plain := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(r.store.Dir(), "cas", digestOf(content).Hex()[:2]))))
		b.Cleanup(plain.Close)
		for server, url := range map[string]string{"server": r.http.URL + cas(content), "plain": plain.URL + "/" + digestOf(content).Hex()} {
			benchClients(b, name+"/"+server, size, func(client *http.Client, _ int64) error {
				resp, err := client.Get(url)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				n, err := io.Copy(io.Discard, resp.Body)
				if err == nil && n != int64(size) {
					err = fmt.Errorf("%s: %d bytes", resp.Status, n)
				}
				return err
			})
		}
	}
}

// BenchmarkPut compares a PUT, which is verified and synced to the disk, with one
// that a handler of four lines writes to a file: unverified, and not synced.
func BenchmarkPut(b *testing.B) {
	for name, size := range sizes {
		r := newRig(b, Options{})
		dir := b.TempDir()
		plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			f := must1(os.Create(filepath.Join(dir, filepath.Base(req.URL.Path))))
			_, _ = io.Copy(f, req.Body)
			f.Close()
			w.WriteHeader(http.StatusCreated)
		}))
		b.Cleanup(plain.Close)
		seed := make([]byte, 8)
		_, _ = rand.Read(seed)
		base := random(size, 2)
		for server, url := range map[string]string{"server": r.http.URL, "plain": plain.URL} {
			benchClients(b, name+"/"+server, size, func(client *http.Client, n int64) error {
				content := bytes.Clone(base)
				binary.LittleEndian.PutUint64(content, uint64(n))
				copy(content[8:], seed)
				req, err := http.NewRequest("PUT", url+cas(content), bytes.NewReader(content))
				if err != nil {
					return err
				}
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusCreated {
					return fmt.Errorf("status %s", resp.Status)
				}
				return nil
			})
		}
	}
}

// benchClients does requests by 1, 8 and 64 clients.
func benchClients(b *testing.B, name string, size int, request func(client *http.Client, n int64) error) {
	for _, clients := range []int{1, 8, 64} {
		b.Run(strings.Join([]string{name, fmt.Sprint("clients-", clients)}, "/"), func(b *testing.B) {
			transport := &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			b.SetBytes(int64(size))
			var next atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range clients {
				all.Go(func() {
					for {
						n := next.Add(1)
						if n > int64(b.N) {
							return
						}
						if err := request(client, n); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}
