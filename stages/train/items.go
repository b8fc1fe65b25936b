package train

import (
	"fmt"

	"github.com/prismflow/prismflow/stages"
)

// ItemRow is what is read of tables.CorpusItem.
type ItemRow struct {
	ID   int32  `arrow:"id"`
	Item string `arrow:"item"`
}

// ReadItemIDs reads the external ids of the items, that of item i at i-1; nil
// where there is no such input. The internal ids must be 1 to their number, in
// any order, and no two may stand for the same item.
func ReadItemIDs(in stages.In[ItemRow]) ([]string, error) {
	if !in.Present() {
		return nil, nil
	}
	rows, err := in.All()
	if err != nil {
		return nil, fmt.Errorf("reading items: %w", err)
	}
	ids := make([]string, len(rows))
	of := make(map[string]int32, len(rows))
	taken := make([]bool, len(rows))
	for i, row := range rows {
		if row.ID < 1 || int(row.ID) > len(rows) {
			return nil, fmt.Errorf("reading items: row %d has the id %d: want 1…%d, each once", i, row.ID, len(rows))
		}
		if taken[row.ID-1] {
			return nil, fmt.Errorf("reading items: id %d occurs twice: want 1…%d, each once", row.ID, len(rows))
		}
		if other, twice := of[row.Item]; twice {
			return nil, fmt.Errorf("reading items: %.40q has the ids %d and %d", row.Item, other, row.ID)
		}
		of[row.Item] = row.ID
		taken[row.ID-1] = true
		ids[row.ID-1] = row.Item
	}
	return ids, nil
}
