package backbone

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// A Backbone turns sequences into hidden states and scores items by them. It is
// bound to its session.
type Backbone interface {
	nn.Module

	// Streams is the number of tensors that Embed gives and Encode takes.
	Streams() int
	// Embed looks up the items of a batch, without positions: for each stream
	// one tensor [rows, width, hidden].
	Embed(b *Batch) []*gotorch.Tensor
	// Encode turns what Embed gave, and whatever was added to it, into hidden
	// states [rows, width, size]; they may be read as [places, size] by At.
	Encode(b *Batch, streams []*gotorch.Tensor, mode nn.Mode) *gotorch.Tensor
	// Score gives the scores [n, k] of items, int64 [n, k], by states [n, size];
	// the higher the better.
	Score(states, items *gotorch.Tensor) *gotorch.Tensor
	// ScoreSet gives the scores [n, k] of the same items, int64 [k], for all
	// states [n, size].
	ScoreSet(states, items *gotorch.Tensor) *gotorch.Tensor
	// ScoreRange gives the scores [n, count] of the items first, first+1, ….
	ScoreRange(states *gotorch.Tensor, first, count int64) *gotorch.Tensor
}

// A Regularizer is a backbone with a loss of its own beside that of the scores.
type Regularizer interface {
	// Regularization is that loss, weighted, for each state [n, size] with its
	// target and one negative, int64 [n] each: [n].
	Regularization(states, targets, negatives *gotorch.Tensor) *gotorch.Tensor
}

// A Paired backbone learns from a sequence together with another of the same
// intent, and finds the intents itself, once an epoch.
type Paired interface {
	// Cluster assigns each of the training examples to an intent by its newest
	// state, [examples, size]: the intents, from 0, in the order of the rows.
	Cluster(states *gotorch.Tensor) []int32
	// PairLoss is the weighted loss, one number, of n sequences' newest states
	// [n, size] with their targets, int64 [n], and the newest states [n, size] of
	// their partners. noise gives the unit-normal values that it draws.
	PairLoss(states, targets, partners *gotorch.Tensor, noise Noise) *gotorch.Tensor
}

// Noise gives unit-normal values of a shape.
type Noise func(shape ...int64) *gotorch.Tensor

// Config is the shape of a backbone.
type Config struct {
	Rows             int // of the item table: padding, items, and what else is there
	Hidden           int
	Layers           int
	Heads            int // divides Hidden
	MaxLength        int // items that are read of a sequence
	Dropout          float64
	DropoutAttention float64
	// Reference draws the padding row like the others, and masks by adding a
	// large number instead of leaving out, as the published code does. Only
	// what padding places compute depends on it.
	Reference bool

	STOSA   STOSA   // read by stosa alone
	InDiRec InDiRec // read by indirec alone
}

// A constructor is what a backbone is known by.
type constructor struct {
	name   string
	make   func(*gotorch.Session, Config) Backbone
	paired bool   // whether it is a Paired
	score  string // what its scores are; empty for a dot product
}

var constructors = []constructor{
	{name: SASRecName, make: newSASRec},
	{name: STOSAName, make: newSTOSA, score: "negative squared Wasserstein distance"},
	{name: InDiRecName, make: newInDiRec, paired: true},
}

// ScoreName says what the scores of the backbone of a name are, such as "dot
// product"; empty for a name that there is not. They are no probabilities, and
// those of two models do not compare.
func ScoreName(name string) string {
	for _, c := range constructors {
		if c.name == name {
			return cmp.Or(c.score, "dot product")
		}
	}
	return ""
}

// LearnsFromPairs reports whether the backbone of a name is a Paired one.
func LearnsFromPairs(name string) bool {
	for _, c := range constructors {
		if c.name == name {
			return c.paired
		}
	}
	return false
}

// Names are the backbones that New makes.
func Names() []string {
	names := make([]string, len(constructors))
	for i, c := range constructors {
		names[i] = c.name
	}
	return names
}

// New makes a backbone with parameters drawn from the session's generator. Call
// it inside the session's Run. Settings that only one backbone reads are checked
// by it.
func New(s *gotorch.Session, name string, config Config) (Backbone, error) {
	if name == InDiRecName {
		if err := errors.Join(config.InDiRec.Validate(config.Hidden)...); err != nil {
			return nil, fmt.Errorf("backbone %s: %w", name, err)
		}
	}
	for _, c := range constructors {
		if c.name == name {
			return c.make(s, config), nil
		}
	}
	return nil, fmt.Errorf("backbone %q: want %s", name, strings.Join(slices.Sorted(slices.Values(Names())), " or "))
}
