package table

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// A layout says how a type's values lie in memory. Reading, checking and
// digesting need no more of a type than this.
type layout uint8

const (
	layoutNone      layout = iota // not supported
	layoutBool                    // bits
	layoutFixed                   // fixed-width values
	layoutVar                     // 32-bit offsets into bytes
	layoutLargeVar                // 64-bit offsets into bytes
	layoutList                    // 32-bit offsets into a child
	layoutLargeList               // 64-bit offsets into a child
	layoutFixedList               // a fixed number of child values for each
	layoutStruct                  // children side by side
)

func layoutOf(dt arrow.DataType) layout {
	switch dt.ID() {
	case arrow.BOOL:
		return layoutBool
	case arrow.STRING, arrow.BINARY:
		return layoutVar
	case arrow.LARGE_STRING, arrow.LARGE_BINARY:
		return layoutLargeVar
	case arrow.LIST, arrow.MAP:
		return layoutList
	case arrow.LARGE_LIST:
		return layoutLargeList
	case arrow.FIXED_SIZE_LIST:
		return layoutFixedList
	case arrow.STRUCT:
		return layoutStruct
	}
	if _, ok := dt.(arrow.FixedWidthDataType); ok && dt.ID() != arrow.DICTIONARY {
		return layoutFixed
	}
	return layoutNone
}

// byteWidth is the size of one value of a layoutFixed type.
func byteWidth(dt arrow.DataType) int64 { return int64(dt.(arrow.FixedWidthDataType).Bytes()) }

// childTypes are the types below dt in a table's type tree.
func childTypes(dt arrow.DataType) []arrow.DataType {
	switch t := dt.(type) {
	case *arrow.MapType:
		return []arrow.DataType{t.Elem()}
	case *arrow.StructType:
		types := make([]arrow.DataType, t.NumFields())
		for i, f := range t.Fields() {
			types[i] = f.Type
		}
		return types
	case arrow.ListLikeType:
		return []arrow.DataType{t.Elem()}
	}
	return nil
}

func isText(dt arrow.DataType) bool {
	return dt.ID() == arrow.STRING || dt.ID() == arrow.LARGE_STRING
}

// typeName is a type's canonical name: that of its logical type, whatever the
// encoding. So utf8 stands for large_utf8 and for dictionaries of either, and
// a list's name does not tell how its child field is called.
func typeName(dt arrow.DataType) string {
	switch t := dt.(type) {
	case *arrow.LargeStringType:
		return "utf8"
	case *arrow.LargeBinaryType:
		return "binary"
	case *arrow.DictionaryType:
		return typeName(t.ValueType)
	case *arrow.FixedSizeBinaryType:
		return fmt.Sprintf("fixed_size_binary[%d]", t.ByteWidth)
	case *arrow.TimestampType:
		if t.TimeZone != "" {
			return fmt.Sprintf("timestamp[%s, %s]", t.Unit, t.TimeZone)
		}
		return fmt.Sprintf("timestamp[%s]", t.Unit)
	case *arrow.Float16Type:
		return "float16"
	case arrow.DecimalType:
		return fmt.Sprintf("%s(%d, %d)", dt.Name(), t.GetPrecision(), t.GetScale())
	case *arrow.FixedSizeListType:
		return fixedListName(typeName(t.Elem()), int(t.Len()))
	case *arrow.MapType:
		return fmt.Sprintf("map<%s, %s>", typeName(t.KeyType()), typeName(t.ItemType()))
	case *arrow.StructType:
		return structName(t)
	case arrow.ListLikeType:
		return "list<" + typeName(t.Elem()) + ">"
	}
	return unitName(dt)
}

func unitName(dt arrow.DataType) string {
	if t, ok := dt.(arrow.TemporalWithUnit); ok {
		return fmt.Sprintf("%s[%s]", dt.Name(), t.TimeUnit())
	}
	return dt.Name()
}

// fixedListName names a fixed-size list; a width of 0 is one not yet known.
func fixedListName(elem string, width int) string {
	if width == 0 {
		return "fixed_size_list<" + elem + ">[?]"
	}
	return fmt.Sprintf("fixed_size_list<%s>[%d]", elem, width)
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func structName(t *arrow.StructType) string {
	fields := make([]string, t.NumFields())
	for i, f := range t.Fields() {
		name := f.Name
		if !plainName.MatchString(name) {
			name = strconv.Quote(name)
		}
		fields[i] = name + ": " + typeName(f.Type)
	}
	return "struct<" + strings.Join(fields, ", ") + ">"
}
