package clip

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestReferenceTexts compares texts that are easy to get wrong with testdata/reference.json, which was written by the
// published algorithm in Python, on its own html.unescape, str.lower and regex.
func TestReferenceTexts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []goldenText
	if err := json.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	if len(texts) < 100 {
		t.Fatalf("%d texts, want more than 100", len(texts))
	}
	tokenizer := mustTokenizer(t, goldenFiles(t))
	for _, text := range texts {
		if got := tokenizer.Encode(text.Text); !slices.Equal(got, text.IDs) {
			t.Errorf("%+q:\n got %v\nwant %v", text.Text, got, text.IDs)
		}
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"a & b &amp; c":                      "a & b & c",
		"&amp;lt; &#38;lt;":                  "&lt; &lt;", // once
		"&eacute &eacute; &ampx &notit;":     "é é &x ¬it;",
		"&nosuch; &; & &":                    "&nosuch; &; & &",
		"&#65;&#x41;&#X41&#65b":              "AAAAb",
		"&#; &#x; &#xg &#-1;":                "&#; &#x; &#xg &#-1;",
		"&#150;&#x80;&#x81;":                 "–€\u0081", // Windows-1252
		"a&#1;&#11;&#127;&#xfdd0;&#x1fffe;b": "ab",
		"&#9;&#10;&#12;&#13;":                "\t\n\f\r",
		"&#0;&#xd800;&#x110000;&#4294967361;&#99999999999999999999;": "\ufffd\ufffd\ufffd\ufffd\ufffd",
	} {
		if got := unescape(text); got != want {
			t.Errorf("%s: got %+q, want %+q", text, got, want)
		}
	}
}

func TestLower(t *testing.T) {
	for text, want := range map[string]string{
		"WATER É ẞ":   "water é ß",
		"İI":          "i\u0307i",
		"ΣΊΣΥΦΟΣ":     "σίσυφος",
		"ΟΔΟΣ. Σ ΑΣ1": "οδος. σ ας1",
		"ΑΣ'Β ΑΣ'":    "ασ'β ας'",
		"ΑΣ\u0301":    "ας\u0301",
	} {
		if got := lower(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                              nil,
		" \t\u3000":                     nil,
		"it's 10,000mah":                {"it", "'s", "1", "0", ",", "0", "0", "0", "mah"},
		"'ll'twas ''t !'s":              {"'ll", "'t", "was", "''", "t", "!'", "s"},
		"a<|endoftext|>b!<|endoftext|>": {"a", endText, "b", "!<|", "endoftext", "|>"},
		"日本語😀👍🏽½²":                      {"日本語", "😀👍🏽", "½", "²"},
		"e\u0301 a\u0345\u0345b":        {"e", "\u0301", "a", "b"},
	} {
		var got []string
		for word, rest := nextWord(text); word != ""; word, rest = nextWord(rest) {
			got = append(got, word)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestEncodeIsBounded: whatever the text, the first token is the start, the last the end, and there are at most 77.
func TestEncodeIsBounded(t *testing.T) {
	tokenizer := mustTokenizer(t, goldenFiles(t))
	rapid.Check(t, func(t *rapid.T) { checkTokens(t, tokenizer, rapid.StringN(0, 300, -1).Draw(t, "text")) })
}

func checkTokens(t rapid.TB, tokenizer *Tokenizer, text string) {
	ids := tokenizer.Encode(text)
	if len(ids) < 2 || len(ids) > ContextLength || ids[0] != 49406 || ids[len(ids)-1] != 49407 {
		t.Errorf("%q: %v", text, ids)
	}
}

func FuzzEncode(f *testing.F) {
	tokenizer := mustTokenizer(f, goldenFiles(f))
	for _, text := range goldenTexts(f) {
		f.Add(text.Text)
	}
	f.Add("&#x;&#1;\xff\u0345Σ'İ<|endoftext|>")
	f.Fuzz(func(t *testing.T, text string) { checkTokens(t, tokenizer, text) })
}

// TestLongWords: a megabyte without a gap takes no quadratic time.
func TestLongWords(t *testing.T) {
	tokenizer := mustTokenizer(t, goldenFiles(t))
	for _, text := range []string{strings.Repeat("ab", 1<<19), strings.Repeat("Σ'", 1<<18), strings.Repeat("&", 1<<19), strings.Repeat("&#38;", 1<<17)} {
		checkTokens(t, tokenizer, text)
	}
}

// TestMergesAreTheNaiveOnes compares with the published loop, which finds the best pair and merges it everywhere.
func TestMergesAreTheNaiveOnes(t *testing.T) {
	v := mustTokenizer(t, goldenFiles(t)).vocabulary
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.SampledFrom([]rune("aeinorstthx'éß1-")), 1, 40, -1).Draw(t, "word")
		tokens := make([]int32, len(word))
		for i := range len(word) {
			tokens[i] = v.inside[word[i]]
		}
		want := naiveMerges(v.merges, slices.Clone(tokens))
		if got := mergeAll(v.merges, tokens); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func naiveMerges(merges map[pair]merge, word []int32) []int32 {
	for {
		best, found := merge{}, pair{}
		for i := 1; i < len(word); i++ {
			p := pair{word[i-1], word[i]}
			if m, ok := merges[p]; ok && (best.token == 0 || m.rank < best.rank) {
				best, found = m, p
			}
		}
		if best.token == 0 {
			return word
		}
		var merged []int32
		for i := 0; i < len(word); i++ {
			if i+1 < len(word) && word[i] == found.left && word[i+1] == found.right {
				merged = append(merged, best.token)
				i++
				continue
			}
			merged = append(merged, word[i])
		}
		word = merged
	}
}

func TestEncodeConcurrently(t *testing.T) {
	tokenizer := mustTokenizer(t, goldenFiles(t))
	texts := goldenTexts(t)
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for i := range texts {
				text := texts[(i+worker)%len(texts)]
				if got := tokenizer.Encode(text.Text); !slices.Equal(got, text.IDs[:len(got)]) {
					t.Errorf("%q: %v", text.Text, got)
				}
			}
		})
	}
	wait.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	var c wordCache
	for i := range 3 * maxCachedWords / 2 {
		c.put(fmt.Sprint(i), []int32{int32(i)})
	}
	if len(c.tokens) != maxCachedWords/2 {
		t.Errorf("%d words, want %d", len(c.tokens), maxCachedWords/2)
	}
	c.put(strings.Repeat("x", maxCachedWord+1), nil)
	if _, ok := c.get(strings.Repeat("x", maxCachedWord+1)); ok {
		t.Error("a long word was cached")
	}
}

// tinyVocabulary has the tokens of bytes and two merges.
func tinyVocabulary() map[string]int {
	ids := map[string]int{}
	put := func(token string) { ids[token] = len(ids) }
	for _, symbol := range byteSymbols() {
		put(string(symbol))
		put(string(symbol) + endMark)
	}
	for _, token := range []string{"ab", "abc" + endMark, startText, endText} {
		put(token)
	}
	return ids
}

func tokenizerFrom(t testing.TB, ids any, merges string) (*Tokenizer, error) {
	dir := t.TempDir()
	return OpenTokenizer(Files{vocabularyName: writeJSON(t, dir, vocabularyName, ids), mergesName: writeFile(t, dir, mergesName, merges)})
}

func TestTinyVocabulary(t *testing.T) {
	for _, merges := range []string{"#version: 0.2\na b\nab c</w>\n", "a b\r\nab c</w>\r\n", "a b\nab c</w>\nz z"} {
		tokenizer, err := tokenizerFrom(t, tinyVocabulary(), merges)
		if err != nil {
			t.Fatal(err)
		}
		want := []int64{514, 513, 'a' * 2, 'b'*2 + 1, 515}
		if got := tokenizer.Encode("ABC ab"); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", merges, got, want)
		}
	}
}

func TestBrokenVocabularies(t *testing.T) {
	change := func(edit func(map[string]int)) map[string]int {
		ids := maps.Clone(tinyVocabulary())
		edit(ids)
		return ids
	}
	const merges = "#version: 0.2\na b\nab c</w>\n"
	for _, test := range []struct {
		name   string
		ids    any
		merges string
		says   string
	}{
		{"list", []int{1}, merges, "vocab.json"},
		{"empty", map[string]int{}, merges, `vocab.json: has no token "<|startoftext|>"`},
		{"hole", change(func(ids map[string]int) { delete(ids, "ab") }), merges, "want each of 0 … 514 once"},
		{"twice", change(func(ids map[string]int) { ids["ab"] = 0 }), merges, "want each of 0 … 515 once"},
		{"negative", change(func(ids map[string]int) { ids["ab"] = -1 }), merges, `token "ab" has the id -1`},
		{"large", change(func(ids map[string]int) { ids["ab"] = 1 << 40 }), merges, "vocab.json"},
		{"byte", change(func(ids map[string]int) { ids["more"] = ids["x"]; delete(ids, "x") }), merges, `has no token "x"`},
		{"unknown result", tinyVocabulary(), "b a", `merges.txt: line 1: token "ba" is not in vocab.json`},
		{"no pair", tinyVocabulary(), "#version\nab", `line 2: token "" is not in vocab.json`},
		{"later made", tinyVocabulary(), "#version\nab c</w>\na b", `line 2: "ab" and "c</w>" must be made before it`},
		{"made twice", tinyVocabulary(), "#version\na b\na b", `line 3: "a" and "b" must be made before it, and "ab" must not`},
	} {
		_, err := tokenizerFrom(t, test.ids, test.merges)
		wantError(t, test.name, err, test.says)
	}
	for _, name := range []string{vocabularyName, mergesName} {
		files := maps.Clone(goldenFiles(t))
		delete(files, name)
		_, err := OpenTokenizer(files)
		wantError(t, name, err, "the model directory has no "+name)
	}
}

// FuzzMerges: whatever merges.txt is, it is an error or makes a tokenizer that keeps its bounds.
func FuzzMerges(f *testing.F) {
	ids := map[string]int32{}
	for token, id := range tinyVocabulary() {
		ids[token] = int32(id)
	}
	f.Add("#version: 0.2\na b\nab c</w>", "abc ab")
	f.Add("a b", "é")
	f.Fuzz(func(t *testing.T, merges, text string) {
		v, err := newVocabulary(ids)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.addMerges(ids, merges); err != nil {
			return
		}
		tokenizer := Tokenizer{vocabulary: v}
		if got := tokenizer.Encode(text); len(got) < 2 || len(got) > ContextLength {
			t.Errorf("%v", got)
		}
	})
}
