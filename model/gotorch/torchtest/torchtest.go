// Package torchtest gives tests a libtorch.
//
//	func TestScore(t *testing.T) {
//		torchtest.Run(t, func(s *gotorch.Session) {
//			fmt.Println(s.Ones(2).Sum().Item())
//		})
//	}
//
// Without a libtorch the test is skipped with the reason, except where CI=true
// is set: there it fails, so that a broken installation cannot hide the tests
// that need it. It is for tests only and reads the environment for them.
//
// Sessions are on the device that PRISMFLOW_TEST_DEVICE names, "cuda" for
// instance, and on the CPU when it is not set. A test whose point is the CPU's
// arithmetic says so with NeedsCPU.
package torchtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
)

// Seed is the seed of the sessions that this package opens.
const Seed = 1

// Options are those of the tests: the libtorch that the environment or the
// system offers, the compiled shim in the user's cache directory, so that only
// the first test on a machine compiles it.
func Options() gotorch.Options {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return gotorch.Options{CacheDir: filepath.Join(cache, "prismflow", "torch"), Getenv: os.Getenv}
}

func required() bool { return os.Getenv("CI") == "true" }

// Open loads libtorch, or skips or fails the test.
func Open(t testing.TB) *gotorch.Library {
	t.Helper()
	opts := Options()
	opts.Log = t.Logf
	lib, err := gotorch.Open(t.Context(), opts)
	if err == nil {
		return lib
	}
	if required() {
		t.Fatalf("libtorch is required in CI: %v", err)
	}
	t.Skipf("needs libtorch: %v", err)
	return nil
}

// Device is the one that tests run on.
func Device() string {
	if device := os.Getenv("PRISMFLOW_TEST_DEVICE"); device != "" {
		return device
	}
	return "cpu"
}

// NeedsCPU skips a test that holds only for the CPU: equal bits where a GPU
// sums in another order, errors that a GPU reports later or not at all.
func NeedsCPU(t testing.TB) {
	t.Helper()
	if d := Device(); d != "cpu" {
		t.Skipf("holds for the CPU only, and PRISMFLOW_TEST_DEVICE is %s", d)
	}
}

// NeedsCUDA skips a test of what only CUDA has.
func NeedsCUDA(t testing.TB) {
	t.Helper()
	if d := Device(); !strings.HasPrefix(d, "cuda") {
		t.Skipf("needs CUDA, and PRISMFLOW_TEST_DEVICE is not set to it")
	}
}

func sessionOptions() gotorch.SessionOptions {
	return gotorch.SessionOptions{Device: Device(), Threads: 1, Seed: Seed}
}

// Session opens a session of one thread on the tests' device; it is closed with
// the test.
func Session(t testing.TB) *gotorch.Session {
	t.Helper()
	s, err := Open(t).NewSession(sessionOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Run calls fn in a session of its own and fails the test on an error.
func Run(t testing.TB, fn func(s *gotorch.Session)) {
	t.Helper()
	s := Session(t)
	if err := s.Run(func() { fn(s) }); err != nil {
		t.Fatal(err)
	}
}

// Try is Run for examples, which have no testing.TB.
func Try(fn func(s *gotorch.Session)) error {
	lib, err := gotorch.Open(context.Background(), Options())
	if err != nil {
		return err
	}
	s, err := lib.NewSession(sessionOptions())
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run(func() { fn(s) })
}

// Main is for the TestMain of packages with examples that need libtorch. An
// example cannot skip itself, so Main leaves them all out where there is no
// libtorch, and says so.
func Main(m *testing.M) int {
	flag.Parse()
	if _, err := gotorch.Open(context.Background(), Options()); err != nil && !required() {
		fmt.Fprintln(os.Stderr, "skipping the examples, which need libtorch:", err)
		skip := "^Example"
		if given := flag.Lookup("test.skip").Value.String(); given != "" {
			skip += "|" + given
		}
		if err := flag.Set("test.skip", skip); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}
