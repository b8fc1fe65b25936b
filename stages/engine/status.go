package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
)

// A Status is what a run would do, and why: what `status --json` prints.
type Status struct {
	Format   int           `json:"format"`
	Pipeline string        `json:"pipeline"`
	OK       bool          `json:"ok"` // nothing would run, at most be downloaded
	Stages   []StageReport `json:"stages"`
}

// Status says of each selected stage whether its result is at hand, here or at a
// remote, without running or downloading anything.
func (e *Engine) Status(ctx context.Context, names, force []string) (Status, error) {
	specs, err := e.selected(names)
	if err != nil {
		return Status{}, err
	}
	forced := map[string]bool{}
	for _, name := range force {
		if _, err := e.spec(name); err != nil {
			return Status{}, err
		}
		forced[name] = true
	}
	states, err := e.states(ctx, specs, forced)
	if err != nil {
		return Status{}, err
	}
	status := Status{Format: ReportFormat, Pipeline: e.config.Pipeline, OK: true}
	for _, spec := range specs {
		report := states[spec.Name].report
		status.OK = status.OK && (report.State == StateFresh || report.State == StateRemote)
		status.Stages = append(status.Stages, report)
	}
	return status, nil
}

// A stageState is what is known of a stage.
type stageState struct {
	spec    stages.Spec
	report  StageReport
	outputs map[string]artifacts.Output // nil when they cannot be known
	seek    bool                        // others may have the result
	remote  *artifacts.Manifest         // of a result that others have
}

// states are the states of stages, which are all that any of them needs.
func (e *Engine) states(ctx context.Context, specs []stages.Spec, forced map[string]bool) (map[string]stageState, error) {
	byName := map[string]stages.Spec{}
	for _, spec := range specs {
		byName[spec.Name] = spec
	}
	states := map[string]stageState{}
	results := map[string]map[string]artifacts.Output{}
	sources := e.resolver(true)
	for _, names := range e.waves(byName) {
		wave := make([]stageState, len(names))
		for i, name := range names {
			wave[i] = stageState{spec: byName[name], report: StageReport{Name: name, Kind: byName[name].Kind}}
			if err := e.stageStatus(ctx, &wave[i], forced[name], results, &sources); err != nil {
				return nil, err
			}
		}
		if err := e.askRemotes(ctx, wave); err != nil {
			return nil, err
		}
		for i, name := range names {
			states[name], results[name] = wave[i], wave[i].outputs
		}
	}
	return states, nil
}

// waves are the names of stages, each in the first wave that is behind those of
// all that it reads.
func (e *Engine) waves(byName map[string]stages.Spec) (waves [][]string) {
	depth := map[string]int{}
	for _, name := range e.graph.Order() {
		spec, ok := byName[name]
		if !ok {
			continue
		}
		for _, need := range node(spec).Needs {
			depth[name] = max(depth[name], depth[need]+1)
		}
		if depth[name] == len(waves) {
			waves = append(waves, nil)
		}
		waves[depth[name]] = append(waves[depth[name]], name)
	}
	return waves
}

// askRemotes looks, for several stages side by side, for the results that are not
// here.
func (e *Engine) askRemotes(ctx context.Context, states []stageState) error {
	asks := pool.New().WithContext(ctx).WithFirstError().WithMaxGoroutines(statusAsks)
	for i := range states {
		if !states[i].seek {
			continue
		}
		asks.Go(func(ctx context.Context) error {
			m, from, err := e.seek(ctx, states[i].spec, states[i].report.Key)
			if from != "" {
				states[i].found(m, from)
			}
			return err
		})
	}
	return asks.Wait()
}

// statusAsks is how many stages are looked for at remotes side by side.
const statusAsks = 16

// found takes note of a result that a remote has.
func (s *stageState) found(m artifacts.Manifest, from string) {
	s.report.State, s.report.Reason, s.report.Report = StateRemote, computedBy(m, from), m.Report
	s.report.From, s.report.SavedSeconds = from, m.Provenance.Seconds
	s.outputs, s.remote = m.Outputs, &m
	s.report.Outputs = map[string]OutputReport{}
	for name, output := range m.Outputs {
		s.report.Outputs[name] = OutputReport{Digest: output.Digest, Rows: output.Rows, Bytes: output.Bytes}
	}
}

// stageStatus is the state of one stage here, given what its needs would produce.
func (e *Engine) stageStatus(ctx context.Context, state *stageState, forced bool, results map[string]map[string]artifacts.Output, sources *sourceResolver) error {
	spec, report := state.spec, &state.report
	if waits := unknownNeeds(spec, results); len(waits) > 0 {
		report.State, report.Reason = StateUnknown, "depends on "+strings.Join(waits, ", ")
		return nil
	}
	resolved, err := sources.resolve(ctx, spec, nil)
	switch {
	case errors.Is(err, errNotFetched):
		report.State, report.Reason = StateStale, err.Error()
		return nil
	case errors.Is(err, errMissingInput):
		report.State, report.Reason = StateMissingInput, err.Error()
		return nil
	case err != nil:
		return fmt.Errorf("stage %s: %w", spec.Name, err)
	}
	req, err := request(spec, results, resolved)
	if err != nil {
		return fmt.Errorf("stage %s: %w", spec.Name, err)
	}
	if report.Key, err = req.Key(); err != nil {
		return err
	}
	switch {
	case forced:
		report.State, report.Reason = StateStale, "forced"
		return nil
	case spec.Options.NoCache:
		report.State, report.Reason = StateStale, "cache = false"
		return nil
	}
	manifest, miss := artifacts.Lookup(ctx, e.config.Store, report.Key)
	if miss == nil {
		miss = fits(spec, manifest)
	}
	if miss != nil {
		report.State, report.Reason = StateStale, e.missReason(ctx, spec.Name, report.Key, req, miss)
		state.seek = true
		return nil
	}
	if reason := e.again(spec, manifest); reason != "" {
		report.State, report.Reason = StateStale, reason
		state.seek = true
		return nil
	}
	report.State, report.Reason, report.Report = StateFresh, e.hitReason(ctx, spec.Name, req, manifest), manifest.Report
	report.SavedSeconds, state.outputs = manifest.Provenance.Seconds, manifest.Outputs
	report.Outputs = map[string]OutputReport{}
	for name, output := range manifest.Outputs {
		report.Outputs[name] = OutputReport{
			Digest: output.Digest, Rows: output.Rows, Bytes: output.Bytes,
			Path: e.OutPath(spec.Name, name, output.IsTable()),
		}
	}
	return nil
}

// unknownNeeds are the stages whose outputs spec reads and that would run.
func unknownNeeds(spec stages.Spec, results map[string]map[string]artifacts.Output) []string {
	var waits []string
	for _, need := range node(spec).Needs {
		if results[need] == nil {
			waits = append(waits, need)
		}
	}
	return waits
}
