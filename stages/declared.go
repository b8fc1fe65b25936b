package stages

import (
	"context"
	"reflect"

	"github.com/prismflow/prismflow/artifacts"
)

// declared is a configured stage of a declared kind.
type declared struct {
	kind    string
	version int
	runner  Runner
	target  reflect.Value // the struct
	fields  []declaredField

	params  map[string]any // keyed, resolved
	inputs  []Input
	sources []SourceSpec
}

func (d *declared) Request() artifacts.Request {
	return artifacts.Request{Kind: d.kind, Version: d.version, Params: d.params}
}
func (d *declared) Inputs() []Input       { return d.inputs }
func (d *declared) Sources() []SourceSpec { return d.sources }

func (d *declared) Outputs() []Port { return outputPorts(d.target.Type(), d.fields) }

// Run points the struct's ports at env's files and runs it.
func (d *declared) Run(ctx context.Context, env *Env) error {
	for _, f := range d.fields {
		pointer := d.target.FieldByIndex(f.index).Addr().Interface()
		switch f.role {
		case roleInput:
			pointer.(inputField).attachInput(env.Inputs[f.name])
		case roleOutput:
			pointer.(outputField).attachOutput(env.Outputs[f.name], func(o artifacts.Output) { env.wrote(f.name, o) })
		case roleSource:
			pointer.(sourceField).attachSource(env.Sources[f.name])
		}
	}
	return d.runner.Run(ctx, env)
}

// Revalidates asks the struct, if it is a Revalidator.
func (d *declared) Revalidates() string {
	if r, ok := d.runner.(Revalidator); ok {
		return r.Revalidates()
	}
	return ""
}
