// Package sequences imports processed sequences, as many papers publish them,
// so that they run through the same stages as raw data do.
//
//	[stages.corpus]
//	kind   = "sequences.import"
//	source = "Beauty.txt"
//
// The package filters nothing: a published file is taken as it is or refused.
package sequences

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of this family.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Import]("sequences.import", 1, "processed sequences as a corpus").WithDoc(importDoc, importExample),
	}
}

const importDoc = `
Reads "user item item …" lines, a user's items oldest first, separated by spaces or
tabs, gzip-compressed or not, and writes the outputs of corpus. Texts and pictures
are empty, and instead of times there are positions, from 1.

Ids are any words. With ids = "sorted" they are external ids like any others, and
internal ids follow their order by bytes, in which "10" stands before "2". With
ids = "as_given" they must be the whole numbers 1 to N without a gap, for users and
for items, and are the internal ids: for files that others align with these numbers.

A blank line, a user without items, a repeated user and, with as_given, anything but
a number is an error with its file and line.
`

const importExample = `
[stages.corpus]
kind   = "sequences.import"
source = "../data/Beauty.txt"
`
