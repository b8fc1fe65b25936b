package tiered

import (
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/artifacts"
)

// A sighting is a result that a remote has recorded and that would be believed.
// Nobody has looked at its outputs.
type sighting struct {
	artifacts.Record
	at *member
}

// Find says which remote has a result that would be believed, and its manifest,
// without fetching its outputs. A complete one is preferred to an incomplete
// one. The error is a *artifacts.Miss where none has it.
func (c *Cache) Find(ctx context.Context, key artifacts.Key) (m artifacts.Manifest, from string, err error) {
	err = c.each(ctx, key, func(s *sighting) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sighted[key] = s
		m, from = s.Manifest, s.at.name
		return nil
	})
	return m, from, err
}

// Refuse says that the result which Find saw last under a key is of no use to who
// asked, although all of it agrees. It is told of as wrong, and what is shared under
// the key takes its place.
func (c *Cache) Refuse(key artifacts.Key, why error) {
	if s := c.takeSighting(key); s != nil {
		s.at.breaks(key)
		s.at.complainOfWrong(fmt.Sprintf("the result %s", key), why)
	}
}

// each tries what remotes have under a key, in their order, the first incomplete
// one last, until use takes one. The error is then nil, that of a use which is
// not a miss, or the last miss.
func (c *Cache) each(ctx context.Context, key artifacts.Key, use func(*sighting) error) error {
	var spare *sighting
	var miss error = &artifacts.Miss{Key: key, Reason: "no result recorded"}
	for _, r := range c.remotes {
		s, err := r.sight(ctx, key)
		if err == nil && s.Manifest.Incomplete != "" {
			if spare == nil {
				spare = s
			}
			continue
		}
		if err == nil {
			err = use(s)
		}
		if !isMiss(err) {
			return err
		}
		miss = worse(miss, err)
	}
	if spare == nil {
		return miss
	}
	return use(spare)
}

func isMiss(err error) bool {
	var miss *artifacts.Miss
	return errors.As(err, &miss)
}

// worse is the miss that says more: that nothing is recorded says least.
func worse(a, b error) error {
	var miss *artifacts.Miss
	if errors.As(b, &miss) && miss.Err == nil {
		return a
	}
	return b
}

// sight is what the remote has under a key. The error is a *artifacts.Miss, or
// the context's.
func (r *member) sight(ctx context.Context, key artifacts.Key) (*sighting, error) {
	if !r.answers() {
		return nil, &artifacts.Miss{Key: key, Reason: "no result recorded"}
	}
	record, err := artifacts.LookupRecord(ctx, r.Store, key)
	var miss *artifacts.Miss
	if errors.As(err, &miss) && miss.Err != nil {
		r.failedRead(fmt.Sprintf("the result %s", key), miss.Err)
		if isBroken(err) {
			r.breaks(key)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := r.believed(key, record); err != nil {
		return nil, err
	}
	return &sighting{record, r}, nil
}

// takeSighting is what Find saw last, once.
func (c *Cache) takeSighting(key artifacts.Key) *sighting {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sighted[key]
	delete(c.sighted, key)
	return s
}

// isBroken says whether an entry lacks something or is wrong, and did not just
// not come.
func isBroken(err error) bool {
	return errors.Is(err, artifacts.ErrCorrupt) || errors.Is(err, artifacts.ErrNotFound)
}

// believed says whether a record is signed by somebody who is trusted.
func (r *member) believed(key artifacts.Key, record artifacts.Record) error {
	if r.cache.opts.Trusted == nil {
		return nil
	}
	_, err := r.cache.opts.Trusted(artifacts.DigestOf(record.Encoded), record.Signature)
	if err == nil {
		return nil
	}
	if r.cache.opts.Signer != nil { // what it makes instead is worth more there
		r.breaks(key)
	}
	who := record.Manifest.Provenance
	r.complain("untrusted "+err.Error(), "the result %s of stage %s, which says that it is from %s@%s, is NOT TRUSTED: %v; it is not used, nor are others of which that is so; \"prismflow cache trust\" says who is believed",
		key.Short(), who.Stage, who.User, who.Host, err)
	return &artifacts.Miss{Key: key, Reason: "the result is not trusted", Err: fmt.Errorf("%w: %w", errUntrusted, err)}
}

var errUntrusted = errors.New("not signed by anybody who is trusted")
