package images

import (
	"context"
	"fmt"
	"net/url"
)

// A target is a URL of a picture. When the plan is carried out it has a failure,
// or the shelf has its picture.
type target struct {
	url     string   // as the items give it
	at      *url.URL // nil where it is none
	items   int      // that have it
	need    need
	failure *failure

	stands    bool   // what is known of it, which stays if the server cannot be asked
	known     record // what that is; zero where nothing stands
	withdrawn bool   // the server says that the picture which stands is none, see (*run).withdraw
}

// A need is what has to be done for a target.
type need int

const (
	reuse      need = iota // nothing: what became of it is remembered
	fetch                  // it was never asked for
	retry                  // it failed, and is worth another try
	revalidate             // it is known, and may have changed
	readFile               // it is a file
	giveUp                 // nothing: it cannot be asked for
)

// asks says whether a server is asked.
func (n need) asks() bool { return n == fetch || n == retry || n == revalidate }

// A plan is what there is to do.
type plan struct {
	targets map[string]*target
	ask     []*target // those to be asked for, in the items' order

	items     int
	absent    int          // items of which no picture is known
	inFiles   int          // items with a file in the directory
	itemsThat map[need]int // need it
}

// total is the number of items with a known picture.
func (p *plan) total() int { return p.items - p.absent }

func (p *plan) String() string {
	n := p.itemsThat
	text := fmt.Sprintf("%d items: %d known, %d new, %d to retry", p.items, n[reuse], n[fetch], n[retry])
	for _, part := range []struct {
		n    int
		what string
	}{
		{n[revalidate], "to revalidate"},
		{n[readFile] + p.inFiles, "in files"},
		{n[giveUp], "with a URL that cannot be used"},
		{p.absent, "without a URL"},
	} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return text
}

// makePlan reads the items and looks up what is remembered of their URLs.
func (r *run) makePlan(ctx context.Context) error {
	r.plan = &plan{targets: map[string]*target{}, itemsThat: map[need]int{}}
	for item, err := range r.Items.Rows() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if err := r.planItem(item); err != nil {
			return fmt.Errorf("looking up the picture of item %s: %w", item.Item, err)
		}
	}
	r.env.Log.Info().Msg(r.plan.String())
	r.tally = newTally(r.env, r.plan, r.MaxFailed)
	return nil
}

func (r *run) planItem(item itemURL) error {
	p := r.plan
	p.items++
	if _, ok := r.files[item.Item]; ok {
		p.inFiles++
		return nil
	}
	if item.ImageURL == "" {
		p.absent++
		return nil
	}
	t := p.targets[item.ImageURL]
	if t == nil {
		var err error
		if t, err = r.target(item.ImageURL); err != nil {
			return err
		}
		p.targets[t.url] = t
		if t.need.asks() {
			p.ask = append(p.ask, t)
		}
	}
	t.items++
	p.itemsThat[t.need]++
	return nil
}

// target is a URL with what is remembered of it.
func (r *run) target(text string) (*target, error) {
	t := &target{url: text, need: giveUp}
	t.at, t.failure = parseURL(text)
	switch {
	case t.failure != nil:
		return t, nil
	case t.at.Scheme == "file" && !r.AllowFiles:
		t.failure = permanent(fileRefused, "it is a file, and allow_files is not set")
		return t, nil
	case t.at.Scheme == "file":
		t.need = readFile
		return t, nil
	}
	known, ok, err := r.shelf.record(text)
	if err != nil {
		return nil, err
	}
	t.need = fetch
	if ok {
		r.remember(t, known)
	}
	r.restrain(t)
	return t, nil
}

// restrain drops a request to an address that is seen to be private, which need
// not wait for its turn to be refused.
func (r *run) restrain(t *target) {
	if t.need == fetch || t.need == retry {
		if err := r.guard().checkURL(t.at); err != nil {
			t.need, t.failure = giveUp, byError(err)
		}
	}
}

// remember decides what is left to do for a target of which something is known.
func (r *run) remember(t *target, known record) {
	if known.picture() {
		t.need, t.failure = reuse, r.beyond(known)
		if r.Revalidate.Value {
			t.need, t.stands, t.known = revalidate, true, known
		}
		return
	}
	t.failure = known.failure()
	policy := r.RetryFailed.Value
	switch {
	case known.Terms != "" && known.Terms != r.terms():
		t.need = fetch
	case policy == "all", policy == "transient" && known.Transient:
		t.need = retry
	case r.Revalidate.Value:
		t.need = revalidate
	default:
		t.need = reuse
	}
	if t.need != fetch && !known.Transient {
		t.stands, t.known = true, known
	}
}

// beyond holds a picture that is remembered against the limits of today.
func (r *run) beyond(known record) *failure {
	switch {
	case known.Bytes > r.MaxBytes:
		return permanent(tooLarge, "it has %d bytes, and max_bytes allows %d", known.Bytes, r.MaxBytes)
	case known.pixels() > r.MaxPixels:
		return permanent(tooLarge, "it has %d × %d pixels, and max_pixels allows %d", known.Width, known.Height, r.MaxPixels)
	}
	return nil
}
