package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
)

// A Verification is what came of computing a result again that was at hand.
type Verification struct {
	Stage   string             `json:"stage"`
	Verdict string             `json:"verdict"`
	Reason  string             `json:"reason,omitempty"`  // of any verdict but Same, for people
	Outputs []OutputDifference `json:"outputs,omitempty"` // those that came out differently
}

// Verdicts of a Verification.
const (
	Same      = "same"      // to the byte or, of a table, to the value
	Different = "different" // the stage is not deterministic, or its key does not name all that it depends on
	Broken    = "broken"    // it could not be computed again
	Unchecked = "unchecked" // computing it again would show nothing
)

// An OutputDifference is an output that came out differently.
type OutputDifference struct {
	Output  string             `json:"output"`
	Cached  artifacts.Digest   `json:"cached"`
	Again   artifacts.Digest   `json:"again"`
	Columns []ColumnDifference `json:"columns,omitempty"` // of a table, those that differ; none where only their order does
}

// A ColumnDifference is a column whose values differ. Rows says in how many rows;
// -1 where nobody counted.
type ColumnDifference struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

// A Discrepancy says that results in the cache could not be had again as they are.
type Discrepancy struct{ Stages []string }

func (d *Discrepancy) Error() string {
	return "computed again, what is in the cache did not come out the same: " + strings.Join(d.Stages, ", ")
}

// verify computes a sample of the results that the run found, again and as if
// nothing were known, and compares. Nothing in the cache is replaced. It goes
// through the scheduler, for its budgets, time-outs and the care for panics.
func (r *run) verify(ctx context.Context, tasks []*task, report *Report, options RunOptions) error {
	sample, unchecked := r.sample(ctx, tasks, *report, options)
	report.Verified = unchecked
	if len(sample) == 0 {
		return nil
	}
	nodes := make([]dag.Node, len(sample))
	for i, t := range sample {
		nodes[i] = node(t.spec)
		nodes[i].Needs, nodes[i].After, nodes[i].Retries = nil, nil, 0
		nodes[i].Task = &recomputation{task{run: r, spec: t.spec, sources: t.sources, request: t.request, key: t.key, afresh: true}}
	}
	graph, err := dag.New(nodes)
	if err != nil {
		return err
	}
	results, err := graph.Run(ctx, dag.Options{Budget: options.Budget, KeepGoing: true, Listener: r.hearVerification, Clock: r.engine.config.Clock})
	if ctx.Err() != nil {
		return err
	}
	for _, result := range results {
		report.Verified = append(report.Verified, verification(result))
	}
	var bad []string
	for _, v := range report.Verified {
		if v.Verdict == Different || v.Verdict == Broken {
			bad = append(bad, v.Stage)
		}
	}
	if len(bad) > 0 {
		return &Discrepancy{bad}
	}
	return nil
}

// hearVerification tells those who listen to the run what is computed again, and
// what came of it.
func (r *run) hearVerification(e dag.Event) {
	note := dag.Event{Type: dag.Note, Stage: e.Stage, Kind: e.Kind, Level: "info"}
	switch e.Type {
	case dag.StageStarted:
		note.Message = fmt.Sprintf("stage %s is computed again, to compare", e.Stage)
	case dag.StageFinished:
		if e.State == dag.Cancelled {
			return
		}
		v := verification(dag.Result{Name: e.Stage, State: e.State, Err: asError(e.Error), Detail: e.Detail})
		note.Message, note.Detail, note.Seconds = v.short(), v, e.Seconds
		if v.Verdict == Different || v.Verdict == Broken {
			note.Level = "warn"
		}
	default:
		return
	}
	r.emitter.Emit(note)
}

func asError(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// verification is what a node of the second graph came to.
func verification(result dag.Result) Verification {
	if v, ok := result.Detail.(Verification); ok {
		return v
	}
	return Verification{Stage: result.Name, Verdict: Broken, Reason: fmt.Sprint(result.Err)}
}

// String is the verification as a sentence.
func (v Verification) String() string {
	switch v.Verdict {
	case Same:
		return v.short()
	case Different:
		return fmt.Sprintf("stage %s is not deterministic: %s", v.Stage, v.Reason)
	}
	return v.short() + ": " + v.Reason
}

// short is the sentence without the reason, which the end of the run tells.
func (v Verification) short() string {
	switch v.Verdict {
	case Same:
		return fmt.Sprintf("stage %s came out the same", v.Stage)
	case Different:
		return fmt.Sprintf("stage %s came out differently", v.Stage)
	case Broken:
		return fmt.Sprintf("stage %s could not be computed again", v.Stage)
	}
	return fmt.Sprintf("stage %s is not computed again", v.Stage)
}

// sample draws among the stages that did not run. What is no use to compute
// again is told apart first, so that something is compared where anything can be.
func (r *run) sample(ctx context.Context, tasks []*task, report Report, options RunOptions) (sample []*task, unchecked []Verification) {
	var candidates []*task
	for i, stage := range report.Stages {
		if state := dag.State(stage.State); state != dag.Cached && state != dag.Downloaded {
			continue
		}
		if reason := r.whyUnchecked(ctx, tasks[i]); reason != "" {
			unchecked = append(unchecked, Verification{Stage: stage.Name, Verdict: Unchecked, Reason: reason})
			continue
		}
		candidates = append(candidates, tasks[i])
	}
	n := int(math.Round(options.Verify * float64(len(candidates))))
	n = min(max(n, 1), len(candidates))
	seed := sha256.Sum256([]byte(cmp.Or(options.VerifySeed, r.id)))
	drawn := rand.New(rand.NewChaCha8(seed)).Perm(len(candidates))[:n]
	slices.Sort(drawn)
	for _, i := range drawn {
		sample = append(sample, candidates[i])
	}
	return sample, unchecked
}

// whyUnchecked says why computing a result again would show nothing.
func (r *run) whyUnchecked(ctx context.Context, t *task) string {
	if stages.LooksOutside(t.spec.Stage) {
		return "what it reads over the network may be another thing by now"
	}
	manifest, err := artifacts.LookupManifest(ctx, r.engine.config.Store, t.key)
	switch {
	case err != nil:
		return "its result is no longer in the cache: " + reasonOf(err)
	case manifest.Incomplete != "":
		return incomplete(manifest)
	}
	return ""
}

// A recomputation computes a result again, in the turn at its key, into a
// directory of its own, and compares it with the one that stands.
type recomputation struct{ task }

func (c *recomputation) Reuse(ctx context.Context) (dag.Outcome, bool, error) {
	return dag.Outcome{}, false, c.takeTurn(ctx)
}

func (c *recomputation) Execute(ctx context.Context, _ int) (dag.Outcome, error) {
	v := Verification{Stage: c.spec.Name, Verdict: Unchecked}
	standing, err := c.lookup(ctx)
	if err != nil {
		v.Reason = "its result is no longer in the cache: " + reasonOf(err)
		return dag.Outcome{Detail: v}, nil
	}
	x, err := c.prepare(ctx)
	if err != nil {
		return dag.Outcome{}, err
	}
	defer x.close()
	failure := x.perform(ctx)
	changed, err := c.run.sources.changed(c.sources)
	if err != nil {
		return dag.Outcome{}, err
	}
	if changed != "" {
		v.Reason = changed + " changed meanwhile"
		return dag.Outcome{Detail: v}, nil
	}
	if failure != nil {
		return dag.Outcome{}, failure
	}
	if reason := x.env.IncompleteReason(); reason != "" {
		v.Reason = "this time it is incomplete: " + reason
		return dag.Outcome{Detail: v}, nil
	}
	v.Outputs, err = x.compare(ctx, standing)
	v.Verdict = Same
	if len(v.Outputs) > 0 {
		v.Verdict, v.Reason = Different, differenceText(v.Outputs, standing)
	}
	return dag.Outcome{Detail: v}, err
}

// compare says which outputs differ from those of the result that stands.
func (x *execution) compare(ctx context.Context, standing artifacts.Manifest) ([]OutputDifference, error) {
	if err := x.checkPlace(); err != nil {
		return nil, err
	}
	var differ []OutputDifference
	for _, port := range x.task.spec.Stage.Outputs() {
		path, cached := x.env.Outputs[port.Name], standing.Outputs[port.Name]
		again, err := x.describe(port, path)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", port.Name, err)
		}
		if again.Digest == cached.Digest || sameTable(again, cached) {
			continue
		}
		differ = append(differ, OutputDifference{
			Output: port.Name, Cached: cached.Digest, Again: again.Digest,
			Columns: x.compareColumns(ctx, cached, again, path),
		})
	}
	return differ, nil
}

// sameTable says whether two outputs are tables of the same values: how they are
// laid out is part of no key.
func sameTable(a, b artifacts.Output) bool {
	return a.IsTable() && a.Rows == b.Rows && slices.Equal(a.Columns, b.Columns)
}

// countable is how large tables may be, in bytes, in which differing rows are
// counted: beyond, reading both takes long.
const countable = 256 << 20

// compareColumns says which columns have other values. One that only one of the
// tables has differs, too.
func (x *execution) compareColumns(ctx context.Context, cached, again artifacts.Output, path string) []ColumnDifference {
	before, after := columnsOf(cached), columnsOf(again)
	var differ []ColumnDifference
	for _, name := range union(before, after) {
		if before[name] == after[name] {
			continue
		}
		column := ColumnDifference{Name: name, Rows: -1}
		if cached.Rows == again.Rows && max(cached.Bytes, again.Bytes) <= countable {
			column.Rows = x.countRows(ctx, cached, path, name)
		}
		differ = append(differ, column)
	}
	return differ
}

func columnsOf(output artifacts.Output) map[string]artifacts.Column {
	columns := map[string]artifacts.Column{}
	for _, column := range output.Columns {
		columns[column.Name] = column
	}
	return columns
}

// countRows is -1 where the rows cannot be compared: the digests have told
// already that they differ.
func (x *execution) countRows(ctx context.Context, cached artifacts.Output, path, column string) int64 {
	standing, err := x.task.run.engine.config.Store.Verified(ctx, cached.Digest)
	if err != nil {
		return -1
	}
	rows, err := table.DifferingRows(standing, path, column)
	if err != nil || rows == 0 {
		return -1
	}
	return rows
}

// differenceText puts the differences in words.
func differenceText(outputs []OutputDifference, standing artifacts.Manifest) string {
	var texts []string
	for _, o := range outputs {
		cached := standing.Outputs[o.Output]
		switch {
		case !cached.IsTable():
			texts = append(texts, fmt.Sprintf("output %s differs", o.Output))
		case len(o.Columns) == 0:
			texts = append(texts, fmt.Sprintf("the columns of output %s are in another order", o.Output))
		}
		for _, column := range o.Columns {
			text := fmt.Sprintf("column %s of output %s differs", column.Name, o.Output)
			if column.Rows >= 0 {
				text += fmt.Sprintf(" in %d of %d rows", column.Rows, cached.Rows)
			}
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "; ")
}

// forget takes from the environment what is known of earlier executions.
func (x *execution) forget() {
	x.env.Resume = filepath.Join(x.workspace, "resume")
	x.env.OpenMemo = nil // rows are remembered in the process alone
}
