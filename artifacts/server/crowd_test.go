package server

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

const crowd = 64

// A crowd of clients puts, gets, lies and breaks off, all at once, on the same
// blobs and keys, with and without gc that makes room. Nobody gets a wrong byte,
// and the store is right at the end.
func TestCrowd(t *testing.T) {
	for name, most := range map[string]int64{"unbounded": 0, "with gc": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{MaxBytes: most, MaxClients: 16 * crowd}) // a place also for who broke off and is not noticed yet
			contents := make([][]byte, 100)
			for i := range contents {
				// Of a body that is refused unread net/http reads no more than 256 KiB, and
				// cuts off who sends more, who may then not hear why.
				contents[i] = random(rand.New(rand.NewPCG(uint64(i), 1)).IntN(250_000), uint64(i))
			}
			c := &crowdTest{rig: r, contents: contents, gcRuns: most > 0, transport: &http.Transport{MaxIdleConnsPerHost: crowd, DisableCompression: true}}
			defer c.transport.CloseIdleConnections()
			var all sync.WaitGroup
			for n := range crowd {
				all.Go(func() { c.client(rand.New(rand.NewPCG(uint64(n), 2))) })
			}
			if most > 0 {
				stop := make(chan struct{})
				var collecting sync.WaitGroup
				collecting.Go(func() { c.collect(stop) })
				defer collecting.Wait()
				defer close(stop)
			}
			all.Wait()
			r.http.Close() // which waits also for those that broke off and were not served yet
			r.verify()
			for i := range c.won {
				if won := c.won[i].Load(); won > 1 && !c.gcRuns {
					t.Errorf("%d clients were first with action %d", won, i)
				}
			}
			t.Logf("%d gets were answered, %d puts; %d lies refused, %d broke off", c.got.Load(), c.stored.Load(), c.refused.Load(), c.broken.Load())
			for what, n := range map[string]int64{"got": c.got.Load(), "put": c.stored.Load(), "refused": c.refused.Load(), "broken off": c.broken.Load()} {
				if n < 20 {
					t.Errorf("only %d times %s: the test tests too little", n, what)
				}
			}
		})
	}
}

type crowdTest struct {
	*rig
	contents                     [][]byte
	gcRuns                       bool
	transport                    *http.Transport
	got, stored, refused, broken atomic.Int64
	won                          [20]atomic.Int64
	there                        sync.Map // blobs that were put
}

// collect lets go and makes room, all the time.
func (c *crowdTest) collect(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
		c.endHolds()
		if err := c.s.collect(ctx); err != nil {
			c.t.Error(err)
		}
	}
}

func (c *crowdTest) client(rng *rand.Rand) {
	for range 25 {
		i := rng.IntN(len(c.contents))
		content := c.contents[i]
		switch rng.IntN(6) {
		case 0, 1:
			c.putBlob(i, content, rng)
		case 2, 3:
			c.getBlob(i, content)
		case 4:
			c.lie(content, rng)
		case 5:
			c.breakOff(content, rng)
		}
		c.putAction(rng.IntN(len(c.won)), content[:min(len(content), 1000)])
	}
}

func (c *crowdTest) do(method, path string, body []byte, headers ...string) (int, []byte) {
	req := must1(http.NewRequest(method, c.http.URL+path, bytes.NewReader(body)))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		c.t.Error(err)
		return 0, nil
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Error(err)
	}
	if resp.Header.Get("Content-Encoding") == "zstd" {
		got = inflate(c.t, got)
	}
	return resp.StatusCode, got
}

// put is do with PUT. Who finds no room comes again until gc has made some.
func (c *crowdTest) put(path string, body []byte, headers ...string) (status int, text []byte) {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		status, text = c.do("PUT", path, body, headers...)
		if status != http.StatusInsufficientStorage || !c.gcRuns || time.Now().After(end) {
			return status, text
		}
	}
}

func (c *crowdTest) putBlob(i int, content []byte, rng *rand.Rand) {
	var headers []string
	body := content
	if rng.IntN(2) == 0 {
		headers = append(headers, "If-None-Match", "*")
	}
	if rng.IntN(4) == 0 {
		headers = append(headers, "Content-Encoding", "zstd")
		body = deflate(c.t, content, zstd.WithEncoderConcurrency(1))
	}
	switch status, text := c.put(cas(content), body, headers...); {
	case status == 201 || status == 412:
		c.stored.Add(1)
		c.there.Store(i, true)
	default:
		c.t.Errorf("PUT: %d %s", status, cut(text))
	}
}

func (c *crowdTest) getBlob(i int, content []byte) {
	_, there := c.there.Load(i)
	status, got := c.do("GET", cas(content), nil, "Accept-Encoding", "zstd")
	switch {
	case status == 200 && bytes.Equal(got, content):
		c.got.Add(1)
	case status == 404 && (!there || c.gcRuns):
	default:
		c.t.Errorf("GET of what was put (%v): %d, %d bytes", there, status, len(got))
	}
}

func (c *crowdTest) lie(content []byte, rng *rand.Rand) {
	if len(content) == 0 {
		return
	}
	lie := bytes.Clone(content)
	lie[rng.IntN(len(lie))] ^= 1 << rng.IntN(8)
	switch status, text := c.put(cas(content), lie); {
	case status == 400:
		c.refused.Add(1)
	default:
		c.t.Errorf("a lie: %d %s", status, cut(text))
	}
}

func (c *crowdTest) breakOff(content []byte, rng *rand.Rand) {
	conn, err := net.Dial("tcp", c.http.Listener.Addr().String())
	if err != nil {
		c.t.Error(err)
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", cas(content), len(content)+1)
	_, _ = conn.Write(content[:rng.IntN(len(content)+1)])
	c.broken.Add(1)
}

func (c *crowdTest) putAction(n int, action []byte) {
	switch status, text := c.put(ac(byte(n)), action, "If-None-Match", "*"); {
	case status == 201:
		c.won[n].Add(1)
	case status == 412:
	default:
		c.t.Errorf("PUT of an action: %d %s", status, cut(text))
	}
}

// What a transfer costs in memory does not depend on its size.
func TestMemoryOfACrowd(t *testing.T) {
	r := newRig(t, Options{Stall: patience})
	const size, sent = 8 << 20, 6 << 20
	text := bytes.Repeat([]byte("a line of text that shrinks\n"), size/28)
	deflated := deflate(t, random(size, 9))
	large := random(size, 8)
	r.want(r.ask("PUT", cas(large), large), 201)
	before := heap()
	for n := range crowd {
		switch n % 4 {
		case 0, 1:
			conn := r.dial("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", cas([]byte{byte(n)}), size)
			must1(conn.Write(text[:sent]))
		case 2:
			conn := r.dial("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\nContent-Length: %d\r\n\r\n", cas([]byte{byte(n)}), len(deflated))
			must1(conn.Write(deflated[:sent]))
		case 3:
			r.dial("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", cas(large)) // and does not read
		}
	}
	r.eventually("all are served", func() bool { return len(r.s.serving) >= crowd*3/4 })
	time.Sleep(500 * time.Millisecond) // for what has come in to be read
	each := (heap() - before) / crowd
	t.Logf("%d KiB a client", each>>10)
	if each > 3<<20 {
		t.Errorf("a client costs %d bytes, and has sent %d", each, sent)
	}
	r.http.CloseClientConnections()
	r.ended()
	r.verify()
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapInuse)
}
