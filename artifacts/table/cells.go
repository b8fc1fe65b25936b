package table

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// Binary is how binary values are written. The zero value writes base64 as JSON,
// and for people the size and the beginning of the digest.
type Binary struct {
	Text func(dst, value []byte) []byte // appends printable text on one line
	JSON func(dst, value []byte) []byte // appends a JSON value
}

func (b Binary) orDefault() Binary {
	if b.Text == nil {
		b.Text = appendSizeAndDigest
	}
	if b.JSON == nil {
		b.JSON = appendBase64
	}
	return b
}

// A cell appends the text of value i of some vector.
type cell func(dst []byte, i int64) []byte

// jsonCell is for JSON: null for null; strings for text, for floats that JSON
// has no number for (NaN, Infinity, -Infinity), and for times and decimals;
// arrays for lists; objects for structs; for binary what b makes of it.
func (b Binary) jsonCell(v *vector) cell {
	value := b.jsonValue(v)
	return func(dst []byte, i int64) []byte {
		if v.isNull(i) {
			return append(dst, "null"...)
		}
		return value(dst, i)
	}
}

func (b Binary) jsonValue(v *vector) cell {
	switch layoutOf(v.dt) {
	case layoutBool:
		return func(dst []byte, i int64) []byte { return strconv.AppendBool(dst, v.bit(i)) }
	case layoutVar, layoutLargeVar:
		if isText(v.dt) {
			return func(dst []byte, i int64) []byte { return appendJSONString(dst, v.text(i)) }
		}
		return func(dst []byte, i int64) []byte { return b.JSON(dst, v.bytesOf(i)) }
	case layoutList, layoutLargeList, layoutFixedList:
		return b.jsonList(v)
	case layoutStruct:
		return b.jsonStruct(v)
	}
	return b.jsonFixed(v)
}

func (b Binary) jsonList(v *vector) cell {
	element := b.jsonCell(v.children[0])
	return func(dst []byte, i int64) []byte {
		dst = append(dst, '[')
		from, to := v.elements(i)
		for j := from; j < to; j++ {
			if j > from {
				dst = append(dst, ',')
			}
			dst = element(dst, j)
		}
		return append(dst, ']')
	}
}

// elements is where list i begins and ends in its child.
func (v *vector) elements(i int64) (from, to int64) {
	if fixed, ok := v.dt.(*arrow.FixedSizeListType); ok {
		return i * int64(fixed.Len()), (i + 1) * int64(fixed.Len())
	}
	return v.span(i)
}

func (b Binary) jsonStruct(v *vector) cell {
	fields := v.dt.(*arrow.StructType).Fields()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return b.jsonObject(names, v.children)
}

// jsonObject is an object of one value of each vector.
func (b Binary) jsonObject(names []string, vectors []*vector) cell {
	keys := make([][]byte, len(names))
	cells := make([]cell, len(names))
	for i, name := range names {
		keys[i] = append(appendJSONString(nil, name), ':')
		cells[i] = b.jsonCell(vectors[i])
	}
	return func(dst []byte, row int64) []byte {
		dst = append(dst, '{')
		for i, key := range keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = cells[i](append(dst, key...), row)
		}
		return append(dst, '}')
	}
}

func (b Binary) jsonFixed(v *vector) cell {
	if number := numberCell(v); number != nil {
		return number
	}
	if v.dt.ID() == arrow.FIXED_SIZE_BINARY {
		width := byteWidth(v.dt)
		return func(dst []byte, i int64) []byte { return b.JSON(dst, v.data[i*width:(i+1)*width]) }
	}
	v, zone := withKnownZone(v)
	other := array.MakeFromData(v.toArrow())
	return func(dst []byte, i int64) []byte {
		return appendJSONString(dst, strings.TrimSuffix(other.ValueStr(int(i)), zone))
	}
}

// withKnownZone puts times of a zone that this machine does not know into UTC.
// The library writes Z, for UTC, also after a time of no zone: that is the
// suffix to take away.
func withKnownZone(v *vector) (_ *vector, suffix string) {
	t, ok := v.dt.(*arrow.TimestampType)
	if !ok {
		return v, ""
	}
	if t.TimeZone == "" {
		return v, "Z"
	}
	if _, err := t.GetZone(); err != nil {
		utc := *v
		utc.dt = &arrow.TimestampType{Unit: t.Unit, TimeZone: "UTC"}
		return &utc, ""
	}
	return v, ""
}

// numberCell is nil for what is no number.
func numberCell(v *vector) cell {
	switch v.dt.ID() {
	case arrow.INT8:
		return signedCell(values[int8](v))
	case arrow.INT16:
		return signedCell(values[int16](v))
	case arrow.INT32:
		return signedCell(values[int32](v))
	case arrow.INT64:
		return signedCell(values[int64](v))
	case arrow.UINT8:
		return unsignedCell(values[uint8](v))
	case arrow.UINT16:
		return unsignedCell(values[uint16](v))
	case arrow.UINT32:
		return unsignedCell(values[uint32](v))
	case arrow.UINT64:
		return unsignedCell(values[uint64](v))
	case arrow.FLOAT32:
		return floatCell(values[float32](v), 32)
	case arrow.FLOAT64:
		return floatCell(values[float64](v), 64)
	case arrow.FLOAT16:
		halves := array.MakeFromData(v.toArrow()).(*array.Float16)
		return func(dst []byte, i int64) []byte {
			return appendJSONFloat(dst, float64(halves.Value(int(i)).Float32()), 32)
		}
	}
	return nil
}

func signedCell[T int8 | int16 | int32 | int64](vals []T) cell {
	return func(dst []byte, i int64) []byte { return strconv.AppendInt(dst, int64(vals[i]), 10) }
}

func unsignedCell[T uint8 | uint16 | uint32 | uint64](vals []T) cell {
	return func(dst []byte, i int64) []byte { return strconv.AppendUint(dst, uint64(vals[i]), 10) }
}

func floatCell[T float32 | float64](vals []T, bits int) cell {
	return func(dst []byte, i int64) []byte { return appendJSONFloat(dst, float64(vals[i]), bits) }
}

// appendJSONFloat writes the shortest decimal that reads back as x.
func appendJSONFloat(dst []byte, x float64, bits int) []byte {
	switch {
	case math.IsNaN(x):
		return append(dst, `"NaN"`...)
	case math.IsInf(x, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(x, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if size := math.Abs(x); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, x, format, -1, bits)
}

func appendBase64(dst, value []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, value)
	return append(dst, '"')
}

func appendJSONString(dst []byte, s string) []byte {
	if isPlain(s) {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string in memory cannot fail
	return append(dst, strings.TrimSuffix(b.String(), "\n")...)
}

func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// shortCell is for people: what is long is shortened, and nothing in it moves
// a terminal's cursor.
func (b Binary) shortCell(v *vector) cell {
	value := b.shortValue(v)
	return func(dst []byte, i int64) []byte {
		if v.isNull(i) {
			return append(dst, "null"...)
		}
		return value(dst, i)
	}
}

func (b Binary) shortValue(v *vector) cell {
	switch layoutOf(v.dt) {
	case layoutVar, layoutLargeVar:
		if isText(v.dt) {
			return func(dst []byte, i int64) []byte { return appendPrintable(dst, v.text(i)) }
		}
		return func(dst []byte, i int64) []byte { return b.Text(dst, v.bytesOf(i)) }
	case layoutList, layoutLargeList, layoutFixedList:
		return b.shortList(v)
	case layoutFixed:
		return b.shortFixed(v, 6)
	case layoutStruct:
		value := b.jsonValue(v)
		return func(dst []byte, i int64) []byte { return appendPrintable(dst, string(value(nil, i))) }
	}
	return b.jsonValue(v)
}

func (b Binary) shortFixed(v *vector, digits int) cell {
	switch v.dt.ID() {
	case arrow.FLOAT32:
		vals := values[float32](v)
		return func(dst []byte, i int64) []byte { return appendShortFloat(dst, float64(vals[i]), digits) }
	case arrow.FLOAT64:
		vals := values[float64](v)
		return func(dst []byte, i int64) []byte { return appendShortFloat(dst, vals[i], digits) }
	case arrow.FIXED_SIZE_BINARY:
		width := byteWidth(v.dt)
		return func(dst []byte, i int64) []byte { return b.Text(dst, v.data[i*width:(i+1)*width]) }
	}
	value := b.jsonFixed(v)
	return func(dst []byte, i int64) []byte { return append(dst, strings.Trim(string(value(nil, i)), `"`)...) }
}

// appendShortFloat writes whole numbers as such and others to so many digits.
func appendShortFloat(dst []byte, x float64, digits int) []byte {
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return strconv.AppendFloat(dst, x, 'f', 0, 64)
	}
	return strconv.AppendFloat(dst, x, 'g', digits, 64)
}

// Of a longer list the first elements and the length are shown.
const (
	wholeList = 5
	listHead  = 2
)

func (b Binary) shortList(v *vector) cell {
	element := b.shortElement(v.children[0])
	return func(dst []byte, i int64) []byte {
		from, to := v.elements(i)
		head := to
		if to-from > wholeList {
			head = from + listHead
		}
		dst = append(dst, '[')
		for j := from; j < head; j++ {
			if j > from {
				dst = append(dst, ' ')
			}
			dst = element(dst, j)
		}
		if head < to {
			dst = fmt.Appendf(dst, " … %d", to-from)
		}
		return append(dst, ']')
	}
}

// shortElement is shorter still for numbers, and quotes text, which is told
// from its neighbours so.
func (b Binary) shortElement(v *vector) cell {
	value := b.shortValue(v)
	switch {
	case layoutOf(v.dt) == layoutFixed:
		value = b.shortFixed(v, 2)
	case isText(v.dt):
		value = func(dst []byte, i int64) []byte {
			return append(appendPrintable(append(dst, '"'), v.text(i)), '"')
		}
	}
	return func(dst []byte, i int64) []byte {
		if v.isNull(i) {
			return append(dst, "null"...)
		}
		return value(dst, i)
	}
}

func appendSizeAndDigest(dst, value []byte) []byte {
	sum := sha256.Sum256(value)
	return fmt.Appendf(dst, "%d B sha256:%s", len(value), hex.EncodeToString(sum[:])[:12])
}

// longestShown bounds the runes of a text that are looked at for showing it.
const longestShown = 1000

// appendPrintable escapes what does not print.
func appendPrintable(dst []byte, s string) []byte {
	for i, r := range s {
		switch {
		case i > longestShown:
			return append(dst, "…"...)
		case r == utf8.RuneError || !unicode.IsPrint(r):
			quoted := strconv.QuoteRune(r)
			dst = append(dst, quoted[1:len(quoted)-1]...)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}
