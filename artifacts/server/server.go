package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// A Server answers the requests of clients from a disk store. New makes one;
// Close ends it. It is an http.Handler, and Serve gives that a listener. All
// methods may be called by several goroutines at once.
type Server struct {
	store *disk.Store
	opts  Options
	temp  string // of bodies on their way in

	holds       *holds
	quota       *quota
	metrics     *metrics
	coders      *coders
	serving     chan struct{}  // one for each request that is served
	shares      shares         // of the clients in these
	changing    [64]sync.Mutex // of those who write an action, by its key
	draining    atomic.Bool
	readingTree sync.Mutex // of an action: large, and so one at a time
	probe       probe      // for readiness

	stop      context.CancelFunc
	upkeeping sync.WaitGroup
	inUse     sync.RWMutex // held shared by requests, and so guards what Close ends
	closed    bool
}

var _ http.Handler = (*Server)(nil)

// New is a server of a store, which stays the caller's. From here until Close it
// holds leases on the store, so that gc beside it is safe.
func New(store *disk.Store, opts Options) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("cache server: %w", err)
	}
	s := &Server{store: store, opts: opts.withDefaults()}
	s.serving = make(chan struct{}, s.opts.MaxClients)
	s.shares.held = map[string]int{}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if err := s.prepare(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("cache server of %s: %w", store.Dir(), err)
	}
	s.upkeeping.Go(func() { s.upkeep(ctx) })
	return s, nil
}

func (s *Server) prepare(ctx context.Context) error {
	if _, err := s.store.CleanTemp(ctx); err != nil {
		return err
	}
	used, err := usedBytes(ctx, s.store)
	if err != nil {
		return err
	}
	s.quota = newQuota(s.opts.MaxBytes, used)
	s.metrics = newMetrics(s.quota, s.serving)
	if s.coders, err = newCoders(); err != nil {
		return err
	}
	if s.temp, err = s.store.TempDir("serve-*"); err != nil {
		return err
	}
	s.holds, err = newHolds(ctx, s.store)
	return err
}

// Close ends the server's use of the store, once the requests that are being
// served have ended. Later ones are refused.
func (s *Server) Close() error {
	s.inUse.Lock()
	defer s.inUse.Unlock()
	s.closed = true
	s.stop()
	s.upkeeping.Wait()
	return errors.Join(s.holds.close(), s.store.RemoveTemp(s.temp))
}

// upkeep renews the leases and keeps to the quota.
func (s *Server) upkeep(ctx context.Context) {
	renew := time.NewTicker(holdFor)
	defer renew.Stop()
	recount := time.NewTicker(recountEvery)
	defer recount.Stop()
	over, rested := s.quota.over, (<-chan time.Time)(nil)
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
			err = s.holds.renew(ctx)
		case <-recount.C:
			err = s.recount(ctx)
		case <-over:
			err = s.collect(ctx)
			over, rested = nil, time.After(collectEvery)
		case <-rested:
			over, rested = s.quota.over, nil
		}
		if err != nil && ctx.Err() == nil {
			s.opts.Log.Error().Err(err).Msg("looking after the store")
		}
	}
}
