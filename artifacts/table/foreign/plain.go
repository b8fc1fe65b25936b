package foreign

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// Values as Parquet's encoding PLAIN has them, by their physical and their
// logical types (https://parquet.apache.org/docs/file-format/types/).

// A plain decodes n values.
type plain[T any] func(data []byte, n int) ([]T, error)

// maxDecimal is how many bytes a decimal number may have: those of Arrow's widest.
const maxDecimal = 32

// parquetKind is the kind of a leaf's values.
func parquetKind(c *schema.Column) Kind {
	logical := c.LogicalType()
	if t, ok := logical.(*schema.DecimalLogicalType); ok {
		if w := width(c); w == 0 || w > maxDecimal {
			return Other
		}
		return decimalKind(t.Scale())
	}
	plain := logical == nil || logical.IsNone()
	switch c.PhysicalType() {
	case parquet.Types.ByteArray:
		switch logical.(type) {
		case schema.StringLogicalType, schema.EnumLogicalType:
			return Text
		}
		if plain { // as Hive and Impala write text
			return Text
		}
	case parquet.Types.Int32, parquet.Types.Int64:
		switch logical.(type) {
		case *schema.IntLogicalType:
			return Whole
		case schema.DateLogicalType:
			return Time
		}
		if plain {
			return Whole
		}
		if perSecond(c) > 0 {
			return Time
		}
	case parquet.Types.Int96:
		return Time
	case parquet.Types.Float, parquet.Types.Double:
		return Real
	}
	return Other
}

// perSecond is how many units of a leaf of timestamps a second has, 0 where it
// has none.
func perSecond(c *schema.Column) int64 {
	if t, ok := c.LogicalType().(*schema.TimestampLogicalType); ok {
		switch t.TimeUnit() {
		case schema.TimeUnitMillis:
			return 1e3
		case schema.TimeUnitMicros:
			return 1e6
		case schema.TimeUnitNanos:
			return 1e9
		}
	}
	return 0
}

// width is how many bytes each value takes, 0 where they differ.
func width(c *schema.Column) int {
	switch c.PhysicalType() {
	case parquet.Types.Float, parquet.Types.Int32:
		return 4
	case parquet.Types.Double, parquet.Types.Int64:
		return 8
	case parquet.Types.Int96:
		return 12
	case parquet.Types.FixedLenByteArray:
		return max(c.TypeLength(), 0)
	}
	return 0
}

// plainText decodes texts and numbers as text.
func plainText(c *schema.Column) plain[string] {
	if t, ok := c.LogicalType().(*schema.DecimalLogicalType); ok {
		return plainDecimals(c, int(t.Scale()))
	}
	signed := true
	if t, ok := c.LogicalType().(*schema.IntLogicalType); ok {
		signed = t.IsSigned()
	}
	switch c.PhysicalType() {
	case parquet.Types.Int32:
		return fixed(4, func(b []byte) string {
			if !signed {
				return strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b)), 10)
			}
			return strconv.FormatInt(int64(int32(binary.LittleEndian.Uint32(b))), 10)
		})
	case parquet.Types.Int64:
		return fixed(8, func(b []byte) string {
			if !signed {
				return strconv.FormatUint(binary.LittleEndian.Uint64(b), 10)
			}
			return strconv.FormatInt(int64(binary.LittleEndian.Uint64(b)), 10)
		})
	case parquet.Types.Float:
		return fixed(4, func(b []byte) string { return strconv.FormatFloat(float64(float32At(b)), 'f', -1, 32) })
	case parquet.Types.Double:
		return fixed(8, func(b []byte) string { return strconv.FormatFloat(float64At(b), 'f', -1, 64) })
	}
	return plainBytes
}

// plainDecimals decodes decimal numbers, which are whole numbers in two's
// complement: INT32 and INT64 with the lowest byte first, others with the highest.
func plainDecimals(c *schema.Column, scale int) plain[string] {
	whole := func(b []byte) string { return decimalText(bigEndian(b), scale) }
	if c.PhysicalType() == parquet.Types.FixedLenByteArray {
		return fixed(width(c), whole)
	}
	return fixed(width(c), func(b []byte) string {
		b = slices.Clone(b)
		slices.Reverse(b)
		return whole(b)
	})
}

// bigEndian is the number in two's complement.
func bigEndian(b []byte) *big.Int {
	x := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 1<<7 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return x
}

// plainFloats decodes numbers of FLOAT or DOUBLE.
func plainFloats(t parquet.Type) plain[float64] {
	if t == parquet.Types.Float {
		return fixed(4, func(b []byte) float64 { return float64(float32At(b)) })
	}
	return fixed(8, float64At)
}

func float32At(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }
func float64At(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }

// plainSeconds decodes dates and times as seconds since 1970.
func plainSeconds(c *schema.Column) plain[int64] {
	switch c.PhysicalType() {
	case parquet.Types.Int96:
		return fixed(12, int96Seconds)
	case parquet.Types.Int32:
		return fixed(4, func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) * secondsPerDay })
	}
	units := perSecond(c)
	return fixed(8, func(b []byte) int64 { return floorSeconds(int64(binary.LittleEndian.Uint64(b)), units) })
}

// int96Seconds is a time as Hive, Impala and Spark write it: nanoseconds of the
// day, and the Julian day.
func int96Seconds(b []byte) int64 {
	const julian1970 = 2440588
	day := int64(int32(binary.LittleEndian.Uint32(b[8:]))) - julian1970
	return day*secondsPerDay + floorSeconds(int64(binary.LittleEndian.Uint64(b)), 1e9)
}

// fixed decodes values of so many bytes each.
func fixed[T any](size int, of func([]byte) T) plain[T] {
	return func(data []byte, n int) ([]T, error) {
		if len(data)/max(size, 1) < n {
			return nil, errShort
		}
		values := make([]T, n)
		for i := range values {
			values[i] = of(data[i*size : (i+1)*size])
		}
		return values, nil
	}
}

// plainBytes decodes texts with their lengths before them.
func plainBytes(data []byte, n int) ([]string, error) {
	if len(data)/4 < n {
		return nil, errShort
	}
	texts := make([]string, n)
	for i := range texts {
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return nil, errShort
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		texts[i], data = string(data[4:end]), data[end:]
	}
	return texts, nil
}
