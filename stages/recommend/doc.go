// Package recommend turns a trained model into lists of items for people.
//
//	[stages.recommend]
//	kind  = "recommend.top_k"
//	model = "train.model"
//	split = "split.split"
//	users = "corpus.users"
//
// TopK makes the lists of all users; ForHistory makes one. The selection is
// package model/ranking's. The package says nothing of how good the lists are
// (evaluate does), and mixes in no rules of a shop, such as what is in stock.
package recommend

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of this family.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[TopK]("recommend.top_k", 1, "the best items for every user").WithDoc(doc, example),
	}
}

const doc = `
For each user of the split the k items with the highest scores, best first, by all that
is known of the user: the training, validation and test items. Items that the user has
had are left out unless with_seen is set. Users of whom nothing is known get none and
are counted. Of equal scores the smaller internal item id, which is the smaller external
id in the order of a corpus, comes first.

External item ids are those that the model holds; one that was trained without items
needs them here. A score is what the model ranks by (a dot product, for stosa a negative
squared distance): no probability, and only those of one user compare.
`

const example = `
[stages.recommend]
kind  = "recommend.top_k"
model = "train.model"
split = "split.split"
users = "corpus.users"
k     = 20
`
