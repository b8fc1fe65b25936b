package features

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func sortedKeys(m map[string]float64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// ngrams says which n-grams of a text are hashed.
type ngrams struct {
	words      int // word n-grams of 1 to this many words; 0 for none
	charsFrom  int // character n-grams of this many characters …
	charsUntil int // … to this many, within words; 0 for none
}

// hashText adds the n-grams of a text. Words are runs of letters and digits,
// lower-cased; character n-grams see the word's ends as spaces.
func (n ngrams) hashText(a *accumulator, text string) {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for size := 1; size <= n.words; size++ {
		for i := 0; i+size <= len(words); i++ {
			a.add("w" + strings.Join(words[i:i+size], " "))
		}
	}
	if n.charsUntil == 0 {
		return
	}
	for _, word := range words {
		padded := []rune(" " + word + " ")
		for size := n.charsFrom; size <= n.charsUntil; size++ {
			for i := 0; i+size <= len(padded); i++ {
				a.add("c" + strconv.Itoa(size) + string(padded[i:i+size]))
			}
		}
	}
}
