package stages

import (
	"errors"
	"reflect"
)

// A Form is what a stage takes, for kinds that are not declared as Go structs:
// it reads a stage's settings, and says what is wrong, as Declare's kinds do.
type Form struct {
	Inputs  []Port  // tables; a nil schema is one of any columns, of which all are read
	Sources []Param // of type path
	Params  []Param
}

// Filled are the settings of one stage.
type Filled struct {
	Inputs  []Input // also those by which a source is another stage's output
	Sources []SourceSpec
	Params  map[string]any // by name, with defaults, as keys hold them
}

// Bind reads a stage's settings and collects every problem.
func (f Form) Bind(values Values, bc BindContext) (Filled, []Problem) {
	b := binder{values: values, context: bc, used: map[string]bool{}}
	filled := Filled{Params: map[string]any{}}
	var fields []declaredField
	for _, port := range f.Inputs {
		field := declaredField{name: port.Name, role: roleInput, doc: port.Doc, optional: port.Optional}
		fields = append(fields, field)
		if input, ok := b.input(field, port.Schema); ok {
			filled.Inputs = append(filled.Inputs, input)
		}
	}
	for _, param := range f.Sources {
		field := declaredField{name: param.Name, role: roleSource, doc: param.Doc, optional: !param.Required, param: param}
		fields = append(fields, field)
		if spec, inputs, ok := b.source(field); ok {
			filled.Inputs = append(filled.Inputs, inputs...)
			filled.Sources = append(filled.Sources, spec)
		}
	}
	for _, param := range f.Params {
		field := declaredField{name: param.Name, role: roleParam, doc: param.Doc, param: param}
		fields = append(fields, field)
		if v, ok := b.param(field, newTarget(param.Type)); ok {
			filled.Params[param.Name] = v
		}
	}
	b.unknown(fields)
	return filled, b.problems
}

// SourceParams are the parameters that a source stands for: its own and that
// which pins the file.
func SourceParams(source Param) []Param {
	return declaredField{name: source.Name, role: roleSource, param: source}.params()
}

// ParamTypes are the types that a parameter of a Form may have.
var ParamTypes = []string{"string", "integer", "number", "boolean", "strings", "integers", "numbers", "booleans"}

var targets = map[string]any{
	"string": "", "integer": int64(0), "number": 0.0, "boolean": false,
	"strings": []string(nil), "integers": []int64(nil), "numbers": []float64(nil), "booleans": []bool(nil),
}

// newTarget is a place for a value of a type of ParamTypes.
func newTarget(typ string) reflect.Value {
	return reflect.New(reflect.TypeOf(targets[typ])).Elem()
}

// Accept is a value of a pipeline file as keys hold it, if the parameter may
// have it. The type is one of ParamTypes.
func (p Param) Accept(raw any) (any, error) {
	canonical, err := assign(newTarget(p.Type), raw)
	if err != nil {
		return nil, err
	}
	if message := p.check(canonical); message != "" {
		return nil, errors.New(message)
	}
	return canonical, nil
}
