// Package tabular reads a team's own tables: rows of events become
// interactions, and rows of products become items. Columns are named in the
// pipeline, so that no export has to be rewritten first.
//
//	[stages.ratings]
//	kind   = "tabular.interactions"
//	source = "data/ratings.csv"        # userId,movieId,rating,timestamp
//	user   = "userId"
//	item   = "movieId"
//	rating = "rating"
//
// Files are CSV, TSV, JSON lines, Parquet, Arrow or RecBole's atomic files, which
// their content tells. A value that is not what its column should hold is an error
// with file, line and column, or file and row, unless max_bad_rows allows some.
//
// The package does not guess: neither which column is which, nor the form of
// times, nor an encoding other than UTF-8. It leaves duplicates of interactions,
// ratings that are too low and rare items to corpus.
package tabular

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of stages that read tables.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Interactions]("tabular.interactions", 1, "rows of a table as interactions").WithDoc(interactionsDoc, interactionsExample),
		stages.Declare[Items]("tabular.items", 1, "rows of a table as items, with texts of another").WithDoc(itemsDoc, itemsExample),
	}
}
