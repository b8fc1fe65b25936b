package amazon

import (
	"html"
	"strings"
	"unicode"
)

// unescapeRounds is how often a text may have been escaped. Real ones were at
// most twice.
const unescapeRounds = 4

// plainText makes plain text of a fragment of a web page: tags go, those of
// blocks leave a space, what scripts and styles enclose goes with them,
// character references are replaced however often the text was escaped, and
// white space is folded. A '<' that begins no tag of HTML stays, so that
// "a < b" and "I <3 it" do.
func plainText(text string) string {
	for range unescapeRounds {
		if !strings.ContainsAny(text, "<&") {
			break
		}
		before := text
		text = html.UnescapeString(withoutTags(text))
		if text == before {
			break
		}
	}
	return fold(text)
}

// fold makes every run of white space and control characters one space, drops
// it at both ends, and replaces what is no UTF-8.
func fold(text string) string {
	if folded(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	space := false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = true
			continue
		case r == '\u200b' || r == '\ufeff': // of no width, and invisible
			continue
		case space && b.Len() > 0:
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	return b.String()
}

// folded says quickly that printable ASCII has nothing to fold.
func folded(text string) bool {
	space := true // as if before the text
	for i := range len(text) {
		c := text[i]
		if c < ' ' || c >= 0x7f || c == ' ' && space {
			return false
		}
		space = c == ' '
	}
	return text == "" || !space
}

// withoutTags drops tags, comments and the content of scripts and styles. Each
// byte is looked at a bounded number of times.
func withoutTags(text string) string {
	i := strings.IndexByte(text, '<')
	if i < 0 {
		return text
	}
	m := markup{
		close:     len(text) - strings.LastIndexByte(text, '>'),
		attribute: len(text) - strings.LastIndexByte(text, '='),
	}
	var b strings.Builder
	b.Grow(len(text))
	for i >= 0 {
		b.WriteString(text[:i])
		text = text[i:]
		n, space := m.length(text)
		switch {
		case n == 0:
			b.WriteByte('<')
			n = 1
		case space:
			b.WriteByte(' ')
		}
		text = text[n:]
		i = strings.IndexByte(text, '<')
	}
	b.WriteString(text)
	return b.String()
}

// markup tells markup from text that has a '<' in it.
type markup struct {
	close, attribute int // how far from the text's end the last '>' and '=' are
}

// length is how long the tag or comment at the beginning of text is, 0 when
// there is none, and whether it separates words.
func (m markup) length(text string) (n int, space bool) {
	switch {
	case strings.HasPrefix(text, "<!--"):
		return after(text, "-->"), true
	case strings.HasPrefix(text, "<!"), strings.HasPrefix(text, "<?"):
		if len(text) > 2 && (letter(text[2]) || text[2] == '[') {
			return after(text, ">"), true
		}
		return 0, false
	}
	name := tagName(text)
	kind := tagKind(strings.ToLower(name))
	if kind == noTag || !m.ends(text, name) {
		return 0, false
	}
	n = tagEnd(text)
	if kind == hidingTag && text[1] != '/' {
		n += contentEnd(text[n:], name)
	}
	return n, kind != inlineTag
}

// ends says whether the tag at the beginning of text ends, or was cut off,
// which is told from "a <b" by an attribute or by having nothing but a name.
func (m markup) ends(text, name string) bool {
	return len(text) >= m.close || len(text) >= m.attribute || strings.TrimLeft(text, "</") == name
}

// after is the length of text up to the end of mark, or all of it.
func after(text, mark string) int {
	if i := strings.Index(text, mark); i >= 0 {
		return i + len(mark)
	}
	return len(text)
}

// tagName is the name in "<name" or "</name", with the prefix of names such
// as o:p.
func tagName(text string) string {
	from := 1
	if strings.HasPrefix(text, "</") {
		from = 2
	}
	to := from
	for to < len(text) && (letter(text[to]) || to > from && (text[to] >= '0' && text[to] <= '9' || text[to] == ':')) {
		to++
	}
	if to < len(text) && !strings.ContainsRune(" \t\n\r\f/>", rune(text[to])) {
		return "" // as in <me@example.org>
	}
	return text[from:to]
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// tagEnd is the length of the tag, or of the text when the tag does not end,
// as in those that were cut off. A '>' within a quoted attribute is none.
func tagEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '>':
			return i + 1
		case '=':
			i = quotedEnd(text, i)
		}
	}
	return len(text)
}

// quotedEnd is where the attribute value after the '=' at i ends if it is
// quoted and its quote ends, and otherwise i.
func quotedEnd(text string, i int) int {
	start := i + 1
	for start < len(text) && text[start] == ' ' {
		start++
	}
	if start == len(text) || text[start] != '"' && text[start] != '\'' {
		return i
	}
	if n := strings.IndexByte(text[start+1:], text[start]); n >= 0 {
		return start + 1 + n
	}
	return i
}

// contentEnd is how far what a script or style encloses reaches, with the
// closing tag.
func contentEnd(text, name string) int {
	for i := 0; ; i += 2 {
		next := strings.Index(text[i:], "</")
		if next < 0 {
			return len(text)
		}
		i += next
		if strings.EqualFold(tagName(text[i:]), name) {
			return i + tagEnd(text[i:])
		}
	}
}

type tagClass int

const (
	noTag     tagClass = iota
	inlineTag          // within a word
	blockTag           // between words
	hidingTag          // its content is not shown
)

// tagKind knows the elements of HTML, those out of use too. Any other name is
// text, unless it has a prefix as word processors write it.
func tagKind(name string) tagClass {
	switch name {
	case "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "blink", "cite", "code", "dfn", "em",
		"font", "i", "ins", "kbd", "mark", "nobr", "q", "s", "samp", "small", "span", "strike",
		"strong", "sub", "sup", "tt", "u", "var", "wbr":
		return inlineTag
	case "script", "style", "template", "iframe", "object", "svg":
		return hidingTag
	case "address", "applet", "area", "article", "aside", "audio", "base", "basefont", "blockquote",
		"body", "br", "button", "canvas", "caption", "center", "col", "colgroup", "data", "datalist",
		"dd", "del", "details", "dialog", "dir", "div", "dl", "dt", "embed", "fieldset", "figcaption",
		"figure", "footer", "form", "frame", "frameset", "h1", "h2", "h3", "h4", "h5", "h6", "head",
		"header", "hgroup", "hr", "html", "img", "input", "label", "legend", "li", "link", "main",
		"map", "marquee", "menu", "menuitem", "meta", "meter", "nav", "noframes", "noscript", "ol", "optgroup",
		"option", "output", "p", "param", "picture", "pre", "progress", "rp", "rt", "ruby", "section",
		"select", "slot", "source", "summary", "table", "tbody", "td", "textarea", "tfoot", "th",
		"thead", "time", "title", "tr", "track", "ul", "video", "xmp":
		return blockTag
	}
	if strings.Contains(name, ":") {
		return inlineTag
	}
	return noTag
}
