// Package exec is the stage kind that runs any command in any language.
//
//	[stages.count]
//	kind    = "exec"
//	command = ["python3", "count.py", "{input.words}", "{output.counts}"]
//	inputs  = { words = "tokens.words" }
//	outputs = { counts = "arrow" }
//	files   = ["count.py"]
//
// A pipeline file may define kinds of its own in [kinds.NAME] tables, which say
// what such a stage is except for what each stage of the kind says itself (see
// Define).
//
// The command sees what the stage declares and nothing else of the project or
// of the environment, so that what is not part of the key cannot be reached by
// a relative path or a forgotten variable. It is not a sandbox: a command that
// names an absolute path reads it.
package exec

import (
	"maps"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
)

// version is that of the contract between the stage and its command: what the
// command sees and where.
const version = 1

const kindName = "exec"

// Kinds is the kind exec.
func Kinds() []stages.Kind {
	return []stages.Kind{{
		Name: kindName, Version: version,
		Summary: "run any command in any language on Arrow or plain files",
		Doc:     strings.TrimSpace(doc), Example: strings.TrimSpace(example),
		Params: []stages.Param{
			{Name: "command", Type: "strings", Required: true, Keyed: true, Doc: "the program and its arguments; {input.NAME}, {output.NAME} and {param.NAME} stand for paths and values, and a brace is doubled to stand for itself where it would be read so"},
			{Name: "inputs", Type: "table", Keyed: true, Doc: "NAME = \"<stage>.<output>\", \"file:PATH\", or { from = \"<stage>.<output>\", columns = [\"…\"] } to see and depend on those columns alone; columns = { NAME = \"TYPE\" } checks their types too"},
			{Name: "outputs", Type: "table", Required: true, Keyed: true, Doc: "NAME = \"arrow\" (an Arrow IPC file), \"file\" (any file), or { type = \"arrow\", columns = { NAME = \"TYPE\" } }, an Arrow file with exactly those columns"},
			{Name: "params", Type: "table", Keyed: true, Doc: "values for {param.NAME} and for PRISMFLOW_PARAMS"},
			{Name: "files", Type: "paths", Keyed: true, Doc: "code and data that the command reads, beside the pipeline file: paths, globs or directories, copied into its working directory, each executable"},
			{Name: "env", Type: "strings", Keyed: true, Doc: "environment variables that the command sees; their values are part of the key, and stand in the records of results"},
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

The columns of an Arrow output may be declared, with types as "prismflow stages"
prints them ("utf8", "list<int64>", "float64, nullable"). Then a stage that reads
a column which is not there is found before anything runs, and a result with
other columns, types or nulls than declared is an error. Their order is free.

Inputs are private copies: changing them changes nothing. Outputs are taken
only if the command ends with exit code 0 and all that it started has ended too.
What it prints is in the stage's log ("prismflow logs FILE STAGE").
`

const example = `
[stages.count]
kind    = "exec"
command = ["python3", "count.py", "{input.words}", "{output.counts}", "--top", "{param.top}"]
inputs  = { words = "tokens.words", stop = "file:../data/stopwords.txt" }
outputs = { counts = { type = "arrow", columns = { word = "utf8", n = "int64" } } }
params  = { top = 100 }
files   = ["count.py"]
env     = ["TZ"]
secrets = ["API_TOKEN"]
`

// command is a configured stage: of the kind exec, or of one that a pipeline
// file defines.
type command struct {
	argv     []string
	program  string // path of the program inside the working directory, if it is a file of the project
	inputs   []input
	outputs  []stages.Port
	params   map[string]any
	settings []string // parameters that cannot change the result
	files    []stages.Value
	env      map[string]any // declared variables; nil where the caller has none of that name
	secrets  []string
	revision int    // of a kind's definition, from 1; 0 where there is none
	base     string // directory of the file that names the command
}

// An input is a stage's output, of which the command may see some columns
// only, or a file.
type input struct {
	name    string
	key     string // where it stands in the stage's table
	from    stages.Ref
	plain   bool         // must be a plain file
	columns []string     // nil for all
	schema  table.Schema // of the columns, where their types are declared; see stages.Input
	file    *stages.SourceSpec
}

// Request names the stage by what it does and not by its kind, so that a stage
// of a defined kind has the key of the exec stage that says the same, and
// turning one into the other runs nothing again.
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
	if keyed := c.keyedParams(); len(keyed) > 0 {
		params["params"] = keyed
	}
	if len(c.env) > 0 {
		params["env"] = c.env
	}
	if columns := c.declaredColumns(); len(columns) > 0 {
		params["columns"] = columns
	}
	if c.revision > 1 {
		params["version"] = c.revision
	}
	return artifacts.Request{Kind: kindName, Version: version, Params: params}
}

func (c *command) keyedParams() map[string]any {
	keyed := maps.Clone(c.params)
	for _, name := range c.settings {
		delete(keyed, name)
	}
	return keyed
}

// declaredColumns are the columns of the inputs that declare theirs, in the order in
// which the command gets them.
func (c *command) declaredColumns() map[string]any {
	columns := map[string]any{}
	for _, in := range c.inputs {
		if in.columns == nil {
			continue
		}
		list := make([]any, len(in.columns))
		for i, name := range in.columns {
			list[i] = name
		}
		columns[in.name] = list
	}
	return columns
}

// outputType is an output as keys hold it. Declared columns are part of it, so
// that a result is only found by who declares what it was checked against.
func outputType(port stages.Port) any {
	switch {
	case port.File:
		return "file"
	case port.Schema == nil:
		return "arrow"
	}
	columns := map[string]any{}
	for _, field := range port.Schema {
		columns[field.Name] = field.TypeText()
	}
	return map[string]any{"type": "arrow", "columns": columns}
}

func (c *command) Inputs() []stages.Input {
	var inputs []stages.Input
	for _, in := range c.inputs {
		if in.file == nil {
			inputs = append(inputs, stages.Input{Port: in.name, Key: in.key, From: in.from, Columns: in.columns, File: in.plain, Schema: in.schema})
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
			source := *in.file
			source.Param, source.Names = inputPrefix+in.name, stages.NamesExtension
			sources = append(sources, source)
		}
	}
	return sources
}

func (c *command) Outputs() []stages.Port { return c.outputs }
