package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
)

// A task is one stage in one run.
type task struct {
	run    *run
	spec   stages.Spec
	force  bool
	afresh bool // it computes what is known, to compare: see recomputation

	sources map[string]resolvedSource
	request artifacts.Request
	key     artifacts.Key
	unlock  func()              // the turn at the key, held until the stage has ended
	stands  *artifacts.Manifest // the result that this task is to replace, if it is entered again
	got     fetched             // where the result is from, if others made it
}

// Reuse makes the key and looks it up. On a miss it waits until nobody else,
// of this run or another process, computes the same, and looks again; from then
// on this task is the one that computes it. So it is with a hit that is to be
// had again (see Engine.again).
func (t *task) Reuse(ctx context.Context) (dag.Outcome, bool, error) {
	if err := t.identify(ctx); err != nil {
		return dag.Outcome{}, false, err
	}
	if reason := t.anyway(); reason != "" {
		return dag.Outcome{Reason: reason}, false, t.takeTurn(ctx)
	}
	manifest, miss := t.lookup(ctx)
	if miss == nil && t.again(manifest) == "" {
		return t.reused(ctx, manifest, t.run.engine.hitReason(ctx, t.spec.Name, t.request, manifest))
	}
	if err := t.takeTurn(ctx); err != nil {
		return dag.Outcome{}, false, err
	}
	standing, missAgain := t.lookup(ctx)
	if missAgain != nil || t.again(standing) != "" {
		if outcome, ok, err := t.download(ctx); ok || err != nil {
			return outcome, ok, err
		}
	}
	if missAgain != nil {
		miss = cmp.Or(miss, missAgain) // the first says more: what was corrupt is absent by now
		return dag.Outcome{Reason: t.run.engine.missReason(ctx, t.spec.Name, t.key, t.request, miss)}, false, nil
	}
	if reason := t.again(standing); reason != "" && standing.Provenance.Run == manifest.Provenance.Run {
		t.stands = &standing
		return dag.Outcome{Reason: reason}, false, nil
	}
	t.Release()
	return t.reused(ctx, standing, t.meanwhile(standing))
}

// meanwhile says who computed a result that was not there when this task began:
// a stage of the same key in this run, or another process.
func (t *task) meanwhile(standing artifacts.Manifest) string {
	if standing.Provenance.Run == t.run.id {
		return fmt.Sprintf("computed by stage %s, which has the same key", standing.Provenance.Stage)
	}
	return "computed by another run meanwhile"
}

// download has the result from others, in place of none or an incomplete one.
func (t *task) download(ctx context.Context) (dag.Outcome, bool, error) {
	manifest, got, err := t.fetch(ctx)
	if got.from == "" || err != nil {
		return dag.Outcome{}, false, err
	}
	t.got = got
	t.Release()
	outcome, ok, err := t.reused(ctx, manifest, computedBy(manifest, got.from))
	outcome.State = dag.Downloaded
	return outcome, ok, err
}

// identify makes the key of what the stage reads.
func (t *task) identify(ctx context.Context) (err error) {
	emit := t.run.emitter.Stage(t.spec.Name, t.spec.Kind)
	downloading := func(done, total int64) {
		emit(dag.Event{Type: dag.StageProgress, Done: done, Total: total, Unit: "bytes"})
	}
	if t.sources, err = t.run.sources.resolve(ctx, t.spec, downloading); err != nil {
		return err
	}
	if t.request, err = request(t.spec, t.run.known(t.spec), t.sources); err != nil {
		return err
	}
	t.run.asked(t.spec.Name, t.request)
	t.key, err = t.request.Key()
	return err
}

// again says why the stage is entered although this result is there. What this
// very run found out is not asked again.
func (t *task) again(manifest artifacts.Manifest) string {
	if manifest.Provenance.Run == t.run.id {
		return ""
	}
	return t.run.engine.again(t.spec, manifest)
}

// anyway says why the stage runs whatever the cache holds; it is empty for one
// that does not.
func (t *task) anyway() string {
	switch {
	case t.force:
		return "forced"
	case t.spec.Options.NoCache:
		return "cache = false"
	}
	return ""
}

// takeTurn waits until nobody else computes the key. Also a stage that runs
// whatever the cache holds needs the turn: checkpoints go by the key.
func (t *task) takeTurn(ctx context.Context) (err error) {
	if t.unlock, err = t.run.engine.config.Store.Lock(ctx, t.key); err != nil {
		return fmt.Errorf("waiting for another run of this stage: %w", err)
	}
	return nil
}

// lookup finds the result in the cache; the error of a miss says why.
func (t *task) lookup(ctx context.Context) (artifacts.Manifest, error) {
	manifest, err := artifacts.Lookup(ctx, t.run.engine.config.Store, t.key)
	if err != nil {
		return manifest, err
	}
	return manifest, fits(t.spec, manifest)
}

// fits says whether a manifest has the outputs that the stage declares and no
// others: any other entry was not written by this stage.
func fits(spec stages.Spec, manifest artifacts.Manifest) error {
	ports := spec.Stage.Outputs()
	for _, port := range ports {
		output, ok := manifest.Outputs[port.Name]
		switch {
		case !ok:
			return fmt.Errorf("the cached result lacks the output %s", port.Name)
		case port.File && output.IsTable():
			return fmt.Errorf("the output %s of the cached result is a table and not a plain file", port.Name)
		case !hasColumns(output, port.Schema):
			return fmt.Errorf("the output %s of the cached result has not the columns that the stage declares", port.Name)
		}
	}
	if len(manifest.Outputs) != len(ports) {
		return fmt.Errorf("the cached result has %d outputs and the stage has %d", len(manifest.Outputs), len(ports))
	}
	return nil
}

// hasColumns says whether an output has the columns of a schema, if there is one, and
// no others. Those behind it would else fail for want of one.
func hasColumns(output artifacts.Output, schema table.Schema) bool {
	for _, column := range output.Columns {
		if _, declared := schema.Field(column.Name); len(schema) > 0 && !declared {
			return false
		}
	}
	return len(schema) == 0 || len(schema) == len(output.Columns)
}

func (t *task) reused(ctx context.Context, manifest artifacts.Manifest, reason string) (dag.Outcome, bool, error) {
	for _, key := range manifest.Memos {
		// A use, so that gc leaves the rows alone as long as the result is used.
		_, _ = t.run.engine.config.Store.GetAction(ctx, key)
	}
	outcome, err := t.settle(ctx, manifest, true)
	outcome.State, outcome.Reason = dag.Cached, reason
	if detail, ok := outcome.Detail.(StageDetail); ok {
		detail.From, detail.FetchedBytes, detail.SavedSeconds = t.got.from, t.got.bytes, manifest.Provenance.Seconds
		outcome.Detail = detail
	}
	t.share()
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
		path, err := t.place(ctx, name, output)
		if err != nil {
			return dag.Outcome{}, err
		}
		detail.Outputs[name] = OutputReport{Digest: output.Digest, Rows: output.Rows, Bytes: output.Bytes, Path: path, Table: output.IsTable()}
	}
	t.run.record(t.spec.Name, t.key, manifest, underKey)
	return dag.Outcome{Detail: detail}, nil
}

// place puts an output where people look, or says where it is in the store when
// they look nowhere else.
func (t *task) place(ctx context.Context, name string, output artifacts.Output) (string, error) {
	config := t.run.engine.config
	if config.Out == "" {
		return config.Store.Verified(ctx, output.Digest)
	}
	path := t.run.engine.OutPath(t.spec.Name, name, output.IsTable())
	if _, err := config.Store.Materialise(ctx, output.Digest, path); err != nil {
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	return path, nil
}

// listener hears what the stage tells while it runs. Nobody does when it is only
// to compare: the stage has ended for those who listen.
func (t *task) listener() dag.Listener {
	if t.afresh {
		return func(dag.Event) {}
	}
	return t.run.emitter.Stage(t.spec.Name, t.spec.Kind)
}

func (t *task) note(message string) {
	t.run.emitter.Emit(dag.Event{Type: dag.Note, Stage: t.spec.Name, Level: "warn", Message: message})
}

// Execute runs the stage in a directory of its own and records its result.
func (t *task) Execute(ctx context.Context, attempt int) (dag.Outcome, error) {
	if attempt == 1 {
		if err := t.discardUselessCheckpoint(); err != nil {
			return dag.Outcome{}, err
		}
	}
	x, err := t.prepare(ctx)
	if err != nil {
		return dag.Outcome{}, err
	}
	defer x.close()
	failure := x.perform(ctx)
	changed, err := t.run.sources.changed(t.sources)
	if changed != "" || err != nil { // the checkpoint may be of other bytes than the key names
		err = errors.Join(err, t.discardCheckpoint())
	}
	if err := errors.Join(failure, err); err != nil {
		return dag.Outcome{}, err
	}
	manifest, err := x.collect(ctx)
	if err != nil {
		return dag.Outcome{}, err
	}
	if changed != "" {
		return t.keepForThisRun(ctx, manifest, changed)
	}
	stands, err := t.publish(ctx, manifest)
	if err != nil {
		return dag.Outcome{}, err
	}
	if err := t.discardCheckpoint(); err != nil {
		return dag.Outcome{}, err
	}
	if stands.Incomplete != "" {
		t.note(fmt.Sprintf("stage %s is incomplete: %s; the next run enters it again", t.spec.Name, stands.Incomplete))
	}
	if !t.spec.Options.NoCache {
		t.share()
	}
	return t.settle(ctx, stands, !t.spec.Options.NoCache)
}

// keepForThisRun hands on a result whose input changed: the digest in the key
// names bytes that the stage may not have read.
func (t *task) keepForThisRun(ctx context.Context, manifest artifacts.Manifest, changed string) (dag.Outcome, error) {
	t.note(fmt.Sprintf("stage %s: %s changed while the stage read it; its result serves this run and is not kept", t.spec.Name, changed))
	outcome, err := t.settle(ctx, manifest, false)
	outcome.Reason = changed + " changed while the stage read it: the result is not kept"
	return outcome, err
}

// ErrStore says that the cache itself failed where it was needed.
var ErrStore = errors.New("the cache failed")

// publish records the result under its key and returns the one that stands:
// the first that anybody published, unless this one is forced or is what came of
// entering the stage again. That of a stage that is not to be cached stands
// without being recorded.
func (t *task) publish(ctx context.Context, manifest artifacts.Manifest) (stands artifacts.Manifest, err error) {
	publisher := artifacts.Publisher{Store: t.run.engine.config.Store, Signer: t.run.engine.config.Signer}
	switch {
	case t.spec.Options.NoCache:
		return manifest, nil
	case t.force || t.stands != nil:
		stands, err = manifest, publisher.Replace(ctx, manifest)
	default:
		stands, err = publisher.Publish(ctx, manifest)
	}
	if err != nil {
		return manifest, fmt.Errorf("recording the result: %w: %w", ErrStore, err)
	}
	return stands, nil
}
