package records

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A syntaxError says that a line is no record.
type syntaxError struct {
	column int // 0 when it is not known
	cause  error
}

func (e *syntaxError) Error() string { return e.cause.Error() }

// jsonError says what the JSON library found, without the rest of the line
// that it repeats. Where the library found it, it does not say, so that the
// standard library is asked.
func jsonError(line []byte, err error) error {
	const most = 120
	message, _, _ := strings.Cut(err.Error(), "; unparsed tail:")
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	e := &syntaxError{cause: fmt.Errorf("no complete JSON object: %s", message)}
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(line, new(json.RawMessage)), &syntax) {
		e.column = max(int(syntax.Offset), 1)
	}
	return e
}

// A fieldError is about the value of a field.
type fieldError struct {
	field string
	text  string
}

func (e *fieldError) Error() string { return fmt.Sprintf("field %q %s", e.field, e.text) }

// FieldErrorf is an error about the value of a field: `field "stars" is 7, …`.
// The reader adds its place.
func FieldErrorf(field, format string, args ...any) error {
	return &fieldError{field, fmt.Sprintf(format, args...)}
}

func missing(name string) error { return fmt.Errorf("no field %q", name) }

func wrongType(name, want string, got any) error {
	return FieldErrorf(name, "is %s, not %s", TypeName(got), want)
}

// A fatalError ends the reading however many bad rows are allowed.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// Fatal makes err one that no number of allowed bad rows lets pass, since it
// concerns more than one row.
func Fatal(err error) error { return fatalError{err} }

// A stopError ends the reading and has nothing to do with a row.
type stopError struct{ error }

// Stop makes err one that ends the reading as it is, without a place: for what
// goes wrong with a good record, such as writing it. It is nil if err is.
func Stop(err error) error {
	if err == nil {
		return nil
	}
	return stopError{err}
}

// Column is where in the line an error of this package is, in bytes from 1, and 0
// when that cannot be told.
func Column(line []byte, err error) int {
	var syntax *syntaxError
	var field *fieldError
	switch {
	case errors.As(err, &syntax):
		return syntax.column
	case errors.As(err, &field):
		return columnOf(line, field.field)
	}
	return 0
}

// columnOf is where the value of a field of a JSON object begins. It reads the
// line again, which only an error costs.
func columnOf(line []byte, field string) int {
	d := json.NewDecoder(bytes.NewReader(line))
	if brace, err := d.Token(); err != nil || brace != json.Delim('{') {
		return 0
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return 0
		}
		if key == field {
			at := int(d.InputOffset())
			return at + len(line[at:]) - len(bytes.TrimLeft(line[at:], ": \t")) + 1
		}
		if d.Decode(new(json.RawMessage)) != nil {
			return 0
		}
	}
	return 0
}
