package pipelines

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/prismflow/prismflow/stages"
)

// DescribeKind writes what a person needs to use a kind: what it does, its
// inputs and outputs with their columns, its parameters, an example. The error
// is the writer's.
func DescribeKind(w io.Writer, k stages.Kind) error {
	d := &description{w: w}
	d.line("%s (version %d): %s", k.Name, k.Version, k.Summary)
	if k.Doc != "" {
		d.line("\n%s", k.Doc)
	}
	d.ports("Inputs", k.Inputs)
	d.ports("Outputs", k.Outputs)
	d.params(k.Params)
	if k.Example != "" {
		d.line("\nExample")
		for line := range strings.SplitSeq(k.Example, "\n") {
			d.line("%s", strings.TrimRight("  "+line, " "))
		}
	}
	return d.err
}

// A description keeps the first error of its writer.
type description struct {
	w   io.Writer
	err error
}

func (d *description) line(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format+"\n", args...)
	}
}

// rows writes lines whose tabs are aligned.
func (d *description) rows(lines []string) {
	if d.err != nil || len(lines) == 0 {
		return
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		fmt.Fprintln(t, line) // a strings.Builder takes everything
	}
	t.Flush()
	for line := range strings.SplitSeq(strings.TrimRight(b.String(), "\n"), "\n") {
		d.line("%s", strings.TrimRight(line, " "))
	}
}

func (d *description) ports(title string, ports []stages.Port) {
	if len(ports) == 0 {
		return
	}
	d.line("\n%s", title)
	for _, port := range ports {
		name := port.Name
		if port.Doc != "" {
			name += ": " + port.Doc
		}
		d.line("  %s", name+portNote(port))
		var lines []string
		for _, field := range port.Schema {
			lines = append(lines, fmt.Sprintf("    %s\t%s\t%s", field.Name, field.TypeText(), field.Doc))
		}
		d.rows(lines)
	}
}

func portNote(port stages.Port) string {
	var notes []string
	if port.Optional {
		notes = append(notes, "optional")
	}
	if port.File {
		notes = append(notes, "a plain file")
	}
	if notes == nil {
		return ""
	}
	return " (" + strings.Join(notes, ", ") + ")"
}

func (d *description) params(params []stages.Param) {
	if len(params) == 0 {
		return
	}
	d.line("\nParameters")
	var lines []string
	for _, p := range params {
		lines = append(lines, fmt.Sprintf("  %s\t%s\t%s\t%s", p.Name, p.Type, defaultText(p), paramNote(p)))
	}
	d.rows(lines)
}

func defaultText(p stages.Param) string {
	switch {
	case p.Required:
		return "required"
	case p.Default == nil:
		return "-"
	}
	text, err := json.Marshal(p.Default)
	if err != nil {
		return fmt.Sprint(p.Default)
	}
	return string(text)
}

// paramNote is a parameter's documentation, what values it may have, and
// whether it decides the result.
func paramNote(p stages.Param) string {
	notes := []string{paramDoc(p)}
	if p.Enum != nil {
		notes = append(notes, "one of "+strings.Join(p.Enum, ", "))
	}
	notes = append(notes, rangeText(p))
	if !p.Keyed {
		notes = append(notes, "does not change the result")
	}
	notes = slices.DeleteFunc(notes, func(note string) bool { return note == "" })
	return strings.Join(notes, "; ")
}

func rangeText(p stages.Param) string {
	switch {
	case p.Min != nil && p.Max != nil:
		return "from " + bound(*p.Min) + " to " + bound(*p.Max)
	case p.Min != nil:
		return "at least " + bound(*p.Min)
	case p.Max != nil:
		return "at most " + bound(*p.Max)
	}
	return ""
}

// bound writes whole numbers out, which %v does not from a million on.
func bound(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
