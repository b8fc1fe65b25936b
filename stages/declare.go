package stages

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
)

// Runner is what a declared stage struct does.
type Runner interface {
	Run(ctx context.Context, env *Env) error
}

// A chooser has parameters that stand for a choice, such as "auto". Chosen are
// their values once they are decided: those are in the key.
type chooser interface{ Chosen() map[string]any }

// A validator checks what one field's tags cannot say.
type validator interface {
	// Validate lists problems; their Stage is filled in for it.
	Validate() []Problem
}

// Declare makes a kind of the struct T, whose fields are its ports and
// parameters. Field tags:
//
//	stage:"name"       required: the name in the pipeline file
//	doc:"…"            one sentence
//	default:"…"        makes a parameter optional; lists are written with commas
//	optional:"true"    an input, source or parameter that may be absent
//	enum:"a,b" min:"0" max:"1" unit:"seconds"
//	directory:"parts"   a source that may be a directory of the parts of one table, whose names the stage does not go by
//	directory:"true"    a source that may be a directory or a HubModel, whose files keep their names below it
//
// The fields of an embedded struct count as if they stood in its place, so that
// kinds can share parameters. A field of type Setting is a parameter that is not
// part of the key. A Source field that is no directory may be pinned by a
// parameter sha256 (or <name>_sha256 when the field is called neither source nor
// url). If *T has a method Validate() []Problem it is asked after all fields are
// set, and then Chosen() map[string]any for the parameters that the key has in
// place of those of the file. A *T may also be a Revalidator. A wrong declaration
// is a programming error and panics.
func Declare[T any, P interface {
	*T
	Runner
}](name string, version int, summary string) Kind {
	fields := declaredFields(reflect.TypeFor[T]())
	kind := Kind{Name: name, Version: version, Summary: summary}
	kind.Inputs = inputPorts(reflect.TypeFor[T](), fields)
	kind.Outputs = outputPorts(reflect.TypeFor[T](), fields)
	for _, f := range fields {
		kind.Params = append(kind.Params, f.params()...)
	}
	kind.Bind = func(values Values, bc BindContext) (Stage, []Problem) {
		target := P(new(T))
		d := &declared{kind: name, version: version, runner: target, fields: fields, target: reflect.ValueOf(target).Elem()}
		problems := d.bind(values, bc)
		if v, ok := Runner(target).(validator); ok && len(problems) == 0 {
			problems = v.Validate()
		}
		if c, ok := Runner(target).(chooser); ok && len(problems) == 0 {
			maps.Copy(d.params, c.Chosen())
		}
		return d, problems
	}
	return kind
}

// WithDoc returns the kind with its long documentation and an example.
func (k Kind) WithDoc(doc, example string) Kind {
	k.Doc, k.Example = strings.TrimSpace(doc), strings.TrimSpace(example)
	return k
}

type fieldRole int

const (
	roleParam fieldRole = iota
	roleSetting
	roleInput
	roleOutput
	roleSource
)

// A declaredField is what the declaration of one struct field says.
type declaredField struct {
	index    []int // of the struct's field, along what embeds it
	name     string
	role     fieldRole
	doc      string
	optional bool
	tree     bool  // a source that may be a directory
	parts    bool  // a source that may be a directory of parts
	param    Param // of a parameter, setting or source
}

func declaredFields(t reflect.Type) []declaredField {
	var fields []declaredField
	for _, sf := range reflect.VisibleFields(t) {
		name, ok := sf.Tag.Lookup("stage")
		if !ok {
			continue
		}
		f := declaredField{index: sf.Index, name: name, doc: sf.Tag.Get("doc"), optional: sf.Tag.Get("optional") == "true", tree: sf.Tag.Get("directory") == "true", parts: sf.Tag.Get("directory") == "parts"}
		if f.doc == "" {
			panic(fmt.Sprintf("stages: %s.%s has no doc", t, sf.Name))
		}
		f.role = roleOf(reflect.New(sf.Type).Interface())
		switch f.role {
		case roleSource:
			f.param = Param{Name: name, Type: "path", Doc: f.doc, Required: !f.optional, Keyed: true}
		case roleParam, roleSetting:
			f.param = declaredParam(sf, f)
		}
		fields = append(fields, f)
	}
	return fields
}

func roleOf(pointer any) fieldRole {
	switch pointer.(type) {
	case inputField:
		return roleInput
	case outputField:
		return roleOutput
	case sourceField:
		return roleSource
	case settingField:
		return roleSetting
	}
	return roleParam
}

func declaredParam(sf reflect.StructField, f declaredField) Param {
	p := Param{Name: f.name, Doc: f.doc, Unit: sf.Tag.Get("unit"), Keyed: f.role == roleParam}
	valueType := sf.Type
	if f.role == roleSetting {
		valueType = reflect.TypeOf(reflect.New(sf.Type).Interface().(settingField).setting()).Elem()
	}
	p.Type = paramType(valueType)
	if enum := sf.Tag.Get("enum"); enum != "" {
		p.Enum = strings.Split(enum, ",")
	}
	p.Min, p.Max = tagNumber(sf, "min"), tagNumber(sf, "max")
	text, hasDefault := sf.Tag.Lookup("default")
	p.Required = !hasDefault && !f.optional
	if hasDefault {
		p.Default = parseDefault(sf, p.Type, text)
	}
	return p
}

// paramType is the name, for people and the JSON schema, of a parameter's Go type.
func paramType(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		return paramType(t.Elem()) + "s"
	}
	panic(fmt.Sprintf("stages: a parameter cannot be a %s", t))
}

func tagNumber(sf reflect.StructField, tag string) *float64 {
	text, ok := sf.Tag.Lookup(tag)
	if !ok {
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(fmt.Sprintf("stages: %s of %s: %v", tag, sf.Name, err))
	}
	return &n
}

// parseDefault reads a default as a pipeline file would give it.
func parseDefault(sf reflect.StructField, typ, text string) any {
	if elem, ok := strings.CutSuffix(typ, "s"); ok {
		list := []any{}
		for _, part := range strings.Split(text, ",") {
			if part != "" {
				list = append(list, parseDefault(sf, elem, part))
			}
		}
		return list
	}
	var v any
	var err error
	switch typ {
	case "integer":
		v, err = strconv.ParseInt(text, 10, 64)
	case "number":
		v, err = strconv.ParseFloat(text, 64)
	case "boolean":
		v, err = strconv.ParseBool(text)
	default:
		v = text
	}
	if err != nil {
		panic(fmt.Sprintf("stages: default of %s: %v", sf.Name, err))
	}
	return v
}

// params are the parameters that the field stands for.
func (f declaredField) params() []Param {
	switch f.role {
	case roleSource:
		if f.tree {
			return []Param{f.param}
		}
		pin := Param{
			Name: f.pinName(), Type: "string",
			Doc: "SHA-256 (64 hex digits) that the file of " + f.name + " must have; pins what a URL serves",
		}
		return []Param{f.param, pin}
	case roleParam, roleSetting:
		return []Param{f.param}
	}
	return nil
}

func (f declaredField) pinName() string {
	if f.name == "source" || f.name == "url" {
		return "sha256"
	}
	return f.name + "_sha256"
}

func outputPorts(t reflect.Type, fields []declaredField) []Port {
	var ports []Port
	for _, f := range fields {
		if f.role != roleOutput {
			continue
		}
		schema, file := reflect.New(t.FieldByIndex(f.index).Type).Interface().(outputField).outputSchema()
		ports = append(ports, Port{Name: f.name, Doc: f.doc, File: file, Schema: schema})
	}
	return ports
}

func inputPorts(t reflect.Type, fields []declaredField) []Port {
	var ports []Port
	for _, f := range fields {
		if f.role != roleInput {
			continue
		}
		schema := reflect.New(t.FieldByIndex(f.index).Type).Interface().(inputField).inputSchema()
		ports = append(ports, Port{Name: f.name, Doc: f.doc, Optional: f.optional, Schema: schema})
	}
	return ports
}
