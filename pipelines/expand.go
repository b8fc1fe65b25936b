package pipelines

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

const (
	opening = "${params."
	escaped = "${{params."
)

// A placedText is a text with the directory that a path which it begins with is
// relative to: of the file that it stands in, or where the caller is that gave it
// by -p.
type placedText struct{ text, dir string }

// placed marks the texts of a value.
func placed(v any, dir string) any {
	switch v := v.(type) {
	case string:
		return placedText{v, dir}
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = placed(item, dir)
		}
		return list
	}
	return v
}

// plain is a value as stages know it, without marks.
func plain(v any) any {
	return mapTexts(v, func(text placedText) string { return text.text })
}

// mapTexts replaces the texts of a value.
func mapTexts(v any, replace func(placedText) string) any {
	switch v := v.(type) {
	case placedText:
		return replace(v)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = mapTexts(item, replace)
		}
		return list
	case map[string]any:
		table := make(map[string]any, len(v))
		for name, item := range v {
			table[name] = mapTexts(item, replace)
		}
		return table
	}
	return v
}

// dirOf is the directory that the file of a node is in.
func (c *checker) dirOf(n *node) string { return c.doc.files.of(n.value).dir }

// settle gives an expanded value the directory that its paths are relative to.
// Where its texts belong to several directories, paths are made absolute if they
// do not belong to that of the value.
func (c *checker) settle(v any, n *node, isPath bool) stages.Value {
	base := c.dirOf(n)
	if dir, alone := commonDir(v); alone {
		base = dir
	}
	absolute := func(text placedText) string {
		if text.dir == base {
			return text.text
		}
		return c.absolute(text, isPath)
	}
	return stages.Value{V: mapTexts(v, absolute), Base: base}
}

// commonDir is the directory that all texts of a value belong to, if there is
// one.
func commonDir(v any) (dir string, alone bool) {
	dirs := map[string]bool{}
	mapTexts(v, func(text placedText) string {
		dir = text.dir
		dirs[dir] = true
		return ""
	})
	return dir, len(dirs) == 1
}

// absolute makes a path absolute. What is no path, as far as can be told, stays
// as it is.
func (c *checker) absolute(text placedText, isPath bool) string {
	path, marked := strings.CutPrefix(text.text, filePrefix)
	if !marked && !isPath || path == "" || filepath.IsAbs(path) || strings.Contains(path, "://") || c.isReference(path) {
		return text.text
	}
	joined := filepath.Join(text.dir, path)
	if marked {
		return filePrefix + joined
	}
	return joined
}

// filePrefix says that a text is a path where it could be a stage's output.
const filePrefix = "file:"

func (c *checker) isReference(text string) bool {
	ref, ok := stages.ParseRef(text)
	return ok && c.isStage(ref.Stage)
}

// expand replaces ${params.NAME} in every string of a value.
func (c *checker) expand(v any, n *node) any {
	switch v := v.(type) {
	case string:
		return c.expandText(v, n)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = c.expand(item, n.element(i))
		}
		return list
	case []map[string]any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = c.expand(item, n.element(i))
		}
		return list
	case map[string]any:
		table := make(map[string]any, len(v))
		for name, item := range v {
			table[name] = c.expand(item, n.child(name))
		}
		return table
	}
	return v
}

// expandText expands one string. A string that is a reference and nothing else
// becomes the parameter's value with its type.
func (c *checker) expandText(text string, n *node) any {
	dir := c.dirOf(n)
	if !strings.Contains(text, "${") {
		return placedText{text, dir}
	}
	var b strings.Builder
	for rest := text; rest != ""; {
		before, from, found := strings.Cut(rest, "${")
		b.WriteString(before)
		if !found {
			break
		}
		piece, after, param := c.reference("${"+from, n)
		if param != nil && piece == text {
			return param.value
		}
		if param != nil {
			if value, ok := param.value.(placedText); ok && (b.Len() == 0 || b.String() == filePrefix) {
				dir = value.dir
			}
			piece = c.insert(param, n)
		}
		b.WriteString(piece)
		rest = after
	}
	return placedText{b.String(), dir}
}

// reference reads what begins with "${": a reference to a parameter, an escaped
// one, or text that means nothing here.
func (c *checker) reference(text string, n *node) (piece, after string, param *parameter) {
	if strings.HasPrefix(text, escaped) {
		name, after, closed := strings.Cut(text[len(escaped):], "}")
		if !closed {
			return opening, text[len(escaped):], nil
		}
		return opening + name + "}", strings.TrimPrefix(after, "}"), nil
	}
	if strings.HasPrefix(text, opening) {
		name, after, closed := strings.Cut(text[len(opening):], "}")
		if !closed {
			c.errorAt(n.value, "%q has no closing brace", clip(text))
			return text, "", nil
		}
		return opening + name + "}", after, c.lookup(name, n)
	}
	c.warnMistyped(text, n)
	return "${", text[len("${"):], nil
}

// lookup finds a parameter that a value refers to; without one it says so and
// returns nil.
func (c *checker) lookup(name string, n *node) *parameter {
	p, ok := c.params[name]
	if ok {
		p.used = true
	}
	switch {
	case !ok && c.doc.root.child("params").child(name) != nil: // reported where it is declared
		return nil
	case !ok:
		c.errorAt(n.value, "there is no parameter %q%s", clip(name), c.suggest(name, c.paramNames()))
		return nil
	case p.busy:
		c.errorAt(n.value, "parameter %s is defined by itself", name)
		return nil
	}
	c.resolve(p)
	return p
}

// insert is the text of a parameter inside a longer one.
func (c *checker) insert(p *parameter, n *node) string {
	if _, ok := p.Value.([]any); ok {
		c.errorAt(n.value, "parameter %s is a list and cannot stand inside a text", p.Name)
		return ""
	}
	return scalarText(p.Value)
}

func scalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// warnMistyped warns of ${param.seed} and the like, which mean nothing here but
// may be meant for a command.
func (c *checker) warnMistyped(text string, n *node) {
	word, rest, ok := strings.Cut(text[len("${"):], ".")
	name, _, closed := strings.Cut(rest, "}")
	if !ok || !closed || c.params[name] == nil {
		return
	}
	if hint := c.suggest(word, []string{"params"}); hint != "" {
		c.warnAt(n.value, "%q is left as it is%s", "${"+word+"."+name+"}", hint)
	}
}
