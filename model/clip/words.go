package clip

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The texts of the two tokens that are no words.
const (
	startText = "<|startoftext|>"
	endText   = "<|endoftext|>"
)

// contractions are words of their own, wherever they stand.
var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'ſ"} // the last, since the reference ignores case: ſ is an s

// nextWord cuts the first word off a cleaned text; it is empty at the text's end. The words are those of the reference's
// expression, tried in this order at each place:
//
//	<|startoftext|> | <|endoftext|> | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+
func nextWord(text string) (word, rest string) {
	text = strings.TrimLeftFunc(text, isGap)
	n := wordLength(text)
	return text[:n], text[n:]
}

func wordLength(text string) int {
	first, size := utf8.DecodeRuneInString(text)
	switch {
	case size == 0:
		return 0
	case unicode.IsLetter(first):
		return runLength(text, unicode.IsLetter)
	case unicode.IsNumber(first):
		return size
	case first == '<':
		if n := prefixLength(text, startText, endText); n > 0 {
			return n
		}
	case first == '\'':
		if n := prefixLength(text, contractions...); n > 0 {
			return n
		}
	}
	return runLength(text, isSign)
}

// isSign is true for what is neither letter nor number nor gap.
func isSign(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !isGap(r) }

// isGap is true for what no word has: white space, and a Greek mark that counts as a letter to the reference's last
// alternative, which ignores case, but to none before it.
func isGap(r rune) bool { return unicode.IsSpace(r) || r == '\u0345' }

// runLength is how many bytes of the text's beginning are characters of a kind.
func runLength(text string, of func(rune) bool) int {
	end := strings.IndexFunc(text, func(r rune) bool { return !of(r) })
	if end < 0 {
		return len(text)
	}
	return end
}

// prefixLength is the length of the first prefix that the text has, or 0.
func prefixLength(text string, prefixes ...string) int {
	for _, prefix := range prefixes {
		if strings.HasPrefix(text, prefix) {
			return len(prefix)
		}
	}
	return 0
}
