package pyliteral

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// stringPrefix says whether a string with a prefix such as u'…' or br"…"
// begins here.
func (p *parser) stringPrefix() bool {
	for i := p.at; i < len(p.text) && i <= p.at+2; i++ {
		switch p.text[i] | 0x20 {
		case 'u', 'b', 'r':
		default:
			return i > p.at && (p.text[i] == '\'' || p.text[i] == '"')
		}
	}
	return false
}

// str reads a string; strings that stand side by side are one.
func (p *parser) str() (any, error) {
	whole, err := p.piece()
	if err != nil {
		return nil, err
	}
	for {
		p.space()
		if c := p.peek(); c != '\'' && c != '"' && !p.stringPrefix() {
			return whole, nil
		}
		more, err := p.piece()
		if err != nil {
			return nil, err
		}
		whole += more
	}
}

// piece reads one quoted string.
func (p *parser) piece() (string, error) {
	unicode, raw := false, false
	for ; wordByte(p.text[p.at]); p.at++ {
		unicode = unicode || p.text[p.at]|0x20 == 'u'
		raw = raw || p.text[p.at]|0x20 == 'r'
	}
	body, escaped, err := p.quoted()
	switch {
	case err != nil || p.skip:
		return "", err
	case raw || !escaped:
		return string(body), nil
	case unicode:
		return p.unescape(body, codePoints)
	}
	text, err := p.unescape(body, rawBytes)
	if err == nil && !utf8.ValidString(text) {
		return p.unescape(body, codePoints)
	}
	return text, err
}

// quoted goes over a string and returns what its quotes enclose, and whether
// that has a backslash.
func (p *parser) quoted() (body []byte, escaped bool, err error) {
	quote, start := p.text[p.at], p.at
	if p.at+2 < len(p.text) && p.text[p.at+1] == quote && p.text[p.at+2] == quote {
		return nil, false, p.errorf("triple-quoted strings are not read")
	}
	for i := start + 1; i < len(p.text); i++ {
		switch p.text[i] {
		case quote:
			p.at = i + 1
			return p.text[start+1 : i], escaped, nil
		case '\\':
			escaped = true
			i++ // over the next one, which may be a quote
		case '\n', '\r':
			p.at = i
			return nil, false, p.errorf("line ends in a string")
		}
	}
	return nil, false, p.errorf("string without end")
}

// byteMeaning is what \xNN and \NNN stand for.
type byteMeaning int

const (
	rawBytes   byteMeaning = iota // a byte of the string
	codePoints                    // a code point
)

// unescape replaces the escapes of body, the end of which is just before the
// quote that the parser is after.
func (p *parser) unescape(body []byte, meaning byteMeaning) (string, error) {
	out := p.scratch[:0]
	start := p.at - 1 - len(body)
	for i := 0; i < len(body); {
		if body[i] != '\\' {
			out = append(out, body[i])
			i++
			continue
		}
		n, err := 0, ""
		out, n, err = escape(out, body[i:], meaning)
		if err != "" {
			p.at = start + i
			return "", p.errorf("%s", err)
		}
		i += n
	}
	p.scratch = out
	return string(out), nil
}

// escape appends what the escape at the beginning of text stands for, and says
// how long the escape is.
func escape(out, text []byte, meaning byteMeaning) (_ []byte, n int, problem string) {
	switch c := text[1]; c {
	case '\n':
		return out, 2, "" // a line continued
	case 'x':
		v, ok := hexDigits(text, 2, 2)
		if !ok {
			return nil, 0, `\x needs two hex digits`
		}
		return appendByte(out, v, meaning), 4, ""
	case '0', '1', '2', '3', '4', '5', '6', '7':
		v, n := octal(text)
		return appendByte(out, v, meaning), n, ""
	case 'u', 'U':
		return appendCodePoint(out, text)
	default:
		if b, ok := simpleEscape(c); ok {
			return append(out, b), 2, ""
		}
		return append(out, '\\', c), 2, "" // Python keeps what it does not know
	}
}

func simpleEscape(c byte) (byte, bool) {
	switch c {
	case '\\', '\'', '"':
		return c, true
	case 'a':
		return 7, true
	case 'b':
		return 8, true
	case 't':
		return 9, true
	case 'n':
		return 10, true
	case 'v':
		return 11, true
	case 'f':
		return 12, true
	case 'r':
		return 13, true
	}
	return 0, false
}

func appendByte(out []byte, v rune, meaning byteMeaning) []byte {
	if meaning == rawBytes && v < 256 {
		return append(out, byte(v))
	}
	return utf8.AppendRune(out, v)
}

// appendCodePoint is escape for \uNNNN and \UNNNNNNNN. A pair of surrogates is
// one character, and half a pair is U+FFFD, since UTF-8 has none.
func appendCodePoint(out, text []byte) (_ []byte, n int, problem string) {
	digits := 4
	if text[1] == 'U' {
		digits = 8
	}
	v, ok := hexDigits(text, 2, digits)
	if !ok || v > utf8.MaxRune {
		return nil, 0, "\\" + string(text[1]) + " needs " + strconv.Itoa(digits) + " hex digits of a code point"
	}
	n = 2 + digits
	if utf16.IsSurrogate(v) && len(text) >= n+6 && text[n] == '\\' && text[n+1] == 'u' {
		low, ok := hexDigits(text, n+2, 4)
		if pair := utf16.DecodeRune(v, low); ok && pair != utf8.RuneError {
			return utf8.AppendRune(out, pair), n + 6, ""
		}
	}
	return utf8.AppendRune(out, v), n, ""
}

func hexDigits(text []byte, from, digits int) (rune, bool) {
	if len(text) < from+digits {
		return 0, false
	}
	v, err := strconv.ParseUint(string(text[from:from+digits]), 16, 32)
	if err != nil || v > utf8.MaxRune {
		return 0, false
	}
	return rune(v), true
}

// octal reads a backslash and one to three octal digits.
func octal(text []byte) (v rune, n int) {
	for n = 1; n < len(text) && n < 4 && text[n] >= '0' && text[n] <= '7'; n++ {
		v = v*8 + rune(text[n]-'0')
	}
	return v, n
}
