package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
)

// checkStages refuses names that the pipeline does not have.
func (w *workspace) checkStages(names ...string) error {
	var known []string
	for _, spec := range w.pipeline.Stages {
		known = append(known, spec.Name)
	}
	for _, name := range names {
		if _, ok := w.stage(name); !ok {
			return usageError{fmt.Errorf("%s has no stage %s%s", w.argument, name, stages.Suggest(name, known))}
		}
	}
	return nil
}

func (w *workspace) stage(name string) (stages.Spec, bool) {
	for _, spec := range w.pipeline.Stages {
		if spec.Name == name {
			return spec, true
		}
	}
	return stages.Spec{}, false
}

// output reads "STAGE.OUTPUT" and refuses what the pipeline does not have.
func (w *workspace) output(text string) (stages.Ref, stages.Port, error) {
	ref, ok := stages.ParseRef(text)
	if !ok {
		return ref, stages.Port{}, usageError{fmt.Errorf("%q: an output is written STAGE.OUTPUT%s", text, w.outputsOf(text))}
	}
	if err := w.checkStages(ref.Stage); err != nil {
		return ref, stages.Port{}, err
	}
	spec, _ := w.stage(ref.Stage)
	var names []string
	for _, port := range spec.Stage.Outputs() {
		if port.Name == ref.Output {
			return ref, port, nil
		}
		names = append(names, port.Name)
	}
	return ref, stages.Port{}, usageError{fmt.Errorf("stage %s has no output %s%s; it has %s", ref.Stage, ref.Output, stages.Suggest(ref.Output, names), strings.Join(names, ", "))}
}

// outputsOf helps somebody who named a stage and no output.
func (w *workspace) outputsOf(stage string) string {
	spec, ok := w.stage(stage)
	if !ok {
		return ""
	}
	var refs []string
	for _, port := range spec.Stage.Outputs() {
		refs = append(refs, stage+"."+port.Name)
	}
	return "; that stage has " + strings.Join(refs, ", ")
}

// A foundOutput is the result of an output that is shown, in its workspace.
type foundOutput struct {
	*workspace
	artifacts.Output
	ref  stages.Ref
	path string // of its verified bytes
}

// openOutput opens the workspace of a pipeline for the output that is written
// "STAGE.OUTPUT". The caller closes it.
func openOutput(ctx context.Context, file, text string, o *pipelineOptions, s *streams) (found foundOutput, err error) {
	if found.workspace, err = openResults(file, o, s); err != nil {
		return found, err
	}
	if found.ref, _, err = found.output(text); err == nil {
		found.Output, found.path, err = found.resultOf(ctx, found.ref)
	}
	if err != nil {
		return found, errors.Join(err, found.close())
	}
	return found, nil
}
