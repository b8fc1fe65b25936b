package train

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// named are n items with ids from 1.
func named(n int) []tables.CorpusItem {
	var rows []tables.CorpusItem
	for i := range n {
		rows = append(rows, tables.CorpusItem{ID: int32(i + 1), Item: "B0" + string(rune('a'+i))})
	}
	return rows
}

func TestModelHoldsTheItemsThatAreWired(t *testing.T) {
	rows := named(21) // one more than anybody had
	slices.Reverse(rows)
	p := smallStage(t, cycle(), described(false))
	p.Items = stagetest.Table[ItemRow](t, rows)
	model, err := DecodeModel(run(t, p, stagetest.TorchEnv(t)).Parts)
	if err != nil {
		t.Fatal(err)
	}
	if model.Config.Items != 21 || len(model.ItemIDs) != 21 || model.ItemIDs[0] != "B0a" || model.ItemIDs[20] != "B0u" {
		t.Errorf("a model of %d items with the ids %v", model.Config.Items, model.ItemIDs)
	}
}

func TestItemsThatAreNoMapAreErrors(t *testing.T) {
	change := func(change func(rows []tables.CorpusItem)) []tables.CorpusItem {
		rows := named(20)
		change(rows)
		return rows
	}
	for want, rows := range map[string][]tables.CorpusItem{
		"row 4 has the id 21: want 1…20, each once":                          change(func(rows []tables.CorpusItem) { rows[4].ID = 21 }),
		"row 4 has the id 0: want 1…20, each once":                           change(func(rows []tables.CorpusItem) { rows[4].ID = 0 }),
		"id 4 occurs twice: want 1…20, each once":                            change(func(rows []tables.CorpusItem) { rows[4].ID = 4 }),
		`"B0d" has the ids 4 and 5`:                                          change(func(rows []tables.CorpusItem) { rows[4].Item = rows[3].Item }),
		"items ends at id 19, and the split or the features have an item 20": named(19),
	} {
		p := smallStage(t, cycle(), nil)
		p.Items = stagetest.Table[ItemRow](t, rows)
		if err := p.Run(t.Context(), stagetest.Env(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant %s", err, want)
		}
	}
}

func TestModelTableGivesTheModelBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := prism.Default()
		config.Items = rapid.IntRange(1, 5).Draw(t, "items")
		model := Model{Snapshot: prism.Snapshot{Config: config, Tensors: []prism.Tensor{{Name: "a", Shape: []int64{1}, Values: []float32{1.5}}}}}
		if rapid.Bool().Draw(t, "with ids") {
			model.ItemIDs = rapid.SliceOfN(rapid.String(), config.Items, config.Items).Draw(t, "ids")
		}
		parts, err := EncodeModel(model)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeModel(rapid.Permutation(parts).Draw(t, "order"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(model, back); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
