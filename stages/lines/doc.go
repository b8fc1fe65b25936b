// Package lines reads text files line by line and knows where each line
// stands. A file may be gzip-compressed, which is told by its first bytes and
// not by its name; a gzip file may have several members. Of a tar archive one
// file can be read in place.
//
//	r := lines.Open(ctx, source.Files(), lines.Options{})
//	defer r.Close()
//	for r.Next() {
//		use(r.Text(), r.Row()) // r.Errorf("no id") says "reviews.json.gz:17: no id"
//	}
//	err := r.Err()
//
// Reading and inflating run ahead, some files side by side, so that they overlap
// with whatever is done with the lines. Memory is a few blocks for each of those
// files and the longest line, which is bounded.
//
// Chunks reads the same lines many at a time, for who works on them in several
// goroutines.
//
// Texts reads files in the same way for formats that are not of lines, such as
// CSV with line breaks in quotes.
//
// The package does not parse lines, does not decode any text encoding (it only
// drops a UTF-8 byte order mark), and unpacks nothing but gzip and tar.
package lines
