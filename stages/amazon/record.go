package amazon

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"
	"github.com/valyala/fastjson/fastfloat"

	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
)

// A record is the object of one line, in whichever syntax it is written.
type record struct {
	json   *fastjson.Value // nil when the line is a Python literal
	python pyliteral.Dict
}

// A recordParser parses lines. The records share its memory, and last until
// the next one is parsed.
type recordParser struct{ json fastjson.Parser }

// parse reads a line, which must be one complete JSON object, or the dict that
// Python's repr prints for one.
func (p *recordParser) parse(line []byte) (record, error) {
	if looksPython(line) {
		return parsePython(line)
	}
	v, err := p.json.ParseBytes(line)
	if err != nil {
		return record{}, syntaxError(err)
	}
	if v.Type() != fastjson.TypeObject {
		return record{}, fmt.Errorf("want an object, not %s", typeName(plain(v)))
	}
	return record{json: v}, nil
}

// looksPython tells by the first key. JSON's begin with a double quote.
// Python's do only if they contain a single one, which no field name here does.
func looksPython(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	if len(line) < 2 || line[0] != '{' {
		return false
	}
	first := bytes.TrimLeft(line[1:], " \t")
	return len(first) > 0 && (first[0] == '\'' || first[0] == 'u')
}

func parsePython(line []byte) (record, error) {
	d, err := pyliteral.ParseFields(line, read)
	if err != nil {
		return record{}, fmt.Errorf("no complete Python literal: %w", err)
	}
	return record{python: d}, nil
}

// read are the fields that are read of reviews and of metadata.
func read(name string) bool {
	switch name {
	case "asin", "reviewerID", "overall", "unixReviewTime",
		"title", "description", "brand", "categories", "category", "price",
		"imUrl", "image", "imageURL", "imageURLHighRes":
		return true
	}
	return false
}

// syntaxError says what the JSON library found, without the rest of the line
// that it repeats.
func syntaxError(err error) error {
	const most = 120
	message, _, _ := strings.Cut(err.Error(), "; unparsed tail:")
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	return fmt.Errorf("no complete JSON object: %s", message)
}

func missing(name string) error { return fmt.Errorf("no field %q", name) }

func wrongType(name, want string, got any) error {
	return fmt.Errorf("field %q is %s, not %s", name, typeName(got), want)
}

// typeName names the type of a value of either syntax for a message.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case pyliteral.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	}
	return "an object"
}

// value is a field as pyliteral would give it, nil when there is none.
func (r record) value(name string) any {
	if r.json == nil {
		return r.python.Get(name)
	}
	return plain(r.json.Get(name))
}

// plain is a JSON value as pyliteral would give it. Objects come out empty,
// since no field that is read has any.
func plain(v *fastjson.Value) any {
	if v == nil {
		return nil
	}
	switch v.Type() {
	case fastjson.TypeTrue, fastjson.TypeFalse:
		return v.Type() == fastjson.TypeTrue
	case fastjson.TypeNumber:
		return pyliteral.Number(v.MarshalTo(nil))
	case fastjson.TypeString:
		return string(v.GetStringBytes())
	case fastjson.TypeArray:
		list := []any{}
		for _, e := range v.GetArray() {
			list = append(list, plain(e))
		}
		return list
	case fastjson.TypeObject:
		return pyliteral.Dict{}
	}
	return nil
}

// id is a field that must be a string, not empty and valid UTF-8. It lasts as
// long as the record.
func (r record) id(name string) ([]byte, error) {
	id, err := r.text(name)
	switch {
	case err != nil:
		return nil, err
	case len(id) == 0:
		return nil, fmt.Errorf("field %q is empty", name)
	case !utf8.Valid(id):
		return nil, fmt.Errorf("field %q is not valid UTF-8", name)
	}
	return id, nil
}

func (r record) text(name string) ([]byte, error) {
	if r.json != nil {
		if v := r.json.Get(name); v != nil && v.Type() == fastjson.TypeString {
			return v.StringBytes()
		}
	}
	switch v := r.value(name).(type) {
	case nil:
		return nil, missing(name)
	case string:
		return []byte(v), nil
	default:
		return nil, wrongType(name, "a string", v)
	}
}

// float is a field that must be a finite number.
func (r record) float(name string) (float64, error) {
	n, err := r.number(name)
	if err != nil {
		return 0, err
	}
	x, err := fastfloat.Parse(n)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, fmt.Errorf("field %q is not a number: %.40s", name, n)
	}
	return x, nil
}

// integer is a field that must be a whole number.
func (r record) integer(name string) (int64, error) {
	text, err := r.number(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("field %q is not a whole number: %.40s", name, text)
	}
	return n, nil
}

func (r record) number(name string) (string, error) {
	switch v := r.value(name).(type) {
	case nil:
		return "", missing(name)
	case pyliteral.Number:
		return string(v), nil
	default:
		return "", wrongType(name, "a number", v)
	}
}
