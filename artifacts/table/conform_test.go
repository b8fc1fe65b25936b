package table

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// foreignTable writes a table as other programs do, where every column may be
// null: n with a null in the second batch, word as a dictionary with one.
func foreignTable(t *testing.T) string {
	t.Helper()
	words := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "word", Type: words, Nullable: true}, {Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "v", Type: arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32), Nullable: true},
	}, nil)
	path := filepath.Join(t.TempDir(), "foreign.arrow")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := ipc.NewFileWriter(file, ipc.WithSchema(schema))
	if err != nil {
		t.Fatal(err)
	}
	for batch := range 2 {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		if err := errors.Join(b.Field(0).AppendValueFromString("cat"), b.Field(1).AppendValueFromString("3"), b.Field(2).AppendValueFromString("[1,2]")); err != nil {
			t.Fatal(err)
		}
		if batch == 1 {
			b.Field(0).AppendNull()
			b.Field(1).AppendNull()
			if err := b.Field(2).AppendValueFromString("[1,2]"); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Write(b.NewRecord()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConforms(t *testing.T) {
	path := foreignTable(t)
	field := func(name, typ string) Field { return Field{Name: name, Type: typ} }
	null := func(name, typ string) Field { return Field{Name: name, Type: typ, Nullable: true} }
	vector := field("v", "fixed_size_list<float32>[2]")
	for name, test := range map[string]struct {
		declared Schema
		want     []string
	}{
		"right":     {Schema{vector, null("n", "int64"), null("word", "utf8")}, nil},
		"any width": {Schema{field("v", "fixed_size_list<float32>[?]"), null("n", "int64"), null("word", "utf8")}, nil},
		"wrong": {Schema{field("n", "float64"), field("count", "int64"), field("v", "fixed_size_list<float32>[3]")}, []string{
			`column "n" has type int64 and is declared float64`,
			`column "count" of type int64 is declared and missing; there are word, n, v`,
			`column "v" has type fixed_size_list<float32>[2] and is declared fixed_size_list<float32>[3]`,
			`column "word" of type utf8 is not declared`}},
		"nulls": {Schema{vector, field("n", "int64"), field("word", "utf8")}, []string{
			`column "n" has 1 nulls and is declared int64; declare "int64, nullable" if they are meant`,
			`column "word" has 1 nulls and is declared utf8; declare "utf8, nullable" if they are meant`}},
	} {
		t.Run(name, func(t *testing.T) {
			err := Conforms(path, test.declared)
			if (err == nil) != (test.want == nil) || err != nil && !errors.Is(err, ErrColumn) {
				t.Fatalf("got %v", err)
			}
			if err != nil && err.Error() != strings.Join(test.want, "\n") {
				t.Errorf("got\n%v\nwant\n%s", err, strings.Join(test.want, "\n"))
			}
		})
	}
	if err := Conforms(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
