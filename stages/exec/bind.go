package exec

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// binder reads the tables of an exec stage and collects every problem.
type binder struct {
	values   stages.Values
	command  *command
	problems []stages.Problem
}

func (b *binder) problem(param, format string, args ...any) {
	b.problems = append(b.problems, stages.Problem{Param: param, Message: fmt.Sprintf(format, args...)})
}

func newBinder(values stages.Values) binder {
	return binder{values: values, command: &command{params: map[string]any{}, env: map[string]any{}}}
}

var keys = []string{"command", "inputs", "outputs", "params", "files", "env", "secrets"}

func bind(values stages.Values, context stages.BindContext) (stages.Stage, []stages.Problem) {
	b := newBinder(values)
	b.unknown("", sorted(values), keys)
	b.inputs()
	b.command.outputs = b.outputs()
	b.params()
	b.files()
	b.environment()
	b.command.readEnvironment(context)
	b.argv()
	return b.command, b.sorted()
}

// sorted are the problems in the order of what they are about.
func (b *binder) sorted() []stages.Problem {
	slices.SortStableFunc(b.problems, func(x, y stages.Problem) int { return strings.Compare(x.Param, y.Param) })
	return b.problems
}

// unknown reports those names in the table at a place that are not known.
func (b *binder) unknown(place string, names, known []string) {
	for _, name := range names {
		if !slices.Contains(known, name) {
			b.problem(strings.TrimPrefix(place+"."+name, "."), "unknown key%s", stages.Suggest(name, known))
		}
	}
}

// table is the named table of the stage; empty when it is absent.
func (b *binder) table(name string) map[string]any {
	v, ok := b.values[name]
	if !ok {
		return nil
	}
	t, ok := v.V.(map[string]any)
	if !ok {
		b.problem(name, "must be a table, { NAME = … }")
	}
	for _, key := range sorted(t) {
		if !namePattern.MatchString(key) {
			b.problem(name+"."+key, "a name is lower-case letters, digits and underscores, and begins with a letter")
		}
	}
	return t
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// strings is the named list of strings; empty when it is absent.
func (b *binder) strings(name string) []string {
	v, ok := b.values[name]
	if !ok {
		return nil
	}
	items, ok := v.V.([]any)
	if !ok {
		b.problem(name, "must be a list of strings")
		return nil
	}
	var list []string
	for i, item := range items {
		text, ok := item.(string)
		if !ok {
			b.problem(name, "element %d must be a string: write \"%v\"", i+1, item)
			continue
		}
		list = append(list, text)
	}
	return list
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (b *binder) inputs() {
	table := b.table("inputs")
	for _, name := range sorted(table) {
		if in, ok := b.input(name, table[name]); ok {
			b.command.inputs = append(b.command.inputs, in)
		}
	}
}

func (b *binder) input(name string, v any) (input, bool) {
	param := "inputs." + name
	in := input{name: name, key: param}
	text, isText := v.(string)
	t, restricted := v.(map[string]any)
	if restricted {
		text, isText = t["from"].(string)
		b.restrict(&in, t)
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok && path != "" && !restricted {
		in.file = &stages.SourceSpec{Patterns: []stages.Value{{V: path, Base: b.values["inputs"].Base}}}
		return in, true
	}
	ref, ok := stages.ParseRef(text)
	if !isText || !ok {
		b.problem(param, "must be \"<stage>.<output>\", \"file:PATH\", or { from = \"<stage>.<output>\", columns = [\"…\"] }")
		return in, false
	}
	in.from = ref
	return in, true
}

// restrict reads the columns that an input is restricted to: a list of names,
// or a table that gives each its type.
func (b *binder) restrict(in *input, t map[string]any) {
	b.unknown(in.key, sorted(t), []string{"from", "columns"})
	if _, typed := t["columns"].(map[string]any); typed {
		in.schema = b.schema(in.key+".columns", t["columns"])
		in.columns = in.schema.Names()
		return
	}
	items, ok := t["columns"].([]any)
	if !ok || len(items) == 0 {
		b.problem(in.key, "columns must be a list of column names; leave the table out to see all columns")
		return
	}
	for _, item := range items {
		name, ok := item.(string)
		if !ok || slices.Contains(in.columns, name) {
			b.problem(in.key, "columns must be distinct strings")
			return
		}
		in.columns = append(in.columns, name)
	}
}

func (b *binder) params() {
	table := b.table("params")
	for _, name := range sorted(table) {
		if message := unusable(table[name]); message != "" {
			b.problem("params."+name, "%s", message)
		}
		b.command.params[name] = table[name]
	}
}

// unusable says why a value can be no parameter: some have no form in JSON, or
// none as an argument.
func unusable(v any) string {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprintf("must be a finite number, not %v", v)
		}
	case string:
		if strings.ContainsRune(v, 0) {
			return "must not contain a null character"
		}
	case []any:
		for _, item := range v {
			if message := unusable(item); message != "" {
				return message
			}
		}
	case map[string]any:
		for _, name := range sorted(v) {
			if message := unusable(v[name]); message != "" {
				return name + " " + message
			}
		}
	}
	return ""
}

func (b *binder) files() {
	v := b.values["files"]
	for _, path := range b.strings("files") {
		if strings.Contains(path, "://") {
			b.problem("files", "%q is a URL, and files are beside the pipeline file: make it an input, NAME = \"file:https://…\"", path)
		}
		b.command.files = append(b.command.files, stages.Value{V: path, Base: v.Base})
	}
}

func (b *binder) environment() {
	for _, name := range b.strings("env") {
		b.checkVariable("env", name)
		b.command.env[name] = nil
	}
	for _, name := range b.strings("secrets") {
		b.checkVariable("secrets", name)
		if _, declared := b.command.env[name]; declared {
			b.problem("secrets", "%s is in env too, and so in the key: name it in one of the two", name)
		}
		b.command.secrets = append(b.command.secrets, name)
	}
}

// readEnvironment gives the declared variables the values that the caller has.
func (c *command) readEnvironment(context stages.BindContext) {
	if context.LookupEnv == nil {
		return
	}
	for name := range c.env {
		if value, ok := context.LookupEnv(name); ok {
			c.env[name] = value
		}
	}
}

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (b *binder) checkVariable(param, name string) {
	switch {
	case !variablePattern.MatchString(name):
		b.problem(param, "%q is not the name of an environment variable", name)
	case slices.Contains(alwaysSet, name) || strings.HasPrefix(name, "PRISMFLOW_"):
		b.problem(param, "%s is always set by prismflow", name)
	}
}

// alwaysSet are the variables that every command sees.
var alwaysSet = []string{"PATH", "HOME", "TMPDIR", "LANG"}

func (b *binder) argv() {
	b.command.argv = b.strings("command")
	b.command.base = b.values["command"].Base
	if len(b.command.argv) == 0 || b.command.argv[0] == "" {
		b.problem("", "needs a command, for example command = [\"python3\", \"count.py\", \"{output.counts}\"]")
		return
	}
	for i, arg := range b.command.argv {
		if message := unusable(arg); message != "" {
			b.problem("command", "element %d %s", i+1, message)
		}
		for _, message := range b.command.unknownPlaceholders(arg) {
			b.problem("command", "%s", message)
		}
	}
	if placeholder.MatchString(b.command.argv[0]) {
		b.problem("command", "the program must be a name or a path, not a placeholder: let a shell run it, [\"sh\", %q]", b.command.argv[0])
		return
	}
	b.program()
}

// program makes the command's program one of its files if it is a file of the
// project.
func (b *binder) program() {
	program := b.command.argv[0]
	if !strings.Contains(program, "/") {
		return
	}
	path := program
	if filepath.IsAbs(path) {
		relative, err := filepath.Rel(b.command.base, path)
		if err != nil || !filepath.IsLocal(relative) {
			return // a program of the system
		}
		path = relative
	}
	info, err := os.Stat(filepath.Join(b.command.base, path))
	if err != nil || !info.Mode().IsRegular() {
		b.problem("command", "%s is no file beside the pipeline file; a program that is found through PATH is written without a slash", program)
		return
	}
	path = filepath.Clean(path)
	b.command.program = path
	if !filepath.IsLocal(path) {
		b.command.program = filepath.Base(path) // as the engine names a file from elsewhere
	}
	b.command.files = append(b.command.files, stages.Value{V: path, Base: b.command.base})
}
