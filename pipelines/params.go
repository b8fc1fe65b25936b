package pipelines

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Parameter is one of the pipeline's [params].
type Parameter struct {
	Name       string
	Value      any // what the stages get: a string, int64, float64, bool or []any of them
	Default    any // what the file says
	Overridden bool
	File       string // of its default, as messages name it
	Line       int
	Column     int
}

// parameter is a Parameter while it is resolved.
type parameter struct {
	Parameter
	node     *node
	text     string // what the caller gave
	value    any    // Value, in which a placedText tells where a text is from
	resolved bool
	busy     bool // its default is being expanded
	used     bool
}

// readParams reads the [params] table and what the caller set instead.
func (c *checker) readParams() {
	c.params = map[string]*parameter{}
	table, n, ok := c.table("params")
	if !ok {
		return
	}
	for _, child := range n.order {
		p := &parameter{node: child}
		p.Name, p.Default = child.name, table[child.name]
		p.File, p.Line, p.Column = c.doc.files.place(child.key)
		p.text, p.Overridden = c.opts.Params[child.name]
		switch {
		case !namePattern.MatchString(child.name):
			c.errorAt(child.key, "parameter %q: a name is a small letter followed by small letters, digits and _", clip(child.name))
		case !isParameterValue(p.Default):
			c.errorAt(child.value, "parameter %s: must be a string, a number, a boolean or a list of them", child.name)
		default:
			c.params[child.name] = p
			c.order = append(c.order, p)
		}
	}
}

func isParameterValue(v any) bool {
	switch v := v.(type) {
	case string, int64, float64, bool:
		return true
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool {
			_, nested := item.([]any)
			return nested || !isParameterValue(item)
		})
	}
	return false
}

// checkOverrides reports what the caller set and the file does not declare.
func (c *checker) checkOverrides() {
	declared := c.doc.root.child("params")
	for _, name := range slices.Sorted(maps.Keys(c.opts.Params)) {
		if declared.child(name) == nil {
			c.add(Diagnostic{File: "-p " + clip(name), Severity: Error, Message: fmt.Sprintf(
				"%s declares no such parameter%s%s", c.file, c.suggest(name, c.paramNames()), c.listParams())})
		}
	}
}

func (c *checker) paramNames() []string {
	names := make([]string, len(c.order))
	for i, p := range c.order {
		names[i] = p.Name
	}
	return names
}

func (c *checker) listParams() string {
	if len(c.order) == 0 {
		return "; it has none"
	}
	return "; it has " + clip(strings.Join(c.paramNames(), ", "))
}

// resolve gives p its value. Defaults may use other parameters.
func (c *checker) resolve(p *parameter) {
	if p.resolved {
		return
	}
	p.busy = true
	p.value = c.expand(p.Default, p.node)
	p.busy, p.resolved = false, true
	if p.Overridden {
		value, err := parseLike(p.text, plain(p.value))
		if err != nil {
			c.add(Diagnostic{File: "-p " + p.Name, Severity: Error, Message: fmt.Sprintf(
				"%v; the default is at %s:%d:%d", err, p.File, p.Line, p.Column)})
		} else {
			p.value = placed(value, c.workDir)
		}
	}
	p.Value = plain(p.value)
}

// parseLike reads the text that a caller gave for a parameter, as the type that
// its default has.
func parseLike(text string, like any) (any, error) {
	trimmed := strings.TrimSpace(text)
	switch like := like.(type) {
	case int64:
		n, err := strconv.ParseInt(strings.ReplaceAll(trimmed, "_", ""), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("must be an integer like %d, not %q", like, clip(text))
		}
		return n, nil
	case float64:
		x, err := strconv.ParseFloat(strings.ReplaceAll(trimmed, "_", ""), 64)
		if err != nil {
			return nil, fmt.Errorf("must be a number like %s, not %q", scalarText(like), clip(text))
		}
		return x, nil
	case bool:
		if trimmed != "true" && trimmed != "false" {
			return nil, fmt.Errorf("must be true or false, not %q", clip(text))
		}
		return trimmed == "true", nil
	case []any:
		return parseList(trimmed, like)
	default:
		return text, nil
	}
}

// parseList reads a TOML list, or elements with commas between them. An empty
// text is an empty list.
func parseList(text string, like []any) (any, error) {
	if strings.HasPrefix(text, "[") {
		return parseTOMLList(text, like)
	}
	list := []any{}
	if text == "" {
		return list, nil
	}
	var element any = ""
	if len(like) > 0 {
		element = like[0]
	}
	for part := range strings.SplitSeq(text, ",") {
		v, err := parseLike(strings.TrimSpace(part), element)
		if err != nil {
			return nil, fmt.Errorf("element %d %w", len(list)+1, err)
		}
		list = append(list, v)
	}
	return list, nil
}

func parseTOMLList(text string, like []any) (any, error) {
	doc, diagnostics := readDocument("", []byte("list = "+text))
	if len(diagnostics) > 0 {
		return nil, fmt.Errorf("is no TOML list: %s", diagnostics[0].Message)
	}
	list, ok := doc.values["list"].([]any)
	if !ok || len(doc.values) > 1 || !isParameterValue(list) {
		return nil, fmt.Errorf("must be a list of strings, numbers or booleans, not %q", clip(text))
	}
	for i, v := range list {
		if len(like) == 0 {
			break
		}
		if list[i], ok = asType(v, like[0]); !ok {
			return nil, fmt.Errorf("element %d must be of the type of %s, not %s", i+1, scalarText(like[0]), scalarText(v))
		}
	}
	return list, nil
}

// asType is v when it has like's type; an integer also stands for a number.
func asType(v, like any) (any, bool) {
	if n, ok := v.(int64); ok {
		if _, isFloat := like.(float64); isFloat {
			return float64(n), true
		}
	}
	return v, fmt.Sprintf("%T", v) == fmt.Sprintf("%T", like)
}
