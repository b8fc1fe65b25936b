package table

import (
	"errors"
	"fmt"
	"os"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

// Project writes the named columns of the Arrow file at from, in that order,
// to a new file at to: what a command may see that declared that it reads those
// columns alone. The file at from must be one that was verified, or inspected,
// before; a panic of the reader is returned as an error all the same.
func Project(from, to string, columns []string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: reading it: %v", from, r)
		}
	}()
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	reader, err := ipc.NewFileReader(source)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	defer reader.Close()
	indices, schema, err := selectColumns(reader.Schema(), columns)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	writer, err := ipc.NewFileWriter(target, ipc.WithSchema(schema))
	if err != nil {
		return err
	}
	for i := range reader.NumRecords() {
		record, err := reader.Record(i)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		if err := writer.Write(projected(record, schema, indices)); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
	}
	return writer.Close()
}

func selectColumns(schema *arrow.Schema, columns []string) ([]int, *arrow.Schema, error) {
	var indices []int
	var fields []arrow.Field
	for _, name := range columns {
		found := schema.FieldIndices(name)
		if len(found) != 1 {
			return nil, nil, fmt.Errorf("%w: %d columns named %s", ErrColumn, len(found), name)
		}
		indices = append(indices, found[0])
		fields = append(fields, schema.Field(found[0]))
	}
	return indices, arrow.NewSchema(fields, nil), nil
}

// projected shares the record's buffers and lives as long as it.
func projected(record arrow.Record, schema *arrow.Schema, indices []int) arrow.Record {
	columns := make([]arrow.Array, len(indices))
	for i, index := range indices {
		columns[i] = record.Column(index)
	}
	return array.NewRecord(schema, columns, record.NumRows())
}
