package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
)

// A task is one stage in one run.
type task struct {
	run   *run
	spec  stages.Spec
	force bool

	sources map[string]resolvedSource
	request artifacts.Request
	key     artifacts.Key
	unlock  func() // held from a miss until the stage has ended
}

// Reuse makes the key and looks it up. On a miss it waits until no other
// process computes the same, and looks again; from then on this task is the
// one that computes it.
func (t *task) Reuse(ctx context.Context) (dag.Outcome, bool, error) {
	var err error
	emit := t.run.emitter.Stage(t.spec.Name, t.spec.Kind)
	downloading := func(done, total int64) {
		emit(dag.Event{Type: dag.StageProgress, Done: done, Total: total, Unit: "bytes"})
	}
	if t.sources, err = t.run.sources.resolve(ctx, t.spec, downloading); err != nil {
		return dag.Outcome{}, false, err
	}
	if t.request, err = request(t.spec, t.run.known(t.spec), t.sources); err != nil {
		return dag.Outcome{}, false, err
	}
	if t.key, err = t.request.Key(); err != nil {
		return dag.Outcome{}, false, err
	}
	switch {
	case t.force:
		return dag.Outcome{Reason: "forced"}, false, nil
	case t.spec.Options.NoCache:
		return dag.Outcome{Reason: "cache = false"}, false, nil
	}
	manifest, miss := t.lookup(ctx)
	if miss == nil {
		return t.reused(ctx, manifest, t.run.engine.hitReason(ctx, t.spec.Name, t.key, t.request))
	}
	if t.unlock, err = t.run.engine.config.Store.Lock(ctx, t.key); err != nil {
		return dag.Outcome{}, false, fmt.Errorf("waiting for another run of this stage: %w", err)
	}
	if manifest, again := t.lookup(ctx); again == nil {
		t.Release()
		return t.reused(ctx, manifest, "computed by another run meanwhile")
	}
	return dag.Outcome{Reason: t.run.engine.missReason(ctx, t.spec.Name, t.key, t.request, miss)}, false, nil
}

// lookup finds the result in the cache; the error of a miss says why.
func (t *task) lookup(ctx context.Context) (artifacts.Manifest, error) {
	manifest, err := artifacts.Lookup(ctx, t.run.engine.config.Store, t.key)
	if err != nil {
		return manifest, err
	}
	return manifest, complete(t.spec, manifest)
}

// complete says whether a manifest has the outputs that the stage declares: an
// entry without them was not written by this stage.
func complete(spec stages.Spec, manifest artifacts.Manifest) error {
	for _, port := range spec.Stage.Outputs() {
		if _, ok := manifest.Outputs[port.Name]; !ok {
			return fmt.Errorf("the cached result lacks the output %s", port.Name)
		}
	}
	return nil
}

func (t *task) reused(ctx context.Context, manifest artifacts.Manifest, reason string) (dag.Outcome, bool, error) {
	outcome, err := t.settle(ctx, manifest, true)
	outcome.State, outcome.Reason = dag.Cached, reason
	return outcome, true, err
}

// Release gives up the key, so that others may compute it.
func (t *task) Release() {
	if t.unlock != nil {
		t.unlock()
		t.unlock = nil
	}
}

// settle hands a result to the stages behind it and puts it where people look.
func (t *task) settle(ctx context.Context, manifest artifacts.Manifest, underKey bool) (dag.Outcome, error) {
	detail := StageDetail{Key: t.key, Outputs: map[string]OutputReport{}, Report: manifest.Report}
	for name, output := range manifest.Outputs {
		path := t.run.engine.OutPath(t.spec.Name, name, output.IsTable())
		if _, err := t.run.engine.config.Store.Materialise(ctx, output.Digest, path); err != nil {
			return dag.Outcome{}, fmt.Errorf("writing %s: %w", path, err)
		}
		detail.Outputs[name] = OutputReport{Digest: output.Digest, Rows: output.Rows, Bytes: output.Bytes, Path: path}
	}
	t.run.record(t.spec.Name, t.key, manifest, underKey)
	return dag.Outcome{Detail: detail}, nil
}

func (t *task) note(message string) {
	t.run.emitter.Emit(dag.Event{Type: dag.Note, Stage: t.spec.Name, Level: "warn", Message: message})
}

// Execute runs the stage in a directory of its own and records its result.
func (t *task) Execute(ctx context.Context, attempt int) (dag.Outcome, error) {
	x, err := t.prepare(ctx)
	if err != nil {
		return dag.Outcome{}, err
	}
	defer x.close()
	if err := x.perform(ctx); err != nil {
		return dag.Outcome{}, err
	}
	manifest, err := x.collect(ctx)
	if err != nil {
		return dag.Outcome{}, err
	}
	if t.spec.Options.NoCache {
		return t.settle(ctx, manifest, false)
	}
	changed, err := t.run.sources.changed(t.sources)
	if err != nil {
		return dag.Outcome{}, err
	}
	if changed != "" {
		// The digest in the key names bytes that the stage may not have read.
		t.note(fmt.Sprintf("stage %s: %s changed while the stage read it; its result serves this run and is not kept", t.spec.Name, changed))
		outcome, err := t.settle(ctx, manifest, false)
		outcome.Reason = changed + " changed while the stage read it: the result is not kept"
		return outcome, err
	}
	stands, err := t.publish(ctx, manifest)
	if err != nil {
		return dag.Outcome{}, err
	}
	x.succeeded()
	return t.settle(ctx, stands, true)
}

// ErrStore says that the cache itself failed where it was needed.
var ErrStore = errors.New("the cache failed")

// publish records the result under its key and returns the one that stands:
// the first that anybody published, unless this one is forced.
func (t *task) publish(ctx context.Context, manifest artifacts.Manifest) (artifacts.Manifest, error) {
	store := t.run.engine.config.Store
	stands, err := manifest, error(nil)
	if t.force {
		err = artifacts.Replace(ctx, store, manifest)
	} else {
		stands, err = artifacts.Publish(ctx, store, manifest)
	}
	if err != nil {
		return manifest, fmt.Errorf("recording the result: %w: %w", ErrStore, err)
	}
	return stands, nil
}
