package vectors

import (
	"iter"
	"os"

	"github.com/prismflow/prismflow/artifacts/table/lists"
)

// A tableSource is an Arrow or a Parquet file.
type tableSource struct{ *lists.File }

func openTable(file *os.File, o Options) (*File, error) {
	table, err := lists.Open(file.Name(), o.ItemColumn, o.VectorColumn)
	if err != nil {
		return nil, err
	}
	return &File{source: tableSource{table}, named: true, rows: table.Rows()}, file.Close()
}

func (t tableSource) all() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for row, err := range t.All() {
			if !yield(Row{Item: row.Key, Vector: row.List}, err) {
				return
			}
		}
	}
}
