// Package features makes the vectors of items that a multimodal model reads.
//
//	[stages.features]
//	kind   = "features.hashed"
//	items  = "corpus.items"
//	images = "images.images"
//
// features.hashed needs no pretrained weights: it hashes n-grams of the text
// and histograms of the picture. features.attributes takes published lists of
// attributes for the text, and features.import vectors that a team's own
// encoder made. features.shuffled deals the vectors out to the items anew, for
// the ablation that a gain must not survive.
//
// The package does not encode with neural networks, and it does not fetch
// pictures.
package features

import "github.com/prismflow/prismflow/stages"

// Kinds are the stage kinds of this package.
func Kinds() []stages.Kind {
	return []stages.Kind{attributesKind(), hashedKind(), importKind(), shuffledKind()}
}
