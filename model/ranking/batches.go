package ranking

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/sourcegraph/conc/pool"
)

// batches hands out the numbers 0…total-1 to workers, some at a time.
type batches struct {
	total, size, workers int
	progress             func(done, total int) // may be nil

	next atomic.Int64 // first number that no worker has taken

	mu   sync.Mutex // guards done, and serialises progress
	done int
}

// newBatches cuts up work as the options say.
func newBatches(total, size int, o Options) *batches {
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &batches{total: total, size: size, workers: min(workers, (total+size-1)/size), progress: o.Progress}
}

// run gives every batch to one of the functions that newWorker returns, each of
// which is called from one goroutine: the caller's when one is enough. It stops
// at the first error.
func (b *batches) run(ctx context.Context, newWorker func() func(ctx context.Context, low, high int) error) error {
	if b.workers <= 1 {
		return b.work(ctx, newWorker())
	}
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	for range b.workers {
		p.Go(func(ctx context.Context) error { return b.work(ctx, newWorker()) })
	}
	return p.Wait()
}

// work takes batches until none is left.
func (b *batches) work(ctx context.Context, do func(ctx context.Context, low, high int) error) error {
	for {
		low := int(b.next.Add(int64(b.size))) - b.size
		if low >= b.total {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("evaluating case %d of %d: %w", low, b.total, err)
		}
		high := min(low+b.size, b.total)
		if err := do(ctx, low, high); err != nil {
			return err
		}
		b.report(high - low)
	}
}

func (b *batches) report(n int) {
	if b.progress == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += n
	b.progress(b.done, b.total)
}
