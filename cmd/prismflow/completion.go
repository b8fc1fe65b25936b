package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/pipelines"
)

// completeThen completes each argument by its own function, the last one
// repeating.
func completeThen(functions ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		at := len(args)
		if at >= len(functions) {
			if at = len(functions) - 1; at == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
		}
		return functions[at](cmd, args, begun)
	}
}

// completeFlag completes a flag's value.
func completeFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
}

// completePipelines offers pipeline files and those that come with the program.
func completePipelines(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	for _, name := range pipelines.EmbeddedNames() {
		if short := strings.TrimSuffix(name, ".toml"); strings.HasPrefix(short, begun) {
			found = append(found, cobra.CompletionWithDesc(short, "comes with prismflow"))
		}
	}
	matches, err := filepath.Glob(escapeGlob(begun) + "*")
	if err != nil {
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	for _, match := range matches {
		info, err := os.Stat(match)
		switch {
		case err != nil:
		case info.IsDir():
			found = append(found, match+"/")
			directive |= cobra.ShellCompDirectiveNoSpace
		case strings.HasSuffix(match, ".toml"):
			found = append(found, match)
		}
	}
	return found, directive
}

func escapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(text)
}

// pipelineOf loads the pipeline of a command line that is being typed; nil if
// that cannot be done.
func pipelineOf(args []string) *pipelines.Pipeline {
	if len(args) == 0 {
		return nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil
	}
	s := &streams{lookupEnv: os.LookupEnv, dir: dir, err: stream{Writer: discard{}}}
	pipeline, err := loadPipeline(args[0], &pipelineOptions{}, s)
	if err != nil {
		return nil
	}
	return pipeline
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// completeStages offers the stages of the pipeline that was named.
func completeStages(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	if pipeline := pipelineOf(args); pipeline != nil {
		for _, spec := range pipeline.Stages {
			found = append(found, cobra.CompletionWithDesc(spec.Name, spec.Kind))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeOutputs offers STAGE.OUTPUT of the pipeline that was named.
func completeOutputs(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	if pipeline := pipelineOf(args); pipeline != nil {
		for _, spec := range pipeline.Stages {
			for _, port := range spec.Stage.Outputs() {
				found = append(found, cobra.CompletionWithDesc(spec.Name+"."+port.Name, port.Doc))
			}
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeParams offers the parameters of the pipeline that was named.
func completeParams(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	if pipeline := pipelineOf(args); pipeline != nil {
		for _, param := range pipeline.Params {
			found = append(found, param.Name+"=")
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeKinds offers the kinds of stages.
func completeKinds(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	in, _ := cmd.Flags().GetString("in") // a command without the flag has no such file
	known, err := knownKinds(in, &streams{lookupEnv: os.LookupEnv, dir: dir})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for _, kind := range known.Kinds() {
		found = append(found, cobra.CompletionWithDesc(kind.Name, kind.Summary))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
