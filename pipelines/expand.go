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

// callerText is a text that begins with what the caller gave by -p, so that a
// path in it is relative to where the caller is and not to the file.
type callerText string

// fromCaller marks the texts of a value that the caller gave.
func fromCaller(v any) any {
	switch v := v.(type) {
	case string:
		return callerText(v)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = fromCaller(item)
		}
		return list
	}
	return v
}

// plain is a value as stages know it, without marks.
func plain(v any) any {
	return mapTexts(v, func(text callerText) string { return string(text) })
}

// mapTexts replaces what the caller gave in a value.
func mapTexts(v any, replace func(callerText) string) any {
	switch v := v.(type) {
	case callerText:
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

// countTexts counts the texts in a value that the caller gave, and the others.
func countTexts(v any) (caller, own int) {
	add := func(item any) {
		c, o := countTexts(item)
		caller, own = caller+c, own+o
	}
	switch v := v.(type) {
	case callerText:
		return 1, 0
	case string:
		return 0, 1
	case []any:
		for _, item := range v {
			add(item)
		}
	case map[string]any:
		for _, item := range v {
			add(item)
		}
	}
	return caller, own
}

// settle gives an expanded value the directory that its paths are relative to.
// Where a list or a table holds texts of both origins, a path of the caller is
// made absolute.
func (c *checker) settle(v any, isPath bool) stages.Value {
	caller, own := countTexts(v)
	if own == 0 && caller > 0 {
		return stages.Value{V: plain(v), Base: c.workDir}
	}
	absolute := func(text callerText) string { return c.absolute(string(text), isPath) }
	return stages.Value{V: mapTexts(v, absolute), Base: c.dir}
}

// absolute makes a path of the caller absolute. What is no path, as far as can
// be told, stays as it is.
func (c *checker) absolute(text string, isPath bool) string {
	path, marked := strings.CutPrefix(text, filePrefix)
	if !marked && !isPath || path == "" || filepath.IsAbs(path) || strings.Contains(path, "://") || c.isReference(path) {
		return text
	}
	joined := filepath.Join(c.workDir, path)
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
	if !strings.Contains(text, "${") {
		return text
	}
	var b strings.Builder
	caller := false
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
			begins := b.Len() == 0 || b.String() == filePrefix
			_, given := param.value.(callerText)
			caller = caller || begins && given
			piece = c.insert(param, n)
		}
		b.WriteString(piece)
		rest = after
	}
	if caller {
		return callerText(b.String())
	}
	return b.String()
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
