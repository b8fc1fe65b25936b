// Package pyliteral reads what Python's repr prints for plain data: None,
// True, False, numbers, strings, lists, tuples and dicts. It evaluates
// nothing. The metadata files of the 2014 Amazon data hold one such dict a
// line, and are no JSON.
//
//	v, err := pyliteral.Parse([]byte(`{'asin': u'B01', 'price': 9.5, 'also': ('x',)}`))
//	d := v.(pyliteral.Dict)
//	d.Get("asin")  // "B01"
//	d.Get("price") // pyliteral.Number("9.5")
//
// Both Pythons' strings are understood. In a string without a u prefix \xNN is
// a byte where the string's bytes are then valid UTF-8, as they are in what
// Python 2 printed, and otherwise the code point NN, as in what Python 3
// prints.
//
// The package knows no expressions, sets, bytes as distinct from text,
// complex numbers, triple-quoted strings or any other number syntax than what
// repr prints.
package pyliteral

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// MaxDepth is how deep lists, tuples and dicts may nest. Amazon's metadata
// need four levels.
const MaxDepth = 100

// A Number is a number as it was written, without the L that ends a long of
// Python 2; inf, -inf and nan are numbers too.
type Number string

// Float64 is the nearest float64, infinite where it is out of range.
func (n Number) Float64() float64 {
	x, _ := strconv.ParseFloat(string(n), 64) // the parser took it, so that only the range can be wrong
	return x
}

// A Dict is a dict's entries in their order.
type Dict []Entry

// An Entry is one key and its value.
type Entry struct{ Key, Value any }

// Get is the value of a string key, nil when there is none. As in Python the
// last of equal keys counts.
func (d Dict) Get(key string) any {
	for i := len(d) - 1; i >= 0; i-- {
		if d[i].Key == key {
			return d[i].Value
		}
	}
	return nil
}

// A SyntaxError says what is wrong with a literal, and where.
type SyntaxError struct {
	Offset  int // in bytes
	Message string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("column %d: %s", e.Offset+1, e.Message)
}

// Parse reads text, which must be exactly one literal between white space. The
// result is nil, a bool, string, Number, []any for a list or tuple, or Dict.
// It shares no memory with text. An error is a *SyntaxError.
func Parse(text []byte) (any, error) {
	p := parser{text: text}
	return p.whole()
}

// ParseFields reads text, which must be exactly one dict between white space,
// and keeps the entries whose keys are strings that wanted says yes to. Of the
// others it checks that they are complete, but not the escapes in strings. An
// error is a *SyntaxError.
func ParseFields(text []byte, wanted func(key string) bool) (Dict, error) {
	p := parser{text: text, wanted: wanted}
	p.space()
	if p.peek() != '{' {
		return nil, p.errorf("want a dict, not %s", p.here())
	}
	v, err := p.whole()
	if err != nil {
		return nil, err
	}
	return v.(Dict), nil
}

type parser struct {
	text    []byte
	at      int
	scratch []byte                // a string while its escapes are replaced
	wanted  func(key string) bool // which entries of the outermost dict to keep; nil for all
	skip    bool                  // whether values are only gone over
}

func (p *parser) whole() (any, error) {
	p.space()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.at < len(p.text) {
		return nil, p.errorf("unexpected %s after the value", p.here())
	}
	return v, nil
}

func (p *parser) errorf(format string, args ...any) error {
	return &SyntaxError{p.at, fmt.Sprintf(format, args...)}
}

// here describes the next character for a message.
func (p *parser) here() string {
	if p.at >= len(p.text) {
		return "end"
	}
	for _, r := range string(p.text[p.at:min(p.at+4, len(p.text))]) {
		return strconv.QuoteRune(r)
	}
	return "end"
}

func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0 // which begins nothing
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r', '\f':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) value(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, p.errorf("more than %d levels of lists and dicts", MaxDepth)
	}
	switch c := p.peek(); c {
	case '{':
		return p.dict(depth)
	case '[':
		p.at++
		list, _, err := p.list(']', depth)
		return list, err
	case '(':
		p.at++
		return p.tuple(depth)
	case '\'', '"':
		return p.str()
	case '+', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return p.number()
	}
	if p.stringPrefix() {
		return p.str()
	}
	return p.word()
}

func (p *parser) dict(depth int) (any, error) {
	p.at++
	d := Dict{}
	for {
		p.space()
		if p.peek() == '}' {
			p.at++
			return d, nil
		}
		key, err := p.key(depth)
		if err != nil {
			return nil, err
		}
		p.space()
		if p.peek() != ':' {
			return nil, p.errorf("want ':' after the key, not %s", p.here())
		}
		p.at++
		p.space()
		unwanted := depth == 0 && !p.wants(key)
		p.skip = p.skip || unwanted
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.skip {
			d = append(d, Entry{key, v})
		}
		if unwanted {
			p.skip = false
		}
		if err := p.separator('}'); err != nil {
			return nil, err
		}
	}
}

func (p *parser) wants(key any) bool {
	if p.wanted == nil {
		return true
	}
	name, ok := key.(string)
	return ok && p.wanted(name)
}

func (p *parser) key(depth int) (any, error) {
	start := p.at
	key, err := p.value(depth + 1)
	if err != nil {
		return nil, err
	}
	switch key.(type) {
	case Dict, []any:
		p.at = start
		return nil, p.errorf("a list, tuple or dict cannot be a key here")
	}
	return key, nil
}

// separator goes over a comma, or to the end of what it would separate.
func (p *parser) separator(end byte) error {
	p.space()
	switch p.peek() {
	case ',':
		p.at++
		return nil
	case end:
		return nil
	}
	return p.errorf("want ',' or '%c', not %s", end, p.here())
}

// list reads up to end and says whether a comma was the last thing before it.
func (p *parser) list(end byte, depth int) (list []any, comma bool, err error) {
	list = []any{}
	for {
		p.space()
		if p.peek() == end {
			p.at++
			return list, comma, nil
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, false, err
		}
		if !p.skip {
			list = append(list, v)
		}
		if err := p.separator(end); err != nil {
			return nil, false, err
		}
		comma = p.text[p.at-1] == ','
	}
}

// tuple reads what stands in parentheses, which is a tuple only if it is empty
// or has a comma.
func (p *parser) tuple(depth int) (any, error) {
	list, comma, err := p.list(')', depth)
	switch {
	case err != nil || p.skip:
		return nil, err
	case len(list) == 1 && !comma:
		return list[0], nil
	}
	return list, nil
}

func (p *parser) word() (any, error) {
	start := p.at
	for p.wordGoesOn(p.at) {
		p.at++
	}
	switch name := string(p.text[start:p.at]); name {
	case "None":
		return nil, nil
	case "True", "False":
		return name == "True", nil
	case "inf", "nan":
		return Number(name), nil
	case "":
		return nil, p.errorf("want a value, not %s", p.here())
	default:
		p.at = start
		return nil, p.errorf("unknown name %.40q", name)
	}
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// number reads what repr prints for int, long and float, with or without a
// sign.
func (p *parser) number() (any, error) {
	start, sign := p.at, ""
	if c := p.peek(); c == '-' || c == '+' {
		if c == '-' {
			sign = "-"
		}
		p.at++
		p.space()
	}
	for _, name := range []string{"inf", "nan"} {
		if bytes.HasPrefix(p.text[p.at:], []byte(name)) && !p.wordGoesOn(p.at+len(name)) {
			p.at += len(name)
			return Number(sign + name), nil
		}
	}
	digits := p.decimal()
	if p.peek() == 'L' && !bytes.ContainsAny(digits, ".eE") {
		p.at++
	}
	if !validDecimal(digits) || p.wordGoesOn(p.at) {
		p.at = start
		return nil, p.errorf("malformed number")
	}
	return Number(sign + string(digits)), nil
}

func (p *parser) wordGoesOn(at int) bool { return at < len(p.text) && wordByte(p.text[at]) }

// decimal goes over what could be a number's digits.
func (p *parser) decimal() []byte {
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		exponentSign := (c == '+' || c == '-') && p.at > start && p.text[p.at-1]|0x20 == 'e'
		if c != '.' && c|0x20 != 'e' && (c < '0' || c > '9') && !exponentSign {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}

// validDecimal says whether Python takes text as a decimal number. It refuses
// a leading zero of a whole number, which once meant octal.
func validDecimal(text []byte) bool {
	if len(text) > 1 && text[0] == '0' && !bytes.ContainsAny(text, ".eE") && len(bytes.Trim(text, "0")) > 0 {
		return false
	}
	_, err := strconv.ParseFloat(string(text), 64)
	return err == nil || errors.Is(err, strconv.ErrRange)
}
