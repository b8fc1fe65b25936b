package pipelines

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/kinds"
)

// A validator understands as much of JSON Schema as JSONSchema uses, and fails
// the test on any other word.
type validator struct {
	t    *testing.T
	root object
}

var schemaWords = []string{"$schema", "$defs", "$ref", "title", "description", "default", "type", "const", "enum", "pattern",
	"minimum", "maximum", "minProperties", "properties", "required", "additionalProperties", "propertyNames", "items", "anyOf", "allOf", "if", "then", "else"}

func newValidator(t *testing.T, registry stages.Registry) validator {
	t.Helper()
	data, err := JSONSchema(registry)
	if err != nil {
		t.Fatal(err)
	}
	v := validator{t: t}
	if err := json.Unmarshal(data, &v.root); err != nil {
		t.Fatal(err)
	}
	return v
}

// validate lists what in a document breaks the schema.
func (v validator) validate(path string, value any, schema any) []string {
	s, ok := schema.(object)
	if !ok {
		if schema == false {
			return []string{path + ": not allowed"}
		}
		return nil
	}
	var errs []string
	fail := func(format string, args ...any) { errs = append(errs, path+": "+fmt.Sprintf(format, args...)) }
	for word, rule := range s {
		if !slices.Contains(schemaWords, word) {
			v.t.Fatalf("the schema uses %s, which this test does not know", word)
		}
		switch word {
		case "$ref":
			name, found := strings.CutPrefix(rule.(string), "#/$defs/")
			def, exists := v.root["$defs"].(object)[name]
			if !found || !exists {
				v.t.Fatalf("%s refers to nothing", rule)
			}
			errs = append(errs, v.validate(path, value, def)...)
		case "type":
			types, many := rule.([]any)
			if !many {
				types = []any{rule}
			}
			if !slices.ContainsFunc(types, func(t any) bool { return hasType(value, t.(string)) }) {
				fail("is not of type %v", rule)
			}
		case "const":
			if value != rule {
				fail("is not %v", rule)
			}
		case "enum":
			if !slices.Contains(rule.([]any), value) {
				fail("is none of %v", rule)
			}
		case "pattern":
			if text, ok := value.(string); ok && !regexp.MustCompile(rule.(string)).MatchString(text) {
				fail("does not match %s", rule)
			}
		case "minimum":
			if x, ok := value.(float64); ok && x < rule.(float64) {
				fail("is below %v", rule)
			}
		case "maximum":
			if x, ok := value.(float64); ok && x > rule.(float64) {
				fail("is above %v", rule)
			}
		case "anyOf":
			if !slices.ContainsFunc(rule.([]any), func(sub any) bool { return v.validate(path, value, sub) == nil }) {
				fail("fits no choice")
			}
		case "allOf":
			for _, sub := range rule.([]any) {
				errs = append(errs, v.validate(path, value, sub)...)
			}
		case "if":
			branch := s["then"]
			if v.validate(path, value, rule) != nil {
				branch = s["else"]
			}
			errs = append(errs, v.validate(path, value, branch)...)
		case "items":
			list, _ := value.([]any)
			for i, item := range list {
				errs = append(errs, v.validate(fmt.Sprintf("%s[%d]", path, i), item, rule)...)
			}
		}
	}
	if table, ok := value.(object); ok {
		errs = append(errs, v.table(path, table, s)...)
	}
	return errs
}

func (v validator) table(path string, table, s object) []string {
	var errs []string
	properties, _ := s["properties"].(object)
	for name, item := range table {
		inside := path + "." + name
		if rule, ok := properties[name]; ok {
			errs = append(errs, v.validate(inside, item, rule)...)
		} else if rule, ok := s["additionalProperties"]; ok {
			errs = append(errs, v.validate(inside, item, rule)...)
		}
		if rule, ok := s["propertyNames"]; ok {
			errs = append(errs, v.validate(inside+" (name)", name, rule)...)
		}
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := table[name.(string)]; !ok {
			errs = append(errs, fmt.Sprintf("%s: has no %s", path, name))
		}
	}
	if least, ok := s["minProperties"].(float64); ok && len(table) < int(least) {
		errs = append(errs, path+": is empty")
	}
	return errs
}

func hasType(value any, typ string) bool {
	switch value := value.(type) {
	case string:
		return typ == "string"
	case bool:
		return typ == "boolean"
	case float64:
		return typ == "number" || typ == "integer" && value == float64(int64(value))
	case []any:
		return typ == "array"
	case object:
		return typ == "object"
	}
	return false
}

// asJSON is a TOML text as an editor's schema check sees it.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	values, failure := decode(text)
	if failure != nil {
		t.Fatal(failure.Message)
	}
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestJSONSchemaAccepts(t *testing.T) {
	v := newValidator(t, toys(t))
	including := "include = [\"base.toml\"]\n[stages.tokens]\nrate = 0.5\n"
	for _, text := range []string{whole, oneStage, many(3), including, "include = \"base.toml\"\n", kindOnly} {
		if errs := v.validate("", asJSON(t, text), v.root); errs != nil {
			t.Errorf("%v in:\n%s", errs, text)
		}
	}
}

// kindOnly is a definition that uses every key, beside a stage of another kind.
const kindOnly = oneStage + `
[kinds."my.top"]
summary = "s"
doc = "d"
version = 2
command = ["true"]
inputs = { a = "arrow", b = { type = "file", optional = true, help = "h", columns = { x = "utf8", y = { type = "int64", help = "h" } } } }
outputs = { o = { columns = { x = "utf8" } }, p = "file" }
params = { n = { type = "integer", default = 1, min = 1, max = 2.5, unit = "u", help = "h", keyed = false }, m = { type = "string", enum = ["x"] } }
files = ["x"]
env = ["X"]
secrets = ["Y"]
`

// The schema with a file's kinds knows their stages.
func TestJSONSchemaOfDefinedKinds(t *testing.T) {
	registry, err := LoadKinds(write(t, definedKinds), Options{Registry: toys(t)})
	if err != nil {
		t.Fatal(err)
	}
	v := newValidator(t, registry)
	if errs := v.validate("", asJSON(t, definedKinds), v.root); errs != nil {
		t.Errorf("%v", errs)
	}
	if v.validate("", asJSON(t, definedKinds+"[stages.more]\nkind = \"top\"\nwords = \"tokens.words\"\nn = 1000\n"), v.root) == nil {
		t.Error("a value that is too large is accepted")
	}
}

// TestJSONSchemaAcceptsShipped has an editor's view of the shipped pipelines.
func TestJSONSchemaAcceptsShipped(t *testing.T) {
	registry, err := kinds.All()
	if err != nil {
		t.Fatal(err)
	}
	v := newValidator(t, registry)
	for _, name := range EmbeddedNames() {
		text, _ := Embedded(name)
		if errs := v.validate("", asJSON(t, string(text)), v.root); errs != nil {
			t.Errorf("%s: %v", name, errs)
		}
	}
}

func TestJSONSchemaRefuses(t *testing.T) {
	v := newValidator(t, toys(t))
	for name, text := range map[string]string{
		"no stages":                  "name = \"x\"\n",
		"empty stages":               "[stages]\n",
		"unknown key":                "naem = \"x\"\n" + oneStage,
		"unknown kind":               "[stages.x]\nkind = \"nothing\"\n",
		"no kind":                    "[stages.x]\nwords = \"a.b\"\n",
		"stage name":                 "[stages.X]\nkind = \"exec\"\ncommand = [\"true\"]\noutputs = {}\n",
		"unknown stage key":          oneStage + "mood = 1\n",
		"wrong type":                 oneStage + "rate = true\n",
		"too large":                  oneStage + "rate = 2\n",
		"not of the enum":            oneStage + "mode = \"slwo\"\n",
		"missing input":              "[stages.x]\nkind = \"text.top\"\ncount = 1\n",
		"missing parameter":          "[stages.x]\nkind = \"text.top\"\nwords = \"a.b\"\n",
		"no reference":               "[stages.x]\nkind = \"text.top\"\nwords = \"ab\"\ncount = 1\n",
		"resources":                  oneStage + "resources = { gpus = 1 }\n",
		"retries":                    oneStage + "retries = -1\n",
		"nested parameter":           "[params]\na = [[1]]\n" + oneStage,
		"include":                    "include = [3]\n" + oneStage,
		"unknown key of a kind":      "[kinds.top]\ncomand = [\"x\"]\n" + oneStage,
		"name of a kind":             "[kinds.Top]\n" + oneStage,
		"type of a kind's parameter": "[kinds.top.params]\nn = { type = \"int\" }\n" + oneStage,
		"type of a kind's output":    "[kinds.top.outputs]\no = \"parquet\"\n" + oneStage,
		"cache":                      "[cache]\ndri = \"x\"\n" + oneStage,
		"remote without a URL":       "[cache]\nremotes = [{ mode = \"read\" }]\n" + oneStage,
		"mode of a remote":           "[cache]\nremotes = [{ url = \"s3://b\", mode = \"write\" }]\n" + oneStage,
		"token in a pipeline":        "[cache]\nremotes = [{ url = \"https://c\", token_env = \"T\" }]\n" + oneStage,
	} {
		if v.validate("", asJSON(t, text), v.root) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestJSONSchemaIsComplete checks that every kind is there with all its keys,
// documented, and that no kind takes a key that every stage has.
func TestJSONSchemaIsComplete(t *testing.T) {
	registry := toys(t)
	v := newValidator(t, registry)
	for _, kind := range registry.Kinds() {
		def, ok := v.root["$defs"].(object)["stage:"+kind.Name].(object)
		if !ok {
			t.Fatalf("%s is missing", kind.Name)
		}
		properties := def["properties"].(object)
		for _, p := range kind.Params {
			schema, ok := properties[p.Name].(object)
			if !ok || schema["description"] == nil {
				t.Errorf("%s.%s is missing or not documented", kind.Name, p.Name)
			}
			if p.Default != nil && schema["default"] == nil {
				t.Errorf("%s.%s has no default", kind.Name, p.Name)
			}
		}
		for _, port := range kind.Inputs {
			if properties[port.Name] == nil {
				t.Errorf("%s.%s is missing", kind.Name, port.Name)
			}
		}
	}
}

func TestDescribeKind(t *testing.T) {
	kind, _ := toys(t).Kind("text.tokens")
	var got bytes.Buffer
	if err := DescribeKind(&got, kind); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/tokens.txt"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestDescribeKindTellsOfItsWriter(t *testing.T) {
	kind, _ := toys(t).Kind("text.tokens")
	if err := DescribeKind(fullDisk{}, kind); err == nil {
		t.Error("no error")
	}
}
