package clip

import (
	"strings"
	"sync"
)

// ContextLength is the number of tokens of the longest text that CLIP reads, start and end included.
const ContextLength = 77

// A Tokenizer cuts texts into the tokens of CLIP's byte-level byte pair encoding (Sennrich et al., Neural Machine
// Translation of Rare Words with Subword Units, ACL 2016). It is safe for concurrent use.
type Tokenizer struct {
	vocabulary *vocabulary
	words      wordCache
}

// OpenTokenizer reads and checks vocab.json and merges.txt.
func OpenTokenizer(files Files) (*Tokenizer, error) {
	v, err := readVocabulary(files)
	if err != nil {
		return nil, err
	}
	return &Tokenizer{vocabulary: v}, nil
}

// Encode gives the tokens of a text as the reference does: HTML entities are unescaped twice, case and the amount of
// white space do not matter. The first token is that of the start and the last that of the end, also where a text was
// cut to ContextLength tokens; nothing is padded. Bytes that are no UTF-8 count as U+FFFD.
func (t *Tokenizer) Encode(text string) []int64 {
	ids := []int64{int64(t.vocabulary.start)}
	for word, rest := nextWord(clean(text)); word != "" && len(ids) < ContextLength; word, rest = nextWord(rest) {
		for _, token := range t.tokens(word) {
			ids = append(ids, int64(token))
		}
	}
	return append(ids[:min(len(ids), ContextLength-1)], int64(t.vocabulary.end))
}

// tokens are those of a word; they must not be changed.
func (t *Tokenizer) tokens(word string) []int32 {
	if known, ok := t.words.get(word); ok {
		return known
	}
	tokens := t.vocabulary.encode(word)
	t.words.put(word, tokens)
	return tokens
}

// Bounds of the cache: words in use are short and repeat, so what is longer is not worth a place.
const (
	maxCachedWord  = 64
	maxCachedWords = 1 << 16
)

// wordCache remembers the tokens of words. A full one begins anew, which costs less than to know which word is old.
type wordCache struct {
	mu     sync.RWMutex // guards tokens
	tokens map[string][]int32
}

func (c *wordCache) get(word string) ([]int32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	tokens, ok := c.tokens[word]
	return tokens, ok
}

func (c *wordCache) put(word string, tokens []int32) {
	if len(word) > maxCachedWord {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil || len(c.tokens) >= maxCachedWords {
		c.tokens = map[string][]int32{}
	}
	c.tokens[strings.Clone(word)] = tokens
}
