package split

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// Ratio is the stage kind split.ratio.
type Ratio struct {
	Sequences  stages.In[sequence]      `stage:"sequences" doc:"each user's items, oldest first"`
	ValidShare float64                  `stage:"valid_share" default:"0.1" min:"0" max:"0.5" doc:"share of a user's items that is held out for validation"`
	TestShare  float64                  `stage:"test_share" default:"0.1" min:"0" max:"0.5" doc:"share of a user's items, the newest, that is held out for the test"`
	MinLength  int64                    `stage:"min_length" default:"3" min:"3" unit:"items" doc:"fewest items of a user to be kept"`
	Split      stages.Out[tables.Split] `stage:"split" doc:"one row for each user that is kept, in the order of the sequences"`
}

// Validate reports what single parameters' bounds cannot say. That no share is
// above a half is what leaves every user of three items one to train on.
func (r *Ratio) Validate() []stages.Problem {
	switch held := r.ValidShare + r.TestShare; {
	case held == 0:
		return []stages.Problem{{Param: "test_share", Message: "must be above 0 where valid_share is 0: nothing is held out"}}
	case held >= 1:
		return []stages.Problem{{Param: "valid_share", Message: fmt.Sprintf("valid_share and test_share are %v together, must be below 1: nothing is trained on", held)}}
	}
	return nil
}

// Run reads the sequences and writes the split.
func (r *Ratio) Run(ctx context.Context, env *stages.Env) error {
	return divideByOrder(ctx, env, r.Sequences, r.Split, r.MinLength, func(items int) (valid, test int) {
		return portion(items, r.ValidShare), portion(items, r.TestShare)
	})
}

// portion is a share of so many items, rounded down, but at least one of a
// share above 0.
func portion(items int, share float64) int {
	if share == 0 {
		return 0
	}
	const rounding = 1e-9 // what a product such as 0.29 × 100 may fall short of
	return max(1, int(float64(items)*share+rounding))
}
