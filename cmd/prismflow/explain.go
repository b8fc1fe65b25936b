package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages/engine"
)

type explainOptions struct {
	pipelineOptions
	json bool
}

// explainReport is what `explain --json` prints.
type explainReport struct {
	engine.Explanation
	SignedBy string `json:"signed_by,omitempty"` // who vouches for what stands under the key
}

const explainDoc = `Explain says what a stage's key is made of (its code, its parameters, and the
content of every column and file that it reads), what of that has changed since
its last run, where the result that stands under the key is from, and who signed
it.`

func newExplainCommand(s *streams) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:               "explain FILE STAGE",
		Short:             "Say what a stage's result depends on and what changed",
		Long:              explainDoc,
		Example:           "  prismflow explain pipeline.toml train\n  prismflow explain pipeline.toml train -p seed=7",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeThen(completePipelines, completeStages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExplain(cmd.Context(), args[0], args[1], o, s)
		},
	}
	o.registerShared(cmd)
	registerJSON(cmd, &o.json, "print one JSON object")
	return cmd
}

func runExplain(ctx context.Context, file, stage string, o explainOptions, s *streams) (err error) {
	w, err := openWorkspace(file, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	if err := w.checkStages(stage); err != nil {
		return err
	}
	x, err := w.engine.Explain(ctx, stage)
	if err != nil {
		return err
	}
	report := explainReport{x, w.sharing.circle.signedBy(ctx, w.store, x.Stage.Key)}
	if o.json {
		return writeJSON(s.out, report)
	}
	writeExplanation(s.out, report)
	return nil
}

func writeExplanation(to stream, x explainReport) {
	to.printf("%s (%s): %s: %s\n", x.Stage.Name, x.Stage.Kind, x.Stage.State, x.Stage.Reason)
	if x.Request != nil {
		to.printf("\nkey %s, made of\n", x.Stage.Key)
		writeRequest(to, *x.Request)
	}
	if x.Last != nil && x.Request != nil {
		writeChanges(to, x.Changes)
	}
	switch {
	case x.Stands != nil:
		to.printf("\nin the cache under this key\n")
		writeManifest(to, *x.Stands)
		if x.SignedBy != "" {
			to.printf("  signed by  %s\n", x.SignedBy)
		}
	case x.Remote != nil:
		to.printf("\nat %s under this key\n", x.Stage.From)
		writeManifest(to, *x.Remote)
	case x.Last != nil:
		to.printf("\nlast result, key %s\n", x.Last.Key)
		writeManifest(to, *x.Last)
	}
	for _, other := range x.Others {
		to.printf("\nanother result of the same key, kept beside it\n")
		writeManifest(to, other)
	}
}

func writeChanges(to stream, changes []engine.Difference) {
	if len(changes) == 0 {
		to.printf("\nnothing of it has changed since the last run\n")
		return
	}
	to.printf("\nchanged since the last run\n")
	for _, change := range changes {
		to.printf("  %s\n", change.Text)
	}
}

// writeRequest lists what a key is made of, one thing a line.
func writeRequest(to stream, r artifacts.Request) {
	to.printf("  code       %s, version %d\n", r.Kind, r.Version)
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		to.printf("  parameter  %s = %s\n", name, valueText(r.Params[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Inputs)) {
		for _, column := range slices.Sorted(maps.Keys(r.Inputs[name])) {
			to.printf("  input      %s%s  %s\n", name, columnText(column), r.Inputs[name][column].Short())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Files)) {
		for _, file := range r.Files[name] {
			to.printf("  file       %s%s  %s\n", name, fileText(file.Name), file.Digest.Short())
		}
	}
}

// valueText is a parameter's value as JSON.
func valueText(value any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Sprint(value)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func columnText(column string) string {
	if column == "" {
		return ""
	}
	return ", column " + column
}

func fileText(name string) string {
	if name == "" {
		return ""
	}
	return ", " + name
}

// writeManifest says where a result is from and what it is.
func writeManifest(to stream, m artifacts.Manifest) {
	p := m.Provenance
	who := p.User
	if p.Host != "" {
		who += "@" + p.Host
	}
	to.printf("  computed   %s by %s, run %s, stage %s of %s\n", instant(p.Started), who, p.Run, p.Stage, p.Pipeline)
	to.printf("  took       %s", seconds(p.Seconds))
	if p.PeakRSS > 0 {
		to.printf(", at most %s of memory", byteSize(p.PeakRSS))
	}
	to.printf("\n")
	var on []string
	for _, name := range slices.Sorted(maps.Keys(p.Versions)) {
		if name != "PATH" { // long, and of interest only to a machine
			on = append(on, name+" "+p.Versions[name])
		}
	}
	to.printf("  with       %s\n", strings.Join(on, ", "))
	if m.Incomplete != "" {
		to.printf("  incomplete %s\n", m.Incomplete)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Outputs)) {
		output := m.Outputs[name]
		size := byteSize(output.Bytes)
		if output.IsTable() {
			size = count(int(output.Rows), "row") + ", " + size
		}
		to.printf("  output     %s  %s  %s\n", name, output.Digest.Short(), size)
	}
	for _, c := range m.Report {
		to.printf("  counted    %s = %s\n", c.Name, number(c.Value))
	}
}
