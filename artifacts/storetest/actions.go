package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
)

func firstActionStays(t *testing.T, s artifacts.Store) {
	k := Key("first")
	putAction(t, s, k, "first", false)
	putAction(t, s, k, "second", false)
	wantAction(t, s, k, "first")
}

func replaceAction(t *testing.T, s artifacts.Store) {
	k := Key("replace")
	putAction(t, s, k, "first", true)
	putAction(t, s, k, "second", true)
	wantAction(t, s, k, "second")
	putAction(t, s, k, "third", false)
	wantAction(t, s, k, "second")
}

func actionsAreCopies(t *testing.T, s artifacts.Store) {
	k, action := Key("copies"), []byte("as published")
	if err := s.PutAction(ctx, k, action, false); err != nil {
		t.Fatal(err)
	}
	action[0] = '!'
	got, err := s.GetAction(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	got[1] = '!'
	wantAction(t, s, k, "as published")
}

func concurrentActions(t *testing.T, s artifacts.Store) {
	k := Key("concurrent")
	const n = 8
	seen := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := s.PutAction(ctx, k, fmt.Append(nil, "by ", i), false); err != nil {
				t.Errorf("PutAction: %v", err)
			}
			action, err := s.GetAction(ctx, k)
			if err != nil {
				t.Errorf("GetAction: %v", err)
			}
			seen[i] = string(action)
		})
	}
	wg.Wait()
	for _, one := range seen {
		if one != seen[0] {
			t.Errorf("one saw %q, another %q", one, seen[0])
		}
	}
}

func putAction(t *testing.T, s artifacts.Store, k artifacts.Key, action string, replace bool) {
	t.Helper()
	if err := s.PutAction(ctx, k, []byte(action), replace); err != nil {
		t.Fatalf("PutAction: %v", err)
	}
}

func wantAction(t *testing.T, s artifacts.Store, k artifacts.Key, want string) {
	t.Helper()
	if got, err := s.GetAction(ctx, k); err != nil || string(got) != want {
		t.Errorf("GetAction: %q, %v, want %q", got, err, want)
	}
}
