package disk

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// A Lease says that a run is going on. While it is held, GC of whatever
// process removes nothing that was looked up (GetAction, and so Lookup) or
// stored (Put, Adopt, PutAction) through this store since the lease began, by
// this process or, for what is stored, any other. It ends with Close or with
// the process.
//
// Take the lease before the first look-up. A blob that is used without either,
// for instance one that a remote's manifest names and that is found to be
// here already, is protected by Keep.
type Lease struct {
	s    *Store
	lock *fileLock
}

// Lease begins a lease. The name, say that of a run, is for people.
func (s *Store) Lease(ctx context.Context, name string) (*Lease, error) {
	l := &Lease{s: s}
	// Under the sweep lock, so that GC sees all of it or, if it looked before,
	// has taken a time that is no later than ours.
	err := s.sweep.inUse(ctx, func() (err error) {
		for l.lock == nil && err == nil { // Leases may just look at the new file
			l.lock, err = tryLock(s.path("state", "leases", rand.Text()), exclusive)
		}
		if err != nil {
			return err
		}
		start := l.beginning().UnixNano()
		s.leaseStart.Store(max(s.leaseStart.Load(), start))
		return l.write(fmt.Sprintf("%d %s\n", start, strconv.Quote(name)))
	})
	if err != nil {
		if l.lock != nil {
			l.lock.removeAndUnlock()
		}
		return nil, fmt.Errorf("beginning a lease for %s: %w", name, err)
	}
	return l, nil
}

// beginning is when a lease begins of which the file was made just now: by our
// clock or the file system's, whichever is behind. Either may mark what is used
// (see touchOthers).
func (l *Lease) beginning() time.Time {
	now := l.s.opts.Now()
	if made, err := l.lock.f.Stat(); err == nil && made.ModTime().Before(now) {
		return made.ModTime()
	}
	return now
}

func (l *Lease) write(text string) error {
	path := l.lock.f.Name()
	return inOrder(step{"write", func() error {
		_, err := l.lock.f.WriteString(text)
		return err
	}}).run(l.s.fault, path)
}

// Keep protects blobs, present or not, until the lease ends.
func (l *Lease) Keep(ctx context.Context, digests ...artifacts.Digest) error {
	var lines strings.Builder
	for _, d := range digests {
		if _, err := artifacts.ParseDigest(string(d)); err != nil {
			return err
		}
		lines.WriteString(string(d) + "\n")
	}
	return l.s.sweep.inUse(ctx, func() error { return l.write(lines.String()) })
}

// Close ends the lease.
func (l *Lease) Close() error {
	l.lock.removeAndUnlock()
	return nil
}

// A LeaseInfo describes a lease that is held now, by whatever process.
type LeaseInfo struct {
	Name    string
	Started time.Time
	keeps   []artifacts.Digest
}

// Leases are the leases that are held now. Those of processes that died are
// removed.
func (s *Store) Leases() ([]LeaseInfo, error) {
	files, err := os.ReadDir(s.path("state", "leases"))
	if err != nil {
		return nil, fmt.Errorf("listing leases: %w", err)
	}
	var held []LeaseInfo
	for _, f := range files {
		path := s.path("state", "leases", f.Name())
		dead, err := tryLock(path, exclusive)
		if err != nil {
			return nil, fmt.Errorf("listing leases: %w", err)
		}
		if dead != nil {
			dead.removeAndUnlock()
			continue
		}
		info, err := readLease(path)
		if os.IsNotExist(err) {
			continue // it ended just now
		}
		if err != nil {
			return nil, fmt.Errorf("listing leases: %w", err)
		}
		held = append(held, info)
	}
	return held, nil
}

// readLease reads a lease. One that cannot be understood is as old as can be,
// so that nothing is removed beside it.
func readLease(path string) (LeaseInfo, error) {
	f, err := openOwn(path)
	if err != nil {
		return LeaseInfo{}, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	info := LeaseInfo{Name: filepath.Base(path)}
	if lines.Scan() {
		start, name, _ := strings.Cut(lines.Text(), " ")
		if ns, err := strconv.ParseInt(start, 10, 64); err == nil {
			info.Started = time.Unix(0, ns)
		}
		if unquoted, err := strconv.Unquote(name); err == nil {
			info.Name = unquoted
		}
	}
	for lines.Scan() {
		if d, err := artifacts.ParseDigest(lines.Text()); err == nil {
			info.keeps = append(info.keeps, d)
		}
	}
	return info, lines.Err()
}
