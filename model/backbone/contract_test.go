package backbone

import (
	"math"
	"slices"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

var (
	contractConfig = Config{
		Rows: 31, Hidden: 8, Layers: 2, Heads: 2, MaxLength: 6, Dropout: 0.5, DropoutAttention: 0.5,
		STOSA: DefaultSTOSA(), InDiRec: DefaultInDiRec(),
	}
	contractSequences = [][]int32{{3, 14, 15, 9, 26}, {5}, {30, 29, 7, 9, 30, 2}, {3, 8}, {4, 6, 2, 6}}
)

// Every backbone, that of docs/backbones.md too, keeps what the interface says.
func TestContract(t *testing.T) {
	for _, c := range slices.Concat(constructors, exampleConstructors) {
		for name, check := range map[string]func(*testing.T, *gotorch.Session, Backbone){
			"the layout changes nothing": sameInEveryLayout,
			"newer items change nothing": seesNoNewerItems,
			"an item has one score":      scoresAgree,
			"each parameter has a name":  parametersAreNamed,
		} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				torchtest.Run(t, func(s *gotorch.Session) { check(t, s, c.make(s, contractConfig)) })
			})
		}
	}
}

func sameInEveryLayout(t *testing.T, s *gotorch.Session, m Backbone) {
	packed := newestStates(t, s, m, Pack, contractSequences).Float32s()
	for _, width := range []int{contractConfig.MaxLength, contractConfig.MaxLength + 3} {
		padded := newestStates(t, s, m, func(lengths []int) Rows { return Pad(lengths, width) }, contractSequences).Float32s()
		wantClose(t, "states in padded rows", padded, packed)
	}
}

// seesNoNewerItems compares the states of a sequence's older items with and
// without an exchange of its newest.
func seesNoNewerItems(t *testing.T, s *gotorch.Session, m Backbone) {
	const length, newest = 5, 4
	sequence := contractSequences[0][:length]
	other := append(slices.Clone(sequence[:newest]), 1)
	older := func(sequence []int32) []float32 {
		b := batch(t, s, Pack, [][]int32{sequence})
		return At(m.Encode(b, m.Embed(b), nn.Eval), b.Tokens.Narrow(0, 0, newest)).Float32s()
	}
	wantClose(t, "states before another newest item", older(other), older(sequence))
}

func scoresAgree(t *testing.T, s *gotorch.Session, m Backbone) {
	const first, count = 4, 9
	states := newestStates(t, s, m, Pack, contractSequences)
	var items []int64
	for range contractSequences {
		for item := range int64(count) {
			items = append(items, first+item)
		}
	}
	single := m.Score(states, s.FromInt64(items, int64(len(contractSequences)), count))
	set := m.ScoreSet(states, s.FromInt64(items[:count]))
	wantClose(t, "scores of a set", set.Float32s(), single.Float32s())
	wantClose(t, "scores of a range", m.ScoreRange(states, first, count).Float32s(), single.Float32s())
}

func parametersAreNamed(t *testing.T, _ *gotorch.Session, m Backbone) {
	seen := map[string]bool{}
	for _, p := range m.Parameters() {
		if seen[p.Name] || !p.Tensor.NeedsGrad() {
			t.Errorf("parameter %q is named twice, or is not trained", p.Name)
		}
		seen[p.Name] = true
	}
	if len(seen) == 0 {
		t.Error("there are no parameters")
	}
}

// newestStates are those of the sequences' newest items, [sequences, size].
func newestStates(t *testing.T, s *gotorch.Session, m Backbone, layout func([]int) Rows, sequences [][]int32) *gotorch.Tensor {
	t.Helper()
	b := batch(t, s, layout, sequences)
	streams := m.Embed(b)
	if len(streams) != m.Streams() {
		t.Fatalf("Embed gives %d streams, and Streams says %d", len(streams), m.Streams())
	}
	return At(m.Encode(b, streams, nn.Eval), b.Newest)
}

func batch(t *testing.T, s *gotorch.Session, layout func([]int) Rows, sequences [][]int32) *Batch {
	t.Helper()
	lengths := make([]int, len(sequences))
	for i, sequence := range sequences {
		lengths[i] = len(sequence)
	}
	b, err := NewBatch(s, layout(lengths), sequences, contractConfig.MaxLength)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantClose(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if diff := math.Abs(float64(got[i] - want[i])); !(diff <= 1e-5*max(1, math.Abs(float64(want[i])))) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}
