package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
)

const dagDoc = `Dag draws which stage reads from which: for the terminal, for Graphviz (dot), or
for Markdown (mermaid).`

var dagFormats = []string{"text", "dot", "mermaid"}

func newDagCommand(s *streams) *cobra.Command {
	var o pipelineOptions
	format := ""
	cmd := &cobra.Command{
		Use:               "dag FILE",
		Short:             "Draw the graph of stages",
		Long:              dagDoc,
		Example:           "  prismflow dag pipeline.toml\n  prismflow dag pipeline.toml --format dot | dot -Tsvg > graph.svg",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE:              func(_ *cobra.Command, args []string) error { return runDag(args[0], format, &o, s) },
	}
	registerParam(cmd, &o)
	cmd.Flags().StringVar(&format, "format", "text", "`FORMAT`: "+strings.Join(dagFormats, ", "))
	complete(cmd, "format", dagFormats...)
	return cmd
}

func runDag(file, format string, o *pipelineOptions, s *streams) error {
	draw, ok := map[string]func(*dag.Graph, io.Writer, dag.Annotate) error{
		"text": (*dag.Graph).Text, "dot": (*dag.Graph).DOT, "mermaid": (*dag.Graph).Mermaid,
	}[format]
	if !ok {
		return usageError{fmt.Errorf("--format: %q is none of %s%s", format, strings.Join(dagFormats, ", "), stages.Suggest(format, dagFormats))}
	}
	pipeline, err := loadPipeline(file, o, s)
	if err != nil {
		return err
	}
	graph, err := graphOf(pipeline)
	if err != nil {
		return err
	}
	return draw(graph, s.out, nil)
}

// graphOf is the graph of a pipeline, to draw it without opening a cache.
func graphOf(pipeline *pipelines.Pipeline) (*dag.Graph, error) {
	nodes := make([]dag.Node, len(pipeline.Stages))
	for i, spec := range pipeline.Stages {
		nodes[i] = dag.Node{Name: spec.Name, Kind: spec.Kind, After: spec.Options.After}
		seen := map[string]bool{}
		for _, input := range spec.Stage.Inputs() {
			if !seen[input.From.Stage] {
				seen[input.From.Stage] = true
				nodes[i].Needs = append(nodes[i].Needs, input.From.Stage)
			}
		}
	}
	return dag.New(nodes)
}
