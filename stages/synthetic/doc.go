// Package synthetic generates corpora with a planted structure, so that tests
// know what a model must find and the demonstration needs no download.
//
//	[stages.synthetic]
//	kind  = "synthetic.amazon"
//	users = 3000
//
// The generated files have the real formats and go through the real ingest; the
// pictures are downloaded from a site on loopback, which package site serves.
package synthetic

import "github.com/prismflow/prismflow/stages"

// Kinds are the stage kinds of this package.
func Kinds() []stages.Kind { return []stages.Kind{amazonKind()} }
