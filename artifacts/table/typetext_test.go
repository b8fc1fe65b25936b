package table

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"pgregory.net/rapid"
)

// anyType draws a type that a table can have.
func anyType(t *rapid.T, depth int) arrow.DataType {
	unit := rapid.SampledFrom([]arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond})
	simple := []arrow.DataType{
		arrow.BinaryTypes.String, arrow.BinaryTypes.LargeBinary, arrow.FixedWidthTypes.Boolean, arrow.FixedWidthTypes.Date32,
		arrow.FixedWidthTypes.Date64, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Uint64, arrow.FixedWidthTypes.Float16,
		arrow.PrimitiveTypes.Float64, &arrow.Time32Type{Unit: arrow.Millisecond}, &arrow.Time64Type{Unit: arrow.Nanosecond},
		&arrow.DurationType{Unit: unit.Draw(t, "unit")}, &arrow.TimestampType{Unit: unit.Draw(t, "unit"), TimeZone: "Europe/Berlin"},
		&arrow.TimestampType{Unit: unit.Draw(t, "unit")}, &arrow.FixedSizeBinaryType{ByteWidth: rapid.IntRange(1, 99).Draw(t, "width")},
		&arrow.Decimal128Type{Precision: 38, Scale: 2}, &arrow.Decimal256Type{Precision: 76, Scale: 0},
	}
	if depth == 0 {
		return rapid.SampledFrom(simple).Draw(t, "type")
	}
	inside := anyType(t, depth-1)
	switch rapid.IntRange(0, 4).Draw(t, "nesting") {
	case 0:
		return arrow.ListOf(inside)
	case 1:
		return arrow.FixedSizeListOf(int32(rapid.IntRange(1, 999).Draw(t, "length")), inside)
	case 2:
		return arrow.MapOf(arrow.BinaryTypes.String, inside)
	case 3:
		return arrow.StructOf(arrow.Field{Name: "a_1", Type: inside}, arrow.Field{Name: rapid.String().Draw(t, "name"), Type: arrow.PrimitiveTypes.Int64})
	}
	return inside
}

// What a schema prints of a column is read back as that column.
func TestParseFieldReadsWhatIsPrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Field{Name: "c", Type: typeName(anyType(t, rapid.IntRange(0, 3).Draw(t, "depth"))), Nullable: rapid.Bool().Draw(t, "nullable")}
		got, err := ParseField("c", want.TypeText())
		if err != nil || got != want {
			t.Fatalf("%q is read as %+v, %v", want.TypeText(), got, err)
		}
	})
}

func TestParseField(t *testing.T) {
	for text, want := range map[string]string{
		" list< utf8 >,nullable ":                "list<utf8>, nullable",
		"fixed_size_list<float32>[?]":            "fixed_size_list<float32>[?]",
		"map<utf8,struct<a:int64,\"b c\":bool>>": `map<utf8, struct<a: int64, "b c": bool>>`,
		"timestamp[ us ,UTC]":                    "timestamp[us, UTC]",
		"decimal(5,2)":                           "decimal(5, 2)",
	} {
		if got, err := ParseField("c", text); err != nil || got.TypeText() != want {
			t.Errorf("%q is read as %q, %v; want %q", text, got.TypeText(), err, want)
		}
	}
	for text, want := range map[string]string{
		"":                                     "there is no type \"\"; there are utf8,",
		"string":                               `there is no type "string"; write utf8`,
		"Double":                               `there is no type "Double"; write float64`,
		"in64":                                 `did you mean int64?`,
		"utf8, nulable":                        "belongs to no type",
		"utf8, nullable, x":                    "belongs to no type",
		"list":                                 `"<" must follow after list`,
		"list<utf8":                            `">" must follow`,
		"timestamp":                            `"[" must follow`,
		"timestamp[h]":                         "in units of s, ms, us, ns",
		"timestamp[us,]":                       "names no time zone",
		"timestamp[us":                         "no closing bracket",
		"time32[ns]":                           "in units of s, ms",
		"fixed_size_list<float32>[0]":          "from 1 to",
		"list<fixed_size_list<int8>[?]>":       "from 1 to",
		"decimal(39, 2)":                       "from 1 to 38",
		"decimal(5, 6)":                        "from 0 to 5",
		"struct<1a: utf8>":                     "needs a name",
		"map<utf8>":                            `"," must follow`,
		strings.Repeat("list<", 1000) + "utf8": "nested more than",
	} {
		if _, err := ParseField("c", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseField(f *testing.F) {
	for _, text := range []string{"utf8, nullable", "map<utf8, struct<a: int64, \"b\\n\": list<bool>>>", "timestamp[us, UTC]", "decimal256(76, 3)", "fixed_size_list<float32>[512]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		field, err := ParseField("c", text)
		if err != nil {
			return
		}
		again, err := ParseField("c", field.TypeText())
		if err != nil || again != field {
			t.Errorf("%q is %q, and that %q, %v", text, field.TypeText(), again.TypeText(), err)
		}
	})
}
