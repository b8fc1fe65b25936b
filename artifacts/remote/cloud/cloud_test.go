package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/cloud/cloudtest"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

var ctx = context.Background()

func TestDriver(t *testing.T) {
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		remotetest.Run(t, func(t *testing.T) remote.Driver { return open(t, s, "team-cache/suite") })
	})
}

func TestStore(t *testing.T) {
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		var opened atomic.Int32
		storetest.Run(t, func(t *testing.T) artifacts.Store {
			driver := open(t, s, fmt.Sprintf("team-cache/store/%d", opened.Add(1)))
			store, err := remote.New(driver, remote.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return store
		})
	})
}

// What stands under one prefix is not seen under another, and the bucket itself is one.
func TestPrefixes(t *testing.T) {
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		root, below := open(t, s, "team-cache"), open(t, s, "team-cache/a/b/")
		if err := below.Write(ctx, "ac/1", remotetest.Bytes([]byte("x")), true); err != nil {
			t.Fatal(err)
		}
		if size, err := root.Stat(ctx, "a/b/ac/1"); err != nil || size != 1 {
			t.Errorf("Stat from the root: %d, %v", size, err)
		}
		if _, err := root.Stat(ctx, "ac/1"); !errors.Is(err, artifacts.ErrNotFound) {
			t.Errorf("Stat under another prefix: %v", err)
		}
	})
}

// Of several who write 40 MB under one name at once, one wins, and nothing is
// printed or left behind.
func TestLargeObjects(t *testing.T) {
	var printed bytes.Buffer
	log.SetOutput(&printed)
	defer log.SetOutput(os.Stderr)
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		d := open(t, s, "team-cache/large")
		content := storetest.Random(40<<20, 1)
		const writers = 4
		var won atomic.Int32
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				err := d.Write(ctx, "large.bin", remotetest.Bytes(content), true)
				if err == nil {
					won.Add(1)
				}
				quietError(t, err)
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d of %d won", won.Load(), writers)
		}
		if got, err := readAll(d, "large.bin"); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if s.Scheme == "s3" {
			wantNoUploads(t, s)
		}
	})
	if printed.Len() > 0 {
		t.Errorf("printed by package log: %s", &printed)
	}
}

// wantNoUploads checks that no multipart upload was left behind.
func wantNoUploads(t *testing.T, s *cloudtest.Server) {
	t.Helper()
	out, err := s.S3().ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: aws.String("team-cache")})
	if err != nil || len(out.Uploads) > 0 {
		t.Errorf("%d uploads were left behind, %v", len(out.Uploads), err)
	}
}

// What is there is not sent again, and who comes second with something large has
// it shared all the same, however the server tells them.
func TestLargeUploads(t *testing.T) {
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		content := storetest.Random(20<<20, 2)
		digest := artifacts.DigestOf(content)
		var sent atomic.Int64
		upload := func() {
			store, err := remote.New(open(t, s, "team-cache"), remote.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			bytes, err := store.Upload(ctx, digest, remotetest.Bytes(content), nil)
			if err != nil {
				t.Errorf("Upload: %v", err)
			}
			sent.Add(bytes)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(upload)
		}
		wg.Wait()
		before := sent.Load()
		if upload(); sent.Load() != before || before < int64(len(content)) {
			t.Errorf("%d bytes were sent, and then %d more", before, sent.Load()-before)
		}
	})
}

// An upload that breaks off leaves no parts behind.
func TestBrokenUploadsAreCleared(t *testing.T) {
	s := cloudtest.Servers(t)["s3"]
	s.Start(t)
	s.MakeBucket(t, "team-cache")
	d := open(t, s, "team-cache")
	content := storetest.Random(40<<20, 3)
	broken := remote.Content{Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content[:30<<20])), nil
	}}
	if err := d.Write(ctx, "short", broken, false); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("content that is short: %v", err)
	}
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	stopping := remote.Content{Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		cancel()
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
	if err := d.Write(during, "cancelled", stopping, false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	wantNoUploads(t, s)
}

func TestWrongCredentials(t *testing.T) {
	for _, tt := range []struct {
		place string
		env   func(s *cloudtest.Server) map[string]string
	}{
		{"s3", func(*cloudtest.Server) map[string]string {
			return map[string]string{"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "wrong-" + secret}
		}},
		{"s3", func(*cloudtest.Server) map[string]string {
			return map[string]string{"AWS_ACCESS_KEY_ID": "stranger", "AWS_SECRET_ACCESS_KEY": secret}
		}},
		{"azblob", func(s *cloudtest.Server) map[string]string {
			return map[string]string{"AZURE_STORAGE_CONNECTION_STRING": cloudtest.AzureConnection(s.Address, "aHVudGVyMg==")}
		}},
		{"azblob", func(s *cloudtest.Server) map[string]string {
			return map[string]string{"AZURE_STORAGE_SERVICE_ENDPOINT": "http://" + s.Address + "/devstoreaccount1",
				"AZURE_STORAGE_SAS_TOKEN": "sv=2024-01-01&ss=b&srt=sco&sp=rl&se=2099-01-01&sig=" + secret}
		}},
	} {
		s := cloudtest.Servers(t)[tt.place]
		s.Start(t)
		s.MakeBucket(t, "team-cache")
		s.Env = tt.env(s)
		d := open(t, s, "team-cache")
		_, stat := d.Stat(ctx, "ac/1")
		_, read := d.Read(ctx, "ac/1", 0, -1)
		write := d.Write(ctx, "ac/1", remotetest.Bytes([]byte("x")), true)
		for what, err := range map[string]error{"Stat": stat, "Read": read, "Write": write} {
			if !errors.Is(err, remote.ErrForbidden) {
				t.Errorf("%s, %s: %v, want ErrForbidden", tt.place, what, err)
			}
			quietError(t, err)
		}
	}
}

func TestMissingBucket(t *testing.T) {
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		for what, call := range map[string]func(remote.Driver) error{
			"Stat":  func(d remote.Driver) error { _, err := d.Stat(ctx, "ac/1"); return err },
			"Read":  func(d remote.Driver) error { _, err := d.Read(ctx, "ac/1", 0, -1); return err },
			"Write": func(d remote.Driver) error { return d.Write(ctx, "ac/1", remotetest.Bytes([]byte("x")), true) },
			"Write of 20 MiB": func(d remote.Driver) error {
				return d.Write(ctx, "ac/1", remotetest.Bytes(make([]byte, 20<<20)), false)
			},
		} {
			err := call(open(t, s, "no-such-place"))
			if !errors.Is(err, remote.ErrForbidden) || errors.Is(err, artifacts.ErrNotFound) || !strings.Contains(err.Error(), "no-such-place") {
				t.Errorf("%s: %v, want ErrForbidden and the name", what, err)
			}
		}
	})
}

// A server that goes away midway is an error that may pass, and soon.
func TestKilledMidway(t *testing.T) {
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		t.Parallel() // it waits most of the time
		d := open(t, s, "team-cache")
		content := storetest.Random(40<<20, 4)
		if err := d.Write(ctx, "large", remotetest.Bytes(content), true); err != nil {
			t.Fatal(err)
		}
		r, err := d.Read(ctx, "large", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		killed := make(chan time.Time, 1)
		dying := remote.Content{Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
			half := io.MultiReader(bytes.NewReader(content[:20<<20]), &killing{server: s, at: killed}, bytes.NewReader(content[20<<20:]))
			return io.NopCloser(half), nil
		}}
		mayPass(t, "Write", d.Write(ctx, "other", dying, true))
		_, err = io.Copy(io.Discard, r)
		mayPass(t, "reading on", err)
		_, err = d.Stat(ctx, "large")
		mayPass(t, "Stat", err)
		select {
		case at := <-killed:
			if took := time.Since(at); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		default:
			t.Error("the server was not killed midway")
		}
	})
}

// killing kills a server when it is read.
type killing struct {
	server *cloudtest.Server
	at     chan<- time.Time // hears when, the first time
}

func (k *killing) Read([]byte) (int, error) {
	k.server.Kill()
	select {
	case k.at <- time.Now():
	default: // the content is read again
	}
	return 0, io.EOF // of this part
}

func mayPass(t *testing.T, what string, err error) {
	t.Helper()
	for _, final := range []error{nil, artifacts.ErrNotFound, remote.ErrExists, remote.ErrForbidden, remote.ErrFull} {
		if errors.Is(err, final) {
			t.Errorf("%s: %v, want an error that may pass", what, err)
		}
	}
	quietError(t, err)
}

func TestStartedLate(t *testing.T) {
	for name, s := range cloudtest.Servers(t) {
		t.Run(name, func(t *testing.T) {
			d := open(t, s, "team-cache")
			_, err := d.Stat(ctx, "ac/1")
			mayPass(t, "Stat", err)
			mayPass(t, "Write", d.Write(ctx, "ac/1", remotetest.Bytes([]byte("x")), true))
			s.Start(t)
			s.MakeBucket(t, "team-cache")
			if err := d.Write(ctx, "ac/1", remotetest.Bytes([]byte("x")), true); err != nil {
				t.Errorf("Write: %v", err)
			}
			if size, err := d.Stat(ctx, "ac/1"); err != nil || size != 1 {
				t.Errorf("Stat: %d, %v", size, err)
			}
		})
	}
}
