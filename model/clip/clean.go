package clip

import (
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean is the text that is cut into words: entities unescaped twice, as shop pages need it, and lower-cased. White
// space is left as it is, since words are the same however much of it is between them.
func clean(text string) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	text = unescape(unescape(text))
	return lower(strings.TrimFunc(text, isPythonSpace))
}

// isPythonSpace is str.isspace, by which the reference trims: it has four separators that unicode.IsSpace has not.
func isPythonSpace(r rune) bool { return unicode.IsSpace(r) || '\x1c' <= r && r <= '\x1f' }

// unescape is Python's html.unescape: entities may lack their semicolon, and names are those of HTML 5, as in
// html.UnescapeString. Numbers are read here, since Python drops those of no character and has none that overflow.
func unescape(text string) string {
	if !strings.Contains(text, "&") {
		return text
	}
	pieces := strings.Split(text, "&")
	var out strings.Builder
	out.WriteString(pieces[0])
	for _, piece := range pieces[1:] {
		if number, ok := strings.CutPrefix(piece, "#"); ok {
			out.WriteString(unescapeNumber(number))
			continue
		}
		out.WriteString(html.UnescapeString("&" + piece))
	}
	return out.String()
}

// unescapeNumber replaces the number at the beginning of a text that stood behind "&#".
func unescapeNumber(text string) string {
	digits, base, behind := numericReference(text)
	if digits == "" {
		return "&#" + text
	}
	return character(digits, base) + behind
}

// numericReference takes a number apart from what is behind it; digits are empty where there is none.
func numericReference(text string) (digits string, base int, behind string) {
	base, isDigit := 10, isDecimal
	if strings.HasPrefix(text, "x") || strings.HasPrefix(text, "X") {
		text, base, isDigit = text[1:], 16, isHex
	}
	n := 0
	for n < len(text) && isDigit(text[n]) {
		n++
	}
	return text[:n], base, strings.TrimPrefix(text[n:], ";")
}

func isDecimal(b byte) bool { return '0' <= b && b <= '9' }

func isHex(b byte) bool { return isDecimal(b) || 'a' <= b|0x20 && b|0x20 <= 'f' }

// character is what a numeric reference stands for.
func character(digits string, base int) string {
	number, err := strconv.ParseUint(digits, base, 32)
	switch {
	case err != nil || number == 0 || !utf8.ValidRune(rune(number)):
		return string(utf8.RuneError)
	case 0x80 <= number && number <= 0x9f: // of Windows-1252
		return html.UnescapeString("&#" + strconv.FormatUint(number, 10) + ";")
	case isNoCharacter(number):
		return ""
	}
	return string(rune(number))
}

// isNoCharacter is true for controls, save those of white space, and for what Unicode leaves to no character.
func isNoCharacter(n uint64) bool {
	control := n < 0x20 && n != '\t' && n != '\n' && n != '\f' && n != '\r' || n == 0x7f
	return control || 0xfdd0 <= n && n <= 0xfdef || n&0xfffe == 0xfffe
}

// lower is Python's str.lower, which unlike strings.ToLower keeps the dot of İ and knows the sigma at a word's end.
func lower(text string) string {
	if strings.ContainsRune(text, 'İ') {
		text = strings.ReplaceAll(text, "İ", "i\u0307")
	}
	if !strings.ContainsRune(text, 'Σ') {
		return strings.ToLower(text)
	}
	runes := []rune(text)
	lowered := make([]rune, len(runes))
	for i, r := range runes {
		lowered[i] = unicode.ToLower(r)
		if r == 'Σ' && endsWord(runes, i) {
			lowered[i] = 'ς'
		}
	}
	return string(lowered)
}

// endsWord is Unicode's condition Final_Sigma: a cased letter before, and none behind, whatever is between that case
// does not touch.
func endsWord(text []rune, at int) bool {
	before := at - 1
	for before >= 0 && isCaseIgnorable(text[before]) {
		before--
	}
	behind := at + 1
	for behind < len(text) && isCaseIgnorable(text[behind]) {
		behind++
	}
	return before >= 0 && isCased(text[before]) && (behind == len(text) || !isCased(text[behind]))
}

func isCased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

// wordPunctuation are the signs that may stand inside a word: Unicode's MidLetter, MidNumLet and Single_Quote.
const wordPunctuation = "':.\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a"

func isCaseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune(wordPunctuation, r)
}
