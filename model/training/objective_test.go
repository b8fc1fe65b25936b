package training

import (
	"math"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

func TestNegativesAreUniformOverUnknownItems(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		const items, draws = 12, 60000
		users := []User{
			{Train: []int32{5}},
			{Train: []int32{12, 1, 2, 2, 7}, Held: []int32{3, 4}},
			{Train: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
			{Train: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}, // knows everything: any item will do
		}
		for _, withHeld := range []bool{false, true} {
			n := newNegatives(s, users, items, withHeld)
			for user := range users {
				counts := make([]float64, items+1)
				drawn := n.draw(s.FromInt64([]int64{int64(user), int64(user)}), draws/2)
				for _, item := range drawn.Int64s() {
					counts[item]++
				}
				checkUniform(t, counts, unknown(&users[user], items, withHeld), draws)
			}
		}
	})
}

func unknown(u *User, items int, withHeld bool) map[int]bool {
	out := map[int]bool{}
	for item := 1; item <= items; item++ {
		out[item] = true
	}
	known := u.known(withHeld)
	if len(known) < items {
		for _, item := range known {
			delete(out, int(item))
		}
	}
	return out
}

// checkUniform allows five standard deviations.
func checkUniform(t *testing.T, counts []float64, allowed map[int]bool, draws int) {
	t.Helper()
	p := 1 / float64(len(allowed))
	for item, n := range counts {
		want, slack := 0.0, 0.0
		if allowed[item] {
			want, slack = p*float64(draws), 5*math.Sqrt(float64(draws)*p*(1-p))
		}
		if math.Abs(n-want) > slack {
			t.Errorf("item %d was drawn %v times, want %.0f ± %.0f", item, n, want, slack)
		}
	}
}

// table is a backbone that only scores: by the dot product with item rows.
type table struct {
	backbone.Backbone
	weight *gotorch.Tensor
}

func (b table) Score(states, items *gotorch.Tensor) *gotorch.Tensor {
	return backbone.Lookup(b.weight, items, -1).Mul(states.Unsqueeze(1)).Sum(-1)
}

func (b table) ScoreRange(states *gotorch.Tensor, first, count int64) *gotorch.Tensor {
	return states.MatMul(b.weight.Narrow(0, first, count).T())
}

func TestBlocksGiveTheWholeCrossEntropy(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		const n, items = 7, 9
		o := &objective{config: Config{Loss: CE}, items: items}
		weight, states := s.Randn(items+1, 4).RequiresGrad(true), s.Randn(n, 4).RequiresGrad(true)
		o.backbone = table{weight: weight}
		in := targets{states: states.Mul(1), items: s.FromInt64([]int64{1, 9, 2, 3, 3, 4, 5})}
		whole, differentiable := o.loss(in)
		differentiable.Backward()
		wantStates, wantWeight := states.Grad().Float32s(), weight.Grad().Float32s()
		for _, rows := range []int64{1, 2, 3, 6} {
			states.SetGrad(nil)
			weight.SetGrad(nil)
			value, differentiable := o.inBlocks(in, rows)
			differentiable.Backward()
			near(t, value.Float32s(), whole.Float32s())
			near(t, states.Grad().Float32s(), wantStates)
			near(t, weight.Grad().Float32s(), wantWeight)
		}
	})
}

func near(t *testing.T, got, want []float32) {
	t.Helper()
	for i := range want {
		if !(math.Abs(float64(got[i]-want[i])) <= 1e-6) {
			t.Errorf("element %d is %v, want %v", i, got[i], want[i])
			return
		}
	}
}

func TestLossesAreFiniteAtHugeScores(t *testing.T) {
	for _, loss := range []Loss{BCE, CE} {
		torchtest.Run(t, func(s *gotorch.Session) {
			config := Default()
			config.Loss, config.Negatives = loss, 2
			users := []User{{Train: []int32{1}}, {Train: []int32{2}}}
			o := &objective{config: config, items: 3, negatives: newNegatives(s, users, 3, false)}
			o.backbone = table{weight: s.FromFloat32([]float32{0, 1, -1, 1}, 4, 1)}
			states := s.FromFloat32([]float32{1e4, -1e4}, 2, 1).RequiresGrad(true)
			value, differentiable := o.loss(targets{states: states, items: s.FromInt64([]int64{2, 1}), users: s.FromInt64([]int64{0, 1})})
			differentiable.Backward()
			if got := value.Item(); math.IsInf(got, 0) || math.IsNaN(got) || got < 1e4 {
				t.Errorf("%s at scores of ±10⁴ is %v", loss, got)
			}
			for _, g := range states.Grad().Float32s() {
				if !(math.Abs(float64(g)) > 0 && math.Abs(float64(g)) < 10) {
					t.Errorf("%s at scores of ±10⁴ has the gradient %v", loss, g)
				}
			}
		})
	}
}

func TestExamplesAreTheNewestWindow(t *testing.T) {
	users := []User{{Train: []int32{1}}, {Train: []int32{1, 2, 3, 4, 5, 6}}, {Train: []int32{7, 8}}}
	examples := newExamples(users, 3)
	if len(examples) != 2 {
		t.Fatalf("%d examples, want 2: a user with one item has no target", len(examples))
	}
	items, of := flatten(examples)
	for i, want := range [][2]int64{{4, 1}, {5, 1}, {6, 1}, {8, 2}} {
		if items[i] != want[0] || of[i] != want[1] {
			t.Errorf("target %d is item %d of user %d, want %v", i, items[i], of[i], want)
		}
	}
}

func TestValidationListsEveryProblem(t *testing.T) {
	config := Config{}
	err := config.Validate()
	for _, want := range []string{"backbone", "mode", "loss", "hidden", "layers", "heads", "max_length", "learning_rate", "batch_size", "epochs", "monitor", "precision", "threads", "gate_temperature", "negatives"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("an empty configuration: %s is not named in\n%v", want, err)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
	data := Data{Items: 3, Users: []User{{ID: 7, Train: []int32{1, 9}}, {ID: 8, Valid: -1}}, Modalities: []Modality{{Name: "image", Size: 2, Vectors: []float32{1}}}}
	if err := data.Validate(); err == nil || !strings.Contains(err.Error(), "user 7") || !strings.Contains(err.Error(), "user 8") || !strings.Contains(err.Error(), "modality image") {
		t.Errorf("broken data: %v", err)
	}
}
