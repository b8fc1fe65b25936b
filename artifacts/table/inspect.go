package table

import (
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/prismflow/prismflow/artifacts"
)

// Inspect describes an Arrow file that somebody else wrote, after checking all
// of it: every offset, length and index, and that text is UTF-8. What passes
// can be read without surprise.
func Inspect(path string) (artifacts.Output, error) {
	f, err := Open(path)
	if err != nil {
		return artifacts.Output{}, err
	}
	defer f.Close()
	return f.Output()
}

// Output is what Inspect returns.
func (f *File) Output() (out artifacts.Output, err error) {
	defer f.guard(&err)
	if out.Digest, err = f.digest(); err != nil {
		return artifacts.Output{}, err
	}
	out.Bytes = f.size
	digests := make([]*digester, len(f.columns))
	for i, c := range f.columns {
		digests[i] = newDigester(c.dt)
	}
	for i := range f.batches {
		rows, err := f.digestBatch(i, out.Rows, digests)
		if err != nil {
			return artifacts.Output{}, err
		}
		out.Rows += rows
	}
	for i, c := range f.columns {
		out.Columns = append(out.Columns, artifacts.Column{Name: c.name, Type: typeName(c.dt), Digest: digests[i].sum()})
	}
	return out, nil
}

// digestBatch adds the columns of a batch to their digests, one after another,
// so that only one is in memory. first is the number of its first row.
func (f *File) digestBatch(i int, first int64, digests []*digester) (rows int64, err error) {
	l, err := f.batch(i)
	if err != nil {
		return 0, err
	}
	l.strict = true
	for j := range f.columns {
		v, err := l.column(&f.columns[j])
		if err != nil {
			return 0, inColumn(f.columns[j].name, first, err)
		}
		digests[j].add(v)
	}
	return l.header.rows, l.finished()
}

// digest is of the file's bytes.
func (f *File) digest() (artifacts.Digest, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{io.NewSectionReader(f.file, 0, f.size)}, make([]byte, 1<<20))
	if err == nil && n != f.size {
		err = fmt.Errorf("the file shrank from %d bytes to %d", f.size, n)
	}
	return artifacts.DigestOfHash(h), err
}
