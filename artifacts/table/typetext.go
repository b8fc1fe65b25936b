package table

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseField reads what a schema prints as a column's type, such as "utf8",
// "fixed_size_list<float32>[512]" or "int64, nullable". Spaces are free; the
// field has the type's canonical form.
func ParseField(name, text string) (Field, error) {
	p := typeParser{rest: text}
	field := Field{Name: name}
	var err error
	if field.Type, err = p.typ(0); err != nil {
		return Field{}, err
	}
	p.space()
	tail := p.rest
	if p.take(",") && p.word() == "nullable" {
		field.Nullable, tail = true, p.rest
	}
	if strings.TrimSpace(tail) != "" {
		return Field{}, fmt.Errorf("%.100q belongs to no type; only \", nullable\" may follow one", tail)
	}
	return field, nil
}

// plainTypes are the types whose name is all there is to them.
var plainTypes = []string{
	"utf8", "binary", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
	"float16", "float32", "float64", "date32", "date64",
}

// foreignTypes are what other programs call some of them.
var foreignTypes = map[string]string{
	"string": "utf8", "large_string": "utf8", "large_utf8": "utf8", "str": "utf8", "text": "utf8", "varchar": "utf8",
	"bytes": "binary", "large_binary": "binary", "boolean": "bool",
	"int": "int64", "integer": "int64", "bigint": "int64", "long": "int64",
	"half": "float16", "halffloat": "float16", "float": "float32", "double": "float64", "number": "float64",
	"date": "date32", "time": "time64[us]", "datetime": "timestamp[us]", "decimal128": "decimal(P, S)", "large_list": "list<…>",
}

// A typeParser reads type names by recursive descent.
type typeParser struct{ rest string }

func (p *typeParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\n") }

func (p *typeParser) take(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return ok
}

func (p *typeParser) expect(token, after string) error {
	if !p.take(token) {
		return fmt.Errorf("%q must follow after %s, not %.100q", token, after, p.rest)
	}
	return nil
}

// word is a run of letters, digits and underscores; it may be empty.
func (p *typeParser) word() string {
	p.space()
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

func (p *typeParser) typ(depth int) (string, error) {
	if depth > maxTypeDepth {
		return "", fmt.Errorf("a type is nested more than %d deep", maxTypeDepth)
	}
	name := p.word()
	switch name {
	case "timestamp":
		return p.timestamp()
	case "time32":
		return p.unit(name, "s", "ms")
	case "time64":
		return p.unit(name, "us", "ns")
	case "duration":
		return p.unit(name, "s", "ms", "us", "ns")
	case "fixed_size_binary":
		width, err := p.width(name, false)
		return name + width, err
	case "decimal":
		return p.decimal(name, 38)
	case "decimal256":
		return p.decimal(name, 76)
	case "list", "fixed_size_list", "map", "struct":
		return p.nested(name, depth)
	}
	return name, checkPlain(name)
}

// checkPlain says what is meant by a name that no type has.
func checkPlain(name string) error {
	for _, known := range plainTypes {
		if name == known {
			return nil
		}
	}
	if ours, ok := foreignTypes[strings.ToLower(name)]; ok {
		return fmt.Errorf("there is no type %q; write %s", name, ours)
	}
	if near := nearest(name, plainTypes); near != "" && name != "" {
		return fmt.Errorf("there is no type %.100q; did you mean %s?", name, near)
	}
	return fmt.Errorf("there is no type %.100q; there are %s, and nested ones such as list<utf8> and fixed_size_list<float32>[512]",
		name, strings.Join(plainTypes, ", "))
}

func (p *typeParser) timestamp() (string, error) {
	if err := p.expect("[", "timestamp"); err != nil {
		return "", err
	}
	inside, rest, closed := strings.Cut(p.rest, "]")
	if !closed {
		return "", errors.New("timestamp[ has no closing bracket")
	}
	p.rest = rest
	unit, zone, zoned := strings.Cut(inside, ",")
	unit, zone = strings.TrimSpace(unit), strings.TrimSpace(zone)
	if err := checkUnit("timestamp", unit, "s", "ms", "us", "ns"); err != nil {
		return "", err
	}
	if zoned && zone == "" {
		return "", fmt.Errorf("timestamp[%s,] names no time zone", unit)
	}
	if zoned {
		return fmt.Sprintf("timestamp[%s, %s]", unit, zone), nil
	}
	return fmt.Sprintf("timestamp[%s]", unit), nil
}

func (p *typeParser) unit(name string, units ...string) (string, error) {
	if err := p.expect("[", name); err != nil {
		return "", err
	}
	unit := p.word()
	if err := checkUnit(name, unit, units...); err != nil {
		return "", err
	}
	return name + "[" + unit + "]", p.expect("]", name+"["+unit)
}

func checkUnit(name, unit string, units ...string) error {
	for _, known := range units {
		if unit == known {
			return nil
		}
	}
	return fmt.Errorf("%s is in units of %s, not %.100q", name, strings.Join(units, ", "), unit)
}

// width reads "[N]", or "[?]" where the width may be left to the data.
func (p *typeParser) width(name string, open bool) (string, error) {
	if err := p.expect("[", name); err != nil {
		return "", err
	}
	if open && p.take("?") {
		return "[?]", p.expect("]", name+"[?")
	}
	n, err := p.number(name, 1, maxFixedWidth)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("[%d]", n), p.expect("]", fmt.Sprintf("%s[%d", name, n))
}

func (p *typeParser) number(of string, least, most int) (int, error) {
	digits := p.word()
	n, err := strconv.Atoi(digits)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("a number of %s must be from %d to %d, not %.100q", of, least, most, digits)
	}
	return n, nil
}

func (p *typeParser) decimal(name string, digits int) (string, error) {
	if err := p.expect("(", name); err != nil {
		return "", err
	}
	precision, err := p.number(name, 1, digits)
	if err != nil {
		return "", err
	}
	if err := p.expect(",", "the precision of a "+name); err != nil {
		return "", err
	}
	scale, err := p.number(name, 0, precision)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s(%d, %d)", name, precision, scale), p.expect(")", "the scale of a "+name)
}

func (p *typeParser) nested(name string, depth int) (text string, err error) {
	if err := p.expect("<", name); err != nil {
		return "", err
	}
	switch name {
	case "struct":
		text, err = p.fields(depth)
	case "map":
		text, err = p.pair(depth)
	default:
		text, err = p.typ(depth + 1)
	}
	if err != nil {
		return "", err
	}
	if err := p.expect(">", "the types inside a "+name); err != nil {
		return "", err
	}
	text = name + "<" + text + ">"
	if name != "fixed_size_list" {
		return text, nil
	}
	width, err := p.width(name, depth == 0)
	return text + width, err
}

func (p *typeParser) pair(depth int) (string, error) {
	key, err := p.typ(depth + 1)
	if err != nil {
		return "", err
	}
	if err := p.expect(",", "the key of a map"); err != nil {
		return "", err
	}
	value, err := p.typ(depth + 1)
	return key + ", " + value, err
}

func (p *typeParser) fields(depth int) (string, error) {
	var fields []string
	for {
		name, err := p.fieldName()
		if err != nil {
			return "", err
		}
		if err := p.expect(":", "the name of a struct's field"); err != nil {
			return "", err
		}
		typ, err := p.typ(depth + 1)
		if err != nil {
			return "", err
		}
		fields = append(fields, name+": "+typ)
		if !p.take(",") {
			return strings.Join(fields, ", "), nil
		}
	}
}

// fieldName is a plain name, or any other in Go's quotes.
func (p *typeParser) fieldName() (string, error) {
	p.space()
	quoted, err := strconv.QuotedPrefix(p.rest)
	if err != nil {
		if name := p.word(); plainName.MatchString(name) {
			return name, nil
		}
		return "", fmt.Errorf("a struct's field needs a name, not %.100q", p.rest)
	}
	p.rest = p.rest[len(quoted):]
	name, err := strconv.Unquote(quoted)
	if err != nil {
		return "", err
	}
	if plainName.MatchString(name) {
		return name, nil
	}
	return strconv.Quote(name), nil
}
