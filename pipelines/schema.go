package pipelines

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// object is a JSON object. Its keys are written sorted, so that a schema is the
// same each time.
type object = map[string]any

// JSONSchema describes pipeline files made of the registry's kinds as a JSON
// Schema (2020-12), for editors that complete and check TOML by one. It says of
// one file what can be said of each value alone: references, columns, cycles
// and parameters' values are checked by Load.
func JSONSchema(registry stages.Registry) ([]byte, error) {
	defs := object{
		"parameter": object{"type": "string", "pattern": `\$\{params\.[a-z][a-z0-9_]*\}`, "description": "the value of a parameter: ${params.NAME}"},
		"input":     object{"type": "string", "pattern": `^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$|\$\{params\.`, "description": "another stage's output: <stage>.<output>"},
	}
	var names []any
	var perKind []any
	for _, kind := range registry.Kinds() {
		names = append(names, kind.Name)
		defs["stage:"+kind.Name] = kindSchema(kind)
		perKind = append(perKind, object{
			"if":   object{"properties": object{"kind": object{"const": kind.Name}}, "required": []any{"kind"}},
			"then": object{"$ref": "#/$defs/stage:" + kind.Name},
		})
	}
	stage := object{
		"type":       "object",
		"properties": object{"kind": withDoc(object{"anyOf": []any{object{"enum": names}, ref("parameter")}}, "what the stage does")},
		"allOf":      perKind,
	}
	return json.MarshalIndent(object{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                "prismflow pipeline",
		"type":                 "object",
		"if":                   object{"required": []any{"include"}}, // what is not here may be there
		"else":                 object{"required": []any{"stages"}, "properties": object{"stages": object{"additionalProperties": object{"required": []any{"kind"}}}}},
		"additionalProperties": false,
		"properties": object{
			"name":        object{"type": "string", "pattern": pipelinePattern.String(), "description": "of the pipeline; the file's name when it is left out"},
			"description": object{"type": "string"},
			"include":     object{"anyOf": []any{object{"type": "string"}, object{"type": "array", "items": object{"type": "string"}}}, "description": "files that this one stands on: paths relative to it, or embedded:NAME.toml"},
			"params":      paramsSchema(),
			"cache":       cacheSchema(),
			"kinds": object{
				"type":                 "object",
				"description":          "kinds of stages that this file defines",
				"propertyNames":        object{"pattern": kindPattern.String()},
				"additionalProperties": definitionSchema(),
			},
			"stages": object{
				"type":                 "object",
				"minProperties":        1,
				"propertyNames":        object{"pattern": namePattern.String()},
				"additionalProperties": stage,
			},
		},
		"$defs": defs,
	}, "", "  ")
}

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

func withDoc(schema object, doc string) object {
	if doc != "" {
		schema["description"] = doc
	}
	return schema
}

func paramsSchema() object {
	scalar := []any{"string", "number", "boolean"}
	return object{
		"type":          "object",
		"description":   "parameters with their defaults; override with -p name=value, use as ${params.name}",
		"propertyNames": object{"pattern": namePattern.String()},
		"additionalProperties": object{"anyOf": []any{
			object{"type": scalar},
			object{"type": "array", "items": object{"type": scalar}},
		}},
	}
}

func cacheSchema() object {
	text := object{"type": "string"}
	enum := func(values []string) object { return orParameter(object{"enum": anys(values)}) }
	remote := object{
		"type":                 "object",
		"additionalProperties": false,
		"required":             []any{"url"},
		"properties": object{
			"url":       withDoc(object{"type": "string"}, "file:PATH, file:///PATH, s3://, gs://, azblob://, http:// or https://"),
			"mode":      withDoc(enum(Modes), "read: nothing is sent to it; read-write if it is left out"),
			"upload":    withDoc(enum(Uploads), "what of a run is sent: each result at once, all after a run without a failure, or none"),
			"parallel":  withDoc(orParameter(object{"type": "integer", "minimum": 1, "maximum": MaxRemoteParallel}), "requests at once"),
			"bandwidth": withDoc(object{"type": "string"}, "bytes a second both ways, such as 50MiB/s; no limit if it is left out"),
			"timeout":   withDoc(object{"type": "string"}, "how long the remote may be silent, such as 30s"),
			"min_rate":  withDoc(object{"type": "string"}, "what each request moves on an average over a minute at least, such as 256B/s; slower is silent"),
			"ca":        withDoc(object{"type": "string"}, "file of certificates to believe, for https://"),
		},
	}
	element := object{"anyOf": []any{text, remote}}
	return object{
		"type":                 "object",
		"description":          "where results are kept",
		"additionalProperties": false,
		"properties": object{
			"dir":     object{"type": "string", "description": "directory, relative to the pipeline file"},
			"remotes": object{"anyOf": []any{text, object{"type": "array", "items": element}}, "description": "shared caches, in the order in which they are asked"},
			"trusted": object{"anyOf": []any{text, object{"type": "array", "items": text}}, "description": "whose results are taken from remotes: NAME ed25519:KEY"},
		},
	}
}

func anys(texts []string) []any {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return list
}

// definitionSchema describes a [kinds.NAME] table. Nothing is required, since an
// included file may have it.
func definitionSchema() object {
	text, flag := object{"type": "string"}, object{"type": "boolean"}
	texts := object{"type": "array", "items": text}
	table := func(properties object) object {
		return object{"type": "object", "additionalProperties": false, "properties": properties}
	}
	portType := object{"enum": []any{"arrow", "file"}}
	columns := object{"type": "object", "additionalProperties": object{"anyOf": []any{text, table(object{"type": text, "help": text})}}}
	port := func(more object) object {
		properties := object{"type": portType, "help": text, "columns": columns}
		maps.Copy(properties, more)
		return object{"type": "object", "propertyNames": object{"pattern": namePattern.String()},
			"additionalProperties": object{"anyOf": []any{portType, table(properties)}}}
	}
	var types []any
	for _, name := range stages.ParamTypes {
		types = append(types, name)
	}
	param := table(object{
		"type": object{"enum": types}, "default": object{}, "unit": text, "help": text, "keyed": withDoc(object{"type": "boolean"}, "false: it cannot change the result"),
		"min": object{"type": "number"}, "max": object{"type": "number"}, "enum": texts,
	})
	return table(object{
		"summary": withDoc(object{"type": "string"}, "one line"),
		"doc":     withDoc(object{"type": "string"}, "paragraphs for prismflow stages --in FILE KIND"),
		"version": withDoc(object{"type": "integer", "minimum": 1}, "part of the key; raise it when the results change and neither command nor files do"),
		"command": withDoc(object{"type": "array", "items": text}, "the program and its arguments, with {input.NAME}, {output.NAME} and {param.NAME}"),
		"inputs":  withDoc(port(object{"optional": flag}), "what a stage of the kind reads"),
		"outputs": withDoc(port(nil), "what it makes"),
		"params":  withDoc(object{"type": "object", "propertyNames": object{"pattern": namePattern.String()}, "additionalProperties": param}, "its parameters"),
		"files":   withDoc(object{"type": "array", "items": text}, "code and data that the command reads: paths, globs or directories"),
		"env":     withDoc(object{"type": "array", "items": text}, "environment variables that the command sees and that are part of the key"),
		"secrets": withDoc(object{"type": "array", "items": text}, "environment variables that the command sees and that are in no key and no log"),
	})
}

// kindSchema describes the table of a stage of one kind.
func kindSchema(kind stages.Kind) object {
	properties := commonSchema()
	properties["kind"] = withDoc(object{"const": kind.Name}, kind.Summary)
	required := []any{"kind"}
	for _, port := range kind.Inputs {
		properties[port.Name] = withDoc(ref("input"), port.Doc)
		if !port.Optional {
			required = append(required, port.Name)
		}
	}
	for _, param := range kind.Params {
		properties[param.Name] = paramSchema(param)
		if param.Required {
			required = append(required, param.Name)
		}
	}
	schema := object{"type": "object", "required": required, "additionalProperties": false, "properties": properties}
	return withDoc(schema, strings.TrimSpace(kind.Summary+"\n\n"+kind.Doc))
}

// commonSchema describes the keys that every stage may have.
func commonSchema() object {
	text := object{"type": "string"}
	return object{
		"after":   withDoc(object{"anyOf": []any{text, object{"type": "array", "items": text}}}, "stages that must have ended well before"),
		"timeout": withDoc(object{"type": "string"}, "longest time of one attempt, such as \"90m\""),
		"retries": withDoc(orParameter(object{"type": "integer", "minimum": 0, "maximum": maxRetries}), "attempts after a failed one"),
		"cache":   withDoc(orParameter(object{"type": "boolean"}), "false: run every time"),
		"resources": object{
			"type":                 "object",
			"description":          "what the stage takes of the machine while it runs",
			"additionalProperties": false,
			"properties": object{
				"cpu":    withDoc(orParameter(object{"type": "integer", "minimum": 1}), "processors"),
				"gpu":    withDoc(orParameter(object{"type": "integer", "minimum": 0}), "graphics processors"),
				"memory": withDoc(object{"type": []any{"string", "integer"}}, "such as \"4GiB\", or bytes"),
			},
		},
	}
}

func orParameter(schema object) object { return object{"anyOf": []any{schema, ref("parameter")}} }

// paramSchema describes one parameter of a kind.
func paramSchema(p stages.Param) object {
	element := object{}
	typ, isList := listOf(p.Type)
	switch typ {
	case "table":
		element["type"] = "object"
	case "path":
		element["type"] = "string"
	default:
		element["type"] = typ
	}
	if p.Enum != nil {
		element["enum"] = p.Enum
	}
	if p.Min != nil {
		element["minimum"] = *p.Min
	}
	if p.Max != nil {
		element["maximum"] = *p.Max
	}
	choices := []any{element}
	if isList || typ == "path" {
		choices = append(choices, object{"type": "array", "items": orParameter(element)})
	}
	if element["type"] != "string" || p.Enum != nil {
		choices = append(choices, ref("parameter"))
	}
	schema := element
	if len(choices) > 1 {
		schema = object{"anyOf": choices}
	}
	if p.Default != nil {
		schema["default"] = p.Default
	}
	return withDoc(schema, paramDoc(p))
}

// listOf splits the type of a list from that of its elements.
func listOf(typ string) (element string, isList bool) {
	switch typ {
	case "strings", "integers", "numbers", "booleans", "paths", "tables":
		return strings.TrimSuffix(typ, "s"), true
	}
	return typ, false
}

func paramDoc(p stages.Param) string {
	if p.Unit == "" {
		return p.Doc
	}
	return strings.TrimLeft(p.Doc+" ("+p.Unit+")", " ")
}
