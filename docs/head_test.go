package docs

import (
	"context"
	"testing"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
)

// Head is a stage: its fields are its inputs, parameters and outputs.
type Head struct {
	Items stages.In[title]  `stage:"items" doc:"any table of items"`
	Count int64             `stage:"count" default:"10" min:"1" unit:"rows" doc:"how many to keep"`
	First stages.Out[title] `stage:"first" doc:"the first of them"`
}

// title is what it reads of an item: only these columns are part of its key.
type title struct {
	Item  string `arrow:"item"`
	Title string `arrow:"title"`
}

func (h *Head) Run(_ context.Context, env *stages.Env) error {
	items, err := h.Items.All()
	if err != nil {
		return err
	}
	env.Count("items", float64(len(items)))
	return h.First.WriteAll(items[:min(h.Count, int64(len(items)))])
}

// Kinds are the kinds of this family.
func Kinds() []stages.Kind {
	return []stages.Kind{stages.Declare[Head]("items.head", 1, "the first items of a table")}
}

func TestHead(t *testing.T) {
	items := []title{{"b", "Ball"}, {"a", "Net"}, {"c", "Bat"}}
	head := Head{Items: stagetest.Table[title](t, items), Count: 2}
	first := stagetest.Result(t, &head.First)
	if err := head.Run(t.Context(), stagetest.Env(t)); err != nil {
		t.Fatal(err)
	}
	if got := first(); len(got) != 2 || got[1].Title != "Net" {
		t.Errorf("the first two: %v", got)
	}
}
