package pipelines

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severities of a Diagnostic. A pipeline with an error does not run.
const (
	Error   = "error"
	Warning = "warning"
)

// A Diagnostic is one thing that is wrong with a pipeline file, and where.
type Diagnostic struct {
	File     string `json:"file"` // as it was given to Load; an included one beside its includer; for a parameter of the caller, "-p name"
	Line     int    `json:"line"` // from 1; 0 when it is not about a place in a file
	Column   int    `json:"column"`
	Severity string `json:"severity"` // Error or Warning
	Message  string `json:"message"`
}

// String is "file:line:column: message".
func (d Diagnostic) String() string {
	message := d.Message
	if d.Severity == Warning {
		message = "warning: " + message
	}
	if d.Line == 0 {
		return fmt.Sprintf("%s: %s", d.File, message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Column, message)
}

// Invalid is the error of a pipeline file that is wrong. It lists all errors
// and warnings in the order of the file.
type Invalid struct {
	Path        string // of the file, as it was given
	Diagnostics []Diagnostic
}

// Error lists the diagnostics, one a line.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Diagnostics))
	for i, d := range e.Diagnostics {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// sortDiagnostics orders by file and place and removes repetitions. What is
// about none of the files comes first.
func sortDiagnostics(list []Diagnostic, files []string) []Diagnostic {
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.File, b.File), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(list)
}

func hasError(list []Diagnostic) bool {
	return slices.ContainsFunc(list, func(d Diagnostic) bool { return d.Severity == Error })
}
