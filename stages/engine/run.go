package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/groupmode"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
)

// RunOptions say what to run and how.
type RunOptions struct {
	Stages    []string       // these and what they need; all when empty
	Force     []string       // run these whatever the cache holds
	KeepGoing bool           // see dag.Options
	Budget    dag.Resources  // what all running stages together may take
	Turns     map[string]int // see dag.Node
	Listener  dag.Listener

	// Verify is the share, from 0 to 1, of the results found in the cache that
	// are computed again and compared, at least one if it is not 0. They are drawn
	// by VerifySeed, or by the run's name when it is empty.
	Verify     float64
	VerifySeed string
}

// Run brings the selected stages up to date. The report is complete, whatever
// the error is: a *dag.Failure when stages failed, a *Discrepancy when results
// were computed again and came out differently, or the context's.
func (e *Engine) Run(ctx context.Context, options RunOptions) (Report, error) {
	specs, err := e.selected(options.Stages)
	if err != nil {
		return Report{}, err
	}
	forced := map[string]bool{}
	for _, name := range options.Force {
		if _, err := e.spec(name); err != nil {
			return Report{}, err
		}
		forced[name] = true
	}
	r, err := e.begin(ctx, options.Listener)
	if err != nil {
		return Report{}, err
	}
	report, err := r.schedule(ctx, specs, forced, options)
	report.Shared = r.share(ctx, err == nil)
	err = errors.Join(err, r.finish(report))
	r.close() // and with it the last event is delivered
	return report, err
}

// A run is one execution of a pipeline: what its tasks share.
type run struct {
	engine  *Engine
	id      string
	dir     string // of this run's records
	events  *os.File
	emitter *dag.Emitter
	sources sourceResolver
	lease   *disk.Lease // keeps gc from removing what this run needs

	mu       sync.Mutex // guards what follows
	results  map[string]map[string]artifacts.Output
	entries  map[string]historyEntry
	requests map[string]artifacts.Request
	made     map[string]artifacts.Provenance
}

// begin opens the run's records.
func (e *Engine) begin(ctx context.Context, listener dag.Listener) (*run, error) {
	id, err := newRunID(e.config.Clock())
	if err != nil {
		return nil, err
	}
	r := &run{
		engine: e, id: id,
		dir:     filepath.Join(e.config.Store.StateDir(), "runs", id),
		results: map[string]map[string]artifacts.Output{},
		entries: map[string]historyEntry{},

		requests: map[string]artifacts.Request{},
		made:     map[string]artifacts.Provenance{},
	}
	// The lease comes first: a record without one is of a run that has ended.
	if r.lease, err = e.config.Store.Lease(ctx, id); err != nil {
		return nil, fmt.Errorf("announcing the run to the cache: %w", err)
	}
	if err := r.openRecord(listener); err != nil {
		r.lease.Close()
		return nil, err
	}
	return r, nil
}

func (r *run) openRecord(listener dag.Listener) (err error) {
	if err := groupmode.MkdirAll(r.dir); err != nil {
		return fmt.Errorf("creating the run's record: %w", err)
	}
	if r.events, err = os.Create(filepath.Join(r.dir, "events.jsonl")); err != nil {
		return fmt.Errorf("creating the run's record: %w", err)
	}
	groupmode.Share(r.events)
	encoder := json.NewEncoder(r.events)
	// An event that cannot be written down is lost; the run is not.
	write := func(event dag.Event) { _ = encoder.Encode(event) }
	config := r.engine.config
	r.emitter = dag.NewEmitter(dag.Multi(write, listener), dag.EmitterOptions{Clock: config.Clock, Run: r.id, Pipeline: config.Pipeline})
	r.sources = r.engine.resolver(false)
	if remotes := config.remotes(); remotes != nil {
		remotes.Listen(r.warn)
	}
	if err := r.write(Record{Report: Report{Format: ReportFormat, Pipeline: config.Pipeline, Run: r.id}, Unended: true}); err != nil {
		r.emitter.Close()
		r.events.Close()
		return err
	}
	return nil
}

func (e *Engine) resolver(statusOnly bool) sourceResolver {
	urls := &urlCache{
		store: e.config.Store, dir: urlRecords(e.config.Store.StateDir()), client: e.config.Client, schemes: e.config.Schemes,
		refresh: e.config.Refresh, offline: e.config.Offline, noFetch: statusOnly, stall: stallLimit, pause: firstPause,
	}
	return sourceResolver{
		store: e.config.Store, hasher: e.config.Store.Files(), urls: urls, hub: newHub(urls, e.config.LookupEnv),
	}
}

// runTime is how a run's name begins: with the time at which it began.
const runTime = "20060102-150405.000"

// newRunID is a name that sorts by time and does not repeat.
func newRunID(now time.Time) (string, error) {
	var random [3]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return now.UTC().Format(runTime) + "-" + hex.EncodeToString(random[:]), nil
}

func (r *run) close() {
	r.emitter.Close()
	r.lease.Close()
	r.events.Close()
}

func (r *run) schedule(ctx context.Context, specs []stages.Spec, forced map[string]bool, options RunOptions) (Report, error) {
	nodes, tasks := make([]dag.Node, len(specs)), make([]*task, len(specs))
	selected := map[string]bool{}
	for _, spec := range specs {
		selected[spec.Name] = true
	}
	for i, spec := range specs {
		nodes[i] = node(spec)
		nodes[i].Turn = options.Turns[spec.Name]
		nodes[i].After = keep(nodes[i].After, selected)
		tasks[i] = &task{run: r, spec: spec, force: forced[spec.Name]}
		nodes[i].Task = tasks[i]
	}
	graph, err := dag.New(nodes)
	if err != nil {
		return Report{}, err
	}
	var last dag.Event // of the run: what else it does comes before
	results, err := graph.Run(ctx, dag.Options{
		Budget: options.Budget, KeepGoing: options.KeepGoing, Clock: r.engine.config.Clock,
		Listener: func(e dag.Event) {
			if e.Type == dag.RunFinished {
				last = e
				return
			}
			r.emitter.Emit(e)
		},
	})
	report := Report{Format: ReportFormat, Pipeline: r.engine.config.Pipeline, Run: r.id, OK: err == nil}
	for _, result := range results {
		report.Stages = append(report.Stages, stageReport(result))
	}
	if err == nil && options.Verify > 0 {
		err = r.verify(ctx, tasks, &report, options)
	}
	if last.Type != "" {
		last.Time = r.engine.config.Clock()
		r.emitter.Emit(last)
	}
	return report, err
}

func keep(names []string, in map[string]bool) []string {
	var kept []string
	for _, name := range names {
		if in[name] {
			kept = append(kept, name)
		}
	}
	return kept
}

// finish writes the run's record and what the next run compares with.
func (r *run) finish(report Report) error {
	if err := r.write(Record{Report: report, Finished: r.engine.config.Clock().UTC()}); err != nil {
		return err
	}
	return r.saveHistory()
}

// write writes the run's record, whole or not at all.
func (r *run) write(record Record) error {
	config := r.engine.config
	record.Path, record.User, record.Host = config.Path, config.User, config.Host
	record.Params, record.Versions = config.Params, config.Versions
	data, err := json.Marshal(FullRecord{Record: record, Requests: r.requests, Made: r.made})
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(r.dir, recordName), data); err != nil {
		return fmt.Errorf("writing the run's record: %w", err)
	}
	return nil
}

// saveHistory writes the history only when something in it changed, so that a
// run that does nothing costs nothing.
func (r *run) saveHistory() error {
	changed := map[string]historyEntry{}
	for name, entry := range r.entries {
		old, ok := r.engine.history.Stages[name]
		if !ok || old.Key != entry.Key || old.Manifest != nil || entry.Manifest != nil {
			changed[name] = entry
		}
	}
	if len(changed) == 0 {
		return nil
	}
	history, err := r.engine.history.merge(r.engine.config.Store, changed)
	if err == nil {
		r.engine.history = history
	}
	return err
}

// record keeps a stage's result for the stages behind it.
func (r *run) record(stage string, key artifacts.Key, manifest artifacts.Manifest, underKey bool) {
	entry := historyEntry{Key: key, Run: manifest.Provenance.Run}
	if !underKey {
		entry.Manifest = &manifest
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[stage] = manifest.Outputs
	r.entries[stage] = entry
	r.made[stage] = manifest.Provenance
}

// asked keeps what a stage's key is made of for the run's record.
func (r *run) asked(stage string, request artifacts.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests[stage] = request
}

// known are the results so far of the stages that spec reads.
func (r *run) known(spec stages.Spec) map[string]map[string]artifacts.Output {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := map[string]map[string]artifacts.Output{}
	for _, input := range spec.Stage.Inputs() {
		known[input.From.Stage] = r.results[input.From.Stage]
	}
	return known
}
