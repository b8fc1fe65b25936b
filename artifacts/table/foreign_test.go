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
	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/artifacts"
)

// Files of this test are written by the Arrow library, as those of an exec
// stage are, and hold every type that a table may have.

func foreignFields() []arrow.Field {
	entry := func(name string, dt arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: dt, Nullable: true}
	}
	dictionary := func(index, value arrow.DataType) arrow.DataType {
		return &arrow.DictionaryType{IndexType: index, ValueType: value}
	}
	return []arrow.Field{
		entry("utf8", arrow.BinaryTypes.String),
		entry("large_utf8", arrow.BinaryTypes.LargeString),
		entry("binary", arrow.BinaryTypes.Binary),
		entry("large_binary", arrow.BinaryTypes.LargeBinary),
		entry("bool", arrow.FixedWidthTypes.Boolean),
		entry("int8", arrow.PrimitiveTypes.Int8),
		entry("uint64", arrow.PrimitiveTypes.Uint64),
		entry("float16", arrow.FixedWidthTypes.Float16),
		entry("float64", arrow.PrimitiveTypes.Float64),
		entry("date32", arrow.FixedWidthTypes.Date32),
		entry("date64", arrow.FixedWidthTypes.Date64),
		entry("time32", arrow.FixedWidthTypes.Time32s),
		entry("time64", arrow.FixedWidthTypes.Time64ns),
		entry("timestamp", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}),
		entry("naive", &arrow.TimestampType{Unit: arrow.Second}),
		entry("duration", arrow.FixedWidthTypes.Duration_ms),
		entry("decimal", &arrow.Decimal128Type{Precision: 10, Scale: 2}),
		entry("decimal256", &arrow.Decimal256Type{Precision: 50, Scale: 3}),
		entry("fixed_binary", &arrow.FixedSizeBinaryType{ByteWidth: 3}),
		entry("list", arrow.ListOf(arrow.PrimitiveTypes.Int32)),
		entry("large_list", arrow.LargeListOf(arrow.BinaryTypes.String)),
		entry("lists", arrow.ListOf(arrow.ListOf(arrow.PrimitiveTypes.Uint8))),
		entry("fixed_list", arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32)),
		entry("struct", arrow.StructOf(entry("a", arrow.PrimitiveTypes.Int16), entry("b b", arrow.BinaryTypes.String))),
		entry("map", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64)),
		entry("dictionary", dictionary(arrow.PrimitiveTypes.Int8, arrow.BinaryTypes.String)),
		entry("number_dictionary", dictionary(arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Float64)),
		entry("view", arrow.BinaryTypes.StringView),
		entry("binary_view", arrow.BinaryTypes.BinaryView),
		entry("dictionaries", arrow.ListOf(dictionary(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String))),
	}
}

// foreignRows are JSON, which the Arrow library reads for every type.
const foreignRows = `[
{"utf8":"ä","large_utf8":"b","binary":"AAE=","large_binary":"","bool":true,"int8":-1,"uint64":9007199254740992,"float16":1.5,"float64":-0.25,
 "date32":"2020-02-29","date64":"2020-02-29","time32":"01:02:03","time64":"01:02:03.000000004","timestamp":"2020-02-29 01:02:03.000004Z","naive":"2020-02-29 01:02:03",
 "duration":"5ms","decimal":"1.25","decimal256":"-123456789012345678901234567890.125","fixed_binary":"AQID","list":[1,null,3],"large_list":["x",""],"lists":[[1],[],[2,3]],
 "fixed_list":[1,2],"struct":{"a":1,"b b":"s"},"map":[{"key":"k","value":1},{"key":"l","value":null}],"dictionary":"red","number_dictionary":2.5,"dictionaries":["p","q"],
 "view":"more than twelve bytes","binary_view":"AAE="},
{},
{"utf8":"","large_utf8":"","binary":"","large_binary":"AA==","bool":false,"int8":5,"uint64":0,"float16":0,"float64":7,
 "date32":"1969-01-01","date64":"1970-01-02","time32":"00:00:00","time64":"00:00:00","timestamp":"1970-01-01 00:00:00Z","naive":"1970-01-01 00:00:00",
 "duration":"0ms","decimal":"-0.01","decimal256":"1","fixed_binary":"AAAA","list":[],"large_list":[],"lists":[],
 "fixed_list":[3,4],"struct":{"a":null,"b b":null},"map":[],"dictionary":"red","number_dictionary":2.5,"dictionaries":[],
 "view":"twelve bytes","binary_view":""},
{"utf8":"c","struct":{"a":7},"dictionary":"green","number_dictionary":-1,"dictionaries":["q",null],
 "view":"another that is longer","binary_view":"AAECAwQFBgcICQoLDA0O"}
]`

func foreignRecord(t testing.TB) arrow.Record {
	t.Helper()
	schema := arrow.NewSchema(foreignFields(), nil)
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(foreignRows))
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func writeForeign(t testing.TB, records []arrow.Record, opts ...ipc.Option) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign.arrow")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := ipc.NewFileWriter(f, append(opts, ipc.WithSchema(records[0].Schema()))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func inspect(t testing.TB, path string) artifacts.Output {
	t.Helper()
	out, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestForeignTypes: whatever the compression and the batches, the digests are
// those that the definition gives when it is followed value by value.
func TestForeignTypes(t *testing.T) {
	record := foreignRecord(t)
	defer record.Release()
	var slices []arrow.Record
	for i := range record.NumRows() {
		slice := record.NewSlice(i, i+1)
		defer slice.Release()
		slices = append(slices, slice)
	}
	want := map[string]artifacts.Digest{}
	for i, column := range record.Columns() {
		want[record.ColumnName(i)] = referenceDigest(column)
	}
	for name, path := range map[string]string{
		"plain":        writeForeign(t, []arrow.Record{record}),
		"zstd":         writeForeign(t, []arrow.Record{record}, ipc.WithZstd()),
		"lz4":          writeForeign(t, []arrow.Record{record}, ipc.WithLZ4()),
		"little gain":  writeForeign(t, []arrow.Record{record}, ipc.WithLZ4(), ipc.WithMinSpaceSavings(.9)),
		"row by row":   writeForeign(t, slices),
		"zstd, sliced": writeForeign(t, slices, ipc.WithZstd()),
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range inspect(t, path).Columns {
				if c.Digest != want[c.Name] {
					t.Errorf("%s of type %s has digest %s, by definition %s", c.Name, c.Type, c.Digest.Short(), want[c.Name].Short())
				}
			}
		})
	}
}

func TestForeignJSON(t *testing.T) {
	record := foreignRecord(t)
	path := writeForeign(t, []arrow.Record{record}, ipc.WithZstd())
	var out strings.Builder
	if err := WriteJSONRows(&out, path, -1, Binary{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "foreign.jsonl", out.String())
	out.Reset()
	if err := WriteText(&out, path, 3, 0, Binary{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "foreign.txt", out.String())
	out.Reset()
	if err := WriteCSV(&out, path); err != nil {
		t.Fatal(err)
	}
	golden(t, "foreign.csv", out.String())
}

// Encodings of the same logical values make the same column.
func TestEncodingsDoNotCount(t *testing.T) {
	types := []arrow.DataType{
		arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString,
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.String},
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint64, ValueType: arrow.BinaryTypes.String},
	}
	var digests []artifacts.Digest
	for _, dt := range types {
		schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: dt, Nullable: true}}, nil)
		record, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"x":"a"},{"x":null},{"x":"bc"},{"x":"a"}]`))
		if err != nil {
			t.Fatal(err)
		}
		path := writeForeign(t, []arrow.Record{record})
		column := inspect(t, path).Columns[0]
		if column.Type != "utf8" {
			t.Errorf("%s is called %s", dt, column.Type)
		}
		digests = append(digests, column.Digest)
		rows, err := ReadAll[struct {
			X *string `arrow:"x"`
		}](path)
		if err != nil || len(rows) != 4 || *rows[2].X != "bc" || rows[1].X != nil {
			t.Errorf("%s: %v %v", dt, rows, err)
		}
	}
	for i, d := range digests {
		if d != digests[0] {
			t.Errorf("%s has another digest than utf8", types[i])
		}
	}
}

// What lies under a null, or in a list's child where no list reaches, does
// not count.
func TestHiddenValuesDoNotCount(t *testing.T) {
	list := func(nulls []byte, offsets, elements []int32) arrow.Record {
		child := array.NewData(arrow.PrimitiveTypes.Int32, len(elements),
			[]*memory.Buffer{nil, memory.NewBufferBytes(viewBytes(elements))}, nil, 0, 0)
		dt := arrow.ListOf(arrow.PrimitiveTypes.Int32)
		data := array.NewData(dt, 3, []*memory.Buffer{memory.NewBufferBytes(nulls), memory.NewBufferBytes(viewBytes(offsets))},
			[]arrow.ArrayData{child}, array.UnknownNullCount, 0)
		schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: dt, Nullable: true}}, nil)
		return array.NewRecord(schema, []arrow.Array{array.MakeFromData(data)}, 3)
	}
	tidy := list([]byte{0b101}, []int32{0, 1, 1, 3}, []int32{7, 8, 9})
	untidy := list([]byte{0b101}, []int32{0, 1, 2, 4}, []int32{7, 99, 8, 9, 100})
	a := inspect(t, writeForeign(t, []arrow.Record{tidy})).Columns
	b := inspect(t, writeForeign(t, []arrow.Record{untidy})).Columns
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
}

func TestUnsupportedTypesAreNamed(t *testing.T) {
	for want, dt := range map[string]arrow.DataType{
		"null":     arrow.Null,
		"interval": arrow.FixedWidthTypes.MonthInterval,
	} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "ok", Type: arrow.PrimitiveTypes.Int8}, {Name: "strange", Type: dt, Nullable: true}}, nil)
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		b.Field(0).AppendNull()
		b.Field(1).AppendNull()
		path := writeForeign(t, []arrow.Record{b.NewRecord()})
		_, err := Inspect(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"strange"`) || !strings.Contains(err.Error(), path) || errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestOtherFormatsAreNamed(t *testing.T) {
	record := foreignRecord(t)
	var stream strings.Builder
	w := ipc.NewWriter(&stream, ipc.WithSchema(record.Schema()))
	if err := w.Write(record); err != nil {
		t.Fatal(err)
	}
	w.Close()
	whole, err := os.ReadFile(writeForeign(t, []arrow.Record{record}))
	if err != nil {
		t.Fatal(err)
	}
	for want, content := range map[string]string{
		"pa.ipc.new_file":          stream.String(),
		"Parquet":                  "PAR1 and more",
		"empty":                    "",
		"does not begin":           "user,item\n",
		"cut short":                string(whole[:len(whole)/2]),
		"was its writer closed":    "ARROW1\x00\x00",
		"does not fit into the fi": "ARROW1\x00\x00" + string(whole[500:]),
	} {
		path := filepath.Join(t.TempDir(), "x.arrow")
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Inspect(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
