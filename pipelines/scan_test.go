package pipelines

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A keyList is a visitor that lists keys as toml.MetaData.Keys does: those of
// headers and of pairs, whole, without the numbers of list elements.
type keyList struct {
	keys    []string
	table   []string
	stack   [][]string
	pending []string
}

func names(path []segment) []string {
	var list []string
	for _, seg := range path {
		list = append(list, seg.name)
	}
	return list
}

func (k *keyList) context() []string {
	if len(k.stack) > 0 {
		return k.stack[len(k.stack)-1]
	}
	return k.table
}

func (k *keyList) header(path []segment, _ bool) {
	k.table = names(path)
	k.keys = append(k.keys, toml.Key(k.table).String())
}

func (k *keyList) key(path []segment) {
	k.pending = append(slices.Clone(k.context()), names(path)...)
	k.keys = append(k.keys, toml.Key(k.pending).String())
}

func (k *keyList) open(_ int, bracket byte) {
	inside := k.pending
	if len(k.stack) > 0 && k.pending == nil {
		inside = k.context()
	}
	k.stack = append(k.stack, inside)
	k.pending = nil
}

func (k *keyList) close()     { k.stack = k.stack[:len(k.stack)-1]; k.pending = nil }
func (k *keyList) scalar(int) { k.pending = nil }

// agree checks that the scan finds the library's keys, and reports whether the
// library accepts the text at all. The scan has to accept what it accepts.
func agree(t interface{ Fatalf(string, ...any) }, text string) bool {
	list := &keyList{}
	stopped := scan(text, list)
	if stopped != nil && stopped.deep {
		return false // not for the library
	}
	if stopped != nil {
		if _, failure := decode(scannedPart(text, stopped)); failure == nil {
			t.Fatalf("scan refuses what the library accepts, at byte %d: %s\n%s", stopped.at, stopped.message, text)
		}
		return false
	}
	var values map[string]any
	if _, failure := decode(text); failure != nil {
		return false
	}
	meta, err := toml.Decode(text, &values)
	if err != nil {
		t.Fatalf("the library is of two minds: %v", err)
	}
	var want []string
	for _, key := range meta.Keys() {
		want = append(want, key.String())
	}
	if diff := cmp.Diff(want, list.keys); diff != "" {
		t.Fatalf("keys (-library +scan):\n%s\nin:\n%s", diff, text)
	}
	checkTree(t, text, values)
	return true
}

// checkTree checks that every value of the library has a node whose key stands
// where the tree says.
//
// Not so where a key is empty: of b.” = [1, 2, {}] the library loses the first
// two. No pipeline file has such a key.
func checkTree(t interface{ Fatalf(string, ...any) }, text string, values map[string]any) {
	located, _ := locate(text)
	var walk func(v any, n *node, path string)
	walk = func(v any, n *node, path string) {
		if n == nil {
			t.Fatalf("no node of %s in:\n%s", path, text)
			return
		}
		switch v := v.(type) {
		case map[string]any:
			if len(v) != len(n.order) {
				t.Fatalf("%s has %d keys and its node %d in:\n%s", path, len(v), len(n.order), text)
			}
			for name, item := range v {
				if name == "" {
					continue
				}
				child := n.child(name)
				walk(item, child, path+"."+name)
				if at := text[child.key:]; !strings.HasPrefix(at, name) && !strings.HasPrefix(at, `"`) && !strings.HasPrefix(at, `'`) {
					t.Fatalf("%s.%s is said to stand before %.20q in:\n%s", path, name, at, text)
				}
			}
		case []any:
			walkList(t, v, n, path, walk)
		case []map[string]any:
			list := make([]any, len(v))
			for i := range v {
				list[i] = v[i]
			}
			walkList(t, list, n, path, walk)
		}
	}
	walk(values, located.root, "")
}

func walkList(t interface{ Fatalf(string, ...any) }, list []any, n *node, path string, walk func(any, *node, string)) {
	if len(list) != len(n.elements) {
		t.Fatalf("%s has %d elements and its node %d", path, len(list), len(n.elements))
	}
	for i, item := range list {
		walk(item, n.elements[i], fmt.Sprintf("%s[%d]", path, i))
	}
}

// validTexts use every construct of TOML.
var validTexts = []string{
	"",
	"# only a comment",
	"a = 1\nb = 'x' # comment\n\n[c]\nd = true\n",
	"a.b.c = 1\na.b.d = 2\n[x.y]\nz.w = 3\n[x]\nk = 1\n",
	"\"quoted key\" = 1\n'literal.key' = 2\n\"\\u00e9\\t\\x41\" = 3\n\"\" = 4\n",
	"[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\nd = 3\n[[a.e]]\nf = 4\n",
	"[ a . \"b\" . c ]\n x . y = 1\r\n",
	"t = { a = 1, b.c = [1, 2, { d = 'x' }], e = {} }\n",
	"l = [\n  1, # one\n  [2, 3],\n  { a = [ { b = 1 } ] },\n]\nafter = 1\n",
	"s = \"\"\"\nline \\\n   two ]}= \"quotes\" \"\"end\"\"\"\"\"\nx = 1\n",
	"s = '''a ' b '' c''''' \ny = 1\n",
	"e = \"a \\\" ] } # \\\\\"\nd = 1979-05-27 07:32:00Z\nf = [1e5, -inf, 0x1F, 12:30:00]\n",
	"multi = { a = 1,\n b = 2, # comment\n}\n",
	"größe = 1\n",
	"x = \"ü\" \ny = { \"ß\" = 2 }",
}

func TestScanAgreesWithLibrary(t *testing.T) {
	for _, text := range validTexts {
		if agree(t, text) == false && !strings.Contains(text, "größe") {
			t.Errorf("the library refuses:\n%s", text)
		}
	}
}

// tomlText makes valid documents of nested tables, lists and odd strings.
func tomlText(t *rapid.T) string {
	var b strings.Builder
	key := rapid.SampledFrom([]string{"a", "b_1", "c-2", `"d e"`, `'f.g'`, `"\u00e9"`, `""`})
	unique := 0
	name := func() string {
		unique++
		return fmt.Sprintf("%s.k%d", key.Draw(t, "key"), unique)
	}
	var value func(depth int) string
	value = func(depth int) string {
		kinds := 8
		if depth > 3 {
			kinds = 6
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]string{"1", "-2.5e3", "true", "1979-05-27", "0xff"}).Draw(t, "bare")
		case 1:
			return fmt.Sprintf("%q", rapid.StringMatching(`[a-z#=\[\]{},. ]{0,8}`).Draw(t, "basic"))
		case 2:
			return "'" + rapid.StringMatching(`[a-z#="\[\]{},\\ ]{0,8}`).Draw(t, "literal") + "'"
		case 3:
			return `"""` + rapid.StringMatching(`[a-z#=\n\[\]{}' ]{0,12}`).Draw(t, "multiline") + `\"ü"""`
		case 4:
			return "'''" + rapid.StringMatching(`[a-z#=\n\[\]{}"\\ ]{0,12}`).Draw(t, "multiline literal") + "'''"
		case 5:
			return rapid.SampledFrom([]string{"[]", "{}", "[ # x\n]"}).Draw(t, "empty")
		case 6:
			var items []string
			for range rapid.IntRange(1, 3).Draw(t, "length") {
				items = append(items, value(depth+1))
			}
			return "[ " + strings.Join(items, rapid.SampledFrom([]string{",", " , ", ",\n# c\n"}).Draw(t, "comma")) + " ]"
		}
		var items []string
		for range rapid.IntRange(1, 3).Draw(t, "length") {
			items = append(items, name()+" = "+value(depth+1))
		}
		return "{ " + strings.Join(items, ", ") + " }"
	}
	for range rapid.IntRange(0, 4).Draw(t, "tables") {
		for range rapid.IntRange(0, 3).Draw(t, "pairs") {
			fmt.Fprintf(&b, "%s = %s\n", name(), value(0))
		}
		unique++
		fmt.Fprintf(&b, rapid.SampledFrom([]string{"[t%d]\n", "[ t%d . x ] # c\n", "[[arr]]\nid = %d\n", "[s.t%d]\r\n"}).Draw(t, "header"), unique)
	}
	return b.String()
}

func TestScanAgreesOnAnyDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := tomlText(t)
		if _, failure := decode(text); failure != nil {
			t.Skipf("not TOML: %s", failure.Message)
		}
		if !agree(t, text) {
			t.Fatalf("not scanned:\n%s", text)
		}
	})
}

func FuzzScan(f *testing.F) {
	for _, text := range validTexts {
		f.Add(text)
		f.Add(text[:len(text)/2])
	}
	for _, text := range []string{"a = \"\\", "[[a", "a = [{", "= 1", "a = '''", "\xff", "[a]]\n", "a\n", "[.]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if invalidUTF8(text) < 0 && !strings.HasPrefix(text, "\ufeff") { // readDocument sees to these
			agree(t, text)
		}
		readDocument("fuzz.toml", []byte(text))
	})
}

func TestDepthIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"lists":          "a = " + strings.Repeat("[", 1<<20),
		"tables":         strings.Repeat("a={", 1<<19),
		"dots":           "a" + strings.Repeat(".a", 1<<20) + " = 1",
		"header":         "[a" + strings.Repeat(".a", 1<<20) + "]",
		"after an error": "a = = 1\nb = " + strings.Repeat("[", 1<<20),
		"unclosed":       "a = '\nb = " + strings.Repeat("[", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			doc, diagnostics := readDocument("deep.toml", []byte(text))
			if doc != nil || len(diagnostics) != 1 {
				t.Fatalf("got %v", diagnostics)
			}
		})
	}
}

func TestColumnsAreCharacters(t *testing.T) {
	text := "a = 1\nx = { \"ü\" = 1, b = 2 }\n"
	located, _ := locate(text)
	line, column := newLineIndex(text).place(located.root.find("x", "b").key)
	if line != 2 || column != 16 {
		t.Errorf("b is said to be at %d:%d", line, column)
	}
	line, column = newLineIndex(text).place(located.root.find("x", "b").value)
	if line != 2 || column != 20 {
		t.Errorf("b's value is said to be at %d:%d", line, column)
	}
}
