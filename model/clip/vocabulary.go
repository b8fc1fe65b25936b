package clip

import (
	"fmt"
	"strings"
)

// vocabulary are the tokens and how they are made.
type vocabulary struct {
	inside     [256]int32 // the token of each byte inside a word
	last       [256]int32 // the token of each byte at a word's end
	merges     map[pair]merge
	start, end int32
}

// encode makes a word's tokens.
func (v *vocabulary) encode(word string) []int32 {
	switch word {
	case startText:
		return []int32{v.start}
	case endText:
		return []int32{v.end}
	}
	tokens := make([]int32, len(word))
	final := len(word) - 1
	for i := range final {
		tokens[i] = v.inside[word[i]]
	}
	tokens[final] = v.last[word[final]]
	return mergeAll(v.merges, tokens)
}

// endMark is how a token that ends a word is written.
const endMark = "</w>"

func readVocabulary(files Files) (*vocabulary, error) {
	ids, err := readIDs(files)
	if err != nil {
		return nil, err
	}
	v, err := newVocabulary(ids)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", vocabularyName, err)
	}
	text, err := files.read(mergesName, maxTokensSize)
	if err != nil {
		return nil, err
	}
	if err := v.addMerges(ids, string(text)); err != nil {
		return nil, fmt.Errorf("%s: %w", mergesName, err)
	}
	return v, nil
}

// readIDs reads vocab.json: tokens as they are written, and the id of each, which are 0 … n-1.
func readIDs(files Files) (map[string]int32, error) {
	var ids map[string]int32
	if err := files.decode(vocabularyName, maxTokensSize, &ids); err != nil {
		return nil, err
	}
	taken := make([]bool, len(ids))
	for token, id := range ids {
		if id < 0 || int(id) >= len(ids) || taken[id] {
			return nil, fmt.Errorf("%s: token %q has the id %d: want each of 0 … %d once", vocabularyName, token, id, len(ids)-1)
		}
		taken[id] = true
	}
	return ids, nil
}

// newVocabulary has the tokens of single bytes, and no merges.
func newVocabulary(ids map[string]int32) (*vocabulary, error) {
	v := &vocabulary{merges: map[pair]merge{}}
	missing := ""
	find := func(token string) int32 {
		id, ok := ids[token]
		if !ok && missing == "" {
			missing = token
		}
		return id
	}
	v.start, v.end = find(startText), find(endText)
	for b, symbol := range byteSymbols() {
		v.inside[b], v.last[b] = find(string(symbol)), find(string(symbol)+endMark)
	}
	if missing != "" {
		return nil, fmt.Errorf("has no token %q", missing)
	}
	return v, nil
}

// byteSymbols are the characters that stand for bytes: themselves, where they can be seen in Latin-1, and else the next
// free one from U+0100 on.
func byteSymbols() (symbols [256]rune) {
	free := rune(256)
	for b := range rune(256) {
		if '!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b && b <= 'ÿ' {
			symbols[b] = b
			continue
		}
		symbols[b] = free
		free++
	}
	return symbols
}

// bytesAndSpecials is how many tokens no merge makes.
const bytesAndSpecials = 2*256 + 2

// addMerges reads the lines of merges.txt, the most important first; the first line may tell a version. Lines beyond the
// size of the vocabulary are left out, as in the reference. Two merges must not make one token, and a merge must not use
// what only a later one makes: the reference and mergeAll would then merge in different orders.
func (v *vocabulary) addMerges(ids map[string]int32, text string) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	first := 1
	if strings.Contains(lines[0], "#version") {
		lines, first = lines[1:], 2
	}
	made := v.made()
	for rank, line := range lines[:min(len(lines), len(ids)-bytesAndSpecials)] {
		left, right, _ := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
		p, token, err := mergeOf(ids, left, right)
		if err != nil {
			return fmt.Errorf("line %d: %w", rank+first, err)
		}
		if !made[p.left] || !made[p.right] || made[token] {
			return fmt.Errorf("line %d: %q and %q must be made before it, and %q must not", rank+first, left, right, left+right)
		}
		made[token] = true
		v.merges[p] = merge{rank: int32(rank), token: token}
	}
	return nil
}

// made are the tokens that need no merge.
func (v *vocabulary) made() map[int32]bool {
	made := map[int32]bool{}
	for b := range 256 {
		made[v.inside[b]], made[v.last[b]] = true, true
	}
	return made
}

func mergeOf(ids map[string]int32, left, right string) (pair, int32, error) {
	for _, token := range []string{left, right, left + right} {
		if _, ok := ids[token]; !ok {
			return pair{}, 0, fmt.Errorf("token %q is not in %s", token, vocabularyName)
		}
	}
	return pair{ids[left], ids[right]}, ids[left+right], nil
}
