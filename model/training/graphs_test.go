package training

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// TestFilledUpBatchesGiveTheSameLosses is about what a GPU gets: rows of one
// width, and sizes filled up to few shapes.
func TestFilledUpBatchesGiveTheSameLosses(t *testing.T) {
	for _, name := range backbone.Names() {
		config := small()
		config.Model.Backbone = name
		config.Model.Dropout, config.Model.DropoutAttention, config.Model.GateDropout = 0, 0, 0
		data := withPictures(chains(90, 30))
		var want record
		shapes := map[stepShape]bool{}
		for _, fill := range []bool{false, true} {
			stepper(t, torchtest.Open(t), data, config, func(tr *trainer) {
				if fill {
					tr.fillUp()
				}
				random := rand.New(rand.NewPCG(1, 1))
				f := tr.newFeed(random)
				if backbone.LearnsFromPairs(name) {
					f.partners = random.Perm(len(f.order))
				}
				for number := range f.steps() {
					shape, words, err := f.step(number)
					if err != nil {
						t.Fatal(err)
					}
					shapes[shape] = fill
					tr.compute(shape, tr.session.FromInt64(words), part{first: true, last: true, scale: 1})
				}
				got := tr.readLosses(f.steps())
				if want == nil {
					want = got
				}
				for i := range want {
					if math.Abs(float64(got[i]-want[i])) > 1e-4 {
						t.Errorf("%s: column %d of step %d is %v filled up, want %v", name, i%recordColumns, i/recordColumns, got[i], want[i])
					}
				}
			})
		}
		few := 0
		for _, fill := range shapes {
			if fill {
				few++
			}
		}
		most := 3 // whole batches, some longer, and what is left over
		if backbone.LearnsFromPairs(name) {
			most *= 2 // partners are batches of their own
		}
		if few > most {
			t.Errorf("%s: %d shapes of filled up batches, want at most %d", name, few, most)
		}
	}
}
