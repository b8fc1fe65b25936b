// Package train fits recommenders.
//
//	[stages.train]
//	kind     = "prism.train"
//	split    = "split.split"
//	features = "embed.features"   # optional
//	items    = "corpus.items"     # optional
//	loss     = "ce"
//
// Its output model is a table that holds all that using the model takes, the
// items' external ids included where items is wired. DecodeModel reads it, and so
// does every stage and command that serves a model. How training
// works is package model/training's matter. The package does not evaluate on
// test answers.
package train

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of this family.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Prism]("prism.train", 2, "train PRISM, or its backbone alone, on sequences").WithDoc(prismDoc, prismExample),
	}
}

const prismDoc = `
Each user's training items, at most max_length of the newest with the item after each
as its target, train a backbone: sasrec, stosa (items and states are normal
distributions) or indirec (sasrec beside a diffusion between sequences of one intent,
found anew each epoch). With features also PRISM before it: experts for what pictures
and texts say each alone, only together, and in common, mixed by a gate (arXiv
2601.10944). Without features, or where no item has any, it is the plain backbone.

Every eval_every epochs the validation answers of every user who has something to train
on are ranked among all items that the user has not had, and the best epoch by monitor
is kept; with several answers a user, evaluate's text has the definitions. Training stops after
patience validations without a better one.

mode = "causal" lets a position see its own past only. "paper" pools over the whole
training window, as the paper describes it, so that in training a position sees its own
target. "reference" does what the published code does, for comparison: pooling over
padding, Euclidean triplets, unit-normal noise, trainable feature tables, and negatives
that avoid the held-out answers. A parameter that is "auto" follows from mode and
backbone.

loss = "ce" is the softmax over all items; "sampled_ce" estimates it from negatives drawn
items, which is cheaper on large catalogues; "bce" and "bpr" compare each target with
negatives drawn items and need more epochs. stosa is published with bpr.

Of the test column only the largest id is used, since every item needs a row (and
negative_rejection = "all" keeps test answers out of the negatives). Items are numbered 1
to the largest id in split, features and items. Where items is wired it must have every
one of these ids once, and the model holds the external id of each.

One seed gives one model to the bit on the same device type, libtorch and number of
threads. A killed training goes on from its last checkpoint, with the same result. A loss
that is not a finite number stops it, with the step and the tensor named.
`

const prismExample = `
[stages.train]
kind     = "prism.train"
split    = "split.split"
features = "features.features"
items    = "corpus.items"
seed     = 42
`
