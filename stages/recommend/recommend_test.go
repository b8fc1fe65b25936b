package recommend

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
	"github.com/prismflow/prismflow/stages/train"
)

const items = 12

// untrained is a model with its first parameters. Of each pair of items both have
// the same vector, and so the same score.
func untrained(t *testing.T) train.Model {
	t.Helper()
	config := prism.Default()
	config.Items, config.Hidden, config.Layers, config.MaxLength = items, 4, 1, 5
	model := train.Model{ItemIDs: make([]string, items)}
	for i := range model.ItemIDs {
		model.ItemIDs[i] = fmt.Sprintf("item%02d", i+1)
	}
	torchtest.Run(t, func(s *gotorch.Session) {
		m, err := prism.New(s, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.NoGrad(func() {
			table := m.Parameters()[0].Tensor
			for i := int64(1); i < items; i += 2 {
				table.Narrow(0, i+1, 1).CopyFrom(table.Narrow(0, i, 1).Clone())
			}
		})
		m.Prepare()
		if model.Snapshot, err = m.Export(); err != nil {
			t.Fatal(err)
		}
	})
	return model
}

// split has more users than a batch of a model, and one of whom nothing is known.
func split() []tables.Split {
	rows := []tables.Split{{User: 7, Train: []int32{}, Valid: []int32{}, Test: []int32{}}}
	for u := range int32(20) {
		item := func(j int32) int32 { return 1 + (u+j)%items }
		rows = append(rows, tables.Split{User: 100 + u, Train: []int32{item(0), item(2)}, Valid: []int32{item(5)}, Test: []int32{item(9)}})
	}
	return rows
}

func userTable(t *testing.T) stages.In[UserRow] {
	var rows []tables.User
	for _, row := range split() {
		rows = append(rows, tables.User{ID: row.User, User: fmt.Sprintf("user%d", row.User)})
	}
	return stagetest.Table[UserRow](t, rows)
}

func topK(t *testing.T, model train.Model) *TopK {
	t.Helper()
	parts, err := train.EncodeModel(model)
	if err != nil {
		t.Fatal(err)
	}
	return &TopK{
		Model: stagetest.Table[tables.ModelPart](t, parts), Split: stagetest.Table[SplitRow](t, split()), Users: userTable(t),
		K: 5, Threads: 1, Device: stages.Setting[string]{Value: "cpu"},
	}
}

// lastBits may differ: a product of one row and one of many add up in another
// order, as with MKL.
var lastBits = cmpopts.EquateApprox(1e-6, 0)

// The lists are what sorting all scores gives, with ties by id, seen items out,
// and every item of the history, held-out ones too, known to the model.
func TestTopK(t *testing.T) {
	model := untrained(t)
	for _, withSeen := range []bool{false, true} {
		stage := topK(t, model)
		stage.WithSeen = withSeen
		result := stagetest.Result(t, &stage.Recommendations)
		env := stagetest.TorchEnv(t)
		if err := stage.Run(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(naive(t, model, withSeen, stage.K), result(), lastBits); diff != "" {
			t.Errorf("with seen %v (-want +got):\n%s", withSeen, diff)
		}
		if got, want := fmt.Sprint(env.Report()), "[{users 21} {users_without_history 1} {recommendations 100}]"; got != want {
			t.Errorf("counted %s, want %s", got, want)
		}
	}
}

func naive(t *testing.T, model train.Model, withSeen bool, k int) []tables.Recommendation {
	var want []tables.Recommendation
	err := model.Use(t.Context(), serving(t), func(m train.Served) error {
		for _, row := range split() {
			history := slices.Concat(row.Train, row.Valid, row.Test)
			scores := make([]float32, items+1)
			if err := m.Scorer().Score(t.Context(), []ranking.Query{{History: history}}, scores); err != nil {
				return err
			}
			var candidates []int
			for item := 1; item <= items && len(history) > 0; item++ {
				if withSeen || !slices.Contains(history, int32(item)) {
					candidates = append(candidates, item)
				}
			}
			slices.SortStableFunc(candidates, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
			for i, item := range candidates[:min(k, len(candidates))] {
				want = append(want, tables.Recommendation{User: fmt.Sprintf("user%d", row.User), Rank: int32(i + 1), Item: model.ItemIDs[item-1], Score: scores[item]})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func serving(t *testing.T) train.Serving {
	return train.Serving{Torch: stagetest.TorchEnv(t).Torch, Device: "cpu", Threads: 1}
}

// One list is that of the user among all.
func TestForHistory(t *testing.T) {
	model := untrained(t)
	got, err := ForHistory(t.Context(), model, serving(t), []int32{1, 3, 6, 10}, 5, false)
	if err != nil {
		t.Fatal(err)
	}
	var want []tables.Recommendation
	for _, row := range naive(t, model, false, 5) {
		if row.User == "user100" {
			want = append(want, row)
		}
	}
	for i, row := range want {
		if model.ItemIDs[got[i].Item-1] != row.Item {
			t.Errorf("rank %d: item %d, want %s", i+1, got[i].Item, row.Item)
		}
	}
}

func TestItemIDs(t *testing.T) {
	table := func(names ...string) stages.In[train.ItemRow] {
		var rows []tables.CorpusItem
		for i, name := range names {
			rows = append(rows, tables.CorpusItem{ID: int32(i + 1), Item: name})
		}
		return stagetest.Table[train.ItemRow](t, rows)
	}
	model := func(n int, ids ...string) train.Model {
		return train.Model{Snapshot: prism.Snapshot{Config: prism.Config{Items: n}}, ItemIDs: ids}
	}
	for _, c := range []struct {
		model train.Model
		items stages.In[train.ItemRow]
		want  string
	}{
		{model(2, "a", "b"), stages.In[train.ItemRow]{}, "[a b]"},
		{model(2, "a", "b"), table("a", "b"), "[a b]"},
		{model(2), table("a", "b", "c"), "[a b]"},
		{model(2, "a", "b"), table("b", "a"), "other items"},
		{model(2), table("a"), "do not belong together"},
		{model(2), stages.In[train.ItemRow]{}, ErrNoItemIDs.Error()},
	} {
		ids, err := ItemIDs(c.model, c.items)
		got := fmt.Sprint(ids)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("ids %v: got %s, want %s", c.model.ItemIDs, got, c.want)
		}
	}
}

func TestIDsOfNames(t *testing.T) {
	if id, err := UserID(userTable(t), "user103"); id != 103 || err != nil {
		t.Errorf("got %d, %v", id, err)
	}
	for name, hint := range map[string]string{"user1O3": "did you mean user103?", "nobody at all": ""} {
		_, err := UserID(userTable(t), name)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || !strings.Contains(unknown.Hint, hint) || (hint == "") != (unknown.Hint == "") {
			t.Errorf("user %s: %v, want %q", name, err, hint)
		}
	}
	found, err := InternalIDs([]string{"apple", "pear", "plum"}, []string{"plum", "apple"})
	if err != nil || !slices.Equal(found, []int32{3, 1}) {
		t.Errorf("got %v, %v", found, err)
	}
	_, err = InternalIDs([]string{"apple", "pear", "plum"}, []string{"peer", "pear", "aple"})
	if got := fmt.Sprint(err); !strings.Contains(got, `"peer" (did you mean pear?)`) || !strings.Contains(got, `"aple" (did you mean apple?)`) {
		t.Errorf("both unknown items are to be told: %s", got)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		change func(*TopK, *train.Model)
		want   string
	}{
		{func(_ *TopK, m *train.Model) { m.ItemIDs = nil }, "wire the corpus's items"},
		{func(s *TopK, _ *train.Model) {
			s.Users = stagetest.Table[UserRow](t, []tables.User{{ID: 1, User: "u"}})
		}, "do not belong together"},
		{func(s *TopK, _ *train.Model) {
			s.Split = stagetest.Table[SplitRow](t, []tables.Split{{User: 7, Train: []int32{13}, Valid: []int32{}, Test: []int32{}}})
		}, "items are 1…12"},
	} {
		model := untrained(t)
		stage := topK(t, model)
		c.change(stage, &model)
		parts, err := train.EncodeModel(model)
		if err != nil {
			t.Fatal(err)
		}
		stage.Model = stagetest.Table[tables.ModelPart](t, parts)
		stagetest.Result(t, &stage.Recommendations)
		if err := stage.Run(t.Context(), stagetest.TorchEnv(t)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
