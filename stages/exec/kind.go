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
			{Name: "files", Type: "strings", Keyed: true, Doc: "code and data that the command reads, beside the pipeline file: paths, globs or directories, copied into its working directory, each executable"},
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

Inputs are private copies: changing them changes nothing. Outputs are taken
only if the command ends with exit code 0 and all that it started has ended too.
What it prints is in the stage's log ("prismflow logs FILE STAGE").
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
	if columns := c.declaredColumns(); len(columns) > 0 {
		params["columns"] = columns
	}
	return artifacts.Request{Kind: "exec", Version: version, Params: params}
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
