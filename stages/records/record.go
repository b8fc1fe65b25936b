package records

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/valyala/fastjson"
	"github.com/valyala/fastjson/fastfloat"

	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
)

// A Record is the object of one line, in whichever syntax it is written.
type Record struct {
	json   *fastjson.Value // nil when the line is a Python literal
	python pyliteral.Dict
	names  *names
}

// A Parser parses lines. The records share its memory, and last until the next
// one is parsed.
type Parser struct {
	// Python says which fields to keep of a line that is a Python dict. Where it
	// is nil such lines are errors.
	Python func(field string) bool
	json   fastjson.Parser
	names  names
}

// Parse reads a line, which must be one complete JSON object, or the dict that
// Python's repr prints for one.
func (p *Parser) Parse(line []byte) (Record, error) {
	if p.Python != nil && looksPython(line) {
		return p.parsePython(line)
	}
	v, err := p.json.ParseBytes(line)
	if err != nil {
		return Record{}, jsonError(line, err)
	}
	if v.Type() != fastjson.TypeObject {
		return Record{}, fmt.Errorf("want an object, not %s", TypeName(plain(v)))
	}
	return Record{json: v, names: &p.names}, nil
}

// looksPython tells by the first key. JSON's begin with a double quote.
// Python's do only if they contain a single one, which no field name here does.
func looksPython(line []byte) bool {
	if bytes.HasPrefix(line, []byte(`{"`)) { // as nearly all do
		return false
	}
	line = bytes.TrimLeft(line, " \t")
	if len(line) < 2 || line[0] != '{' {
		return false
	}
	first := bytes.TrimLeft(line[1:], " \t")
	return len(first) > 0 && (first[0] == '\'' || first[0] == 'u')
}

func (p *Parser) parsePython(line []byte) (Record, error) {
	d, err := pyliteral.ParseFields(line, p.Python)
	if err == nil {
		return Record{python: d, names: &p.names}, nil
	}
	var syntax *pyliteral.SyntaxError
	if errors.As(err, &syntax) {
		return Record{}, &syntaxError{syntax.Offset + 1, fmt.Errorf("no complete Python literal: %s", syntax.Message)}
	}
	return Record{}, fmt.Errorf("no complete Python literal: %w", err)
}

// TypeName names the type of a value, as [Record.Value] gives it, for a message.
func TypeName(v any) string {
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

// Has says whether there is a field of this name that is not null.
func (r Record) Has(name string) bool {
	if r.json == nil {
		return r.python.Get(name) != nil
	}
	v := r.json.Get(name)
	return v != nil && v.Type() != fastjson.TypeNull
}

// Value is a field as pyliteral would give it, nil when there is none: a bool,
// string, pyliteral.Number, []any or pyliteral.Dict.
func (r Record) Value(name string) any {
	if r.json == nil {
		return r.python.Get(name)
	}
	return plain(r.json.Get(name))
}

// plain is a JSON value as pyliteral would give it.
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
		return plainObject(v.GetObject())
	}
	return nil
}

func plainObject(o *fastjson.Object) pyliteral.Dict {
	d := pyliteral.Dict{}
	o.Visit(func(key []byte, v *fastjson.Value) {
		d = append(d, pyliteral.Entry{Key: string(key), Value: plain(v)})
	})
	return d
}

// ID is a field that must be a string, not empty and valid UTF-8. It lasts as
// long as the record.
func (r Record) ID(name string) ([]byte, error) {
	id, err := r.text(name)
	switch {
	case err != nil:
		return nil, err
	case len(id) == 0:
		return nil, FieldErrorf(name, "is empty")
	case !utf8.Valid(id):
		return nil, FieldErrorf(name, "is not valid UTF-8")
	}
	return id, nil
}

// Name is a field as ID has it that outlives the record. Many such names share
// one piece of memory, so that one of them that is kept for long keeps others.
func (r Record) Name(field string) (string, error) {
	id, err := r.ID(field)
	if err != nil {
		return "", err
	}
	return r.names.keep(id), nil
}

// names keeps short texts many to a piece of memory, which costs a tenth of what
// one allocation for each does.
type names struct{ room []byte }

func (n *names) keep(name []byte) string {
	const piece = 16 << 10
	if len(n.room)+len(name) > cap(n.room) {
		n.room = make([]byte, 0, max(piece, len(name)))
	}
	from := len(n.room)
	n.room = append(n.room, name...)
	return unsafe.String(&n.room[from], len(name)) // which nobody writes to again
}

// text is a field that must be a string, which may be empty. It lasts as long
// as the record.
func (r Record) text(name string) ([]byte, error) {
	if r.json != nil {
		if v := r.json.Get(name); v != nil && v.Type() == fastjson.TypeString {
			return v.StringBytes()
		}
	}
	switch v := r.Value(name).(type) {
	case nil:
		return nil, missing(name)
	case string:
		return []byte(v), nil
	default:
		return nil, wrongType(name, "a string", v)
	}
}

// Words is a field that may be a string or absent. White space is folded, and
// what is no UTF-8 replaced.
func (r Record) Words(name string) (string, error) {
	if !r.Has(name) {
		return "", nil
	}
	text, err := r.text(name)
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "\uFFFD")), " "), err
}

// Float is a field that must be a finite number.
func (r Record) Float(name string) (float64, error) {
	if v := r.jsonNumber(name); v != nil {
		if x, err := v.Float64(); err == nil && !math.IsInf(x, 0) && !math.IsNaN(x) {
			return x, nil
		}
	}
	n, err := r.number(name)
	if err != nil {
		return 0, err
	}
	x, err := fastfloat.Parse(n)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, FieldErrorf(name, "is not a number: %.40s", n)
	}
	return x, nil
}

// Integer is a field that must be a whole number.
func (r Record) Integer(name string) (int64, error) {
	if v := r.jsonNumber(name); v != nil {
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
	}
	text, err := r.number(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, FieldErrorf(name, "is not a whole number: %.40s", text)
	}
	return n, nil
}

// jsonNumber is a field that is a number of JSON, else nil. Those are read
// without a copy of their digits, except when something is to be said of them.
func (r Record) jsonNumber(name string) *fastjson.Value {
	if r.json == nil {
		return nil
	}
	if v := r.json.Get(name); v != nil && v.Type() == fastjson.TypeNumber {
		return v
	}
	return nil
}

func (r Record) number(name string) (string, error) {
	switch v := r.Value(name).(type) {
	case nil:
		return "", missing(name)
	case pyliteral.Number:
		return string(v), nil
	default:
		return "", wrongType(name, "a number", v)
	}
}
