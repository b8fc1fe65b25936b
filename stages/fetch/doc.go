// Package fetch makes a file that is somewhere else, or that is in an archive, the
// output of a stage, for whichever stages read files.
//
//	[stages.ratings]
//	kind   = "fetch"
//	url    = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
//	member = "ratings.csv"
//
//	[stages.events]
//	kind   = "tabular.interactions"
//	source = "ratings.file"
//
// The package downloads nothing: url is a source as other stages have them, which
// the engine fetches, checks and keeps. It unpacks single files, never a whole
// archive, and nothing to a name that the archive chooses.
package fetch

import "github.com/prismflow/prismflow/stages"

// Kinds are the kinds of this family.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Fetch]("fetch", 1, "a file from a URL, or out of an archive").WithDoc(fetchDoc, fetchExample),
	}
}

const fetchDoc = `
Makes the file at url its output: http://, https://, s3://, gs://, azblob:// and
file:// addresses, and paths as any source takes them. Other stages name it
"<stage>.file". A stage that reads one file as it is can take the same URL as its own
source; this one is for files that several stages read, and for those in archives.

A URL is asked once. What it served is kept, and it is asked again only by
run --refresh, and then sends nothing if nothing changed. A transfer that breaks off
goes on where it stopped, also in a later run. sha256 says what the file must be
(that of the archive where member is given).

member is a file in a zip or tar archive (tar may be gzip-compressed): its path, or
the last elements of its path where those are of one file alone. The archive is told
by its content. A check sum that is wrong, an archive that is cut short, several
files of that name, an encrypted one and one of more than max_bytes are errors.
`

const fetchExample = `
[stages.ratings]
kind   = "fetch"
url    = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
member = "ratings.csv"
`
