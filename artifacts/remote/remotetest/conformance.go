// Package remotetest tests what remotes are made of: a suite that every
// remote.Driver passes, a driver in memory, and one that fails as told.
//
//	func TestDriver(t *testing.T) {
//		remotetest.Run(t, func(t *testing.T) remote.Driver { return open(t) })
//	}
//
// The suite knows a driver by its interface and its traits alone. What stores do
// over any driver is tested in package remote.
package remotetest

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// Run runs the suite. Every call of open gives a driver, which the suite closes.
// They may all be of one place, also one in use: the suite's objects are new
// each time. An object of the name cas/<hex> is what its name says, and one under
// ac/ an action result, so that servers that look may be tested.
func Run(t *testing.T, open func(t *testing.T) remote.Driver) {
	for _, test := range []struct {
		name  string
		needs func(remote.Traits) bool
		run   func(*testing.T, remote.Driver)
	}{
		{"RoundTrip", always, roundTrip},
		{"NotFound", always, notFound},
		{"Ranges", func(t remote.Traits) bool { return t.Ranges }, ranges},
		{"Names", func(t remote.Traits) bool { return t.AnyName }, names},
		{"Replace", always, replace},
		{"IfAbsent", func(t remote.Traits) bool { return t.Conditional }, ifAbsent},
		{"OneWinner", func(t remote.Traits) bool { return t.Conditional }, oneWinner},
		{"OneWinnerLarge", func(t remote.Traits) bool { return t.Conditional && t.AnyName }, oneWinnerLarge},
		{"ContentFails", always, contentFails},
		{"ContentIsClosed", always, contentIsClosed},
		{"ReplacedWhileRead", always, replacedWhileRead},
		{"Concurrent", always, concurrent},
		{"Cancelled", always, cancelled},
		{"ReadCancelledMidway", always, readCancelledMidway},
		{"WriteCancelledMidway", always, writeCancelledMidway},
		{"ClosedEarly", always, closedEarly},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			defer func() {
				if err := d.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			if !test.needs(d.Traits()) {
				t.Skipf("traits %+v", d.Traits())
			}
			within(t, patience, func() { test.run(t, d) })
		})
	}
}

func always(remote.Traits) bool { return true }

var ctx = context.Background()

const large = 33 << 20 // more than one part of any multipart upload

// patience is for how long the suite waits for what must come: longer than any
// place takes for it, however slow and loaded.
const patience = 5 * time.Minute

// within fails the test, with nothing left to wait for, when f takes longer.
func within(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	hung := time.AfterFunc(limit, func() { panic(fmt.Sprintf("%s: not done after %v", t.Name(), limit)) })
	defer hung.Stop()
	f()
}

// fresh is n bytes that nobody has seen before, and the name of their object.
func fresh(n int) (name string, b []byte) {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	b = make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return "cas/" + artifacts.DigestOf(b).Hex(), b
}

// freshAction is the name of an action that is not there.
func freshAction() string {
	_, b := fresh(16)
	return "ac/" + artifacts.DigestOf(b).Hex()
}

// action is an action result that names no blobs, other bytes for another code.
func action(code int) []byte { return artifacts.ActionResult{ExitCode: int32(code)}.Encode() }

var commonName = regexp.MustCompile(`^(cas|ac)/[0-9a-f]{64}$`).MatchString

// Bytes is content in memory.
func Bytes(b []byte) remote.Content {
	return remote.Content{
		Size: int64(len(b)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

// content is what r yields, once.
func content(size int, r io.Reader) remote.Content {
	return remote.Content{Size: int64(size), Open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

func write(t *testing.T, d remote.Driver, name string, b []byte) {
	t.Helper()
	if err := d.Write(ctx, name, Bytes(b), false); err != nil {
		t.Fatalf("Write %s, %d bytes: %v", name, len(b), err)
	}
}

func read(ctx context.Context, d remote.Driver, name string, offset, length int64) ([]byte, error) {
	r, err := d.Read(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantObject(t *testing.T, d remote.Driver, name string, want []byte) {
	t.Helper()
	if size, err := d.Stat(ctx, name); err != nil || size != int64(len(want)) {
		t.Errorf("Stat %s: %d, %v, want %d", name, size, err, len(want))
	}
	if got, err := read(ctx, d, name, 0, -1); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Read %s: %d bytes, %v, want those %d that were written", name, len(got), err, len(want))
	}
}

func wantAbsent(t *testing.T, d remote.Driver, name string) {
	t.Helper()
	if _, err := d.Stat(ctx, name); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Stat %s: %v, want ErrNotFound", name, err)
	}
	r, err := d.Read(ctx, name, 0, -1)
	if err == nil {
		r.Close()
	}
	if !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Read %s: %v, want ErrNotFound", name, err)
	}
}
