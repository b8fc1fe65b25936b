package disk

import (
	"bytes"
	"context"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

var ctx = context.Background()

func openTest(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), Options{})
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

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) artifacts.Store { return openTest(t) })
}

func putBytes(s *Store, b []byte) error {
	return s.Put(ctx, artifacts.DigestOf(b), int64(len(b)), bytes.NewReader(b))
}
