package foreign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts/table/foreign/foreigntest"
)

func asArrow(t testing.TB, r arrow.Record, options ...ipc.Option) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := ipc.NewFileWriter(f, append(options, ipc.WithSchema(r.Schema()))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(r); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// readAll reads all columns that can be read, each row as text.
func readAll(path string) (columns []string, rows []string, err error) {
	f, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var selected []int
	var lists []bool
	for i, c := range f.Columns() {
		columns = append(columns, fmt.Sprintf("%s %d %v", c.Name, c.Kind, c.List))
		if c.Kind != Other {
			selected, lists = append(selected, i), append(lists, c.List)
		}
	}
	if len(selected) == 0 {
		return columns, nil, nil
	}
	if err := f.Select(selected...); err != nil {
		return columns, nil, err
	}
	row := make([]Value, len(selected))
	for {
		more, err := f.Next(row)
		if err != nil {
			return columns, rows, err
		}
		if !more {
			break
		}
		rows = append(rows, rowText(row, lists))
	}
	if int64(len(rows)) != f.Rows() {
		return columns, rows, fmt.Errorf("%d rows where the file says %d", len(rows), f.Rows())
	}
	return columns, rows, nil
}

func rowText(row []Value, lists []bool) string {
	var values []string
	for i, v := range row {
		text := fmt.Sprint(v.Seconds)
		switch {
		case lists[i]:
			text = fmt.Sprintf("%q%v", v.Texts, v.Reals)
		case v.Null:
			text = "-"
		case v.Text != "":
			text = strconv.Quote(v.Text)
		}
		values = append(values, text)
	}
	return strings.Join(values, " ")
}

// every has a column of each type that warehouses have.
func every() *arrow.Schema {
	zone := func(unit arrow.TimeUnit, zone string) arrow.DataType {
		return &arrow.TimestampType{Unit: unit, TimeZone: zone}
	}
	var fields []arrow.Field
	for _, f := range []struct {
		name string
		dt   arrow.DataType
	}{
		{"text", arrow.BinaryTypes.String},
		{"large", arrow.BinaryTypes.LargeString},
		{"i8", arrow.PrimitiveTypes.Int8},
		{"i64", arrow.PrimitiveTypes.Int64},
		{"u32", arrow.PrimitiveTypes.Uint32},
		{"u64", arrow.PrimitiveTypes.Uint64},
		{"f32", arrow.PrimitiveTypes.Float32},
		{"f64", arrow.PrimitiveTypes.Float64},
		{"price", &arrow.Decimal128Type{Precision: 10, Scale: 2}},
		{"number", &arrow.Decimal128Type{Precision: 38, Scale: 0}},
		{"day", arrow.PrimitiveTypes.Date32},
		{"ms", zone(arrow.Millisecond, "UTC")},
		{"us", zone(arrow.Microsecond, "")},
		{"ns", zone(arrow.Nanosecond, "Europe/Berlin")},
		{"texts", arrow.ListOf(arrow.BinaryTypes.String)},
		{"numbers", arrow.ListOf(arrow.PrimitiveTypes.Int32)},
		{"reals", arrow.ListOf(arrow.PrimitiveTypes.Float32)},
		{"flag", arrow.FixedWidthTypes.Boolean},
		{"struct", arrow.StructOf(arrow.Field{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true})},
		{"one", arrow.StructOf(arrow.Field{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true})},
		{"times", arrow.ListOf(arrow.PrimitiveTypes.Date32)},
		{"nested", arrow.ListOf(arrow.ListOf(arrow.BinaryTypes.String))},
	} {
		fields = append(fields, arrow.Field{Name: f.name, Type: f.dt, Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

const everyRows = `[
{"text": "a", "large": "é", "i8": -3, "i64": "-9007199254740993", "u32": 4294967295, "u64": "18446744073709551615", "f32": 4.1, "f64": 1e-7,
 "price": "12.50", "number": "-90071992547409930000", "day": "1969-12-31", "ms": "2009-12-14T02:52:24.999Z", "us": "2009-12-14T02:52:24", "ns": "1969-12-31T23:59:59.5Z",
 "texts": ["x", null, "y"], "numbers": [7, -8], "reals": [0.5], "flag": true, "struct": {"a": "s"}, "one": {"a": "t"}, "times": ["2000-01-01"], "nested": [["n"]]},
{},
{"text": "b", "price": "-0.05", "number": "0", "texts": [], "numbers": [null], "reals": [1, 2]}]`

func TestTypes(t *testing.T) {
	r := foreigntest.Record(t, every(), everyRows)
	wantColumns := []string{
		"text 1 false", "large 1 false", "i8 2 false", "i64 2 false", "u32 2 false", "u64 2 false", "f32 3 false", "f64 3 false",
		"price 3 false", "number 2 false", "day 4 false", "ms 4 false", "us 4 false", "ns 4 false",
		"texts 1 true", "numbers 2 true", "reals 3 true", "flag 0 false", "struct 0 false", "one 0 false", "times 0 true", "nested 0 false",
	}
	nulls := strings.Repeat("- ", 14)
	wantRows := []string{
		`"a" "é" "-3" "-9007199254740993" "4294967295" "18446744073709551615" "4.1" "0.0000001" "12.50" "-90071992547409930000" ` +
			`-86400 1260759144 1260759144 -1 ["x" "" "y"][] ["7" "-8"][] [][0.5]`,
		nulls + "[][] [][] [][]",
		`"b" - - - - - - - "-0.05" "0" - - - - [][] [""][] [][1 2]`,
	}
	for name, data := range map[string][]byte{
		"parquet":    foreigntest.Parquet(t, r, nil, parquet.WithVersion(parquet.V2_6)),
		"dictionary": foreigntest.Parquet(t, r, nil, parquet.WithVersion(parquet.V2_6), parquet.WithDictionaryDefault(true), parquet.WithCompression(compress.Codecs.Snappy)),
		"version 1":  foreigntest.Parquet(t, r, nil, parquet.WithVersion(parquet.V1_0)),
		"INT96":      foreigntest.Parquet(t, r, []pqarrow.WriterOption{pqarrow.WithDeprecatedInt96Timestamps(true)}),
		"arrow":      asArrow(t, r),
		"zstd":       asArrow(t, r, ipc.WithZstd()),
	} {
		columns, rows, err := readAll(foreigntest.Write(t, data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i, c := range columns {
			if strings.HasPrefix(c, "nested") {
				columns[i] = "nested 0 false" // a list of lists is a list in Arrow alone
			}
		}
		if diff := cmp.Diff(wantColumns, columns); diff != "" {
			t.Errorf("%s: columns (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(wantRows, rows); diff != "" {
			t.Errorf("%s: rows (-want +got)\n%s", name, diff)
		}
	}
}

func TestDictionaries(t *testing.T) {
	dt := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	r := foreigntest.Record(t, arrow.NewSchema([]arrow.Field{{Name: "x", Type: dt, Nullable: true}}, nil), `[{"x": "a"}, {"x": null}, {"x": "b"}, {"x": "a"}]`)
	for name, data := range map[string][]byte{"arrow": asArrow(t, r), "parquet": foreigntest.Parquet(t, r, nil)} {
		_, rows, err := readAll(foreigntest.Write(t, data))
		if diff := cmp.Diff([]string{`"a"`, "-", `"b"`, `"a"`}, rows); err != nil || diff != "" {
			t.Errorf("%s: %v, (-want +got)\n%s", name, err, diff)
		}
	}
}

// Any table comes back the same from both formats, through pages of both
// versions, dictionaries, row groups and compressions.
func TestTablesComeBack(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "texts", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		rows := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) map[string]any {
			row := map[string]any{"id": rapid.Int64Range(-1e15, 1e15).Draw(rt, "id")}
			if rapid.Bool().Draw(rt, "there") {
				row["text"] = rapid.StringMatching(`[a-c]{1,3}`).Draw(rt, "text")
				row["at"] = rapid.Int64Range(-1e15, 1e15).Draw(rt, "at")
				row["texts"] = rapid.SliceOfN(rapid.StringMatching(`[a-c]{1,2}`), 1, 5).Draw(rt, "texts")
			}
			return row
		}), 1, 50).Draw(rt, "rows")
		text, err := json.Marshal(rows)
		if err != nil {
			rt.Fatal(err)
		}
		r := foreigntest.Record(t, schema, string(text))
		var want []string
		for _, row := range rows {
			line := fmt.Sprintf("%q - - [][]", fmt.Sprint(row["id"]))
			if row["text"] != nil {
				at := new(big.Int).Div(big.NewInt(row["at"].(int64)), big.NewInt(1e6)) // rounds down
				line = fmt.Sprintf("%q %q %d %q[]", fmt.Sprint(row["id"]), row["text"], at, row["texts"])
			}
			want = append(want, line)
		}
		for name, data := range map[string][]byte{
			"arrow": asArrow(t, r),
			"parquet": foreigntest.Parquet(t, r, nil,
				parquet.WithDataPageVersion(rapid.SampledFrom([]parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2}).Draw(rt, "version")),
				parquet.WithDataPageSize(rapid.Int64Range(1, 2000).Draw(rt, "page")),
				parquet.WithDictionaryDefault(rapid.Bool().Draw(rt, "dictionary")),
				parquet.WithCompression(rapid.SampledFrom([]compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Zstd}).Draw(rt, "compression")),
				parquet.WithMaxRowGroupLength(rapid.Int64Range(1, 60).Draw(rt, "row group")),
				parquet.WithBatchSize(7)),
		} {
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				rt.Fatal(err)
			}
			_, got, err := readAll(path)
			if err != nil {
				rt.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("%s: (-want +got)\n%s", name, diff)
			}
		}
	})
}

func TestDecimalText(t *testing.T) {
	for _, c := range []struct {
		unscaled int64
		scale    int
		want     string
	}{{1250, 2, "12.50"}, {-5, 2, "-0.05"}, {0, 2, "0.00"}, {7, 0, "7"}, {-7, -2, "-700"}, {100, 2, "1.00"}} {
		if got := decimalText(big.NewInt(c.unscaled), c.scale); got != c.want {
			t.Errorf("%d of scale %d: got %s, want %s", c.unscaled, c.scale, got, c.want)
		}
	}
}

func TestBigEndian(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.Int64().Draw(rt, "x")
		b := make([]byte, 8+rapid.IntRange(0, 8).Draw(rt, "more"))
		for i := range b {
			b[i] = byte(want >> min(63, 8*(len(b)-1-i)))
		}
		if got := bigEndian(b); got.Cmp(big.NewInt(want)) != 0 {
			rt.Fatalf("%x: got %s, want %d", b, got, want)
		}
	})
}

func seeds(t testing.TB) [][]byte {
	r := foreigntest.Record(t, every(), everyRows)
	return [][]byte{
		asArrow(t, r),
		foreigntest.Parquet(t, r, nil, parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithDictionaryDefault(true)),
		foreigntest.Parquet(t, r, []pqarrow.WriterOption{pqarrow.WithDeprecatedInt96Timestamps(true)}, parquet.WithDictionaryDefault(false)),
		foreigntest.Parquet(t, r, nil, parquet.WithCompression(compress.Codecs.Snappy)),
	}
}

// A flipped bit gives an error or other values, and nothing worse.
func TestFlippedBits(t *testing.T) {
	for _, whole := range seeds(t) {
		path := foreigntest.Write(t, whole)
		for at := 0; at < len(whole); at += 13 {
			broken := bytes.Clone(whole)
			broken[at] ^= 1 << (at % 8)
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, rows, err := readAll(path); err == nil && len(rows) > len(whole) {
				t.Errorf("byte %d: %d rows", at, len(rows))
			}
		}
	}
}

// FuzzOpen reads any bytes, all columns of them.
func FuzzOpen(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = readAll(foreigntest.Write(t, data))
	})
}
