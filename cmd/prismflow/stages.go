package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/kinds"
)

// kindsReport is what `stages --json` prints.
type kindsReport struct {
	Format int          `json:"format"`
	Kinds  []kindReport `json:"kinds"`
}

type kindReport struct {
	Name    string        `json:"name"`
	Version int           `json:"version"`
	Summary string        `json:"summary"`
	Doc     string        `json:"doc"`
	Example string        `json:"example"`
	Inputs  []portReport  `json:"inputs"`
	Outputs []portReport  `json:"outputs"`
	Params  []paramReport `json:"params"`
}

type portReport struct {
	Name     string         `json:"name"`
	Doc      string         `json:"doc"`
	Optional bool           `json:"optional"`
	File     bool           `json:"file"` // a plain file, not a table
	Columns  []columnReport `json:"columns,omitempty"`
}

type columnReport struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
	Doc      string `json:"doc"`
}

type paramReport struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Doc      string   `json:"doc"`
	Unit     string   `json:"unit,omitempty"`
	Default  any      `json:"default"`
	Required bool     `json:"required"`
	Enum     []string `json:"enum,omitempty"`
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	Keyed    bool     `json:"keyed"` // whether it is part of the key
}

const stagesDoc = `Stages lists the kinds of stages that a pipeline can be made of; of a named kind
it prints what it does, its inputs, outputs and parameters, and an example. With
--in also those that a pipeline file, or a file that it includes, defines.`

func newStagesCommand(s *streams) *cobra.Command {
	asJSON, in := false, ""
	cmd := &cobra.Command{
		Use:               "stages [KIND]",
		Short:             "List the kinds of stages, or explain one",
		Long:              stagesDoc,
		Example:           "  prismflow stages\n  prismflow stages exec\n  prismflow stages --in pipeline.toml",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeThen(completeKinds),
		RunE:              func(_ *cobra.Command, args []string) error { return runStages(args, in, asJSON, s) },
	}
	registerIn(cmd, &in)
	registerJSON(cmd, &asJSON, "print one JSON object")
	return cmd
}

// registerIn adds the flag that names the file whose own kinds are meant too.
func registerIn(cmd *cobra.Command, in *string) {
	cmd.Flags().StringVar(in, "in", "", "with the kinds that the pipeline `FILE` defines")
	completeFlag(cmd, "in", completePipelines)
}

// knownKinds are the kinds that come with the program, and those that a file
// defines if one is named.
func knownKinds(in string, s *streams) (stages.Registry, error) {
	known, err := kinds.All()
	if err != nil || in == "" {
		return known, err
	}
	path, err := findPipeline(in, s)
	if err != nil {
		return known, err
	}
	return pipelines.LoadKinds(path, pipelines.Options{Registry: known, WorkDir: s.dir, LookupEnv: s.lookupEnv})
}

func runStages(args []string, in string, asJSON bool, s *streams) error {
	registry, err := knownKinds(in, s)
	if err != nil {
		return err
	}
	chosen := registry.Kinds()
	if len(args) == 1 {
		kind, ok := registry.Kind(args[0])
		if !ok {
			return usageError{fmt.Errorf("there is no kind %s%s", args[0], stages.Suggest(args[0], kindNames(chosen)))}
		}
		chosen = []stages.Kind{kind}
	}
	switch {
	case asJSON:
		return writeJSON(s.out, reportKinds(chosen))
	case len(args) == 1:
		return pipelines.DescribeKind(s.out, chosen[0])
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, kind := range chosen {
		fmt.Fprintf(w, "%s\t%s\n", kind.Name, kind.Summary)
	}
	return w.Flush()
}

func kindNames(all []stages.Kind) []string {
	var names []string
	for _, kind := range all {
		names = append(names, kind.Name)
	}
	return names
}

func reportKinds(all []stages.Kind) kindsReport {
	report := kindsReport{Format: 1, Kinds: []kindReport{}}
	for _, kind := range all {
		k := kindReport{
			Name: kind.Name, Version: kind.Version, Summary: kind.Summary, Doc: kind.Doc, Example: kind.Example,
			Inputs: reportPorts(kind.Inputs), Outputs: reportPorts(kind.Outputs), Params: []paramReport{},
		}
		for _, p := range kind.Params {
			k.Params = append(k.Params, paramReport(p))
		}
		report.Kinds = append(report.Kinds, k)
	}
	return report
}

func reportPorts(ports []stages.Port) []portReport {
	reports := []portReport{}
	for _, port := range ports {
		r := portReport{Name: port.Name, Doc: port.Doc, Optional: port.Optional, File: port.File}
		for _, field := range port.Schema {
			r.Columns = append(r.Columns, columnReport{field.Name, field.Type, field.Nullable, field.Doc})
		}
		reports = append(reports, r)
	}
	return reports
}
