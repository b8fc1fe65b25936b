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
		stages.Declare[Evaluate]("evaluate", 3, "rank every user's held-out answers by a model and two baselines").WithDoc(doc, example),
	}
}

const doc = `
Each user's held-out answers are ranked among all items of the catalogue by the model,
by popularity, and by a co-occurrence kNN; both baselines are fitted on the training
parts only and always run. The history before validation answers is the training part,
before test answers the training part and the validation items.

Every user with an answer is counted. Items of the history are no candidates
(filter_seen), so that an answer which the user has had before cannot be found; it
counts with 0 in every metric and is reported as repeated. Equal scores count against
the answer (ties = "pessimistic"). A score that is not a number is an error, and so is
any metric outside the bounds that hold for all rankings.

Of a user with a answers (an item that was taken twice is one), recall@k is the answers
among the first k divided by a; ndcg@k the sum of 1/log2(place+1) over the answers
among the first k, divided by the same sum over the places 1 to min(a, k); mrr@k
1/place of the first answer, if it is among the first k. With one answer a user, recall
is the hit rate. Values are means over users. Numbers against sampled negatives are
several times higher and compare with nothing here.

With beyond_accuracy, metrics also says what the first k items are like that are
recommended to each user with an answer: coverage, the share of all items that anybody
is recommended; gini, how unequally often the items are recommended, from 0 (all alike)
to 1 (one item alone); average_popularity, how often a recommended item occurs in
training; novelty, the mean of -log2 of the share of training users who had the item, in
bits. The kNN recommends only items that it gives a score, so n may be smaller.

slices has recall, ndcg and mrr for some of the answers alone: of cold items, which
nobody had in training, and of warm ones (item), by how often the answer occurs in
training (item_frequency), by the number of items in the history (history_length) and,
with features, by what is known of the answer (modality). Users with an answer of the
kind are counted, as if they had no others; the candidates stay the same.
`

const example = `
[stages.evaluate]
kind  = "evaluate"
model = "train.model"
split = "split.split"
ks    = [5, 10, 20]
`
