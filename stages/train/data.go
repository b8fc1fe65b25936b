package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/model/training"
	"github.com/prismflow/prismflow/stages"
)

// read gathers what is trained on, and counts it. itemIDs are the external ids
// of the items, nil where they are not known.
func (p *Prism) read(ctx context.Context, env *stages.Env) (data training.Data, itemIDs []string, err error) {
	withoutTarget, withoutValid := 0, 0
	for row, err := range p.Split.Rows() {
		if err != nil {
			return data, nil, fmt.Errorf("reading the split: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return data, nil, err
		}
		user := training.User{ID: row.User, Train: row.Train, Held: slices.Concat(row.Valid, row.Test)}
		if len(row.Train) < 2 {
			withoutTarget++
		}
		if len(row.Valid) > 0 && len(row.Train) > 0 {
			user.Valid = row.Valid
		} else {
			withoutValid++
		}
		for _, items := range [][]int32{row.Train, row.Valid, row.Test} {
			data.Items = max(data.Items, largest(items))
		}
		data.Users = append(data.Users, user)
	}
	if itemIDs, err = ReadItemIDs(p.Items); err != nil {
		return data, nil, err
	}
	data.Items = max(data.Items, len(itemIDs))
	if err := p.readFeatures(ctx, env, &data); err != nil {
		return data, nil, err
	}
	if itemIDs != nil && len(itemIDs) != data.Items {
		return data, nil, fmt.Errorf("items ends at id %d, and the split or the features have an item %d", len(itemIDs), data.Items)
	}
	env.Count("users", float64(len(data.Users)))
	env.Count("items", float64(data.Items))
	env.Count("users_without_target", float64(withoutTarget))
	env.Count("users_without_validation", float64(withoutValid))
	return data, itemIDs, nil
}

func largest(items []int32) int {
	most := 0
	for _, item := range items {
		most = max(most, int(item))
	}
	return most
}

// readFeatures fills the modalities that were asked for and that some item has.
func (p *Prism) readFeatures(ctx context.Context, env *stages.Env, data *training.Data) error {
	if !p.Features.Present() {
		return nil
	}
	rows, err := p.Features.All()
	if err != nil {
		return fmt.Errorf("reading features: %w", err)
	}
	for i, row := range rows {
		if row.ID < 1 {
			return fmt.Errorf("reading features: row %d has the item id %d: ids begin at 1", i, row.ID)
		}
		data.Items = max(data.Items, int(row.ID))
	}
	for _, source := range []struct {
		name string
		of   func(featureRow) ([]float32, bool)
	}{
		{"image", func(r featureRow) ([]float32, bool) { return r.Image, r.ImagePresent }},
		{"text", func(r featureRow) ([]float32, bool) { return r.Text, r.TextPresent }},
	} {
		if !slices.Contains(p.Modalities, source.name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		modality, present, err := gather(source.name, rows, data.Items, source.of)
		if err != nil {
			return fmt.Errorf("reading features: %w", err)
		}
		env.Count(source.name+"_items", float64(present))
		if present > 0 {
			data.Modalities = append(data.Modalities, modality)
		}
	}
	return nil
}

// gather puts one modality's vectors in the order of the item ids. Items
// without a row lack it.
func gather(name string, rows []featureRow, items int, of func(featureRow) ([]float32, bool)) (training.Modality, int, error) {
	m := training.Modality{Name: name, Present: make([]bool, items+1)}
	count := 0
	for _, row := range rows {
		vector, present := of(row)
		if !present {
			continue
		}
		if m.Vectors == nil {
			m.Size = len(vector)
			m.Vectors = make([]float32, (items+1)*m.Size)
		}
		if m.Present[row.ID] {
			return m, 0, fmt.Errorf("item %d has two rows", row.ID)
		}
		if len(vector) != m.Size {
			return m, 0, fmt.Errorf("the %s vector of item %d has length %d, others %d", name, row.ID, len(vector), m.Size)
		}
		m.Present[row.ID] = true
		copy(m.Vectors[int(row.ID)*m.Size:], vector)
		count++
	}
	return m, count, nil
}
