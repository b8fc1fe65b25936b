// Package images fetches the pictures of items from the web.
//
//	[stages.images]
//	kind  = "images.download"
//	items = "corpus.items"
//
// What a URL served is remembered by row, in a memo that outlives the stage: a
// run that was killed goes on where it was, and ten new items cost ten requests.
// URLs come from other people's metadata and lead to other people's servers, so
// neither is trusted: requests keep away from private addresses, bodies and
// pictures have limits, and a picture that cannot be had is a row that says why.
//
// The package does not decode pictures (stages/picture does), does not crawl
// pages for them, and keeps no times in its table.
package images

import "github.com/prismflow/prismflow/stages"

// Kinds are the stage kinds of this package.
func Kinds() []stages.Kind { return []stages.Kind{downloadKind()} }
