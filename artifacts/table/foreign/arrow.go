package foreign

import (
	"iter"
	"os"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/prismflow/prismflow/artifacts/table"
)

// An arrowSource reads an Arrow file. Package table checks it.
type arrowSource struct {
	table    *table.File
	about    []Column
	n        int64
	selected []int

	nextBatch func() (arrow.Record, error, bool)
	stop      func()
	batch     []func(i int, to *Value) error // the selected columns of the current batch
	left, at  int                            // rows of the batch
}

func openArrow(file *os.File) (source, error) {
	t, err := table.Open(file.Name())
	if err != nil {
		return nil, err
	}
	s, err := newArrow(t)
	if err != nil {
		t.Close()
		return nil, err
	}
	return s, file.Close()
}

func newArrow(t *table.File) (*arrowSource, error) {
	rows, err := t.NumRows()
	if err != nil {
		return nil, err
	}
	s := &arrowSource{table: t, n: rows}
	for _, field := range t.ArrowSchema().Fields() {
		c := Column{Name: field.Name, Kind: arrowKind(field.Type), Type: field.Type.String()}
		if list, ok := field.Type.(arrow.ListLikeType); ok && field.Type.ID() != arrow.MAP {
			c.List, c.Kind = true, elementKind(arrowKind(list.Elem()), isDecimal(list.Elem()))
		}
		s.about = append(s.about, c)
	}
	s.nextBatch, s.stop = iter.Pull2(t.Records())
	return s, nil
}

func arrowKind(dt arrow.DataType) Kind {
	switch t := dt.(type) {
	case *arrow.StringType, *arrow.LargeStringType:
		return Text
	case *arrow.Float32Type, *arrow.Float64Type:
		return Real
	case *arrow.TimestampType, *arrow.Date32Type, *arrow.Date64Type:
		return Time
	case arrow.DecimalType:
		return decimalKind(t.GetScale())
	}
	if arrow.IsInteger(dt.ID()) {
		return Whole
	}
	return Other
}

func isDecimal(dt arrow.DataType) bool {
	_, ok := dt.(arrow.DecimalType)
	return ok
}

func (s *arrowSource) columns() []Column { return s.about }

func (s *arrowSource) rows() int64 { return s.n }

func (s *arrowSource) selectColumns(columns []int) error {
	s.selected = columns
	return nil
}

func (s *arrowSource) Close() error {
	s.stop()
	return s.table.Close()
}

func (s *arrowSource) next(row []Value) (bool, error) {
	for s.at == s.left {
		record, err, ok := s.nextBatch()
		if !ok || err != nil {
			return false, err
		}
		s.batch = s.batch[:0]
		for _, c := range s.selected {
			s.batch = append(s.batch, arrowReader(s.about[c], record.Column(c)))
		}
		s.at, s.left = 0, int(record.NumRows())
	}
	for j, read := range s.batch {
		if err := read(s.at, &row[j]); err != nil {
			return false, err
		}
	}
	s.at++
	return true, nil
}

// arrowReader reads the values of one column in a batch.
func arrowReader(c Column, values arrow.Array) func(i int, to *Value) error {
	switch {
	case c.List && c.Kind == Real:
		return arrowReals(values.(array.ListLike))
	case c.List:
		return arrowTexts(values.(array.ListLike))
	case c.Kind == Time:
		seconds := arrowSeconds(values)
		return func(i int, to *Value) error {
			*to = Value{Null: values.IsNull(i)}
			if !to.Null {
				to.Seconds = seconds(i)
			}
			return nil
		}
	}
	text := arrowText(values)
	return func(i int, to *Value) error {
		*to = Value{Null: values.IsNull(i)}
		if !to.Null {
			to.Text = text(i)
		}
		return nil
	}
}

// arrowText reads texts and numbers that are not null.
func arrowText(values arrow.Array) func(i int) string {
	switch a := values.(type) {
	case *array.Float32:
		return func(i int) string { return strconv.FormatFloat(float64(a.Value(i)), 'f', -1, 32) }
	case *array.Float64:
		return func(i int) string { return strconv.FormatFloat(a.Value(i), 'f', -1, 64) }
	case *array.Decimal128:
		scale := int(a.DataType().(arrow.DecimalType).GetScale())
		return func(i int) string { return decimalText(a.Value(i).BigInt(), scale) }
	case *array.Decimal256:
		scale := int(a.DataType().(arrow.DecimalType).GetScale())
		return func(i int) string { return decimalText(a.Value(i).BigInt(), scale) }
	}
	return values.ValueStr
}

// arrowSeconds reads times that are not null.
func arrowSeconds(values arrow.Array) func(i int) int64 {
	switch a := values.(type) {
	case *array.Date32:
		return func(i int) int64 { return int64(a.Value(i)) * secondsPerDay }
	case *array.Date64:
		return func(i int) int64 { return floorSeconds(int64(a.Value(i)), 1000) }
	case *array.Timestamp:
		perSecond := int64(1e9) / int64(a.DataType().(*arrow.TimestampType).Unit.Multiplier())
		return func(i int) int64 { return floorSeconds(int64(a.Value(i)), perSecond) }
	}
	panic("foreign: a time of type " + values.DataType().String()) // arrowKind knows no others
}

// arrowTexts reads lists of texts and whole numbers.
func arrowTexts(lists array.ListLike) func(i int, to *Value) error {
	var list []string
	text := arrowText(lists.ListValues())
	return func(i int, to *Value) error {
		*to = Value{}
		list = list[:0]
		err := eachElement(lists, i, func(j, _ int) error {
			element := ""
			if lists.ListValues().IsValid(j) {
				element = text(j)
			}
			list = append(list, element)
			return nil
		})
		to.Texts = list
		return err
	}
}

// arrowReals reads lists of numbers.
func arrowReals(lists array.ListLike) func(i int, to *Value) error {
	var list []float64
	real := arrowReal(lists.ListValues())
	return func(i int, to *Value) error {
		*to = Value{}
		list = list[:0]
		err := eachElement(lists, i, func(j, at int) error {
			if lists.ListValues().IsNull(j) {
				return nullElement(at)
			}
			list = append(list, real(j))
			return nil
		})
		to.Reals = list
		return err
	}
}

func arrowReal(values arrow.Array) func(i int) float64 {
	if a, ok := values.(*array.Float32); ok {
		return func(i int) float64 { return float64(a.Value(i)) }
	}
	return values.(*array.Float64).Value
}

// eachElement calls use for each element of the i-th list, none of a null, with
// its place among all elements and in the list.
func eachElement(lists array.ListLike, i int, use func(j, at int) error) error {
	if lists.IsNull(i) {
		return nil
	}
	from, until := lists.ValueOffsets(i)
	if until-from > MaxLength {
		return tooLong(until - from)
	}
	for j := from; j < until; j++ {
		if err := use(int(j), int(j-from)); err != nil {
			return err
		}
	}
	return nil
}
