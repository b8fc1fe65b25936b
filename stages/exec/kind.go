// Package exec is the stage kind that runs any command in any language.
//
//	[stages.count]
//	kind    = "exec"
//	command = ["python3", "count.py", "{input.words}", "{output.counts}"]
//	inputs  = { words = "tokens.words" }
//	outputs = { counts = "arrow" }
//	files   = ["count.py"]
//
// The command sees what the stage declares and nothing else of the project or
// of the environment, so that what is not part of the key cannot be reached by
// a relative path or a forgotten variable. It is not a sandbox: a command that
// names an absolute path reads it.
package exec

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
)

// version is that of the contract between the stage and its command: what the
// command sees and where.
const version = 1

// Kinds is the kind exec.
func Kinds() []stages.Kind {
	return []stages.Kind{{
		Name: "exec", Version: version,
		Summary: "run any command in any language on Arrow or plain files",
		Doc:     strings.TrimSpace(doc), Example: strings.TrimSpace(example),
		Params: []stages.Param{
			{Name: "command", Type: "strings", Required: true, Keyed: true, Doc: "the program and its arguments; {input.NAME}, {output.NAME} and {param.NAME} stand for paths and values, and a brace is doubled to stand for itself where it would be read so"},
			{Name: "inputs", Type: "table", Keyed: true, Doc: "NAME = \"<stage>.<output>\", \"file:PATH\", or { from = \"<stage>.<output>\", columns = [\"…\"] } to see and depend on those columns alone"},
			{Name: "outputs", Type: "table", Required: true, Keyed: true, Doc: "NAME = \"arrow\" (an Arrow IPC file) or \"file\" (any file)"},
			{Name: "params", Type: "table", Keyed: true, Doc: "values for {param.NAME} and for PRISMFLOW_PARAMS"},
			{Name: "files", Type: "strings", Keyed: true, Doc: "code and data that the command reads, beside the pipeline file: paths, globs or directories, copied into its working directory"},
			{Name: "env", Type: "strings", Keyed: true, Doc: "environment variables that the command sees; their values are part of the key"},
			{Name: "secrets", Type: "strings", Doc: "environment variables that the command sees, whose values are in no key and no log"},
		},
		Bind: bind,
	}}
}

const doc = `
The command runs in a directory of its own that holds the declared files and
nothing else. It reads its inputs and writes its outputs at the paths that
stand for {input.NAME} and {output.NAME}, which are also in the environment
variables PRISMFLOW_INPUT_NAME and PRISMFLOW_OUTPUT_NAME (the name in capitals);
PRISMFLOW_PARAMS holds the parameters as a JSON object. Of the environment it
sees PATH (as yours is, recorded but not part of the key), HOME and TMPDIR
(empty directories of the stage), LANG=C.UTF-8, and what env and secrets name.

A program that is a file of the project (a relative path with a slash, such as
./count.sh) counts as one of the files. Other programs are found through PATH
and are not part of the key: name their version in a parameter if it matters.

Inputs are private copies: changing them changes nothing. Outputs are taken
only if the command ends with exit code 0. What it prints is in the stage's log
("prismflow logs FILE STAGE").
`

const example = `
[stages.count]
kind    = "exec"
command = ["python3", "count.py", "{input.words}", "{output.counts}", "--top", "{param.top}"]
inputs  = { words = "tokens.words", stop = "file:../data/stopwords.txt" }
outputs = { counts = "arrow" }
params  = { top = 100 }
files   = ["count.py"]
env     = ["TZ"]
secrets = ["API_TOKEN"]
`

// command is a configured exec stage.
type command struct {
	argv    []string
	program string // path of the program inside the working directory, if it is a file of the project
	inputs  []input
	outputs []stages.Port
	params  map[string]any
	files   []stages.Value
	env     map[string]any // declared variables; nil where the caller has none of that name
	secrets []string
	base    string // the pipeline file's directory
}

// An input is a stage's output, of which the command may see some columns
// only, or a file.
type input struct {
	name    string
	from    stages.Ref
	columns []string // nil for all
	file    *stages.Value
}

func (c *command) Request() artifacts.Request {
	outputs := map[string]any{}
	for _, port := range c.outputs {
		outputs[port.Name] = outputType(port)
	}
	argv := make([]any, len(c.argv))
	for i, arg := range c.argv {
		argv[i] = arg
	}
	params := map[string]any{"command": argv, "outputs": outputs}
	if len(c.params) > 0 {
		params["params"] = c.params
	}
	if len(c.env) > 0 {
		params["env"] = c.env
	}
	return artifacts.Request{Kind: "exec", Version: version, Params: params}
}

func outputType(port stages.Port) string {
	if port.File {
		return "file"
	}
	return "arrow"
}

func (c *command) Inputs() []stages.Input {
	var inputs []stages.Input
	for _, in := range c.inputs {
		if in.file == nil {
			inputs = append(inputs, stages.Input{Port: in.name, Key: "inputs." + in.name, From: in.from, Columns: in.columns})
		}
	}
	return inputs
}

// filesParam is the source under which the declared files stand; input files
// stand under the input's name behind inputPrefix.
const (
	filesParam  = "files"
	inputPrefix = "inputs."
)

func (c *command) Sources() []stages.SourceSpec {
	var sources []stages.SourceSpec
	if len(c.files) > 0 {
		sources = append(sources, stages.SourceSpec{Param: filesParam, Patterns: c.files, Names: stages.NamesKept, Directories: true})
	}
	for _, in := range c.inputs {
		if in.file != nil {
			sources = append(sources, stages.SourceSpec{Param: inputPrefix + in.name, Patterns: []stages.Value{*in.file}, Names: stages.NamesExtension})
		}
	}
	return sources
}

func (c *command) Outputs() []stages.Port { return c.outputs }

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
	for name := range values {
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
	slices.SortFunc(b.problems, func(x, y stages.Problem) int { return strings.Compare(x.Param, y.Param) })
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
	for key := range t {
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
	for key := range table {
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
	for name, v := range b.table("params") {
		b.command.params[name] = v
	}
}

func (b *binder) files() {
	v := b.values["files"]
	for _, path := range b.strings("files") {
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
	for _, arg := range b.command.argv {
		for _, message := range b.command.unknownPlaceholders(arg) {
			b.problem("command", "%s", message)
		}
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
	b.command.program = filepath.Clean(path)
	b.command.files = append(b.command.files, stages.Value{V: b.command.program, Base: b.command.base})
}
