package table

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// A rowField is one field of a row struct with all that moving its values
// needs, found once by reflection.
type rowField struct {
	Field
	offset uintptr // of the field in the row
	fixed  bool    // a fixed-size list
	width  int     // of the fixed-size list, 0 until it is known
	codec  codec
}

// dataType is the column's Arrow type. Of a fixed-size list the width must be
// known.
func (f rowField) dataType() arrow.DataType { return f.codec.dataType(f.width) }

func rowFieldsOf(row reflect.Type) ([]rowField, error) {
	if row.Kind() != reflect.Struct {
		return nil, fmt.Errorf("table: %s is no struct, so it declares no columns", row)
	}
	fields, err := appendRowFields(nil, row, 0)
	if err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf(`table: %s has no exported field tagged arrow:"name"`, row)
	}
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.Name] {
			return nil, fmt.Errorf("table: %s declares column %q twice", row, f.Name)
		}
		seen[f.Name] = true
	}
	return fields, nil
}

func appendRowFields(fields []rowField, row reflect.Type, base uintptr) ([]rowField, error) {
	for i := range row.NumField() {
		sf := row.Field(i)
		tag, tagged := sf.Tag.Lookup("arrow")
		var err error
		switch {
		case sf.Anonymous && !tagged && sf.Type.Kind() == reflect.Struct:
			fields, err = appendRowFields(fields, sf.Type, base+sf.Offset)
		case tag == "-" || !sf.IsExported():
		case tag == "":
			err = fmt.Errorf(`table: %s.%s has no tag; write arrow:"name", or arrow:"-" if it is no column`, row, sf.Name)
		default:
			fields, err = appendRowField(fields, row, sf, base)
		}
		if err != nil {
			return nil, err
		}
	}
	return fields, nil
}

func appendRowField(fields []rowField, row reflect.Type, sf reflect.StructField, base uintptr) ([]rowField, error) {
	f, err := parseRowField(sf)
	if err != nil {
		return nil, fmt.Errorf("table: %s.%s: %w", row, sf.Name, err)
	}
	f.offset = base + sf.Offset
	f.codec, err = codecOf(sf.Type, f)
	if err != nil {
		return nil, fmt.Errorf("table: %s.%s: %w", row, sf.Name, err)
	}
	f.Type = f.codec.typeName(f.width)
	return append(fields, f), nil
}

// parseRowField reads a field's tags.
func parseRowField(sf reflect.StructField) (rowField, error) {
	name, options, _ := strings.Cut(sf.Tag.Get("arrow"), ",")
	f := rowField{Field: Field{Name: name, Doc: sf.Tag.Get("doc")}}
	if name == "" {
		return f, fmt.Errorf("the tag %q names no column", sf.Tag.Get("arrow"))
	}
	f.Nullable = sf.Type.Kind() == reflect.Pointer
	for option := range strings.SplitSeq(options, ",") {
		width, isWidth := strings.CutPrefix(option, "fixed=")
		switch {
		case option == "":
		case option == "nullable":
			if sf.Type.Kind() != reflect.Slice {
				return f, fmt.Errorf("nullable is for slices; a scalar is nullable as a pointer, *%s", sf.Type)
			}
			f.Nullable = true
		case option == "fixed":
			f.fixed = true
		case isWidth:
			n, err := strconv.Atoi(width)
			if err != nil || n < 1 {
				return f, fmt.Errorf("the width in %q is no number above 0", option)
			}
			f.fixed, f.width = true, n
		default:
			return f, fmt.Errorf("unknown option %q (there are nullable, fixed and fixed=N)", option)
		}
	}
	return f, nil
}

// codecOf chooses the codec of a Go type.
func codecOf(t reflect.Type, f rowField) (codec, error) {
	if f.fixed && t.Kind() != reflect.Slice {
		return nil, fmt.Errorf("fixed is for slices of numbers, not for %s", t)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return scalarCodec(t.Elem(), true)
	case reflect.Slice:
		return sliceCodec(t, f)
	}
	return scalarCodec(t, false)
}

func scalarCodec(t reflect.Type, pointer bool) (codec, error) {
	switch t.Kind() {
	case reflect.String:
		return textCodec{pointer: pointer}, nil
	case reflect.Bool:
		return boolCodec{pointer: pointer}, nil
	}
	if n := numberOf(t.Kind()); n != nil {
		return n.scalar(pointer), nil
	}
	return nil, noColumnType(t)
}

func sliceCodec(t reflect.Type, f rowField) (codec, error) {
	n := numberOf(t.Elem().Kind())
	switch {
	case f.fixed && n != nil:
		return n.fixedList(f.Nullable), nil
	case f.fixed:
		return nil, fmt.Errorf("fixed is for slices of numbers, not for %s", t)
	case t.Elem().Kind() == reflect.Uint8:
		return binaryCodec{nullable: f.Nullable}, nil
	case t.Elem().Kind() == reflect.String:
		return textListCodec{nullable: f.Nullable}, nil
	case n != nil:
		return n.list(f.Nullable), nil
	}
	return nil, noColumnType(t)
}

func noColumnType(t reflect.Type) error {
	element := t
	if t.Kind() == reflect.Slice {
		element = t.Elem()
	}
	if k := element.Kind(); k == reflect.Int || k == reflect.Uint {
		return fmt.Errorf("the size of %s depends on the machine; use %s64", element, k)
	}
	return fmt.Errorf("no column type for %s", t)
}
