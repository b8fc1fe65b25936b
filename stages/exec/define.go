package exec

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// A definition is a kind that a pipeline file defines: an exec stage but for
// where its inputs come from and what its parameters are.
type definition struct {
	template *command // without inputs and parameters
	form     stages.Form
}

// DefinitionKeys are what a [kinds.NAME] table may have.
var DefinitionKeys = []string{"summary", "doc", "version", "command", "inputs", "outputs", "params", "files", "env", "secrets"}

// Define makes a kind of a [kinds.NAME] table:
//
//	[kinds.top]
//	summary = "the most frequent words"
//	command = ["python3", "top.py", "{input.words}", "{output.top}", "{param.n}"]
//	files   = ["top.py"]
//	inputs  = { words = { columns = { word = "utf8" } }, stop = { type = "file", optional = true } }
//	outputs = { top = { columns = { word = "utf8", n = "int64" } } }
//	params  = { n = { type = "integer", default = 10, min = 1, help = "how many" } }
//
// Paths in it are relative to the base of their value. With problems, which are
// all that is wrong, the kind is not to be used.
func Define(name string, values stages.Values) (stages.Kind, []stages.Problem) {
	b := newBinder(values)
	b.unknown("", sorted(values), DefinitionKeys)
	d := &definition{template: b.command}
	kind := stages.Kind{Name: name, Summary: b.topText("summary"), Doc: strings.TrimSpace(b.topText("doc")), Version: b.revision()}
	b.command.revision = kind.Version
	b.definedInputs(d)
	kind.Inputs = d.form.Inputs
	kind.Outputs = b.outputs()
	b.command.outputs = kind.Outputs
	b.definedParams(d)
	for _, source := range d.form.Sources {
		kind.Params = append(kind.Params, stages.SourceParams(source)...)
	}
	kind.Params = append(kind.Params, d.form.Params...)
	b.checkNames(d)
	b.files()
	b.environment()
	b.argv()
	kind.Doc = strings.TrimSpace(kind.Doc + "\n\nIt runs " + commandLine(b.command.argv) + ".")
	kind.Bind = d.bind
	return kind, b.sorted()
}

// topText is a string of the table itself.
func (b *binder) topText(key string) string { return b.text(key, b.values[key].V) }

// revision is the version of a definition, which a team raises when what the
// command does changes in a way that its files and parameters do not show.
func (b *binder) revision() int {
	v, ok := b.values["version"]
	if !ok {
		return 1
	}
	n, ok := v.V.(int64)
	if !ok || n < 1 || n > math.MaxInt32 {
		b.problem("version", "must be an integer of at least 1")
		return 1
	}
	return int(n)
}

// commandLine is the command for people.
func commandLine(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		words[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'\\") {
			words[i] = fmt.Sprintf("%q", arg)
		}
	}
	return strings.Join(words, " ")
}

var inputKeys = append(slices.Clone(portKeys), "optional")

// definedInputs reads the inputs: tables are inputs of the form, and files are
// sources. For the command both are inputs.
func (b *binder) definedInputs(d *definition) {
	t := b.table("inputs")
	for _, name := range sorted(t) {
		param := "inputs." + name
		port, ok := b.port(param, t[name], inputKeys)
		if !ok {
			continue
		}
		port.Name = name
		if options, isTable := t[name].(map[string]any); isTable {
			port.Optional = b.flag(param+".optional", options["optional"], false)
		}
		b.command.inputs = append(b.command.inputs, input{name: name}) // for its placeholder
		if port.File {
			d.form.Sources = append(d.form.Sources, stages.Param{Name: name, Type: "path", Doc: port.Doc, Required: !port.Optional, Keyed: true})
		} else {
			d.form.Inputs = append(d.form.Inputs, port)
		}
	}
}

func (b *binder) flag(param string, v any, absent bool) bool {
	if v == nil {
		return absent
	}
	flag, ok := v.(bool)
	if !ok {
		b.problem(param, "must be true or false")
	}
	return flag
}

func (b *binder) definedParams(d *definition) {
	t := b.table("params")
	for _, name := range sorted(t) {
		b.command.params[name] = nil // for its placeholder
		if p, ok := b.definedParam(name, t[name]); ok {
			d.form.Params = append(d.form.Params, p)
			if !p.Keyed {
				b.command.settings = append(b.command.settings, name)
			}
		}
	}
}

var paramKeys = []string{"type", "default", "unit", "min", "max", "enum", "help", "keyed"}

func (b *binder) definedParam(name string, v any) (stages.Param, bool) {
	at := "params." + name
	t, ok := v.(map[string]any)
	if !ok {
		b.problem(at, "must be a table such as { type = \"integer\", default = 10, help = \"how many\" }; without a default it has to be given")
		return stages.Param{}, false
	}
	b.unknown(at, sorted(t), paramKeys)
	p := stages.Param{
		Name: name, Doc: b.text(at+".help", t["help"]), Unit: b.text(at+".unit", t["unit"]),
		Required: t["default"] == nil, Keyed: b.flag(at+".keyed", t["keyed"], true),
	}
	if p.Type, ok = b.paramType(at, t["type"]); !ok {
		return p, false
	}
	before := len(b.problems)
	p.Enum = b.enum(at+".enum", p.Type, t["enum"])
	p.Min, p.Max = b.bound(at+".min", p.Type, t["min"]), b.bound(at+".max", p.Type, t["max"])
	if p.Min != nil && p.Max != nil && *p.Min > *p.Max {
		b.problem(at+".min", "is more than max, %v", *p.Max)
	}
	if len(b.problems) == before && !p.Required {
		p.Default = b.defaultOf(at+".default", p, t["default"])
	}
	return p, len(b.problems) == before
}

func (b *binder) paramType(at string, v any) (string, bool) {
	text, _ := v.(string)
	switch {
	case slices.Contains(stages.ParamTypes, text):
		return text, true
	case text == "path" || text == "file":
		b.problem(at+".type", "a file is an input, so that its content is part of the key: inputs = { NAME = \"file\" }")
	case v == nil:
		b.problem(at, "needs a type: one of %s", strings.Join(stages.ParamTypes, ", "))
	default:
		b.problem(at+".type", "must be one of %s%s", strings.Join(stages.ParamTypes, ", "), stages.Suggest(text, stages.ParamTypes))
	}
	return "", false
}

func (b *binder) enum(at, typ string, v any) []string {
	if v == nil {
		return nil
	}
	items, ok := v.([]any)
	if !ok || len(items) == 0 || strings.TrimSuffix(typ, "s") != "string" {
		b.problem(at, "must be a list of the strings that a parameter of type string may be")
		return nil
	}
	var choices []string
	for _, item := range items {
		text, ok := item.(string)
		if !ok || slices.Contains(choices, text) {
			b.problem(at, "must be distinct strings")
			return nil
		}
		choices = append(choices, text)
	}
	return choices
}

func (b *binder) bound(at, typ string, v any) *float64 {
	if v == nil {
		return nil
	}
	var bound float64
	switch n := v.(type) {
	case int64:
		bound = float64(n)
	case float64:
		bound = n
	default:
		bound = math.NaN()
	}
	numeric := strings.HasPrefix(typ, "integer") || strings.HasPrefix(typ, "number")
	if !numeric || math.IsNaN(bound) || math.IsInf(bound, 0) {
		b.problem(at, "must be a finite number, of a parameter of type integer or number")
		return nil
	}
	return &bound
}

func (b *binder) defaultOf(at string, p stages.Param, v any) any {
	canonical, err := p.Accept(v)
	if err != nil {
		b.problem(at, "%v", err)
	} else if message := unusable(canonical); message != "" {
		b.problem(at, "%s", message)
	}
	return canonical
}

// checkNames reports names that a stage's table could not tell apart.
func (b *binder) checkNames(d *definition) {
	taken := map[string]string{}
	for _, port := range d.form.Inputs {
		taken[port.Name] = "an input"
	}
	for _, source := range d.form.Sources {
		if source.Name == filesParam { // under which the engine hands over the declared files
			b.problem("inputs."+source.Name, "the name is that of the declared files already")
		}
		for _, param := range stages.SourceParams(source) {
			taken[param.Name] = fmt.Sprintf("a key of the input %s", source.Name)
		}
	}
	for _, port := range d.form.Inputs {
		if what := taken[port.Name]; what != "an input" {
			b.problem("inputs."+port.Name, "the name is %s already", what)
		}
	}
	for _, param := range d.form.Params {
		if what := taken[param.Name]; what != "" {
			b.problem("params."+param.Name, "the name is %s already", what)
		}
	}
}

// bind configures a stage of the kind.
func (d *definition) bind(values stages.Values, context stages.BindContext) (stages.Stage, []stages.Problem) {
	filled, problems := d.form.Bind(values, context)
	c := *d.template
	c.inputs, c.params, c.env = nil, filled.Params, map[string]any{}
	for name := range d.template.env {
		c.env[name] = nil
	}
	c.readEnvironment(context)
	for _, in := range filled.Inputs {
		c.inputs = append(c.inputs, input{name: in.Port, key: in.Port, from: in.From, plain: in.File, columns: in.Columns, schema: in.Schema})
	}
	for _, source := range filled.Sources {
		switch len(source.Patterns) {
		case 0: // another stage's output
		case 1:
			c.inputs = append(c.inputs, input{name: source.Param, file: &source})
		default:
			problems = append(problems, stages.Problem{Param: source.Param, Message: "must name one file"})
		}
	}
	slices.SortFunc(c.inputs, func(x, y input) int { return strings.Compare(x.name, y.name) })
	for _, name := range sorted(c.params) {
		if message := unusable(c.params[name]); message != "" {
			problems = append(problems, stages.Problem{Param: name, Message: message})
		}
	}
	return &c, problems
}
