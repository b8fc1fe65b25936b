package features

import (
	"context"
	"math/rand/v2"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

const shuffledVersion = 1

// Shuffled is the stage kind features.shuffled.
type Shuffled struct {
	Features stages.In[tables.Features]  `stage:"features" doc:"features of the items"`
	Seed     int64                       `stage:"seed" default:"1" min:"0" doc:"of the permutation"`
	Out      stages.Out[tables.Features] `stage:"shuffled" doc:"the same vectors, dealt out to the items anew"`
}

func shuffledKind() stages.Kind {
	return stages.Declare[Shuffled]("features.shuffled", shuffledVersion,
		"the same features dealt out to the items anew: the ablation that a gain must not survive").WithDoc(`
The vectors and masks are permuted among the items by one random permutation for
all modalities together. Their distribution stays as it was; what they say about
their items is gone. A model that is as good with these features as with the
right ones has not learned from what they say.`, `
[stages.shuffled]
kind     = "features.shuffled"
features = "features.features"
seed     = 1`)
}

// Run permutes the vectors.
func (s *Shuffled) Run(_ context.Context, _ *stages.Env) error {
	rows, err := s.Features.All()
	if err != nil {
		return err
	}
	order := rand.New(rand.NewPCG(uint64(s.Seed), 0)).Perm(len(rows))
	shuffled := make([]tables.Features, len(rows))
	for i, from := range order {
		shuffled[i] = rows[from]
		shuffled[i].ID, shuffled[i].Item = rows[i].ID, rows[i].Item
	}
	return s.Out.WriteAll(shuffled)
}
