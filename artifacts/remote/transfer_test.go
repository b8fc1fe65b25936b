package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// A body that broke off is taken up again where it did.
func TestResumes(t *testing.T) {
	b := storetest.Random(100_000, 3)
	for what, f := range map[string]remotetest.Fault{
		"broken off": {Break: errReset, Tenth: 7},
		"cut short":  {End: true, Tenth: 7}, // by a proxy, say, without an error
	} {
		d := remotetest.NewFaulty(remotetest.NewMemory(remote.Traits{Ranges: true}), remotetest.Once(remotetest.Read, 1, f))
		s := newStore(t, d, remote.Options{})
		upload(t, s, b)
		if got, err := getAll(s, artifacts.DigestOf(b)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
		if got := s.Stats(); got.Received != int64(len(b)) || got.Retries != 1 || d.Calls(remotetest.Read) != 2 {
			t.Errorf("%s: %+v, %d reads, want each byte once, in two reads", what, got, d.Calls(remotetest.Read))
		}
	}
}

// A line that breaks off again and again, far from where it did before, is no
// reason to give up.
func TestResumesManyTimes(t *testing.T) {
	b := storetest.Random(24<<20, 3)
	d := remotetest.NewFaulty(remotetest.NewMemory(remote.Traits{Ranges: true}), func(c remotetest.Call) remotetest.Fault {
		if c.Op == remotetest.Read && c.N < 8 {
			return remotetest.Fault{Break: errReset, Tenth: 2}
		}
		return remotetest.Fault{}
	})
	s := newStore(t, d, remote.Options{})
	upload(t, s, b)
	if got, err := getAll(s, artifacts.DigestOf(b)); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// wantReceived downloads b to path by a new store, as a new process does, and checks
// how many bytes that took.
func wantReceived(t *testing.T, d remote.Driver, path string, b []byte, want int64) {
	t.Helper()
	s := newStore(t, d, smallOptions())
	if err := download(t, s, path, b); err != nil {
		t.Errorf("Download: %v", err)
	}
	if got := s.Stats().Received; got != want {
		t.Errorf("%d bytes received, want %d", got, want)
	}
}

// breakDownload leaves a download at path that has most of its parts.
func breakDownload(t *testing.T, m *remotetest.Memory, path string, b []byte) {
	t.Helper()
	broken := remotetest.NewFaulty(m, func(c remotetest.Call) remotetest.Fault {
		if c.Op == remotetest.Read && c.N >= 3 {
			return remotetest.Fault{Err: remote.ErrForbidden}
		}
		return remotetest.Fault{}
	})
	opts := smallOptions()
	opts.Parallel = 1
	s := newStore(t, broken, opts)
	if err := s.Download(ctx, artifacts.DigestOf(b), int64(len(b)), path, nil); !errors.Is(err, remote.ErrForbidden) {
		t.Fatalf("Download with two parts allowed: %v", err)
	}
	if received := s.Stats().Received; received != 2*partBytes {
		t.Fatalf("%d bytes received, want two parts", received)
	}
}

func TestDownloadResumesAcrossProcesses(t *testing.T) {
	for _, traits := range []remote.Traits{{Ranges: true}, remotetest.AllTraits} {
		for _, blob := range blobs[1:] {
			m := remotetest.NewMemory(traits)
			upload(t, newStore(t, m, smallOptions()), blob.bytes)
			object := int64(len(m.Object(m.Names()[0])))
			file := "file"
			if strings.HasSuffix(m.Names()[0], ".zst") {
				file = "file.zst"
			}
			for what, c := range map[string]struct {
				damage func(path string) error
				want   int64
			}{
				"untouched":      {func(string) error { return nil }, object - 2*partBytes},
				"record is gone": {func(path string) error { return os.Remove(path + ".parts") }, object},
				"record is garbage": {func(path string) error {
					return os.WriteFile(path+".parts", storetest.Random(1000, 1), 0o600)
				}, object},
				"record is torn": {func(path string) error {
					record, err := os.ReadFile(path + ".parts")
					return errors.Join(err, os.WriteFile(path+".parts", record[:len(record)-4], 0o600))
				}, object - partBytes},
				"record is of another plan": {func(path string) error {
					record, err := os.ReadFile(path + ".parts")
					return errors.Join(err, os.WriteFile(path+".parts", bytes.Replace(record, []byte("sha256:"), []byte("sha256:f"), 1), 0o600))
				}, object},
				"a part lost a bit": {func(path string) error {
					f, err := os.OpenFile(filepath.Join(filepath.Dir(path), file), os.O_RDWR, 0)
					if err != nil {
						return err
					}
					_, err = f.WriteAt([]byte{noise[100] ^ 1, 0, 1, 2}, 100)
					return errors.Join(err, f.Close())
				}, object - partBytes},
				"the file is gone": {func(path string) error {
					return os.Remove(filepath.Join(filepath.Dir(path), file))
				}, object},
			} {
				t.Run(fmt.Sprintf("%+v %s %s", traits, blob.name, what), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "file")
					breakDownload(t, m, path, blob.bytes)
					if err := c.damage(path); err != nil {
						t.Fatal(err)
					}
					wantReceived(t, m, path, blob.bytes, c.want)
				})
			}
		}
	}
}

// TestResumedFromWrongParts: what an earlier remote lied about is not blamed on
// one that has the blob.
func TestResumedFromWrongParts(t *testing.T) {
	wrong, right := remotetest.NewMemory(remote.Traits{Ranges: true}), remotetest.NewMemory(remote.Traits{Ranges: true})
	upload(t, newStore(t, right, smallOptions()), noise)
	name := right.Names()[0]
	lie := right.Object(name)
	lie[partBytes+5] ^= 1
	wrong.Set(name, lie)
	path := filepath.Join(t.TempDir(), "file")
	breakDownload(t, wrong, path, noise)
	wantReceived(t, right, path, noise, int64(len(noise))-2*partBytes+int64(len(noise)))
}

// A cancelled download keeps what it has.
func TestDownloadCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := remotetest.NewMemory(remote.Traits{Ranges: true})
		s, _ := remote.New(m, remote.Options{PartBytes: partBytes, Parallel: 1, Bandwidth: 1 << 20})
		upload(t, s, noise)
		during, cancel := context.WithCancel(ctx)
		path := filepath.Join(t.TempDir(), "file")
		err := s.Download(during, artifacts.DigestOf(noise), int64(len(noise)), path, func(n int64) {
			if n > partBytes {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Download: %v, want context.Canceled", err)
		}
		wantReceived(t, m, path, noise, int64(len(noise))-2*partBytes)
	})
}

func TestDownloadOfAnotherSize(t *testing.T) {
	for _, blob := range blobs {
		for _, traits := range []remote.Traits{{}, remotetest.AllTraits} {
			s := newStore(t, remotetest.NewMemory(traits), smallOptions())
			upload(t, s, blob.bytes)
			for _, size := range []int64{0, 1, int64(len(blob.bytes)) - 1, int64(len(blob.bytes)) + 1, 1 << 40} {
				path := filepath.Join(t.TempDir(), "file")
				err := s.Download(ctx, artifacts.DigestOf(blob.bytes), size, path, nil)
				unseen := errors.Is(err, artifacts.ErrNotFound) && size <= 1 // as packed as it would not be then
				if !errors.Is(err, artifacts.ErrCorrupt) && !unseen {
					t.Errorf("%s, %+v: Download of %d bytes: %v, want ErrCorrupt", blob.name, traits, size, err)
				}
				if _, err := os.Stat(path); err == nil {
					t.Errorf("%s, %+v: Download of %d bytes left a file", blob.name, traits, size)
				}
			}
			if err := s.Download(ctx, artifacts.DigestOf(blob.bytes), -1, "nowhere", nil); err == nil {
				t.Error("Download of a negative size: no error")
			}
		}
	}
}

// A boast is a remote that says of every object that it has so many bytes.
type boast struct {
	*remotetest.Memory
	bytes int64
}

func (b boast) Stat(context.Context, string) (int64, error) { return b.bytes, nil }

// TestDownloadOfBoasts: sizes come from the remote and cost nothing before its
// bytes do.
func TestDownloadOfBoasts(t *testing.T) {
	for _, size := range []int64{1 << 50, 1<<50 + 1, 1 << 62, math.MaxInt64} {
		s := newStore(t, boast{remotetest.NewMemory(remotetest.AllTraits), size}, smallOptions())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := s.Download(ctx, artifacts.DigestOf([]byte("something")), size, filepath.Join(t.TempDir(), "file"), nil)
		runtime.ReadMemStats(&after)
		if err == nil || size > 1<<50 && !errors.Is(err, artifacts.ErrCorrupt) {
			t.Errorf("Download of %d bytes: %v", size, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("Download of %d bytes took %d bytes of memory", size, took)
		}
	}
}

// TestBomb: what a packed object inflates to is bounded by the size that the blob
// should have.
func TestBomb(t *testing.T) {
	var bomb bytes.Buffer
	encoder, _ := zstd.NewWriter(&bomb)
	encoder.ResetContentSize(&bomb, 64<<20)
	_, _ = encoder.Write(make([]byte, 64<<20))
	_ = encoder.Close()
	silent, _ := zstd.NewWriter(nil)
	var endless bytes.Buffer
	silent.Reset(&endless) // states no size
	_, _ = silent.Write(make([]byte, 64<<20))
	_ = silent.Close()
	const size = 100_000
	small, _ := zstd.NewWriter(nil)
	honest := small.EncodeAll(make([]byte, size), nil)
	for what, object := range map[string][]byte{
		"states its size": bomb.Bytes(),
		"states none":     endless.Bytes(),
		"two frames":      append(bytes.Clone(honest), bomb.Bytes()...),
		"nothing":         {},
		"not packed":      storetest.Random(1000, 1),
	} {
		m := remotetest.NewMemory(remotetest.AllTraits)
		s := newStore(t, m, remote.Options{})
		d := artifacts.DigestOf([]byte("something else"))
		m.Set("cas/"+d.Hex()+".zst", object)
		path := filepath.Join(t.TempDir(), "file")
		if err := s.Download(ctx, d, size, path, nil); !errors.Is(err, artifacts.ErrCorrupt) {
			t.Errorf("%s: Download: %v, want ErrCorrupt", what, err)
		}
		r, err := s.Get(ctx, d)
		if err != nil {
			t.Errorf("%s: Get: %v", what, err)
			continue
		}
		n, err := io.Copy(io.Discard, r)
		r.Close()
		if !errors.Is(err, artifacts.ErrCorrupt) || n > 64<<20 || what != "states its size" && n > size {
			t.Errorf("%s: %d bytes read, %v, want ErrCorrupt", what, n, err)
		}
	}
}

func TestUploadSendsNothingTwice(t *testing.T) {
	for what, traits := range faultTraits {
		for _, blob := range blobs {
			if blob.name == "few" && traits.Conditional {
				continue // see TestSmallUploadsTakeOneRequest
			}
			d := remotetest.NewFaulty(remotetest.NewMemory(traits), nil)
			s := newStore(t, d, remote.Options{})
			first := upload(t, s, blob.bytes)
			if first == 0 || first > int64(len(blob.bytes)) {
				t.Errorf("%s, %s: %d bytes sent of %d", what, blob.name, first, len(blob.bytes))
			}
			if packs := traits.AnyName && blob.name == "text"; (first < int64(len(blob.bytes))) != packs {
				t.Errorf("%s, %s: %d bytes sent of %d", what, blob.name, first, len(blob.bytes))
			}
			if again := upload(t, s, blob.bytes); again != 0 {
				t.Errorf("%s, %s: %d bytes sent again", what, blob.name, again)
			}
			if err := s.Put(ctx, artifacts.DigestOf(blob.bytes), int64(len(blob.bytes)), bytes.NewReader(blob.bytes)); err != nil {
				t.Errorf("Put: %v", err)
			}
			if got := s.Stats(); got.Sent != first || d.Calls(remotetest.Write) != 1 {
				t.Errorf("%s, %s: %+v, %d writes, want %d bytes sent once", what, blob.name, got, d.Calls(remotetest.Write), first)
			}
		}
	}
}

// A place that refuses by itself what is there is not asked before a small blob is
// sent; a large one is looked for first, in both forms.
func TestSmallUploadsTakeOneRequest(t *testing.T) {
	shrinks := bytes.Repeat([]byte("five little ducks "), 1700) // nearly 32 KiB
	for _, test := range []struct {
		name         string
		content      []byte
		first, again int64 // requests
	}{
		{"a few bytes", few, 1, 2},
		{"what shrinks", shrinks, 1, 2},
		{"the largest", storetest.Random(32<<10, 5), 1, 2},
		{"a large one", storetest.Random(32<<10+1, 6), 3, 1},
		{"a large one that shrinks", text, 3, 1},
	} {
		m := remotetest.NewMemory(remotetest.AllTraits)
		s := newStore(t, m, remote.Options{})
		for _, want := range []int64{test.first, test.again} {
			before := s.Stats().Requests
			upload(t, s, test.content)
			if got := s.Stats().Requests - before; got != want {
				t.Errorf("%s: %d requests, want %d", test.name, got, want)
			}
		}
		if got, err := getAll(s, artifacts.DigestOf(test.content)); err != nil || !bytes.Equal(got, test.content) || len(m.Names()) != 1 {
			t.Errorf("%s: Get: %v; there are %q", test.name, err, m.Names())
		}
	}
}

// Several who send the same blob at the same time send it once.
func TestUploadAtTheSameTime(t *testing.T) {
	d := remotetest.NewFaulty(remotetest.NewMemory(remote.Traits{}), nil)
	s := newStore(t, d, remote.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Upload(ctx, artifacts.DigestOf(noise), remotetest.Bytes(noise), nil); err != nil {
				t.Errorf("Upload: %v", err)
			}
		})
	}
	wg.Wait()
	if n := d.Calls(remotetest.Write); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
}

// A file that changes while it is sent becomes no object.
func TestUploadOfWrongContent(t *testing.T) {
	for what, traits := range faultTraits {
		for _, blob := range blobs {
			b, d := blob.bytes, artifacts.DigestOf(blob.bytes)
			flip := bytes.Clone(b)
			flip[len(b)-1] ^= 1
			gone := errors.New("the file is gone")
			for wrong, c := range map[string]struct {
				content remote.Content
				want    error
			}{
				"a bit":       {remotetest.Bytes(flip), artifacts.ErrCorrupt},
				"too short":   {contentOf(len(b), bytes.NewReader(b[:len(b)-1])), artifacts.ErrCorrupt},
				"too long":    {contentOf(len(b), io.MultiReader(bytes.NewReader(b), strings.NewReader("!"))), artifacts.ErrCorrupt},
				"empty":       {remotetest.Bytes(nil), artifacts.ErrCorrupt},
				"cannot open": {remote.Content{Size: int64(len(b)), Open: func() (io.ReadCloser, error) { return nil, gone }}, gone},
			} {
				m := remotetest.NewMemory(traits)
				s := newStore(t, m, remote.Options{})
				_, err := s.Upload(ctx, d, c.content, nil)
				if !errors.Is(err, c.want) {
					t.Errorf("%s, %s, %s: Upload: %v, want %v", what, blob.name, wrong, err, c.want)
				}
				if len(m.Names()) > 0 {
					t.Errorf("%s, %s, %s: %v is there", what, blob.name, wrong, m.Names())
				}
				if got := s.Stats(); got.Retries != 0 || got.Breaker != "closed" {
					t.Errorf("%s, %s, %s: %+v, want no word on the remote", what, blob.name, wrong, got)
				}
			}
		}
	}
}

// contentOf is what r yields, once.
func contentOf(size int, r io.Reader) remote.Content {
	return remote.Content{Size: int64(size), Open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

// What is there in a size that is wrong is replaced.
func TestUploadReplacesAnotherSize(t *testing.T) {
	for what, traits := range faultTraits {
		for _, blob := range blobs {
			m := remotetest.NewMemory(traits)
			s := newStore(t, m, remote.Options{})
			upload(t, s, blob.bytes)
			name := m.Names()[0]
			if strings.HasSuffix(name, ".zst") {
				m.Set(name, []byte("half of it"))
			} else {
				m.Set(name, blob.bytes[:len(blob.bytes)/2])
			}
			if sent := upload(t, s, blob.bytes); sent == 0 {
				t.Errorf("%s, %s: nothing was sent", what, blob.name)
			}
			if got, err := getAll(s, artifacts.DigestOf(blob.bytes)); err != nil || !bytes.Equal(got, blob.bytes) {
				t.Errorf("%s, %s: Get: %v", what, blob.name, err)
			}
		}
	}
}

// Repair replaces both forms, so that whichever is read is right.
func TestRepairOfBothForms(t *testing.T) {
	d := artifacts.DigestOf(text)
	m := remotetest.NewMemory(remotetest.AllTraits)
	s := newStore(t, m, remote.Options{})
	for _, name := range []string{"cas/" + d.Hex(), "cas/" + d.Hex() + ".zst"} {
		m.Set(name, bytes.Repeat([]byte("x"), len(text)))
	}
	if _, err := s.Repair(ctx, d, remotetest.Bytes(text), nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := download(t, s, filepath.Join(t.TempDir(), "file"), text); err != nil {
			t.Errorf("Download: %v", err)
		}
		m.Set("cas/"+d.Hex(), nil) // then from the other
	}
}

// A spool that finds no place costs the packing, not the upload.
func TestUploadWithoutPlaceToPack(t *testing.T) {
	big := bytes.Repeat(text, 400) // more, when packed, than stays in memory
	m := remotetest.NewMemory(remotetest.AllTraits)
	s := newStore(t, m, remote.Options{TempDir: filepath.Join(t.TempDir(), "absent")})
	incompressibleText := []byte(fmt.Sprintf("%x", storetest.Random(10<<20, 4)))
	for _, b := range [][]byte{big, incompressibleText} {
		upload(t, s, b)
		if got, err := getAll(s, artifacts.DigestOf(b)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("Get: %v", err)
		}
	}
	if names := m.Names(); len(names) != 2 || strings.HasSuffix(names[0], ".zst") == strings.HasSuffix(names[1], ".zst") {
		t.Errorf("objects %v, want the smaller one packed", names)
	}
	noiseTooLarge := storetest.Random(9<<20, 5)
	if err := s.Put(ctx, artifacts.DigestOf(noiseTooLarge), int64(len(noiseTooLarge)), bytes.NewReader(noiseTooLarge)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Put of more than memory takes: %v, want the spool's error", err)
	}
}

// Nothing of a spool stays.
func TestSpoolsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, remotetest.NewMemory(remotetest.AllTraits), remote.Options{TempDir: dir})
	b := storetest.Random(9<<20, 6)
	if err := s.Put(ctx, artifacts.DigestOf(b), int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestActionsAreBounded(t *testing.T) {
	m := remotetest.NewMemory(remotetest.AllTraits)
	s := newStore(t, m, remote.Options{})
	largest := storetest.Random(4<<20, 7)
	if err := s.PutAction(ctx, key, largest, false); err != nil {
		t.Errorf("PutAction of 4 MiB: %v", err)
	}
	if got, err := s.GetAction(ctx, key); err != nil || !bytes.Equal(got, largest) {
		t.Errorf("GetAction of 4 MiB: %v", err)
	}
	if err := s.PutAction(ctx, key, append(largest, 0), true); err == nil {
		t.Error("PutAction of more than 4 MiB: no error")
	}
	m.Set("ac/"+string(key), append(largest, 0))
	if _, err := s.GetAction(ctx, key); !errors.Is(err, artifacts.ErrCorrupt) {
		t.Errorf("GetAction of more than 4 MiB: %v, want ErrCorrupt", err)
	}
}

// counting counts the requests that go on at once.
type counting struct {
	remote.Driver
	now, most atomic.Int32
}

func (c *counting) enter() {
	now := c.now.Add(1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
}

func (c *counting) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	c.enter()
	r, err := c.Driver.Read(ctx, name, offset, length)
	if err != nil {
		c.now.Add(-1)
		return nil, err
	}
	time.Sleep(10 * time.Millisecond)
	return &closing{ReadCloser: r, c: c}, nil
}

type closing struct {
	io.ReadCloser
	c    *counting
	once sync.Once
}

func (c *closing) Close() error {
	c.once.Do(func() { c.c.now.Add(-1) })
	return c.ReadCloser.Close()
}

func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &counting{Driver: remotetest.NewMemory(remote.Traits{Ranges: true})}
		s, _ := remote.New(d, remote.Options{Parallel: 3, PartBytes: 4 << 10})
		upload(t, s, noise)
		var wg sync.WaitGroup
		for i := range 4 {
			path := filepath.Join(t.TempDir(), fmt.Sprint(i))
			wg.Go(func() {
				if err := download(t, s, path, noise); err != nil {
					t.Errorf("Download: %v", err)
				}
			})
		}
		wg.Wait()
		if most := d.most.Load(); most != 3 {
			t.Errorf("%d requests went on at once, want 3", most)
		}
	})
}

// All transfers together keep to the bandwidth, both ways.
func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bandwidth = 1 << 20
		s, _ := remote.New(remotetest.NewMemory(remote.Traits{}), remote.Options{Bandwidth: bandwidth, Timeout: 50 * time.Millisecond})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				b := storetest.Random(bandwidth, uint64(100+i))
				upload(t, s, b)
				if _, err := getAll(s, artifacts.DigestOf(b)); err != nil {
					t.Errorf("Get: %v", err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("8 MiB at 1 MiB/s took %v", took)
		}
	})
}
