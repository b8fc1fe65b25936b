package remote

import (
	"context"
	"sync"
)

// names are objects that are being written, each by one at a time: who comes
// second finds what the first one wrote, and sends nothing. The zero value is
// ready for use.
type names struct {
	mu   sync.Mutex // guards busy
	busy map[string]chan struct{}
}

// take waits until nobody else is at a name, and is at it until release.
func (n *names) take(ctx context.Context, name string) (release func(), err error) {
	for {
		free := n.try(name)
		if free == nil {
			return func() { n.release(name) }, nil
		}
		select {
		case <-free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try takes a name, or returns what is closed when whoever is at it is done.
func (n *names) try(name string) (free chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if free, ok := n.busy[name]; ok {
		return free
	}
	if n.busy == nil {
		n.busy = map[string]chan struct{}{}
	}
	n.busy[name] = make(chan struct{})
	return nil
}

func (n *names) release(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.busy[name])
	delete(n.busy, name)
}
