package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// holdFor is for how long, at least, what a client stored, looked up or was told
// of is safe from gc of whatever process; at most it is twice that. A client
// sends blobs before the action that names them, and takes an action before its
// blobs: in between nothing but this keeps them. A lease for as long as the
// server lives would keep everything.
const holdFor = 15 * time.Minute

// holds are two leases, of which the older gives way to a new one every holdFor.
type holds struct {
	store *disk.Store

	mu            sync.Mutex // guards the rest
	older, newest *disk.Lease
	kept          map[artifacts.Digest]bool // by the newest
}

func newHolds(ctx context.Context, store *disk.Store) (*holds, error) {
	h := &holds{store: store}
	return h, h.renew(ctx)
}

// renew begins a lease and ends the one before the last.
func (h *holds) renew(ctx context.Context) error {
	next, err := h.store.Lease(ctx, "cache serve")
	if err != nil {
		return err
	}
	h.mu.Lock()
	ended := h.older
	h.older, h.newest, h.kept = h.newest, next, map[artifacts.Digest]bool{}
	h.mu.Unlock()
	if ended != nil {
		return ended.Close()
	}
	return nil
}

// keep protects a blob. That costs memory and a line of the lease, for as long as
// the lease lasts, and so is only for what was seen to be here. Who wants to know
// whether it still is, looks again.
func (h *holds) keep(ctx context.Context, d artifacts.Digest) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.kept[d] {
		return nil
	}
	if err := h.newest.Keep(ctx, d); err != nil {
		return err
	}
	h.kept[d] = true
	return nil
}

func (h *holds) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, lease := range []*disk.Lease{h.older, h.newest} {
		if lease != nil {
			errs = append(errs, lease.Close())
		}
	}
	return errors.Join(errs...)
}
