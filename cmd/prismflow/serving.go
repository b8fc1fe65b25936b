package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// trainKind is the kind whose stages train models.
const trainKind = "prism.train"

// A wiring is what belongs to a trained model in its pipeline: the outputs that
// are needed to serve it.
type wiring struct {
	model, split stages.Ref
	users, items stages.Ref // of the corpus; none where no stage behind the split makes such a table
	behind       []string   // the stages through which the model and the corpus are joined
}

// catalogueRow is what is read of tables.CorpusItem to call items by name.
type catalogueRow struct {
	ID    int32  `arrow:"id"`
	Item  string `arrow:"item"`
	Title string `arrow:"title"`
}

// userRow is what a table of users has at least.
type userRow struct {
	ID   int32  `arrow:"id"`
	User string `arrow:"user"`
}

// trainStage is the stage whose model is served: the named one, or the only one.
func (w *workspace) trainStage(name string) (stages.Spec, error) {
	var names []string
	for _, spec := range w.pipeline.Stages {
		if spec.Kind == trainKind {
			names = append(names, spec.Name)
		}
	}
	switch {
	case len(names) == 0:
		return stages.Spec{}, usageError{fmt.Errorf("%s has no stage of kind %s, which would train a model", w.argument, trainKind)}
	case name == "" && len(names) > 1:
		return stages.Spec{}, usageError{fmt.Errorf("%s trains %d models: choose one by --stage %s", w.argument, len(names), strings.Join(names, " or --stage "))}
	case name == "":
		name = names[0]
	case !slices.Contains(names, name):
		return stages.Spec{}, usageError{fmt.Errorf("%s trains no model in a stage %s%s; it does in %s", w.argument, name, stages.Suggest(name, names), strings.Join(names, ", "))}
	}
	spec, _ := w.stage(name)
	return spec, nil
}

// wiringOf finds what belongs to the model that a stage trains. The internal ids
// in the split are those of the nearest corpus behind it, so users and items are
// its.
func (w *workspace) wiringOf(train stages.Spec) (wiring, error) {
	found := wiring{model: stages.Ref{Stage: train.Name, Output: modelInput}, behind: []string{train.Name}}
	for _, input := range train.Stage.Inputs() {
		switch input.Port {
		case "split":
			found.split = input.From
		case "items":
			found.items = input.From
		}
	}
	if found.split.Stage == "" {
		return found, fmt.Errorf("stage %s reads no split", train.Name)
	}
	for queue := []string{found.split.Stage}; len(queue) > 0 && found.users.Stage == ""; queue = queue[1:] {
		spec, _ := w.stage(queue[0])
		found.users = outputLike(spec, table.SchemaOf[userRow]())
		if items := outputLike(spec, table.SchemaOf[catalogueRow]()); items.Stage != "" && found.items.Stage == "" {
			found.items = items
		}
		if found.users.Stage != "" {
			break
		}
		found.behind = append(found.behind, spec.Name)
		for _, input := range spec.Stage.Inputs() {
			queue = append(queue, input.From.Stage)
		}
	}
	return found, nil
}

// outputLike is a stage's output that has such columns; none where none has.
func outputLike(spec stages.Spec, columns table.Schema) stages.Ref {
	for _, port := range spec.Stage.Outputs() {
		if !port.File && port.Schema != nil && table.CheckColumns(port.Schema, columns) == nil {
			return stages.Ref{Stage: spec.Name, Output: port.Name}
		}
	}
	return stages.Ref{}
}

// servedFiles are the files of a wiring; those that are not there are empty.
type servedFiles struct {
	model, split, users, items string
}

// filesOf finds the results to serve from. They are those of the pipeline as
// it stands, parameters and all; where it was not run so, that is an error,
// unless the last results will do. Then they must at least be of one corpus.
func (w *workspace) filesOf(ctx context.Context, wired wiring, stale bool) (servedFiles, error) {
	result, err := w.freshResults(ctx, wired)
	if err != nil && stale && errors.As(err, new(staleError)) {
		result, err = w.lastResults(ctx, wired)
	}
	if err != nil {
		return servedFiles{}, err
	}
	var files servedFiles
	for _, f := range []struct {
		ref stages.Ref
		to  *string
	}{{wired.model, &files.model}, {wired.split, &files.split}, {wired.users, &files.users}, {wired.items, &files.items}} {
		if f.ref.Stage == "" {
			continue
		}
		digest, err := result(f.ref)
		if err != nil {
			return files, err
		}
		if *f.to, err = w.store.Verified(ctx, digest); err != nil {
			return files, fmt.Errorf("%s: its bytes are no longer in the cache; run the pipeline again: %w", f.ref, err)
		}
	}
	return files, nil
}

// freshResults finds results by what a run would take from the cache.
func (w *workspace) freshResults(ctx context.Context, wired wiring) (func(stages.Ref) (artifacts.Digest, error), error) {
	status, err := w.engine.Status(ctx, []string{wired.model.Stage}, nil)
	if err != nil {
		return nil, err
	}
	outputs := map[stages.Ref]artifacts.Digest{}
	for _, stage := range status.Stages {
		if stage.State != engine.StateFresh {
			return nil, w.staleResult(ctx, stage, wired.model.Stage)
		}
		for name, output := range stage.Outputs {
			outputs[stages.Ref{Stage: stage.Name, Output: name}] = output.Digest
		}
	}
	return func(ref stages.Ref) (artifacts.Digest, error) { return outputs[ref], nil }, nil
}

// lastResults finds the results of the stages' last runs, after a look whether
// each read what the stage before it made last: internal ids of two corpora mean
// different users and items.
func (w *workspace) lastResults(ctx context.Context, wired wiring) (func(stages.Ref) (artifacts.Digest, error), error) {
	for _, name := range wired.behind {
		manifest, err := w.engine.LastManifest(ctx, name)
		if err != nil {
			return nil, err
		}
		spec, _ := w.stage(name)
		for _, input := range spec.Stage.Inputs() {
			if name == wired.model.Stage && input.From != wired.split && input.From != wired.items {
				continue // the model holds what it took of the others
			}
			from, err := w.engine.LastManifest(ctx, input.From.Stage)
			if err != nil {
				return nil, err
			}
			if !wasRead(manifest.Request.Inputs[input.Port], from.Outputs[input.From.Output]) {
				return nil, fmt.Errorf("the last results do not belong together: stage %s read another result of %s than the last: run \"%s\" first",
					name, input.From, w.command("run", wired.model.Stage))
			}
		}
	}
	return func(ref stages.Ref) (artifacts.Digest, error) {
		manifest, err := w.engine.LastManifest(ctx, ref.Stage)
		return manifest.Outputs[ref.Output].Digest, err
	}, nil
}

// wasRead says whether columns that were read are those of an output.
func wasRead(read map[string]artifacts.Digest, output artifacts.Output) bool {
	for _, column := range output.Columns {
		if digest, ok := read[column.Name]; ok && digest != column.Digest {
			return false
		}
	}
	return true
}

// modelOptions are the flags of commands that use a trained model.
type modelOptions struct {
	device  string
	threads int
}

func (o *modelOptions) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.device, "device", "auto", "where the model runs: `DEVICE` is cpu, cuda, cuda:N or auto")
	flags.IntVar(&o.threads, "threads", 2, "let one operator take `N` threads on the CPU")
}

func (o *modelOptions) validate() error {
	if _, err := gotorch.NewDevice(o.device); err != nil && o.device != "auto" {
		return usageError{fmt.Errorf("--device: %w", err)}
	}
	if o.threads < 1 {
		return usageError{fmt.Errorf("--threads %d: give 1 or more", o.threads)}
	}
	return nil
}

// titlesOf are the titles of some items by their external ids, as far as the
// table of items has them.
func titlesOf(itemsPath string, wanted []string) (map[string]string, error) {
	titles := map[string]string{}
	if itemsPath == "" || !hasColumns(itemsPath, table.SchemaOf[catalogueRow]()) {
		return titles, nil
	}
	want := map[string]bool{}
	for _, item := range wanted {
		want[item] = true
	}
	for row, err := range table.Rows[catalogueRow](itemsPath) {
		if err != nil {
			return nil, fmt.Errorf("reading titles: %w", err)
		}
		if want[row.Item] {
			titles[row.Item] = strings.Clone(row.Title)
		}
	}
	return titles, nil
}

func hasColumns(path string, columns table.Schema) bool {
	f, err := table.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return table.CheckColumns(f.Schema(), columns) == nil
}
