package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
)

// A Status is what a run would do, and why: what `status --json` prints.
type Status struct {
	Format   int           `json:"format"`
	Pipeline string        `json:"pipeline"`
	OK       bool          `json:"ok"` // nothing would run
	Stages   []StageReport `json:"stages"`
}

// Status says of each selected stage whether its result is at hand, without
// running or downloading anything.
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
	reports := map[string]StageReport{}
	results := map[string]map[string]artifacts.Output{}
	sources := e.resolver(true)
	byName := map[string]stages.Spec{}
	for _, spec := range specs {
		byName[spec.Name] = spec
	}
	for _, name := range e.graph.Order() {
		spec, ok := byName[name]
		if !ok {
			continue
		}
		report, outputs, err := e.stageStatus(ctx, spec, forced[name], results, &sources)
		if err != nil {
			return Status{}, err
		}
		reports[name] = report
		results[name] = outputs
	}
	status := Status{Format: ReportFormat, Pipeline: e.config.Pipeline, OK: true}
	for _, spec := range specs {
		report := reports[spec.Name]
		status.OK = status.OK && report.State == StateFresh
		status.Stages = append(status.Stages, report)
	}
	return status, nil
}

// stageStatus is the state of one stage, given what its needs would produce;
// outputs are nil when they cannot be known.
func (e *Engine) stageStatus(ctx context.Context, spec stages.Spec, forced bool, results map[string]map[string]artifacts.Output, sources *sourceResolver) (StageReport, map[string]artifacts.Output, error) {
	report := StageReport{Name: spec.Name, Kind: spec.Kind}
	if waits := unknownNeeds(spec, results); len(waits) > 0 {
		report.State, report.Reason = StateUnknown, "depends on "+strings.Join(waits, ", ")
		return report, nil, nil
	}
	resolved, err := sources.resolve(ctx, spec, nil)
	switch {
	case errors.Is(err, errNotFetched):
		report.State, report.Reason = StateStale, err.Error()
		return report, nil, nil
	case errors.Is(err, errMissingInput):
		report.State, report.Reason = StateMissingInput, err.Error()
		return report, nil, nil
	case err != nil:
		return report, nil, fmt.Errorf("stage %s: %w", spec.Name, err)
	}
	req, err := request(spec, results, resolved)
	if err != nil {
		return report, nil, fmt.Errorf("stage %s: %w", spec.Name, err)
	}
	if report.Key, err = req.Key(); err != nil {
		return report, nil, err
	}
	switch {
	case forced:
		report.State, report.Reason = StateStale, "forced"
		return report, nil, nil
	case spec.Options.NoCache:
		report.State, report.Reason = StateStale, "cache = false"
		return report, nil, nil
	}
	manifest, miss := artifacts.Lookup(ctx, e.config.Store, report.Key)
	if miss == nil {
		miss = fits(spec, manifest)
	}
	if miss != nil {
		report.State, report.Reason = StateStale, e.missReason(ctx, spec.Name, report.Key, req, miss)
		return report, nil, nil
	}
	if reason := e.again(spec, manifest); reason != "" {
		report.State, report.Reason = StateStale, reason
		return report, nil, nil
	}
	report.State, report.Reason, report.Report = StateFresh, e.hitReason(ctx, spec.Name, req, manifest), manifest.Report
	report.Outputs = map[string]OutputReport{}
	for name, output := range manifest.Outputs {
		report.Outputs[name] = OutputReport{
			Digest: output.Digest, Rows: output.Rows, Bytes: output.Bytes,
			Path: e.OutPath(spec.Name, name, output.IsTable()),
		}
	}
	return report, manifest.Outputs, nil
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
