package prism

import "cmp"

// LossOn says what the interaction losses compare.
type LossOn string

const (
	// LossOnEmbedding compares what an expert says of pooled modality vectors.
	LossOnEmbedding LossOn = "embedding"
	// LossOnPrediction compares what the encoder makes of it: the newest hidden
	// state of a pass with one expert in place of the mixture. That is the paper's
	// text, and a pass of the encoder for each expert with all modalities and with
	// each one replaced.
	LossOnPrediction LossOn = "prediction"
)

// Distance is that of the uniqueness triplets.
type Distance string

const (
	DistanceCosine    Distance = "cosine"    // 1 - cosine, the paper's
	DistanceEuclidean Distance = "euclidean" // the published code's
)

// Replacement is what stands for a modality that an expert is not to see.
type Replacement string

const (
	ReplaceScaled  Replacement = "scaled"  // noise with the mean and the deviation that each component has over the batch
	ReplaceUnit    Replacement = "unit"    // unit-normal noise
	ReplaceMean    Replacement = "mean"    // the mean over the batch
	ReplaceZero    Replacement = "zero"    // zeros
	ReplacePermute Replacement = "permute" // another sequence's vector
)

// Tables says what becomes of the feature vectors in training.
type Tables string

const (
	TablesFrozen    Tables = "frozen"    // they stay as they are, and only their projection is trained
	TablesTrainable Tables = "trainable" // they are parameters
)

// Missing is the feature vector of an item that lacks a modality. Where tables
// are trained it is what that item's row begins with.
type Missing string

const (
	MissingLearned Missing = "learned" // zeros, and a learned vector is added to their projection
	MissingZero    Missing = "zero"    // zeros
	MissingMean    Missing = "mean"    // the mean of the items that have it
)

// FusionScope says over what modality vectors are pooled for experts and gate
// in mode paper.
type FusionScope string

const (
	ScopeSequence FusionScope = "sequence" // over the sequence: one mixture for all of its places
	ScopeItem     FusionScope = "item"     // over nothing: each item has its own mixture
)

// Resolve sets the options that were left empty to what follows from the mode.
func (c Config) Resolve() Config {
	distance, replacement, tables, missing := DistanceCosine, ReplaceScaled, TablesFrozen, MissingLearned
	if c.Mode == Reference {
		distance, replacement, tables, missing = DistanceEuclidean, ReplaceUnit, TablesTrainable, MissingZero
	}
	c.LossOn = cmp.Or(c.LossOn, LossOnEmbedding)
	c.Distance = cmp.Or(c.Distance, distance)
	c.Replacement = cmp.Or(c.Replacement, replacement)
	c.Tables = cmp.Or(c.Tables, tables)
	c.Missing = cmp.Or(c.Missing, missing)
	c.FusionScope = cmp.Or(c.FusionScope, ScopeSequence)
	return c
}

// perPlace is whether every place has a mixture of its own, rather than one for
// its whole sequence.
func (c Config) perPlace() bool { return c.Mode == Causal || c.FusionScope == ScopeItem }
