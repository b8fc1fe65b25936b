// Package corpus makes the one canonical data set of a pipeline from raw
// interactions: it filters them, resolves duplicates, takes the k-core, gives
// users and items their internal ids and orders every user's items by time.
//
//	[stages.corpus]
//	kind         = "corpus"
//	interactions = "reviews.interactions"
//	items        = "metadata.items"
//	min_core     = 5
//
// Every later stage reads ids from its outputs, so that no two stages can
// disagree on which item a number means.
//
// The package reads no raw files and divides nothing into train and test.
package corpus

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of this family.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Corpus]("corpus", 1, "filtered interactions as sequences with internal ids").WithDoc(corpusDoc, corpusExample),
	}
}

const corpusDoc = `
Makes sequences, users and items from interactions, in this order:

1. Interactions with a rating below min_rating, before from, or at or after until
   are left out.
2. Duplicates, that is interactions of the same user with the same item, are
   resolved: keep_first and keep_last keep the first or last by time, keep_all all.
3. The k-core: users with fewer than min_user_core interactions and items with
   fewer than min_item_core are left out, again and again until none is left to
   leave out. Both are min_core unless set.
4. Users and items that are left get the ids 1, 2, … in the order of their sorted
   external ids (by bytes).
5. Each user's items are ordered by time. Ties are broken by the source row, and
   where even that is equal by the item's external id.

So the result does not depend on the order in which the interactions arrive. Items
that items does not know have empty texts and no picture, and are counted.

from and until are days ("2014-01-01", which begin at midnight UTC) or times
("2014-01-01T12:00:00Z").

Memory: 24 bytes for each interaction that passes step 1, about 100 for each distinct
user and item of the input, and the texts of the items that are left.
`

const corpusExample = `
[stages.corpus]
kind         = "corpus"
interactions = "reviews.interactions"
items        = "metadata.items"
min_core     = 5
`
