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
		stages.Declare[Ratio]("split.ratio", 1, "a share of each user's last items held out").WithDoc(ratioDoc, ratioExample),
		stages.Declare[Temporal]("split.temporal", 1, "everything from two points in time on held out").WithDoc(temporalDoc, temporalExample),
	}
}

const leaveOneOutDoc = `
Of a user's items x_1 … x_n, oldest first, x_n is the test answer, x_{n-1} the
validation answer, and x_1 … x_{n-2} is the training part. The history before the
test answer is everything before it, the validation answer too.

Users with fewer than min_length items (at least three, so that there is one to train
on) are left out and counted. An answer that occurs in its own history is counted as
repeated: where seen items are not recommended, it cannot be found.

Each user is divided at another time, so a model learns from what other users did
after a test answer. How many test answers are older than some training interaction
of another user is counted as test_answers_before_training, and a warning says their
share. Sequences with positions instead of times (sequences.import) are not judged.
split.temporal has no such leak.
`

const leaveOneOutExample = `
[stages.split]
kind      = "split.leave_one_out"
sequences = "corpus.sequences"
`

const ratioDoc = `
Of a user's n items, oldest first, the last n × test_share are the test answers, the
n × valid_share before them the validation answers, and the rest is the training part.
Both numbers are rounded down, but are at least 1 where the share is above 0. No share
is above a half, so at least one item is left to train on.

Users with fewer than min_length items are left out and counted. As with
split.leave_one_out each user is divided at another time; the same is counted and
warned of.
`

const ratioExample = `
[stages.split]
kind        = "split.ratio"
sequences   = "corpus.sequences"
valid_share = 0.1
test_share  = 0.2
`

const temporalDoc = `
What happened before valid_from is trained on, what happened from then on and before
test_from are validation answers, and what happened from test_from on are test answers,
whoever did it. So nothing is learned from the future of anybody's answer.

valid_from and test_from are points in time, or shares of all interactions: with
"80%" at most that share comes before the cut, for interactions of one time stay
together behind it.

Users with nothing before valid_from are new: a model of sequences has nothing to go
by. They are left out (new_users = "leave_out") or kept with an empty training part,
and then their validation answers are asked with an empty history. Items that nobody
had before valid_from are cold: a model that knows items by their number alone cannot
find them. Such answers are kept (cold_items = "keep"; evaluate's slices tell them
apart) or left out of validation and test, and then of the history before a test answer
too. Both are counted. Users without an answer are kept to train on.

All test answers of a user are asked with the same history, everything before
test_from.
`

const temporalExample = `
[stages.split]
kind       = "split.temporal"
sequences  = "corpus.sequences"
valid_from = "80%"
test_from  = "90%"
`
