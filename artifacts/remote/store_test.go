package remote_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// patience is for how long tests wait for what must come: longer than any machine
// takes for it, however loaded.
const patience = 5 * time.Minute

func newStore(t testing.TB, d remote.Driver, opts remote.Options) *remote.Store {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = patience
	}
	s, err := remote.New(d, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	for _, traits := range remotetest.Combinations() {
		t.Run(fmt.Sprintf("%+v", traits), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) artifacts.Store {
				return newStore(t, remotetest.NewMemory(traits), remote.Options{})
			})
		})
	}
}

// One request at a time must do for everything.
func TestConformanceOneRequest(t *testing.T) {
	storetest.Run(t, func(t *testing.T) artifacts.Store {
		return newStore(t, remotetest.NewMemory(remotetest.AllTraits), remote.Options{Parallel: 1})
	})
}
