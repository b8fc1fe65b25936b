package tiered

import (
	"context"
	"sync"

	"github.com/prismflow/prismflow/artifacts"
)

// turns lets one goroutine at a time have each key. The zero value is ready.
type turns struct {
	mu    sync.Mutex // guards taken
	taken map[artifacts.Key]chan struct{}
}

// take waits for the turn at a key. done gives it back.
func (t *turns) take(ctx context.Context, key artifacts.Key) (done func(), err error) {
	for {
		mine, others := t.try(key)
		if mine != nil {
			return mine, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-others:
		}
	}
}

// try takes the turn, or is the channel that closes when others have had theirs.
func (t *turns) try(key artifacts.Key) (done func(), others <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if busy, ok := t.taken[key]; ok {
		return nil, busy
	}
	if t.taken == nil {
		t.taken = map[artifacts.Key]chan struct{}{}
	}
	had := make(chan struct{})
	t.taken[key] = had
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.taken, key)
		close(had)
	}, nil
}
