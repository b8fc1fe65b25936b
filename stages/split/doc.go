// Package split divides sequences into what is trained on and what is asked.
//
//	[stages.split]
//	kind      = "split.leave_one_out"
//	sequences = "corpus.sequences"
//
// The package makes no negatives, windows or batches, which are the trainer's.
package split

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of this family.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[LeaveOneOut]("split.leave_one_out", 1, "each user's last two items held out").WithDoc(leaveOneOutDoc, leaveOneOutExample),
	}
}

const leaveOneOutDoc = `
Of a user's items x_1 … x_n, oldest first, x_n is the test answer, x_{n-1} the
validation answer, and x_1 … x_{n-2} is the training part. The history before the
test answer is everything before it, the validation answer too.

Users with fewer than min_length items (at least three, so that there is one to train
on) are left out and counted. An answer that occurs in its own history is counted as
repeated: where seen items are not recommended, it cannot be found.
`

const leaveOneOutExample = `
[stages.split]
kind      = "split.leave_one_out"
sequences = "corpus.sequences"
`
