package pyliteral

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want any
	}{
		{`None`, nil},
		{` True `, true},
		{`False`, false},
		{`12`, Number("12")},
		{`-1`, Number("-1")},
		{`+ 1`, Number("1")},
		{`10L`, Number("10")},
		{`9.49`, Number("9.49")},
		{`1.`, Number("1.")},
		{`.5`, Number(".5")},
		{`1e-05`, Number("1e-05")},
		{`00`, Number("00")},
		{`inf`, Number("inf")},
		{`-inf`, Number("-inf")},
		{`nan`, Number("nan")},
		{`1e999`, Number("1e999")},
		{`123456789012345678901234567890`, Number("123456789012345678901234567890")},
		{`''`, ""},
		{`'it\'s'`, "it's"},
		{`"it's"`, "it's"},
		{`'a' "b"`, "ab"},
		{`'\n\t\\\a\b\f\v\r'`, "\n\t\\\a\b\f\v\r"},
		{`'\d\/'`, `\d\/`},        // unknown escapes are kept
		{`'\xc3\xa9'`, "é"},       // Python 2: bytes of UTF-8
		{`u'\xe9'`, "é"},          // a code point
		{`'\xa0'`, "\u00a0"},      // Python 3: no UTF-8, so a code point
		{`'é\xa0'`, "é\u00a0"},    // the same beside text that is UTF-8 already
		{`'\351'`, "é"},           // octal
		{`'\7x'`, "\ax"},          // a short one
		{`u'\u2019'`, "’"},        //
		{`'\u2019'`, "’"},         // Python 3
		{`u'\U0001f600'`, "😀"},    //
		{`u'\ud83d\ude00'`, "😀"},  // a pair of surrogates
		{`u'\ud83dx'`, "\uFFFDx"}, // half a pair
		{`u'\ud83d\u0041'`, "\uFFFDA"},
		{`r'\n'`, `\n`},
		{`b'x'`, "x"},
		{`[]`, []any{}},
		{`[1, 'a',]`, []any{Number("1"), "a"}},
		{`()`, []any{}},
		{`('a',)`, []any{"a"}},
		{`('a')`, "a"},
		{`('a', 'b')`, []any{"a", "b"}},
		{`{}`, Dict{}},
		{`{'a': {'b': [[1]]}, u'c': None,}`, Dict{
			{"a", Dict{{"b", []any{[]any{Number("1")}}}}}, {"c", nil},
		}},
		{`{1: 2}`, Dict{{Number("1"), Number("2")}}},
	} {
		got, err := Parse([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.text, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, message string }{
		{``, "column 1: want a value, not end"},
		{`{'a': 1`, "column 8: want ',' or '}', not end"},
		{`{'a' 1}`, "column 6: want ':' after the key, not '1'"},
		{`{'a': }`, "column 7: want a value, not '}'"},
		{`{'a': 1} x`, "column 10: unexpected 'x' after the value"},
		{`{[1]: 2}`, "column 2: a list, tuple or dict cannot be a key here"},
		{`[1 2]`, "column 4: want ',' or ']', not '2'"},
		{`[,]`, "column 2: want a value, not ','"},
		{`'abc`, "column 1: string without end"},
		{"'ab\nc'", "column 4: line ends in a string"},
		{`'ab\xg0'`, `column 4: \x needs two hex digits`},
		{`u'ab\u12'`, `column 5: \u needs 4 hex digits of a code point`},
		{`u'\U00110000'`, `column 3: \U needs 8 hex digits of a code point`},
		{`'''a'''`, "column 1: triple-quoted strings are not read"},
		{`__import__('os')`, `column 1: unknown name "__import__"`},
		{`true`, `column 1: unknown name "true"`},
		{`012`, "column 1: malformed number"},
		{`1_0`, "column 1: malformed number"},
		{`0x10`, "column 1: malformed number"},
		{`1.5L`, "column 1: malformed number"},
		{`1.2.3`, "column 1: malformed number"},
		{`--1`, "column 1: malformed number"},
		{`1+2j`, "column 2: unexpected '+' after the value"},
		{`{1, 2}`, "column 3: want ':' after the key, not ','"},
		{strings.Repeat("[", 1000), "column 102: more than 100 levels of lists and dicts"},
	} {
		_, err := Parse([]byte(c.text))
		if err == nil || err.Error() != c.message {
			t.Errorf("%.40q: error %v, want %s", c.text, err, c.message)
		}
	}
}

func TestGetTakesTheLastOfEqualKeys(t *testing.T) {
	v, err := Parse([]byte(`{'a': 1, 'a': 2, 'b': 3}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.(Dict).Get("a"); got != Number("2") {
		t.Errorf("a is %v, want 2", got)
	}
	if got := v.(Dict).Get("c"); got != nil {
		t.Errorf("c is %v, want nil", got)
	}
}

func TestParseFields(t *testing.T) {
	wanted := func(key string) bool { return key == "a" || key == "c" }
	got, err := ParseFields([]byte(` {'a': [1, {'b': 2}], 'b': {'a': ['x', (1,)], 'c': u'\q'}, 'c': 'y', 5: 6, 'b': None}`), wanted)
	want := Dict{{"a", []any{Number("1"), Dict{{"b", Number("2")}}}}, {"c", "y"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for text, message := range map[string]string{
		`['a']`:                "column 1: want a dict, not '['",
		`{'b': ['x', }`:        "column 13: want a value, not '}'",
		`{'b': {'x': 'y}`:      "column 13: string without end",
		`{'b': {['x']: 1}}`:    "column 8: a list, tuple or dict cannot be a key here",
		`{'a': 1, 'b': 12x, }`: "column 15: malformed number",
		`{'a': 1, 'b': 1} 'c'`: "column 18: unexpected '\\'' after the value",
	} {
		if _, err := ParseFields([]byte(text), wanted); err == nil || err.Error() != message {
			t.Errorf("%s: error %v, want %s", text, err, message)
		}
	}
}

// canonical writes a value in one line, the same way as reference does. Strings
// are written as hex digits of UTF-8, numbers as float64's.
func canonical(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return fmt.Sprint(v)
	case string:
		return "'" + hex.EncodeToString([]byte(v)) + "'"
	case Number:
		if !strings.ContainsAny(string(v), ".eE") && v.Float64() == 0 {
			v = "0" // whole numbers have no negative zero
		}
		return fmt.Sprintf("%016x", math.Float64bits(v.Float64()))
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = canonical(e)
		}
		return "[" + strings.Join(parts, " ") + "]"
	case Dict:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = canonical(e.Key) + ":" + canonical(e.Value)
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	panic(fmt.Sprintf("unexpected %T", v))
}

// reference prints what ast.literal_eval makes of each line of JSON strings on
// its standard input: canonical's form, or an empty line where it refuses. Its
// dicts drop repeated keys, which the literals here do not have.
const reference = `
import ast, json, struct, sys
def canonical(v):
    if v is None: return "None"
    if v is True: return "true"
    if v is False: return "false"
    if isinstance(v, str): return "'" + v.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8").hex() + "'"
    if isinstance(v, bytes): return "'" + v.hex() + "'"
    if isinstance(v, (int, float)):
        try: x = float(v)
        except OverflowError: x = float("inf") if v > 0 else float("-inf")
        return go(x)
    if isinstance(v, (list, tuple)): return "[" + " ".join(map(canonical, v)) + "]"
    if isinstance(v, dict): return "{" + " ".join(canonical(k) + ":" + canonical(e) for k, e in v.items()) + "}"
    raise ValueError(type(v))
def go(x): return struct.pack(">d", x).hex()
for line in sys.stdin:
    try: print(canonical(ast.literal_eval(json.loads(line))))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError): print()
`

// evaluate asks Python's own literal_eval.
func evaluate(t testing.TB, literals []string) []string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not there to compare with")
	}
	var in, out bytes.Buffer
	for _, l := range literals {
		line, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.Command(python, "-W", "ignore", "-c", reference)
	cmd.Stdin, cmd.Stdout = &in, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("python3: %v", err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// pieces are what literal draws strings of. Of \xNN those above 7f occur only
// in u strings: elsewhere they mean in Python 2, which wrote the files, something
// that Python 3 cannot tell.
var pieces = []string{
	"a", "Z", " ", "é", "’", "😀", "<b>", "&amp;", "{", "]", ",", "%", "0",
	`\\`, `\'`, `\"`, `\n`, `\t`, `\r`, `\a`, `\b`, `\f`, `\v`, `\d`, `\/`, `\x41`, `\x00`, `\101`, `\7`, `\u2019`, `\ud83d\ude00`, `\U0001f600`, `\
`,
}

func literal(depth int) *rapid.Generator[string] {
	str := rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 6).Draw(t, "parts")
		prefix := rapid.SampledFrom([]string{"", "", "u", "U"}).Draw(t, "prefix")
		if prefix != "" && rapid.Bool().Draw(t, "high") {
			parts = append(parts, `\xe9`, `\351`)
		}
		return prefix + `'` + strings.Join(parts, "") + `'`
	})
	scalar := rapid.OneOf(
		rapid.SampledFrom([]string{"None", "True", "False", "0", "00", "-1", "+2.5", "1e10", "1.", ".5", "1e400", "-0.0", "123456789012345678901234567890"}),
		rapid.StringMatching(`-?[1-9][0-9]{0,12}(\.[0-9]{1,6})?(e-?[0-9]{1,2})?`),
		str, rapid.Map(rapid.SliceOfN(str, 2, 2), func(s []string) string { return strings.Join(s, " ") }),
	)
	if depth == 0 {
		return scalar
	}
	inner := literal(depth - 1)
	return rapid.Custom(func(t *rapid.T) string {
		space := rapid.SampledFrom([]string{"", " ", "\t", "  "}).Draw(t, "space")
		end := rapid.SampledFrom([]string{"", ","}).Draw(t, "end")
		values := rapid.SliceOfN(inner, 0, 4).Draw(t, "values")
		if len(values) == 0 {
			end = ""
		}
		switch rapid.IntRange(0, 3).Draw(t, "form") {
		case 0:
			return "[" + strings.Join(values, ","+space) + end + "]"
		case 1:
			return "(" + strings.Join(values, ","+space) + end + space + ")"
		case 2:
			for i := range values {
				values[i] = fmt.Sprintf("'k%d'%s:%s", i, space, values[i])
			}
			return "{" + strings.Join(values, ","+space) + end + "}"
		}
		return scalar.Draw(t, "scalar")
	})
}

func TestAgreesWithPython(t *testing.T) {
	var literals []string
	for seed := range 3000 {
		literals = append(literals, literal(4).Example(seed))
	}
	for seed := range 3000 { // and broken ones
		l := literal(3).Example(seed)
		at := seed * 7919 % (len(l) + 1)
		if broken := l[:at] + l[min(at+1, len(l)):]; utf8.ValidString(broken) {
			literals = append(literals, broken)
		}
	}
	want := evaluate(t, literals)
	if len(want) != len(literals) {
		t.Fatalf("python3 answered %d of %d literals", len(want), len(literals))
	}
	accepted := 0
	for i, l := range literals {
		v, err := Parse([]byte(l))
		switch {
		case err != nil && want[i] != "":
			t.Errorf("%q: %v, but Python reads %s", l, err, want[i])
		case err == nil && want[i] != "":
			accepted++
			if got := canonical(v); got != want[i] {
				t.Errorf("%q is %s, Python reads %s", l, got, want[i])
			}
		}
	}
	if accepted < 3000 {
		t.Errorf("only %d literals were compared", accepted)
	}
}

// BenchmarkParse compares building everything with building what is wanted, on
// a line of which most is not.
func BenchmarkParse(b *testing.B) {
	line := []byte(`{'asin': 'B000002LRT', 'title': "Don\'t Stop", 'description': '` + strings.Repeat("some words ", 60) +
		`', 'related': {'also_bought': [` + strings.Repeat(`'B000002LRT', `, 60) + `]}, 'price': 9.49, 'categories': [['CDs & Vinyl', 'Pop']]}`)
	b.Run("everything", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			if _, err := Parse(line); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("what is wanted", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			if _, err := ParseFields(line, func(key string) bool { return key != "related" }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{'asin': '5555991584', 'price': 9.49, 'related': {'also_bought': ['B000002LRT']}, 'categories': [['CDs & Vinyl']]}`,
		`{u'a': u'\xe9\u2019\U0001f600', 'b': '\xc3\xa9\d', "c": (1, -2L, inf), }`,
		`'\`, `u'\ud83d`, `((((`, `{'a':`, `'''`, `br'\'' "x"`, "\x00", `[1,2`, `1e`, `+`, `'\777'`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse(text)
		if err != nil {
			if e, ok := err.(*SyntaxError); !ok || e.Offset < 0 || e.Offset > len(text) {
				t.Fatalf("error %v is at no place of the text", err)
			}
			return
		}
		if d, ok := v.(Dict); ok {
			checkFields(t, text, d)
		}
		if !utf8.Valid(text) {
			return
		}
		again, err := Parse([]byte(repr(v)))
		if err != nil {
			t.Fatalf("%q gave %s, which is refused: %v", text, repr(v), err)
		}
		if canonical(again) != canonical(v) {
			t.Fatalf("%q gave %s, which gives %s", text, repr(v), repr(again))
		}
	})
}

// checkFields checks that ParseFields gives what Parse gave.
func checkFields(t *testing.T, text []byte, whole Dict) {
	wanted := func(key string) bool { return len(key)%2 == 0 }
	got, err := ParseFields(text, wanted)
	if err != nil {
		t.Fatalf("%q: %v, though all of it is read", text, err)
	}
	var want Dict
	for _, e := range whole {
		if key, ok := e.Key.(string); ok && wanted(key) {
			want = append(want, e)
		}
	}
	if canonical(got) != canonical(want) {
		t.Fatalf("%q: fields %s, want %s", text, repr(got), repr(want))
	}
}

// repr prints a value as Python does.
func repr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{true: "True", false: "False"}[v]
	case string:
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`).Replace(v) + "'"
	case Number:
		return string(v)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = repr(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case Dict:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = repr(e.Key) + ": " + repr(e.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	panic(fmt.Sprintf("unexpected %T", v))
}
