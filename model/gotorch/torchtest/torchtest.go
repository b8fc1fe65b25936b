// Package torchtest gives tests a libtorch.
//
//	lib := torchtest.Open(t)
//	torchtest.Run(t, func(s *gotorch.Session) { … })
//
// Without a libtorch the test is skipped with the reason, except where CI=true
// is set: there it fails, so that a broken installation cannot hide the tests
// that need it. It is for tests only and reads the environment for them.
package torchtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
)

// Open loads the libtorch that gotorch.Find finds. The compiled shim is kept in
// the user's cache directory, so only the first test of a machine compiles it.
func Open(t testing.TB) *gotorch.Library {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	lib, err := gotorch.Open(t.Context(), gotorch.Options{
		CacheDir: filepath.Join(cache, "prismflow", "torch"),
		Getenv:   os.Getenv,
		Log:      t.Logf,
	})
	if err == nil {
		return lib
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("libtorch is required in CI: %v", err)
	}
	t.Skipf("needs libtorch: %v", err)
	return nil
}

// Seed is the seed of the sessions that this package opens.
const Seed = 1

// Session opens a CPU session of one thread that is closed with the test.
func Session(t testing.TB) *gotorch.Session {
	t.Helper()
	s, err := Open(t).NewSession(gotorch.SessionOptions{Device: "cpu", Threads: 1, Seed: Seed})
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
