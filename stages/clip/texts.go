package clip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sourcegraph/conc/iter"

	"github.com/prismflow/prismflow/stages"
)

// A window is how many texts are sorted by their length at once: enough for
// batches of one length, few enough to be in memory.
const (
	windowTexts = 8 << 10
	windowBytes = 16 << 20
)

// errSaysNothing is of a text without a token, such as one of control
// characters.
var errSaysNothing = errors.New("the text has no word in it")

// texts tokenises the texts that are to be embedded, each once.
func (p *pipeline) texts(ctx context.Context) error {
	side := &p.plan.sides[text]
	if len(side.missing) == 0 {
		return nil
	}
	var window []textRow
	bytes := 0
	taken := map[stages.MemoKey]bool{}
	for row, err := range p.stage.Items.Rows() {
		if err != nil {
			return fmt.Errorf("reading items: %w", err)
		}
		words := row.text()
		key := textKey(words)
		if _, isMissing := side.missing[key]; !isMissing || taken[key] || words == "" {
			continue
		}
		taken[key] = true
		window = append(window, textRow{key: key, words: strings.Clone(words)})
		if bytes += len(words); len(window) == windowTexts || bytes >= windowBytes {
			if err := p.sendTexts(ctx, window); err != nil {
				return err
			}
			window, bytes = window[:0], 0
		}
	}
	return p.sendTexts(ctx, window)
}

// A textRow is a text on its way into a batch.
type textRow struct {
	key   stages.MemoKey
	words string
	ids   []int64 // padded; nil when the text says nothing
}

// sendTexts makes batches of texts of one length.
func (p *pipeline) sendTexts(ctx context.Context, window []textRow) error {
	tokenise := iter.Iterator[textRow]{MaxGoroutines: p.workers}
	tokenise.ForEach(window, func(row *textRow) {
		if ctx.Err() == nil {
			row.ids = p.tokens(row.words)
		}
	})
	slices.SortStableFunc(window, func(a, b textRow) int { return cmp.Compare(len(a.ids), len(b.ids)) })
	for from := 0; from < len(window); {
		to := from + 1
		for to < len(window) && to-from < p.rows[text] && len(window[to].ids) == len(window[from].ids) {
			to++
		}
		if err := p.send(ctx, newTextBatch(window[from:to])); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// tokens are a text's, padded; nil if it has but the two that every text has.
func (p *pipeline) tokens(words string) []int64 {
	ids := p.model.tokenizer.Encode(words)
	if len(ids) <= 2 {
		return nil
	}
	return append(ids, make([]int64, paddedLength(len(ids), p.model.config.Text.Positions)-len(ids))...)
}

func newTextBatch(rows []textRow) *batch {
	b := &batch{modality: text}
	for _, row := range rows {
		b.keys, b.ids = append(b.keys, row.key), append(b.ids, row.ids)
		var failure error
		if row.ids == nil {
			failure = errSaysNothing
		}
		b.failures = append(b.failures, failure)
	}
	return b
}
