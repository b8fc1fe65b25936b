// Package amazon reads the Amazon review data sets of 2014, 2018 and 2023:
// reviews become interactions, and product metadata become items.
//
//	[stages.reviews]
//	kind   = "amazon.reviews"
//	source = "reviews_Beauty_5.json.gz"
//
// A line that is not what it should be is an error with its place, unless
// max_bad_rows allows some. Texts of the metadata are web page
// fragments; they become plain text here, so that no stage behind has to know.
//
// The package resolves no duplicate reviews and drops no rare users or items,
// which is what corpus is for, and it downloads nothing.
package amazon

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of stages that read Amazon's files.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Reviews]("amazon.reviews", 1, "reviews of the Amazon data sets as interactions").WithDoc(reviewsDoc, reviewsExample),
		stages.Declare[Metadata]("amazon.metadata", 1, "product metadata of the Amazon data sets as items").WithDoc(metadataDoc, metadataExample),
	}
}
