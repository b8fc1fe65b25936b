package clip

import (
	"context"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// noVectors is the width of a modality that nobody has: a list of fixed length
// needs a component.
const noVectors = 1

// write writes a row for every item from what is remembered. If vectors are
// lost it writes nothing: the plan waits for them, and lost is their number.
func (e *Embed) write(ctx context.Context, model model, p *plan) (lost int, err error) {
	var widths [modalities]int
	for m := range modalities {
		widths[m] = noVectors
		if p.sides[m].memo != nil {
			widths[m] = model.width()
		}
	}
	out, err := e.Features.Create(table.WithWidth(image.String(), widths[image]), table.WithWidth(text.String(), widths[text]))
	if err != nil {
		return 0, err
	}
	defer out.Abort()
	missing := [modalities]map[stages.MemoKey][]int32{{}, {}}
	for at := range p.items {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		var vectors [modalities][]float32
		var present [modalities]bool
		for m := range modalities {
			var gone []stages.MemoKey
			if vectors[m], present[m], gone, err = p.vector(m, at, widths[m]); err != nil {
				return 0, err
			}
			for _, key := range gone {
				missing[m][key] = append(missing[m][key], int32(at))
				lost++
			}
		}
		if lost > 0 {
			continue
		}
		if err := out.Append(tables.Features{
			ID: p.items[at].id, Item: p.items[at].item,
			Image: vectors[image], ImagePresent: present[image], Text: vectors[text], TextPresent: present[text],
		}); err != nil {
			return 0, err
		}
	}
	if lost > 0 {
		p.waitFor(missing)
		return lost, nil
	}
	return 0, out.Close()
}
