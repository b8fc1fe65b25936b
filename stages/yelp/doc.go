// Package yelp reads the Yelp Open Dataset: reviews become interactions,
// businesses items, and photos the pictures of items.
//
//	[stages.reviews]
//	kind   = "yelp.reviews"
//	source = "yelp_dataset.tar"    # or yelp_academic_dataset_review.json
//
// The archives that Yelp hands out are read as they are: nothing has to be
// unpacked, and nothing of theirs is written under a name that they chose.
//
// The package resolves no repeated reviews and drops no rare users or
// businesses, which is what corpus is for, and it reads neither users, check-ins
// nor tips.
package yelp

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of stages that read Yelp's files.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Reviews]("yelp.reviews", 1, "reviews of the Yelp Open Dataset as interactions").WithDoc(reviewsDoc, reviewsExample),
		stages.Declare[Businesses]("yelp.businesses", 1, "businesses of the Yelp Open Dataset as items").WithDoc(businessesDoc, businessesExample),
		stages.Declare[Photos]("yelp.photos", 1, "photos of the Yelp Open Dataset as pictures of items").WithDoc(photosDoc, photosExample),
	}
}
