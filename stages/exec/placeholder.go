package exec

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// placeholder finds {input.x}, {output.x} and {param.x}, and the same with
// doubled braces, which stands for itself.
var placeholder = regexp.MustCompile(`\{\{(?:input|output|param)\.[a-z][a-z0-9_]*\}\}|\{(input|output|param)\.([a-z][a-z0-9_]*)\}`)

// expand replaces the placeholders of one argument.
func expand(arg string, value func(kind, name string) string) string {
	return placeholder.ReplaceAllStringFunc(arg, func(match string) string {
		if strings.HasPrefix(match, "{{") {
			return match[1 : len(match)-1]
		}
		groups := placeholder.FindStringSubmatch(match)
		return value(groups[1], groups[2])
	})
}

// unknownPlaceholders says which placeholders of an argument stand for nothing.
func (c *command) unknownPlaceholders(arg string) []string {
	known := map[string][]string{"param": sorted(c.params)}
	for _, in := range c.inputs {
		known["input"] = append(known["input"], in.name)
	}
	for _, port := range c.outputs {
		known["output"] = append(known["output"], port.Name)
	}
	var messages []string
	expand(arg, func(kind, name string) string {
		for _, k := range known[kind] {
			if k == name {
				return ""
			}
		}
		messages = append(messages, fmt.Sprintf("{%s.%s}: the stage has no %s %s%s", kind, name, kind, name, stages.Suggest(name, known[kind])))
		return ""
	})
	return messages
}

// argument is a parameter as it stands in an argument: a string as it is,
// anything else as JSON.
func argument(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}
