package pipelines

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how many keys, lists and inline tables stand inside one
// another. The TOML library recurses into values and does work quadratic in the
// length of a dotted key, so the bound has to hold before it sees the text.
const maxDepth = 32

// A segment is one part of a dotted key and the byte that it begins at.
type segment struct {
	name string
	at   int
}

// A visitor hears what a scan finds, in the order of the text. Offsets are in
// bytes.
type visitor interface {
	header(path []segment, array bool) // [path] or [[path]]
	key(path []segment)                // path =, whose value comes next
	open(at int, bracket byte)         // '[' or '{' of a value
	close()                            // its end
	scalar(at int)                     // any other value
}

// A scanError is where a text stops being TOML, or nests too deeply.
type scanError struct {
	at      int
	message string
	deep    bool
}

// scan walks a TOML text and tells v of its keys and values.
//
// It exists because the TOML library keeps no positions of keys, and accepts
// everything that the library accepts: what a number, a date or an escape may
// look like is left to the library, which reads the text afterwards.
func scan(text string, v visitor) (err *scanError) {
	s := &scanner{text: text, v: v}
	defer func() {
		if r := recover(); r != nil {
			stopped, ok := r.(*scanError)
			if !ok {
				panic(r)
			}
			err = stopped
		}
	}()
	s.document()
	return nil
}

type scanner struct {
	text  string
	at    int
	depth int // of keys and brackets around the current position
	v     visitor
}

// fail stops the scan; scan turns it into an error.
func (s *scanner) fail(message string) {
	panic(&scanError{at: min(s.at, len(s.text)), message: message})
}

// nest enters levels more, and leave leaves them.
func (s *scanner) nest(levels int) {
	s.depth += levels
	if s.depth > maxDepth {
		panic(&scanError{at: s.at, message: "keys, lists and tables are nested more than " + strconv.Itoa(maxDepth) + " deep", deep: true})
	}
}

func (s *scanner) leave(levels int) { s.depth -= levels }

// peek is the current byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) end() bool { return s.at >= len(s.text) }

func (s *scanner) take(prefix string) bool {
	if !strings.HasPrefix(s.text[s.at:], prefix) {
		return false
	}
	s.at += len(prefix)
	return true
}

func (s *scanner) expect(token, message string) {
	if !s.take(token) {
		s.fail(message)
	}
}

func (s *scanner) blanks() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.at++
	}
}

// gaps skips blanks, ends of lines and comments.
func (s *scanner) gaps() {
	for !s.end() {
		switch s.peek() {
		case ' ', '\t', '\n', '\r':
			s.at++
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	if i := strings.IndexByte(s.text[s.at:], '\n'); i >= 0 {
		s.at += i
	} else {
		s.at = len(s.text)
	}
}

func (s *scanner) endOfLine() {
	s.blanks()
	if s.peek() == '#' {
		s.comment()
	}
	if !s.end() && !s.take("\n") && !s.take("\r\n") {
		s.fail("expected the end of the line")
	}
}

func (s *scanner) document() {
	header := 0 // levels that the last header opened
	for s.gaps(); !s.end(); s.gaps() {
		if s.take("[") {
			s.leave(header)
			header = s.header()
		} else {
			s.pair()
		}
		s.endOfLine()
	}
}

func (s *scanner) header() (levels int) {
	array := s.take("[")
	path := s.path()
	closing := "]"
	if array {
		closing = "]]"
	}
	s.expect(closing, "expected "+closing+" after the table's name")
	s.nest(len(path))
	s.v.header(path, array)
	return len(path)
}

func (s *scanner) pair() {
	path := s.path()
	s.expect("=", "expected = after the key")
	s.nest(len(path))
	s.v.key(path)
	s.value()
	s.leave(len(path))
}

// path reads a dotted key and the blanks around it.
func (s *scanner) path() []segment {
	var path []segment
	for {
		s.blanks()
		at := s.at
		path = append(path, segment{s.keyName(), at})
		if len(path) > maxDepth {
			s.nest(len(path))
		}
		s.blanks()
		if !s.take(".") {
			return path
		}
	}
}

func (s *scanner) keyName() string {
	from := s.at
	switch s.peek() {
	case '"':
		s.basicString()
		return unescape(s.text[from+1 : s.at-1])
	case '\'':
		s.literalString()
		return s.text[from+1 : s.at-1]
	}
	for isBare(s.peek()) {
		s.at++
	}
	if s.at == from {
		s.fail("expected a key")
	}
	return s.text[from:s.at]
}

func isBare(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

func (s *scanner) value() {
	s.blanks()
	at := s.at
	switch s.peek() {
	case '[':
		s.bracket(']', s.value)
		return
	case '{':
		s.bracket('}', s.pair)
		return
	case '"':
		if s.take(`"""`) {
			s.multiline(`"`, true)
		} else {
			s.basicString()
		}
	case '\'':
		if s.take(`'''`) {
			s.multiline(`'`, false)
		} else {
			s.literalString()
		}
	default:
		s.bareValue()
	}
	s.v.scalar(at)
}

// bracket reads a list or an inline table, whose elements item reads.
func (s *scanner) bracket(closing byte, item func()) {
	s.nest(1)
	s.v.open(s.at, s.peek())
	s.at++
	for s.gaps(); s.peek() != closing; s.gaps() {
		item()
		s.gaps()
		if s.peek() != closing {
			s.expect(",", "expected a comma or "+string(closing))
		}
	}
	s.at++
	s.v.close()
	s.leave(1)
}

// bareValue reads a number, a boolean or a date: all that has no delimiters.
func (s *scanner) bareValue() {
	rest := s.text[s.at:]
	length := strings.IndexAny(rest, ",]}#\r\n")
	if length < 0 {
		length = len(rest)
	}
	if length == 0 {
		s.fail("expected a value")
	}
	s.at += length
}

func (s *scanner) basicString() {
	for s.at++; !s.end() && s.peek() != '\n'; s.at++ {
		switch s.peek() {
		case '"':
			s.at++
			return
		case '\\':
			if s.at++; s.peek() == '\n' {
				s.at--
			}
		}
	}
	s.fail("expected the end of the string")
}

func (s *scanner) literalString() {
	for s.at++; !s.end() && s.peek() != '\n'; s.at++ {
		if s.peek() == '\'' {
			s.at++
			return
		}
	}
	s.fail("expected the end of the string")
}

// multiline reads the rest of a string in triple quotes, which may end in up to
// two quotes of its own.
func (s *scanner) multiline(quote string, escapes bool) {
	for !s.end() {
		switch {
		case escapes && s.peek() == '\\':
			s.at += 2
		case s.take(quote + quote + quote):
			for range 2 {
				s.take(quote)
			}
			return
		default:
			s.at++
		}
	}
	s.fail("expected the end of the string")
}

// unescape gives a quoted key its value. What is no escape stays as it is: the
// library refuses it.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for text != "" {
		before, after, found := strings.Cut(text, `\`)
		b.WriteString(before)
		if !found || after == "" {
			break
		}
		r, length := escape(after)
		b.WriteRune(r)
		text = after[length:]
	}
	return b.String()
}

// escape reads what follows a backslash, and says how long it is.
func escape(text string) (r rune, length int) {
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[0]]
	if digits > 0 && len(text) > digits {
		if n, err := strconv.ParseUint(text[1:1+digits], 16, 32); err == nil {
			return rune(n), 1 + digits
		}
	}
	if i := strings.IndexByte("btnfre", text[0]); i >= 0 {
		return rune("\b\t\n\f\r\x1b"[i]), 1
	}
	return utf8.DecodeRuneInString(text)
}
