package amazon

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPlainText(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"plain", "plain"},
		{"  two \n\t words ", "two words"},
		{"one\u00a0two", "one two"},
		{"zero\u200bwidth", "zerowidth"},
		{"control\x01s\x7f", "control s"},
		{"bad \xff\xfe", "bad \uFFFD\uFFFD"},
		{"caf&eacute; &#233; &#xE9;", "café é é"},
		{"Windows&#x92;s", "Windows’s"},
		{"F&amp;W", "F&W"},
		{"F&amp;amp;W", "F&W"},
		{"&amp;lt;b&amp;gt;bold&amp;lt;/b&amp;gt;", "bold"},
		{"&lt;br&gt;", ""},
		{"R&D; AT&T", "R&D; AT&T"},
		{"a<br>b<br/>c<BR />d", "a b c d"},
		{"un<b>believ</b>able", "unbelievable"},
		{"<p>One.</p><p>Two.</p>", "One. Two."},
		{"<td>1</td><td>2</td>", "1 2"},
		{`x<a href="http://y?a>b" title='it > that'>link</a>z`, "xlinkz"},
		{`<a title="unquoted>text`, "text"},
		{"<o:p>Word</o:p>", "Word"},
		{"a < b > c", "a < b > c"},
		{"I <3 you", "I <3 you"},
		{"<me@example.org>", "<me@example.org>"},
		{"<Unknown Artist>", "<Unknown Artist>"},
		{"x <b and y", "x <b and y"},
		{"<span class=\"a-size-medium a-color-secondary\"", ""},
		{"\n\n\n<script", ""},
		{"before<script>var x = '<b>';</script>after", "before after"},
		{"before<STYLE>.a{b:c}</Style >after", "before after"},
		{"before<script>never closed", "before"},
		{"a<!-- <b> -->b<!--open", "a b"},
		{"<!DOCTYPE html><?xml version=1?>text", "text"},
		{"wow <! no", "wow <! no"},
		{"</span></span></span>", ""},
		{"a</ b", "a</ b"},
		{"<", "<"},
		{"</", "</"},
		{"<b", ""},
	} {
		if got := plainText(c.text); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func TestPlainTextOfHostileTextTakesNoTime(t *testing.T) {
	const size = 1 << 22 // quadratic time would be hours
	for _, part := range []string{"<", "<b ", "<b x='", "<!--", "<script>", "</script", "<script></", "&amp;", "&lt;b ", `<a b="`, "<a b=' >", "<b =\"'", "=\"<b "} {
		plainText(strings.Repeat(part, size/len(part)))
	}
}

func FuzzPlainText(f *testing.F) {
	for _, seed := range []string{"a<br>b", `<a title="x>y">z`, "&amp;lt;b&amp;gt;", "<!-- x", "<script>a</script>b", "1 < 2", "\xff<p", "<b ='", "</", "<?x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := plainText(text)
		switch {
		case !utf8.ValidString(got):
			t.Errorf("%q is not valid UTF-8", got)
		case got != strings.Join(strings.Fields(got), " "):
			t.Errorf("%q has white space to fold", got)
		case strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }):
			t.Errorf("%q has control characters", got)
		case !strings.ContainsAny(text, "<&") && got != fold(text):
			t.Errorf("%q became %q", text, got)
		}
	})
}
