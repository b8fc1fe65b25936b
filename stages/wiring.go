package stages

import (
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/artifacts/table"
)

// CheckWiring lists what is wrong between stages: inputs that name no stage or
// output, a plain file where a table is read or the reverse, and columns that
// an output lacks or has with another type. What only the data can tell, such
// as the columns that a command writes, is checked when the stage is reached.
func CheckWiring(specs []Spec) []Problem {
	byName := make(map[string]Spec, len(specs))
	var names []string
	for _, spec := range specs {
		byName[spec.Name] = spec
		names = append(names, spec.Name)
	}
	var problems []Problem
	for _, spec := range specs {
		for _, input := range spec.Stage.Inputs() {
			if message := checkInput(input, byName, names); message != "" {
				problems = append(problems, Problem{Stage: spec.Name, Param: input.Param(), Message: message})
			}
		}
	}
	return problems
}

// checkInput says what is wrong with one input, if anything is.
func checkInput(input Input, byName map[string]Spec, names []string) string {
	from, ok := byName[input.From.Stage]
	if !ok {
		return fmt.Sprintf("%s: there is no stage %s%s", input.From, input.From.Stage, Suggest(input.From.Stage, names))
	}
	var outputs []string
	for _, port := range from.Stage.Outputs() {
		outputs = append(outputs, port.Name)
		if port.Name != input.From.Output {
			continue
		}
		switch {
		case input.File && !port.File:
			return fmt.Sprintf("%s is a table, and a plain file is wanted here", input.From)
		case !input.File && (input.Columns != nil || input.Schema != nil) && port.File:
			return fmt.Sprintf("%s is a plain file, and a table is wanted here", input.From)
		case input.Schema != nil && port.Schema != nil:
			if err := table.CheckColumns(port.Schema, input.Schema); err != nil {
				return fmt.Sprintf("%s: %v", input.From, err)
			}
		case port.Schema != nil: // a command names columns without their types
			return checkNames(input, port.Schema)
		}
		return ""
	}
	hint := Suggest(input.From.Output, outputs)
	if input.File { // reviews.json, where there is a stage of the name reviews
		hint += fmt.Sprintf("; write \"./%s\" if it is a file", input.From)
	}
	return fmt.Sprintf("%s: stage %s (%s) has no output %s%s", input.From, from.Name, from.Kind, input.From.Output, hint)
}

// checkNames says which of the columns that an input names an output lacks.
func checkNames(input Input, schema table.Schema) string {
	var messages []string
	for _, column := range input.Columns {
		if _, ok := schema.Field(column); !ok {
			messages = append(messages, fmt.Sprintf("%s has no column %.100q%s", input.From, column, Suggest(column, schema.Names())))
		}
	}
	return strings.Join(messages, "; ")
}
