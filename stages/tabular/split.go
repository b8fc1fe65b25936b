package tabular

import (
	"context"
	"io"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// A splitReader reads records of one line each, in which quotation marks are
// characters like others.
type splitReader struct {
	lines     *lines.Reader
	delimiter string
	record    []string
}

func openSplit(ctx context.Context, file stages.File, delimiter string, options lines.Options) *splitReader {
	return &splitReader{lines: lines.Open(ctx, []stages.File{file}, options), delimiter: delimiter}
}

func (r *splitReader) close() { r.lines.Close() }

// read passes over blank lines, as encoding/csv does.
func (r *splitReader) read() ([]string, error) {
	for r.lines.Next() {
		if len(r.lines.Text()) == 0 {
			continue
		}
		r.record = r.record[:0]
		for field := range strings.SplitSeq(string(r.lines.Text()), r.delimiter) {
			r.record = append(r.record, field)
		}
		return r.record, nil
	}
	if err := r.lines.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

func (r *splitReader) position(field int) (line, column int) {
	column = 1
	for _, before := range r.record[:field] {
		column += len(before) + len(r.delimiter)
	}
	return int(r.lines.Line()), column
}
