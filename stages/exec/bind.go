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
	context  stages.BindContext
	command  *command
	problems []stages.Problem
}

func (b *binder) problem(param, format string, args ...any) {
	b.problems = append(b.problems, stages.Problem{Param: param, Message: fmt.Sprintf(format, args...)})
}

var keys = []string{"command", "inputs", "outputs", "params", "files", "env", "secrets"}

func bind(values stages.Values, context stages.BindContext) (stages.Stage, []stages.Problem) {
	b := binder{values: values, context: context, command: &command{params: map[string]any{}, env: map[string]any{}}}
	for _, name := range sorted(values) {
		if !slices.Contains(keys, name) {
			b.problem(name, "unknown key%s", stages.Suggest(name, keys))
		}
	}
	b.inputs()
	b.outputs()
	b.params()
	b.files()
	b.environment()
	b.argv()
	slices.SortStableFunc(b.problems, func(x, y stages.Problem) int { return strings.Compare(x.Param, y.Param) })
	return b.command, b.problems
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
	in := input{name: name}
	text, isText := v.(string)
	if t, ok := v.(map[string]any); ok {
		text, isText = t["from"].(string)
		in.columns = b.columns(param, t)
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok && path != "" && in.columns == nil {
		in.file = &stages.Value{V: path, Base: b.values["inputs"].Base}
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

func (b *binder) columns(param string, table map[string]any) []string {
	for _, key := range sorted(table) {
		if key != "from" && key != "columns" {
			b.problem(param, "unknown key %s%s", key, stages.Suggest(key, []string{"from", "columns"}))
		}
	}
	items, ok := table["columns"].([]any)
	if !ok || len(items) == 0 {
		b.problem(param, "columns must be a list of column names; leave the table out to see all columns")
		return nil
	}
	columns := []string{}
	for _, item := range items {
		name, ok := item.(string)
		if !ok || slices.Contains(columns, name) {
			b.problem(param, "columns must be distinct strings")
			return nil
		}
		columns = append(columns, name)
	}
	return columns
}

func (b *binder) outputs() {
	table := b.table("outputs")
	for _, name := range sorted(table) {
		switch table[name] {
		case "arrow", "file":
			b.command.outputs = append(b.command.outputs, stages.Port{Name: name, File: table[name] == "file"})
		default:
			b.problem("outputs."+name, "must be \"arrow\" or \"file\"")
		}
	}
	if len(table) == 0 {
		b.problem("", "needs outputs: without one there is nothing to keep, for example outputs = { counts = \"arrow\" }")
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
	lookup := b.context.LookupEnv
	if lookup == nil {
		lookup = func(string) (string, bool) { return "", false }
	}
	for _, name := range b.strings("env") {
		b.checkVariable("env", name)
		b.command.env[name] = nil
		if value, ok := lookup(name); ok {
			b.command.env[name] = value
		}
	}
	for _, name := range b.strings("secrets") {
		b.checkVariable("secrets", name)
		if _, declared := b.command.env[name]; declared {
			b.problem("secrets", "%s is in env too, and so in the key: name it in one of the two", name)
		}
		b.command.secrets = append(b.command.secrets, name)
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
