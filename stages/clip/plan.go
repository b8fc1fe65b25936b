package clip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
)

// A modality is one of the two things that an item may have.
type modality int

const (
	image modality = iota
	text
	modalities // how many there are
)

func (m modality) String() string { return [...]string{"image", "text"}[m] }

// A plan is which vector each item has, and which of them are to be made. It is
// for one goroutine, except where a method says otherwise.
type plan struct {
	items []item
	sides [modalities]side
	done  int64 // items that wait for nothing
}

// An item is a row of the output.
type item struct {
	id      int32
	item    string
	rows    [modalities][]stages.MemoKey // none, one, or several pictures
	waiting int                          // vectors that are not there yet
}

// A side is what concerns one modality.
type side struct {
	memo    stages.Memo                // nil when the modality is not asked for
	missing map[stages.MemoKey][]int32 // vectors to make, and the items that wait for each
	failed  map[stages.MemoKey]failure // rows that no vector can be made of

	known int64 // items whose vector was there when the plan was made …
	fresh int64 // … and vectors that were not
	made  int64 // vectors that were made since
}

// A failure is why no vector can be made of a row, and whose row it is.
type failure struct {
	cause error
	items []int32
}

// plan reads which pictures and texts there are, without reading a picture, and
// asks the memos which of them are known.
func (e *Embed) plan(ctx context.Context, env *stages.Env, model model) (*plan, error) {
	p := &plan{}
	for m := range p.sides {
		p.sides[m].missing, p.sides[m].failed = map[stages.MemoKey][]int32{}, map[stages.MemoKey]failure{}
	}
	for _, m := range e.asked() {
		memo, err := env.Memo(ctx, e.scope(m, model))
		if err != nil {
			return nil, fmt.Errorf("opening the vectors that are known: %w", err)
		}
		p.sides[m].memo = memo
	}
	index, err := e.planTexts(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("reading items: %w", err)
	}
	if p.sides[image].memo != nil {
		if err := e.planPictures(ctx, p, index); err != nil {
			return nil, fmt.Errorf("reading images: %w", err)
		}
	}
	for i := range p.items {
		if p.items[i].waiting == 0 {
			p.done++
		}
	}
	return p, nil
}

// asked are the modalities that get vectors.
func (e *Embed) asked() []modality {
	var asked []modality
	if e.wants(image) && e.Images.Present() {
		asked = append(asked, image)
	}
	if e.wants(text) {
		asked = append(asked, text)
	}
	return asked
}

// scope is what all vectors of a modality depend on.
func (e *Embed) scope(m modality, model model) artifacts.Request {
	params := map[string]any{"modality": m.String(), "precision": e.Precision}
	if m == image {
		params["decoder"] = e.decoder.Name()
	}
	return artifacts.Request{
		Kind: "clip.embed", Version: rowVersion, Params: params,
		Files: map[string][]artifacts.FileDigest{"weights": model.digests(m)},
	}
}

// planTexts takes in the items and their texts, and returns where each item is.
func (e *Embed) planTexts(ctx context.Context, p *plan) (map[string]int32, error) {
	index := map[string]int32{}
	for row, err := range e.Items.Rows() {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, twice := index[row.Item]; twice {
			return nil, fmt.Errorf("item %.60q occurs twice", row.Item)
		}
		at := int32(len(p.items))
		p.items = append(p.items, item{id: row.ID, item: strings.Clone(row.Item)})
		index[p.items[at].item] = at
		if words := row.text(); p.sides[text].memo != nil && words != "" {
			p.add(text, at, textKey(words))
		}
	}
	return index, nil
}

// planPictures takes in which pictures there are of the items.
func (e *Embed) planPictures(ctx context.Context, p *plan, index map[string]int32) error {
	for row, err := range e.Images.RowsOf("item", "sha256") {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		at, ok := index[row.Item]
		if !ok || row.SHA256 == "" {
			continue
		}
		key, err := pictureKey(row.SHA256)
		if err != nil {
			return fmt.Errorf("item %.60q: %w", row.Item, err)
		}
		p.add(image, at, key)
	}
	return nil
}

func textKey(words string) stages.MemoKey { return stages.MemoKeyOf([]byte(words)) }

// pictureKey is the row of a picture whose bytes have this SHA-256.
func pictureKey(sum string) (stages.MemoKey, error) {
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) != sha256.Size {
		return stages.MemoKey{}, fmt.Errorf("sha256 is %.80q: want 64 hex digits", sum)
	}
	return stages.MemoKeyOf(raw), nil
}

// add says that an item has a picture or a text.
func (p *plan) add(m modality, at int32, key stages.MemoKey) {
	side, it := &p.sides[m], &p.items[at]
	it.rows[m] = append(it.rows[m], key)
	waiting, isMissing := side.missing[key]
	switch {
	case !isMissing && side.memo.Has(key):
		side.known++
		return
	case !isMissing:
		side.fresh++
	}
	side.missing[key] = append(waiting, at)
	it.waiting++
}

// waiting is the number of vectors that are to be made.
func (p *plan) waiting() int {
	n := 0
	for m := range p.sides {
		n += len(p.sides[m].missing)
	}
	return n
}

// settle says that a row is made, or, with a cause, that it cannot be.
func (p *plan) settle(m modality, key stages.MemoKey, cause error) {
	side := &p.sides[m]
	items := side.missing[key]
	for _, at := range items {
		if p.items[at].waiting--; p.items[at].waiting == 0 {
			p.done++
		}
	}
	if cause != nil {
		side.failed[key] = failure{cause, items}
	} else {
		side.made++
	}
}

// having is how many pictures, or texts, the items have together.
func (p *plan) having(m modality) int64 {
	n := int64(0)
	for i := range p.items {
		n += int64(len(p.items[i].rows[m]))
	}
	return n
}

// without is the number of items that have no picture, or no text.
func (p *plan) without(m modality) int64 {
	n := int64(0)
	for i := range p.items {
		if len(p.items[i].rows[m]) == 0 {
			n++
		}
	}
	return n
}

// broken is how many pictures, or texts, of the items no vector can be made of.
func (p *plan) broken(m modality) int64 {
	n := int64(0)
	for _, failure := range p.sides[m].failed {
		n += int64(len(failure.items))
	}
	return n
}

// first is the first of the items that wait for a row.
func (p *plan) first(m modality, key stages.MemoKey) string {
	return p.items[p.sides[m].missing[key][0]].item
}

// vector is an item's, of the width given: the mean of those of its pictures, and
// zero where it has none. lost are those that it has and the memo has no longer.
func (p *plan) vector(m modality, at, width int) (vector []float32, present bool, lost []stages.MemoKey, err error) {
	var vectors [][]float32
	side := &p.sides[m]
	for _, key := range p.items[at].rows[m] {
		if side.failed[key].cause != nil {
			continue
		}
		value, known, err := side.memo.Get(key)
		if err != nil {
			return nil, false, nil, fmt.Errorf("reading a vector that is known: %w", err)
		}
		if vector, whole := decodeVector(value, width); known && whole {
			vectors = append(vectors, vector)
		} else {
			lost = append(lost, key)
		}
	}
	vector, present = mean(vectors, width)
	return vector, present, lost, nil
}

// mean is the mean of vectors of the length 1, scaled to that length. Of one it
// is that one, to the bit. Of none, and where they cancel out, it is zero and
// not present.
func mean(vectors [][]float32, width int) (vector []float32, present bool) {
	if len(vectors) == 1 {
		return vectors[0], true
	}
	sum := make([]float64, width)
	for _, v := range vectors {
		for i, x := range v {
			sum[i] += float64(x)
		}
	}
	square := 0.0
	for _, x := range sum {
		square += x * x
	}
	vector = make([]float32, width)
	if square == 0 {
		return vector, false
	}
	for i, x := range sum {
		vector[i] = float32(x / math.Sqrt(square))
	}
	return vector, true
}

// waitFor has the plan wait for vectors that are lost, and for nothing else.
func (p *plan) waitFor(lost [modalities]map[stages.MemoKey][]int32) {
	for m := range p.sides {
		side := &p.sides[m]
		for key, items := range lost[m] {
			if side.missing[key] != nil {
				side.made-- // by this run, to no purpose
			}
			for _, at := range items {
				if p.items[at].waiting++; p.items[at].waiting == 1 {
					p.done--
				}
			}
		}
		side.missing = lost[m]
	}
}

// summary says what is to be done, and what not.
func (p *plan) summary() string {
	var parts []string
	for m := range modalities {
		side := &p.sides[m]
		if side.memo == nil {
			continue
		}
		part := fmt.Sprintf("%d %s known, %d new, %d absent", side.known, []string{"pictures", "texts"}[m], side.fresh, p.without(m))
		if same := p.having(m) - side.known - side.fresh; same > 0 {
			part += fmt.Sprintf(", %d the same as a new one", same)
		}
		parts = append(parts, part)
	}
	return fmt.Sprintf("%d items: %s", len(p.items), strings.Join(parts, "; "))
}

// count reports how each item came to its vectors. A vector that several items
// share is made once, and reused by the others.
func (p *plan) count(env *stages.Env) {
	env.Count("items", float64(len(p.items)))
	for m := range modalities {
		side := &p.sides[m]
		if side.memo == nil {
			continue
		}
		failed := p.broken(m)
		name := m.String() + "s_"
		env.Count(name+"embedded", float64(side.made))
		env.Count(name+"reused", float64(p.having(m)-failed-side.made))
		if m == image {
			env.Count(name+"broken", float64(failed))
			failed = 0
		}
		env.Count(name+"absent", float64(p.without(m)+failed))
	}
}
