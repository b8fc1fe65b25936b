package stages

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts/table"
)

// bind sets the struct's fields from values and collects every problem.
func (d *declared) bind(values Values, bc BindContext) []Problem {
	b := binder{values: values, context: bc, used: map[string]bool{}}
	d.params = map[string]any{}
	for _, f := range d.fields {
		field := d.target.FieldByIndex(f.index)
		switch f.role {
		case roleInput:
			if input, ok := b.input(f, field.Addr().Interface().(inputField).inputSchema()); ok {
				d.inputs = append(d.inputs, input)
			}
		case roleSource:
			if spec, inputs, ok := b.source(f); ok {
				field.Addr().Interface().(sourceField).giveSource()
				d.sources = append(d.sources, spec)
				d.inputs = append(d.inputs, inputs...)
			}
		case roleSetting:
			b.param(f, reflect.ValueOf(field.Addr().Interface().(settingField).setting()).Elem())
		case roleParam:
			if v, ok := b.param(f, field); ok {
				d.params[f.name] = v
			}
		}
	}
	b.unknown(d.fields)
	return b.problems
}

type binder struct {
	values   Values
	context  BindContext
	used     map[string]bool
	problems []Problem
}

func (b *binder) problem(param, format string, args ...any) {
	b.problems = append(b.problems, Problem{Param: param, Message: fmt.Sprintf(format, args...)})
}

func (b *binder) take(name string) (Value, bool) {
	b.used[name] = true
	v, ok := b.values[name]
	return v, ok
}

var refPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$`)

// ParseRef reads "<stage>.<output>".
func ParseRef(text string) (Ref, bool) {
	if !refPattern.MatchString(text) {
		return Ref{}, false
	}
	stage, output, _ := strings.Cut(text, ".")
	return Ref{stage, output}, true
}

// input reads a reference. Without a schema it is to a table of whatever
// columns, all of which are read.
func (b *binder) input(f declaredField, schema table.Schema) (Input, bool) {
	v, ok := b.take(f.name)
	if !ok {
		if !f.optional {
			b.problem("", "needs the input %s: set %s = \"<stage>.<output>\"", described(f.name, f.doc), f.name)
		}
		return Input{}, false
	}
	text, isString := v.V.(string)
	ref, isRef := ParseRef(text)
	if !isString || !isRef {
		b.problem(f.name, "an input must be \"<stage>.<output>\", not %s", describe(v.V))
		return Input{}, false
	}
	if schema == nil {
		return Input{Port: f.name, From: ref, Schema: table.Schema{}}, true
	}
	columns := make([]string, len(schema))
	for i, c := range schema {
		columns[i] = c.Name
	}
	return Input{Port: f.name, From: ref, Columns: columns, Schema: schema}, true
}

// source reads a path, glob, URL or reference, or a list of them. An optional one
// that is empty is absent, so that a pipeline's parameter can leave it open.
func (b *binder) source(f declaredField) (SourceSpec, []Input, bool) {
	v, ok := b.take(f.name)
	pin := b.pin(f)
	if !ok || f.optional && v.V == "" {
		if !f.optional {
			b.problem("", "needs %s", described(f.name, f.doc))
		}
		return SourceSpec{}, nil, false
	}
	items, isList := v.V.([]any)
	if !isList {
		items = []any{v.V}
	}
	spec := SourceSpec{Param: f.name, SHA256: pin, Parts: f.parts}
	if f.tree {
		spec.Directories, spec.Names = true, NamesBelow
	}
	var inputs []Input
	for _, item := range items {
		text, isString := item.(string)
		if !isString || text == "" {
			b.problem(f.name, "must be a path, a glob, a URL or \"<stage>.<output>\", not %s", describe(item))
			return SourceSpec{}, nil, false
		}
		if ref, isRef := ParseRef(text); isRef && b.context.IsStage != nil && b.context.IsStage(ref.Stage) {
			inputs = append(inputs, Input{Port: f.name, From: ref, File: true})
			continue
		}
		if IsHubModel(text) {
			b.hubModel(f, text)
		}
		spec.Patterns = append(spec.Patterns, Value{V: strings.TrimPrefix(text, "file:"), Base: v.Base})
	}
	switch {
	case len(items) == 0:
		b.problem(f.name, "names no file")
	case len(inputs) > 0 && len(items) > 1:
		b.problem(f.name, "a stage's output cannot be mixed with other sources in one list")
	case pin != "" && len(items) > 1:
		b.problem(f.pinName(), "pins one file, and %s names %d", f.name, len(items))
	}
	return spec, inputs, true
}

// hubModel checks a source that is to come from a hub.
func (b *binder) hubModel(f declaredField, text string) {
	if _, err := ParseHubModel(text); err != nil {
		b.problem(f.name, "%v", err)
	} else if !f.tree {
		b.problem(f.name, "%s is a directory, and files are wanted here", text)
	}
}

var sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (b *binder) pin(f declaredField) string {
	v, ok := b.take(f.pinName())
	if ok && f.tree {
		b.problem(f.pinName(), "a SHA-256 pins one file and no directory; a model on a hub is pinned by its commit, hf://owner/name@<40 hex digits>")
	}
	if !ok || f.tree {
		return ""
	}
	text, _ := v.V.(string)
	if !sha256Pattern.MatchString(text) {
		b.problem(f.pinName(), "must be 64 lower-case hex digits, not %s", describe(v.V))
	}
	return text
}

// described is a name with what is said of it, which of kinds in pipeline files
// may be nothing.
func described(name, doc string) string {
	if doc == "" {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, doc)
}

// param sets target and returns the value in the form that keys hold.
func (b *binder) param(f declaredField, target reflect.Value) (any, bool) {
	v, ok := b.take(f.name)
	raw := v.V
	if !ok {
		if f.param.Required {
			b.problem("", "needs %s", described(f.name, f.doc))
		}
		if f.param.Default == nil {
			return nil, false
		}
		raw = f.param.Default
	}
	canonical, err := assign(target, raw)
	if err != nil {
		b.problem(f.name, "%v", err)
		return nil, false
	}
	if message := f.param.check(canonical); message != "" {
		b.problem(f.name, "%s", message)
		return nil, false
	}
	return canonical, true
}

// assign sets target to raw, a value as TOML gives it, and returns it as keys
// hold it: string, int64, float64, bool or a slice of them.
func assign(target reflect.Value, raw any) (any, error) {
	if target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
		target = target.Elem()
	}
	switch target.Kind() {
	case reflect.String:
		if s, ok := raw.(string); ok {
			target.SetString(s)
			return s, nil
		}
	case reflect.Int, reflect.Int64:
		if n, ok := raw.(int64); ok {
			target.SetInt(n)
			return n, nil
		}
	case reflect.Float64:
		if x, ok := number(raw); ok {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("must be a finite number, not %v", x)
			}
			target.SetFloat(x)
			return x, nil
		}
	case reflect.Bool:
		if v, ok := raw.(bool); ok {
			target.SetBool(v)
			return v, nil
		}
	case reflect.Slice:
		return assignList(target, raw)
	}
	return nil, fmt.Errorf("must be %s, not %s", withArticle(paramType(target.Type())), describe(raw))
}

func assignList(target reflect.Value, raw any) (any, error) {
	items, ok := raw.([]any)
	if !ok {
		items = []any{raw} // one value stands for a list of one
	}
	list := reflect.MakeSlice(target.Type(), len(items), len(items))
	canonical := make([]any, len(items))
	for i, item := range items {
		c, err := assign(list.Index(i), item)
		if err != nil {
			return nil, fmt.Errorf("element %d %w", i+1, err)
		}
		canonical[i] = c
	}
	target.Set(list)
	return canonical, nil
}

func number(raw any) (float64, bool) {
	switch n := raw.(type) {
	case float64:
		return n, true
	case int64:
		return float64(n), true
	}
	return 0, false
}

// check says what is wrong with a value of the right type.
func (p Param) check(v any) string {
	if list, ok := v.([]any); ok {
		for _, item := range list {
			if message := p.check(item); message != "" {
				return message
			}
		}
		return ""
	}
	if text, ok := v.(string); ok && p.Enum != nil && !slices.Contains(p.Enum, text) {
		return fmt.Sprintf("%.100q is not one of %s%s", text, strings.Join(p.Enum, ", "), Suggest(text, p.Enum))
	}
	if x, ok := number(v); ok {
		if p.Min != nil && x < *p.Min {
			return fmt.Sprintf("must be at least %v, not %v", *p.Min, v)
		}
		if p.Max != nil && x > *p.Max {
			return fmt.Sprintf("must be at most %v, not %v", *p.Max, v)
		}
	}
	return ""
}

// unknown reports the values that nothing asked for.
func (b *binder) unknown(fields []declaredField) {
	var known []string
	for _, f := range fields {
		if f.role != roleOutput {
			known = append(known, f.name)
		}
	}
	for _, name := range sortedKeys(b.values) {
		if !b.used[name] {
			b.problem(name, "unknown key%s", Suggest(name, known))
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the string %.100q", v)
	case int64, float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return fmt.Sprintf("the boolean %v", v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprintf("%v", v)
}

func withArticle(typ string) string {
	switch {
	case strings.HasSuffix(typ, "s"):
		return "a list of " + typ
	case strings.ContainsRune("aeiou", rune(typ[0])):
		return "an " + typ
	}
	return "a " + typ
}
