package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/compare"
	"github.com/prismflow/prismflow/stages/engine"
)

const cliDoc = "../../docs/cli.md"

// jsonForms are the types behind the examples in docs/cli.md.
var jsonForms = map[string]any{
	"event": dag.Event{}, "run-report": engine.Report{}, "status": engine.Status{}, "explain": explainReport{},
	"metrics": metricsReport{}, "validate": validateReport{}, "stages": kindsReport{}, "runs": runsReport{},
	"clean": cleanReport{}, "cache-ls": cacheLsReport{}, "cache-stat": cacheStatReport{}, "cache-verify": cacheVerifyReport{}, "cache-gc": gcReport{},
	"torch": torchReport{}, "doctor": doctorReport{}, "version": versionReport{},
	"show-binary": binaryReport{}, "recommend": recommendReport{}, "compare": compare.Report{}, "sweep": sweepReport{},
	"cache-push": transferReport{}, "cache-token": tokenReport{}, "cache-trust": trustReport{},
	"runs-show": runShowReport{}, "runs-diff": runsDiffReport{}, "runs-rm": runsRmReport{}, "runs-pin": runsPinReport{},
}

// covered are types that another form's example shows in full.
var covered = map[string][]string{
	"status": {"OutputReport", "StageReport"}, "explain": {"StageReport", "OutputReport"}, "runs": {"StageReport", "OutputReport", "SharedReport", "Verification", "metricRow"},
	"runs-show": {"Record", "StageReport", "OutputReport", "Request", "Provenance", "RunDiff", "metricRow"},
	"sweep":     {"Report", "StageReport", "OutputReport"}, // of a run and of a comparison
}

var jsonExample = regexp.MustCompile("(?s)```json ([a-z-]+)\n(.*?)```")

// Each example decodes into the type that the command prints, and shows every
// field of it.
func TestDocumentedJSON(t *testing.T) {
	text := readDoc(t)
	seen := map[string]bool{}
	for _, match := range jsonExample.FindAllStringSubmatch(text, -1) {
		name, example := match[1], match[2]
		form, ok := jsonForms[name]
		if !ok {
			t.Errorf("example %s: no such form", name)
			continue
		}
		seen[name] = true
		decoder := json.NewDecoder(strings.NewReader(example))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(reflect.New(reflect.TypeOf(form)).Interface()); err != nil {
			t.Errorf("example %s: %v", name, err)
		}
		if _, err := decoder.Token(); err != io.EOF {
			t.Errorf("example %s: more stands behind the object (%v)", name, err)
		}
		for _, field := range fieldNames(reflect.TypeOf(form), covered[name]) {
			if !strings.Contains(example, fmt.Sprintf("%q:", field)) {
				t.Errorf("example %s does not show the field %s", name, field)
			}
		}
	}
	for name := range jsonForms {
		if !seen[name] {
			t.Errorf("the form %s has no example", name)
		}
	}
}

// fieldNames are the JSON names of a type's fields and of those below.
func fieldNames(of reflect.Type, except []string) []string {
	var names []string
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(of.Elem())
		case reflect.Struct:
			if seen[of] || slices.Contains(except, of.Name()) || of.PkgPath() == "time" {
				return
			}
			seen[of] = true
			for i := range of.NumField() {
				field := of.Field(i)
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				if name == "-" || !field.IsExported() {
					continue
				}
				if name != "" {
					names = append(names, name)
				}
				visit(field.Type)
			}
		}
	}
	visit(of)
	return names
}

func readDoc(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(cliDoc)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The generated parts of docs/cli.md are what the program says of itself.
func TestDocumentedCommands(t *testing.T) {
	before := readDoc(t)
	after := generated(t, before, "exit codes", "```text\n"+exitCodes+"\n```\n")
	after = generated(t, after, "commands", commandReference(newRoot(&streams{})))
	if strings.Contains(after, "(default )") {
		t.Error("a flag says that its default is nothing")
	}
	if before == after {
		return
	}
	if !*update {
		t.Fatal("docs/cli.md is not what the commands say: run go test ./cmd/prismflow -run TestDocumentedCommands -update")
	}
	if err := os.WriteFile(cliDoc, []byte(after), 0o666); err != nil {
		t.Fatal(err)
	}
}

// generated is the text with the named part replaced.
func generated(t *testing.T, text, name, part string) string {
	t.Helper()
	begin, end := "<!-- "+name+": generated -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/cli.md has no part %s", name)
	}
	return before + begin + part + end + after
}

func commandReference(root *cobra.Command) string {
	var b strings.Builder
	for _, cmd := range allCommands(root)[1:] {
		if !cmd.Runnable() || cmd.HasSubCommands() && cmd.Use == cmd.Name() { // one that only lists those below it
			continue
		}
		fmt.Fprintf(&b, "### %s\n\n```text\n%s\n\nUsage:\n  %s\n\nExamples:\n%s\n\nFlags:\n%s```\n\n", cmd.CommandPath(),
			strings.TrimSuffix(cmd.Long, "\n\n"+exitCodes), cmd.UseLine(), cmd.Example, cmd.NonInheritedFlags().FlagUsages())
	}
	return b.String()
}

// allCommands are a command and those below it, first itself.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		all = append(all, allCommands(child)...)
	}
	return all
}

// Every command explains itself: a line, a text, an example that begins with the
// program's name, and a line for each flag.
func TestHelp(t *testing.T) {
	for _, cmd := range allCommands(newRoot(&streams{})) {
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s: needs a line, a text and an example", cmd.CommandPath())
		}
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			if !strings.HasPrefix(line, "  prismflow") {
				t.Errorf("%s: example %q does not begin with the program", cmd.CommandPath(), line)
			}
		}
		for line := range strings.SplitSeq(cmd.Long, "\n") {
			if len(line) > 82 {
				t.Errorf("%s: the line %q is too long for a terminal", cmd.CommandPath(), line)
			}
		}
	}
}
