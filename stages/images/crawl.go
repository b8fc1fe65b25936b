package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"github.com/sourcegraph/conc/pool"
	"golang.org/x/sync/semaphore"

	"github.com/prismflow/prismflow/stages"
)

// A crawler asks for targets and keeps what comes of it.
type crawler struct {
	frontier    *frontier
	fetcher     *fetcher
	backoff     backoff
	maxAttempts int
	shelf       shelf
	terms       string
	tally       *tally
	log         zerolog.Logger
}

// download asks for what the plan says.
func (r *run) download(ctx context.Context) error {
	if err := r.tally.check(); err != nil || len(r.plan.ask) == 0 {
		return err
	}
	if r.env.Offline && len(r.Site.Files()) == 0 { // a site is served by this very process
		return r.stayOffline()
	}
	transport := r.world.transport
	if transport == nil {
		network := r.network()
		defer network.close()
		stop, err := r.serveSite(ctx, network)
		if err != nil {
			return err
		}
		defer stop()
		transport = network
	}
	if err := r.crawler(transport).run(ctx, r.plan.ask, int(r.Concurrency.Value)); err != nil {
		return err
	}
	return r.withdraw()
}

// withdraw forgets the known pictures of which servers said that there are none.
// It is called when the run let that pass: a site that is being moved, or a network
// that answers everything with a page of its own, says so of all pictures, and
// what is forgotten for that would be lost.
func (r *run) withdraw() error {
	for _, t := range r.plan.ask {
		if !t.withdrawn {
			continue
		}
		if err := r.shelf.keep(t.url, recordFailure(t.failure, r.terms()), nil); err != nil {
			return err
		}
	}
	return nil
}

// stayOffline leaves things as they are known: nobody may be asked.
func (r *run) stayOffline() error {
	var first *target
	unknown := 0
	for _, t := range r.plan.ask {
		if t.need == fetch {
			if unknown++; first == nil {
				first = t
			}
			continue
		}
		if err := r.tally.settle(t, keptOld, 0); err != nil {
			return err
		}
	}
	if unknown > 0 {
		return fmt.Errorf("%d of %d pictures are not at hand and --offline forbids asking for them, such as %s: run once without --offline",
			unknown, len(r.plan.targets), stages.PublicURL(first.url))
	}
	return nil
}

func (r *run) guard() guard {
	g := r.world.guard
	g.private = g.private || r.AllowPrivate
	return g
}

func (r *run) network() *network {
	return newNetwork(r.world, r.guard(), r.env.LookupEnv, seconds(r.ConnectTimeout), seconds(r.HeaderTimeout), int(r.PerHost.Value))
}

func (r *run) crawler(transport http.RoundTripper) *crawler {
	var interval time.Duration
	if r.Rate.Value > 0 {
		interval = time.Duration(float64(time.Second) / r.Rate.Value)
	}
	memory := max(r.Memory.Value, 2*r.MaxBytes+bytes.MinRead)
	return &crawler{
		frontier: newFrontier(int(r.PerHost.Value), interval, int(r.HostFailures.Value)),
		fetcher: &fetcher{
			transport: transport, userAgent: r.UserAgent.Value,
			maxBytes: r.MaxBytes, maxRedirects: int(r.MaxRedirects), limits: r.limits(),
			stall: seconds(r.StallTimeout), total: seconds(r.BodyTimeout),
			memory: semaphore.NewWeighted(memory),
		},
		backoff:     backoff{seconds(r.Backoff), seconds(r.MaxWait), r.world.jitter()},
		maxAttempts: int(r.MaxAttempts.Value),
		shelf:       r.shelf, terms: r.terms(), tally: r.tally, log: r.env.Log,
	}
}

// run asks for all targets. It ends early when too many fail.
func (c *crawler) run(ctx context.Context, targets []*target, workers int) error {
	for _, t := range targets {
		c.frontier.add(&visit{target: t, url: t.at})
	}
	p := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	for range min(workers, len(targets)) {
		p.Go(c.work)
	}
	return p.Wait()
}

func (c *crawler) work(ctx context.Context) error {
	for {
		v, err := c.frontier.next(ctx)
		if v == nil || err != nil {
			return err
		}
		if err := c.visit(ctx, v); err != nil {
			return err
		}
	}
}

// visit makes one request and sees to what follows from it.
func (c *crawler) visit(ctx context.Context, v *visit) error {
	defer c.frontier.release(v)
	reply, err := c.fetcher.visit(ctx, v)
	defer c.fetcher.letGo(reply)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	var f *failure
	if errors.As(err, &f) && f.transient {
		return c.trouble(v, f)
	}
	c.frontier.answered(v)
	switch {
	case err != nil:
		return c.fail(v.target, f)
	case reply.elsewhere != nil:
		return c.follow(v, reply)
	}
	return c.succeed(v, reply)
}

// follow goes where a redirect leads.
func (c *crawler) follow(v *visit, r reply) error {
	next := &visit{target: v.target, url: r.elsewhere, attempts: v.attempts}
	next.earlier = append(append(next.earlier, v.earlier...), v.url.String())
	if closed := c.frontier.add(next); closed != "" {
		return c.leave(next, closed)
	}
	return nil
}

// trouble puts a visit off that failed in a way that may pass, and lets its host
// have a rest if it asked for one.
func (c *crawler) trouble(v *visit, f *failure) error {
	v.attempts++
	wait := max(f.after, c.backoff.wait(v.attempts))
	closed, pause := "", time.Duration(0)
	if f.after > 0 || f.cause == tooManyRequests {
		pause = wait
	}
	if f.after > c.backoff.longest {
		closed = "it asked to be left alone for longer than max_wait"
	}
	orphans, closed := c.frontier.troubled(v, pause, closed)
	for _, orphan := range orphans {
		if err := c.leave(orphan, closed); err != nil {
			return err
		}
	}
	if v.attempts >= c.maxAttempts || closed != "" {
		return c.fail(v.target, f)
	}
	again := &visit{target: v.target, url: v.target.at, attempts: v.attempts, ready: time.Now().Add(wait)}
	if closed := c.frontier.add(again); closed != "" {
		return c.fail(v.target, f)
	}
	c.tally.again(f)
	return nil
}

// leave fails a visit whose host is given up, unless something is known of it.
// That is not remembered: the URL was not asked for.
func (c *crawler) leave(v *visit, why string) error {
	f := passing(hostGivenUp, "not asked for: %s was given up because %s", v.url.Host, why)
	if v.target.stands {
		return c.tally.settle(v.target, keptOld, 0)
	}
	v.target.failure = f
	return c.tally.settle(v.target, gotFailure, 0)
}

// fail remembers why there is no picture. What is known is not given up for a
// failure that may pass, and a picture not before the run has ended well.
func (c *crawler) fail(t *target, f *failure) error {
	c.log.Debug().Str("url", stages.PublicURL(t.url)).Str("cause", string(f.cause)).AnErr("detail", f.detail).Msg(f.text)
	if t.stands && f.transient {
		return c.tally.settle(t, keptOld, 0)
	}
	t.failure = f
	if t.stands && t.known.picture() {
		t.withdrawn = true
		return c.tally.settle(t, gotFailure, 0)
	}
	if err := c.shelf.keep(t.url, recordFailure(f, c.terms), nil); err != nil {
		return err
	}
	return c.tally.settle(t, gotFailure, 0)
}

// succeed remembers the picture, unless it is the one that is known.
func (c *crawler) succeed(v *visit, r reply) error {
	t := v.target
	if r.unchanged {
		return c.tally.settle(t, gotUnchanged, 0)
	}
	t.failure = nil
	r.record.FinalURL = t.url
	if len(v.earlier) > 0 {
		r.record.FinalURL = stages.PublicURL(v.url.String())
	}
	if err := c.shelf.keep(t.url, r.record, r.bytes); err != nil {
		return err
	}
	return c.tally.settle(t, gotPicture, len(r.bytes))
}
