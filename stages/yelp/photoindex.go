package yelp

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/records"
)

// A photo is one that photos.json names.
type photo struct {
	id       string
	business *business // nil when its pictures are not wanted
	rank     int       // of its label, 0 for the best
	seen     bool      // whether there was a file for it
}

// better orders photos of a business, the best first.
func better(a, b *photo) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.id, b.id))
}

// A business is one whose pictures are wanted.
type business struct {
	known int      // photos of listed labels
	found int      // of them, those that there is a file for
	best  []chosen // the best first
}

// cause says why there is no picture.
func (b *business) cause() string {
	switch {
	case b.known == 0:
		return "no photo is known"
	case b.found == 0:
		return "none of its photos is there"
	}
	return "none of its photos can be read"
}

// A photoIndex is which photos there are of which business.
type photoIndex struct {
	ranks      map[string]int // by label
	items      []string       // whose pictures are wanted, in order; nil for all
	businesses map[string]*business
	photos     map[string]*photo

	otherLabels, otherBusinesses int64 // photos that are left out on purpose
}

func newPhotoIndex(labels []string) *photoIndex {
	index := &photoIndex{ranks: map[string]int{}, businesses: map[string]*business{}, photos: map[string]*photo{}}
	for i, label := range labels {
		index.ranks[label] = i
	}
	return index
}

func (x *photoIndex) want(item string) {
	item = strings.Clone(item)
	x.items = append(x.items, item)
	x.businesses[item] = &business{}
}

// order are the businesses that get rows.
func (x *photoIndex) order() []string {
	if x.items != nil {
		return x.items
	}
	return slices.Sorted(maps.Keys(x.businesses))
}

// readIndex reads photos.json.
func (s *Photos) readIndex(ctx context.Context, env *stages.Env, index *photoIndex) error {
	in := records.Open(ctx, env, s.Source.Files(), records.Options{What: "photos", MaxBad: s.MaxBadRows, Member: photoFile})
	defer in.Close()
	for in.Next(index.add) {
	}
	if err := in.Err(); err != nil {
		return err
	}
	env.Count("photos", float64(in.Rows()))
	env.Count("bad_rows", float64(in.Bad()))
	env.Count("photos_of_other_labels", float64(index.otherLabels))
	env.Count("photos_of_other_businesses", float64(index.otherBusinesses))
	return nil
}

// add takes in a line of photos.json.
func (x *photoIndex) add(rec records.Record) error {
	id, err := rec.ID("photo_id")
	if err != nil {
		return err
	}
	if x.photos[string(id)] != nil {
		return records.FieldErrorf("photo_id", "is %.40q, which a line before has", id)
	}
	item, err := rec.ID("business_id")
	if err != nil {
		return err
	}
	label, err := rec.Words("label")
	if err != nil {
		return err
	}
	p := &photo{id: string(id)}
	x.photos[p.id] = p
	x.place(p, string(item), label)
	return nil
}

// place makes p one of the item's photos, if it is wanted.
func (x *photoIndex) place(p *photo, item, label string) {
	b := x.businesses[item]
	if b == nil && x.items != nil {
		x.otherBusinesses++
		return
	}
	if b == nil {
		b = &business{}
		x.businesses[item] = b
	}
	rank, listed := x.ranks[label]
	if !listed {
		x.otherLabels++
		return
	}
	p.business, p.rank = b, rank
	b.known++
}
