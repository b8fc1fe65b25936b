// Package evaluate says how good a recommender is on held-out answers.
//
//	[stages.evaluate]
//	kind  = "evaluate"
//	model = "train.model"
//	split = "split.split"
//
// The counting is package model/ranking's. The package compares no runs and
// tunes nothing.
package evaluate

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of this family.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Evaluate]("evaluate", 2, "rank every user's held-out answer by a model and two baselines").WithDoc(doc, example),
	}
}

const doc = `
Each user's first held-out answer is ranked among all items of the catalogue by the
model, by popularity, and by a co-occurrence kNN; both baselines are fitted on the
training parts only and always run. The history before a validation answer is the
training part, before a test answer the training part and the validation items.

Every user with an answer is counted. Items of the history are no candidates
(filter_seen), so that an answer which the user has had before cannot be found; such
users count with 0 in every metric and are reported as repeated. Equal scores count
against the answer (ties = "pessimistic"). A score that is not a number is an error, and
so is any metric outside the bounds that hold for all rankings with one answer a user.

With one answer a user, recall@k is the hit rate. Numbers against sampled negatives are
several times higher and compare with nothing here.
`

const example = `
[stages.evaluate]
kind  = "evaluate"
model = "train.model"
split = "split.split"
ks    = [5, 10, 20]
`
