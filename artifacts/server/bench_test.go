package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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
		get := func(url string) func(*http.Client) error {
			return func(client *http.Client) error {
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
			}
		}
		compare(b, name, size, get(r.http.URL+cas(content)), get(plain.URL+"/"+digestOf(content).Hex()))
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
		base := random(size, 2)
		var next atomic.Uint64
		put := func(url string) func(*http.Client) error {
			return func(client *http.Client) error {
				content := bytes.Clone(base)
				binary.LittleEndian.PutUint64(content, next.Add(1))
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
			}
		}
		compare(b, name, size, put(r.http.URL), put(plain.URL))
	}
}

// compare measures requests of 1, 8 and 64 clients to our server and to a plain
// one, in turns, so that what else the machine does slows both.
func compare(b *testing.B, name string, size int, ours, plain func(*http.Client) error) {
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(name, "/clients-", clients), func(b *testing.B) {
			transport := &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			var spent [2]time.Duration
			for b.Loop() {
				for i, request := range []func(*http.Client) error{ours, plain} {
					began := time.Now()
					var all sync.WaitGroup
					for range clients {
						all.Go(func() {
							for range max(1, 64/clients) { // as many requests, whoever sends them
								if err := request(client); err != nil {
									b.Error(err)
								}
							}
						})
					}
					all.Wait()
					spent[i] += time.Since(began)
				}
			}
			moved := float64(b.N) * 64 * float64(size) / 1e6
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(moved/spent[0].Seconds(), "MB/s")
			b.ReportMetric(moved/spent[1].Seconds(), "plain-MB/s")
			b.ReportMetric(spent[1].Seconds()/spent[0].Seconds(), "ratio")
		})
	}
}
