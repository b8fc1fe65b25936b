package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/compare"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/sweep"
)

// A comparer finds what is to be compared, and closes the caches that it opened.
type comparer struct {
	options *compareOptions
	streams *streams
	store   *disk.Store // of runs and sweeps
	opened  []func() error
}

func (c *comparer) closing(err *error) {
	for _, close := range c.opened {
		if closeErr := close(); *err == nil {
			*err = closeErr
		}
	}
}

const sweepPrefix = "sweep:"

// subjects are what an argument names.
func (c *comparer) subjects(ctx context.Context, arg string) ([]compare.Subject, error) {
	if name, ok := strings.CutPrefix(arg, sweepPrefix); ok {
		return c.sweep(ctx, name)
	}
	_, fileErr := findPipeline(arg, c.streams)
	if fileErr == nil {
		subject, err := c.file(ctx, arg)
		return []compare.Subject{subject}, err
	}
	record, err := c.run(arg)
	if err != nil {
		return nil, err
	}
	if record.Run == "" {
		return nil, usageError{fmt.Errorf("%s is neither a pipeline nor a recorded run: %w", arg, fileErr)}
	}
	subject, err := c.results(ctx, record.Run, reported(record.Report))
	return []compare.Subject{subject}, err
}

// file are the newest results of a pipeline.
func (c *comparer) file(ctx context.Context, arg string) (compare.Subject, error) {
	w, err := openResults(arg, &c.options.pipelineOptions, c.streams)
	if err != nil {
		return compare.Subject{}, err
	}
	c.opened = append(c.opened, w.close)
	subject := compare.Subject{Name: arg, Open: w.store.Verified}
	var missing error
	for _, spec := range w.pipeline.Stages {
		manifest, err := w.result(ctx, spec.Name)
		if noResult(err) {
			missing = cmp.Or(missing, err)
			continue
		}
		if err != nil {
			return subject, err
		}
		subject.Results = append(subject.Results, compare.Result{Stage: spec.Name, Manifest: manifest})
	}
	evaluated := slices.ContainsFunc(subject.Results, func(r compare.Result) bool { return compare.Evaluates(r.Manifest) })
	if !evaluated && errors.As(missing, new(staleError)) {
		return subject, missing
	}
	return subject, nil
}

// openStore opens the cache that runs and sweeps are recorded in, once.
func (c *comparer) openStore() (*disk.Store, error) {
	if c.store != nil {
		return c.store, nil
	}
	store, err := openStore(c.options.cache, "", c.streams)
	if err == nil {
		c.store = store
		c.opened = append(c.opened, store.Close)
	}
	return store, err
}

// run is the newest recorded run whose name begins so; none where there is none.
// That several do is an error.
func (c *comparer) run(arg string) (engine.Record, error) {
	store, err := c.openStore()
	if err != nil {
		return engine.Record{}, err
	}
	records, err := engine.Records(store.StateDir(), "")
	if err != nil {
		return engine.Record{}, err
	}
	if _, ok := stepsBack(arg); ok {
		return runBook{records: records}.find(arg)
	}
	var found engine.Record
	for _, record := range records {
		switch {
		case record.Run == arg:
			return record, nil
		case !strings.HasPrefix(record.Run, arg):
		case found.Run != "":
			return found, usageError{fmt.Errorf("several runs begin with %s: %s and %s are two of them", arg, record.Run, found.Run)}
		default:
			found = record
		}
	}
	return found, nil
}

// A keyedStage is a stage whose result has a key.
type keyedStage struct {
	name, kind string
	key        artifacts.Key
}

func reported(report engine.Report) []keyedStage {
	var keyed []keyedStage
	for _, stage := range report.Stages {
		keyed = append(keyed, keyedStage{stage.Name, stage.Kind, stage.Key})
	}
	return keyed
}

// results are the results under keys. What an evaluation was made of may be gone,
// which only means that less is known of it; the evaluation itself may not.
func (c *comparer) results(ctx context.Context, name string, keyed []keyedStage) (compare.Subject, error) {
	store, err := c.openStore()
	if err != nil {
		return compare.Subject{}, err
	}
	subject := compare.Subject{Name: name, Open: store.Verified}
	for _, stage := range keyed {
		if stage.key == "" {
			continue
		}
		manifest, err := artifacts.LookupManifest(ctx, store, stage.key)
		var miss *artifacts.Miss
		switch {
		case errors.As(err, &miss) && stage.kind != evaluateKind:
			continue
		case err != nil:
			return subject, fmt.Errorf("%s: the result of stage %s is no longer in the cache; run it again: %w", name, stage.name, err)
		}
		subject.Results = append(subject.Results, compare.Result{Stage: stage.name, Manifest: manifest})
	}
	return subject, nil
}

// sweep are the points of a sweep that have results, of those that are selected.
func (c *comparer) sweep(ctx context.Context, arg string) ([]compare.Subject, error) {
	name, selection, _ := strings.Cut(arg, ":")
	store, err := c.openStore()
	if err != nil {
		return nil, err
	}
	record, err := readSweep(store, name)
	if err != nil {
		return nil, err
	}
	chosen, err := selectPoints(record, selection)
	if err != nil {
		return nil, err
	}
	var subjects []compare.Subject
	for _, point := range chosen {
		if point.State != sweep.PointDone {
			continue
		}
		subject, err := c.point(ctx, name, point)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, subject)
	}
	if left := len(chosen) - len(subjects); left > 0 {
		c.streams.err.printf("sweep %s: %d of %s have no result yet\n", name, left, count(len(chosen), "point"))
	}
	if len(subjects) == 0 {
		return nil, fmt.Errorf("sweep %s has no point with a result", name)
	}
	return subjects, nil
}

// point are the results of a point of a sweep.
func (c *comparer) point(ctx context.Context, sweepName string, point sweep.PointRecord) (compare.Subject, error) {
	var keyed []keyedStage
	for _, stage := range point.Stages {
		keyed = append(keyed, keyedStage{stage.Name, stage.Kind, stage.Key})
	}
	return c.results(ctx, sweepPrefix+sweepName+":"+strings.ReplaceAll(point.Label, " ", ","), keyed)
}

// evaluates says whether a stage's outputs are those of an evaluation.
func evaluates(spec stages.Spec) bool {
	outputs := 0
	for _, port := range spec.Stage.Outputs() {
		if port.Name == compare.MetricsOutput || port.Name == compare.RanksOutput {
			outputs++
		}
	}
	return outputs == 2
}

func readSweep(store *disk.Store, name string) (sweep.Record, error) {
	record, err := sweep.ReadRecord(store.StateDir(), name)
	if !errors.Is(err, sweep.ErrUnknown) {
		return record, err
	}
	known, listErr := sweep.Names(store.StateDir())
	if listErr != nil {
		return record, listErr
	}
	hint := stages.Suggest(name, known)
	if len(known) > 0 {
		hint += "; it has " + strings.Join(known, ", ")
	}
	return record, usageError{fmt.Errorf("the cache %s has no record of a sweep %s%s", store.Dir(), name, hint)}
}

// selectPoints are the points that have all of the given parameters.
func selectPoints(record sweep.Record, selection string) ([]sweep.PointRecord, error) {
	if selection == "" {
		return record.Points, nil
	}
	var wanted []sweep.Param
	for choice := range strings.SplitSeq(selection, ",") {
		name, text, ok := strings.Cut(choice, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("sweep:%s:%s: write key=value after the second colon", record.Name, selection)}
		}
		wanted = append(wanted, sweep.Param{Name: name, Text: text})
	}
	var chosen []sweep.PointRecord
	for _, point := range record.Points {
		missing := slices.ContainsFunc(wanted, func(p sweep.Param) bool { return !slices.Contains(point.Params, p) })
		if !missing {
			chosen = append(chosen, point)
		}
	}
	if len(chosen) == 0 {
		return nil, usageError{fmt.Errorf("sweep %s has no point with %s; its first is %s", record.Name, selection, cmp.Or(record.Points[0].Label, "the pipeline as it is"))}
	}
	return chosen, nil
}
