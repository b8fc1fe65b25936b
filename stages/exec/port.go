package exec

import (
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
)

// outputs reads the table of outputs.
func (b *binder) outputs() []stages.Port {
	t := b.table("outputs")
	var ports []stages.Port
	for _, name := range sorted(t) {
		if port, ok := b.port("outputs."+name, t[name], portKeys); ok {
			port.Name = name
			ports = append(ports, port)
		}
	}
	if len(t) == 0 {
		b.problem("", "needs outputs: without one there is nothing to keep, for example outputs = { counts = \"arrow\" }")
	}
	return ports
}

// portKeys are what the table of an output may have.
var portKeys = []string{"type", "columns", "help"}

// port reads an input or output of a kind, or an output of an exec stage:
// "arrow", "file", or a table that says more.
func (b *binder) port(param string, v any, known []string) (port stages.Port, ok bool) {
	t, isTable := v.(map[string]any)
	if isTable {
		b.unknown(param, sorted(t), known)
		v = "arrow"
		if typ, given := t["type"]; given {
			v = typ
		}
	}
	if v != "arrow" && v != "file" {
		b.problem(param, "must be \"arrow\", \"file\", or { type = \"arrow\", columns = { NAME = \"TYPE\" } }")
		return port, false
	}
	port.File = v == "file"
	port.Doc = b.text(param+".help", t["help"])
	columns, declared := t["columns"]
	switch {
	case declared && port.File:
		b.problem(param+".columns", "a plain file has no columns")
	case declared:
		port.Schema = b.schema(param+".columns", columns)
	}
	return port, true
}

// schema reads { NAME = "TYPE" } or { NAME = { type = "TYPE", help = "…" } },
// sorted by name: a TOML table has no order.
func (b *binder) schema(param string, v any) table.Schema {
	t, ok := v.(map[string]any)
	if !ok || len(t) == 0 {
		b.problem(param, "must be a table of types, { NAME = \"TYPE\" }; leave it out to declare no columns")
		return nil
	}
	schema := table.Schema{}
	for _, name := range sorted(t) {
		if field, ok := b.field(param+"."+name, name, t[name]); ok {
			schema = append(schema, field)
		}
	}
	return schema
}

func (b *binder) field(param, name string, v any) (table.Field, bool) {
	help := ""
	if t, ok := v.(map[string]any); ok {
		b.unknown(param, sorted(t), []string{"type", "help"})
		help = b.text(param+".help", t["help"])
		v = t["type"]
	}
	text, ok := v.(string)
	if !ok {
		b.problem(param, "must be a type such as \"utf8\" or \"int64, nullable\"")
		return table.Field{}, false
	}
	field, err := table.ParseField(name, text)
	if err != nil {
		b.problem(param, "%v", err)
		return table.Field{}, false
	}
	if name == "" {
		b.problem(param, "a column needs a name")
	}
	field.Doc = help
	return field, true
}

// text is a string for people; empty when it is absent.
func (b *binder) text(param string, v any) string {
	text, ok := v.(string)
	if !ok && v != nil {
		b.problem(param, "must be a string")
	}
	return text
}
