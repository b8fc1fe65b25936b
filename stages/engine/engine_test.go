package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// The toy pipeline: a file of "id title" lines is read into a table; lengths
// reads its titles, total reads what lengths found, and ids reads ids alone.
type row struct {
	ID    int64  `arrow:"id"`
	Title string `arrow:"title"`
}

type lengthRow struct {
	Length int64 `arrow:"length"`
}

type readStage struct {
	Source stages.Source   `stage:"source" doc:"lines"`
	Rows   stages.Out[row] `stage:"rows" doc:"rows"`
}

func (s *readStage) Run(_ context.Context, env *stages.Env) error {
	counter(env, "read")
	var rows []row
	for _, file := range s.Source.Files() {
		data, err := os.ReadFile(file.Path)
		if err != nil {
			return err
		}
		for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			var r row
			if _, err := fmt.Sscanf(line, "%d %s", &r.ID, &r.Title); err != nil {
				return fmt.Errorf("%s: %q: %w", file.Name, line, err)
			}
			rows = append(rows, r)
		}
	}
	env.Count("rows", float64(len(rows)))
	if hook := duringRead.Load(); hook != nil {
		(*hook)()
	}
	return s.Rows.WriteAll(rows)
}

// duringRead runs while a read stage is running, to change its input under it.
var duringRead atomic.Pointer[func()]

type lengthsStage struct {
	Rows stages.In[struct {
		Title string `arrow:"title"`
	}] `stage:"rows" doc:"titles"`
	Unit    int64                 `stage:"unit" default:"1" min:"1" doc:"characters that count as one"`
	Workers stages.Setting[int64] `stage:"workers" default:"1" min:"1" doc:"how many at once"`
	Lengths stages.Out[lengthRow] `stage:"lengths" doc:"their lengths"`
}

func (s *lengthsStage) Run(_ context.Context, env *stages.Env) error {
	counter(env, "lengths")
	var out []lengthRow
	for r, err := range s.Rows.Rows() {
		if err != nil {
			return err
		}
		out = append(out, lengthRow{int64(len(r.Title)) / s.Unit})
	}
	return s.Lengths.WriteAll(out)
}

type totalStage struct {
	Lengths stages.In[lengthRow]  `stage:"lengths" doc:"lengths"`
	Total   stages.Out[lengthRow] `stage:"total" doc:"their sum"`
}

func (s *totalStage) Run(_ context.Context, env *stages.Env) error {
	counter(env, "total")
	var sum lengthRow
	for r, err := range s.Lengths.Rows() {
		if err != nil {
			return err
		}
		sum.Length += r.Length
	}
	return s.Total.WriteAll([]lengthRow{sum})
}

type idsStage struct {
	Rows stages.In[struct {
		ID int64 `arrow:"id"`
	}] `stage:"rows" doc:"ids"`
	IDs stages.OutFile `stage:"ids" doc:"ids as text"`
}

func (s *idsStage) Run(_ context.Context, env *stages.Env) error {
	counter(env, "ids")
	f, err := s.IDs.Create()
	if err != nil {
		return err
	}
	defer f.Close()
	for r, err := range s.Rows.Rows() {
		if err != nil {
			return err
		}
		fmt.Fprintln(f, r.ID)
	}
	return f.Close()
}

// counter counts an execution; the environment's lookup carries the counters,
// since a stage has nothing else of the test.
func counter(env *stages.Env, kind string) {
	if _, ok := env.LookupEnv("count " + kind); !ok {
		panic("a toy stage needs a counting environment")
	}
}

// A world is a project directory and a cache.
type world struct {
	t       *testing.T
	project string
	cache   string
	runs    map[string]int
	unit    int64
	workers int64
	names   [4]string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, project: t.TempDir(), cache: t.TempDir(), unit: 1, workers: 1, names: [4]string{"read", "lengths", "total", "ids"}}
	w.write("1 one\n2 three\n")
	return w
}

func (w *world) write(content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.project, "in.txt"), []byte(content), 0o666); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) specs() []stages.Spec {
	w.t.Helper()
	base := func(v any) stages.Value { return stages.Value{V: v, Base: w.project} }
	n := w.names
	return []stages.Spec{
		w.spec(n[0], stages.Declare[readStage]("toy.read", 1, "reads"), stages.Values{"source": base("in.txt")}),
		w.spec(n[1], stages.Declare[lengthsStage]("toy.lengths", 1, "measures"), stages.Values{"rows": base(n[0] + ".rows"), "unit": base(w.unit), "workers": base(w.workers)}),
		w.spec(n[2], stages.Declare[totalStage]("toy.total", 1, "adds"), stages.Values{"lengths": base(n[1] + ".lengths")}),
		w.spec(n[3], stages.Declare[idsStage]("toy.ids", 1, "lists"), stages.Values{"rows": base(n[0] + ".rows")}),
	}
}

func (w *world) spec(name string, kind stages.Kind, values stages.Values) stages.Spec {
	w.t.Helper()
	stage, problems := kind.Bind(values, stages.BindContext{IsStage: func(name string) bool { return slices.Contains(w.names[:], name) }})
	if len(problems) > 0 {
		w.t.Fatalf("%s: %v", name, problems)
	}
	return stages.Spec{Name: name, Kind: kind.Name, Stage: stage}
}

// store opens the cache as a new process would.
func (w *world) store() *disk.Store {
	w.t.Helper()
	store, err := disk.Open(w.cache, disk.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { store.Close() })
	return store
}

func (w *world) engine() *engine.Engine {
	w.t.Helper()
	return w.engineOf(w.specs())
}

func (w *world) engineOf(specs []stages.Spec) *engine.Engine {
	w.t.Helper()
	return w.engineWith(func(*engine.Config) {}, specs)
}

func (w *world) engineWith(change func(*engine.Config), specs []stages.Spec) *engine.Engine {
	w.t.Helper()
	store := w.store()
	w.runs = map[string]int{}
	config := engine.Config{
		Pipeline: "toy", Path: filepath.Join(w.project, "toy.toml"), Out: filepath.Join(w.project, "out", "toy"),
		Store: store, Clock: time.Now,
		LookupEnv: func(name string) (string, bool) {
			kind, counting := strings.CutPrefix(name, "count ")
			if counting {
				w.runs[kind]++
			}
			return "", counting
		},
	}
	change(&config)
	e, err := engine.New(config, specs)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// run runs the pipeline and checks which stages' code ran.
func (w *world) run(want string) engine.Report {
	w.t.Helper()
	report, err := w.engine().Run(context.Background(), engine.RunOptions{Budget: dag.Resources{CPU: 1}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.expect(report, want)
	return report
}

func (w *world) expect(report engine.Report, want string) {
	w.t.Helper()
	var ran []string
	for _, s := range report.Stages {
		if s.State == "ran" {
			ran = append(ran, s.Name)
		}
	}
	if got := strings.Join(ran, " "); got != want {
		w.t.Errorf("ran %q, want %q\n%s", got, want, describe(report))
	}
	if executed := len(w.runs); want != "" && executed == 0 || want == "" && executed != 0 {
		w.t.Errorf("stage code ran %v times", w.runs)
	}
}

func describe(report engine.Report) string {
	var b strings.Builder
	for _, s := range report.Stages {
		fmt.Fprintf(&b, "  %-8s %-8s %s %s\n", s.Name, s.State, s.Reason, s.Error)
	}
	return b.String()
}

func reason(t *testing.T, report engine.Report, stage string) string {
	t.Helper()
	for _, s := range report.Stages {
		if s.Name == stage {
			return s.Reason
		}
	}
	t.Fatalf("no stage %s in the report", stage)
	return ""
}

func TestRunsOnceThenReuses(t *testing.T) {
	w := newWorld(t)
	first := w.run("read lengths total ids")
	if got := reason(t, first, "read"); got != "never run" {
		t.Errorf("reason %q", got)
	}
	second := w.run("")
	if got := reason(t, second, "total"); got != "unchanged" {
		t.Errorf("reason %q", got)
	}
	for i := range first.Stages {
		for name, output := range first.Stages[i].Outputs {
			if again := second.Stages[i].Outputs[name]; again != output {
				t.Errorf("output %s changed: %v → %v", name, output, again)
			}
		}
	}
}

func TestColumnsDecide(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	w.write("1 ONE\n2 THREE\n") // titles change, their lengths and the ids do not
	report := w.run("read lengths")
	if got, want := reason(t, report, "lengths"), "input rows: column title changed"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	if got, want := reason(t, report, "read"), "file source: its content changed"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	w.write("1 one\n2 three\n")
	w.run("") // reverted: everything is there
}

func TestParametersAndSettings(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	w.workers = 8
	w.run("")
	w.unit = 2
	report := w.run("lengths total")
	if got, want := reason(t, report, "lengths"), "parameter unit: 1 → 2"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	w.names = [4]string{"a", "b", "c", "d"}
	w.run("") // names are no part of what a stage is
}

func TestOutputsAreRestored(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	path := report.Stages[3].Outputs["ids"].Path
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.WriteFile(path, []byte("tampered"), 0o666) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		w.run("")
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the output is %q (%v), want %q", got, err, want)
		}
	}
}

func TestDamagedCacheIsNeverUsed(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	hex := report.Stages[0].Outputs["rows"].Digest.Hex()
	blob := filepath.Join(w.cache, "cas", hex[:2], hex)
	if err := os.Chmod(blob, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, []byte("tampered"), 0o644); err != nil {
		t.Fatal(err)
	}
	again := w.run("read")
	if got := reason(t, again, "read"); !strings.Contains(got, "cannot be used") {
		t.Errorf("reason %q", got)
	}
}

func TestInputThatChangesMeanwhileIsNotRecorded(t *testing.T) {
	w := newWorld(t)
	change := func() { w.write("1 one\n2 three\n3 late\n") }
	duringRead.Store(&change)
	report := w.run("read lengths total ids")
	duringRead.Store(nil)
	if got := reason(t, report, "read"); !strings.Contains(got, "changed while") {
		t.Errorf("reason %q", got)
	}
	w.write("1 one\n2 three\n")
	w.run("read") // what was asked for then is still unknown
}

func TestStatusAndExplain(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	status, err := w.engine().Status(ctx, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	states := func(s engine.Status) string {
		var b []string
		for _, stage := range s.Stages {
			b = append(b, stage.State)
		}
		return strings.Join(b, " ")
	}
	if got, want := states(status), "stale unknown unknown unknown"; got != want {
		t.Errorf("states %q, want %q", got, want)
	}
	w.run("read lengths total ids")
	w.unit = 3
	e := w.engine()
	if status, err = e.Status(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := states(status), "fresh stale unknown fresh"; got != want {
		t.Errorf("states %q, want %q", got, want)
	}
	x, err := e.Explain(ctx, "lengths")
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Changes) != 1 || x.Changes[0].What != "parameter unit" || x.Changes[0].Before != "1" || x.Changes[0].After != "3" {
		t.Errorf("changes %+v", x.Changes)
	}
	if err := os.Remove(filepath.Join(w.project, "in.txt")); err != nil {
		t.Fatal(err)
	}
	if status, err = w.engine().Status(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := states(status), "missing-input unknown unknown unknown"; got != want {
		t.Errorf("states %q, want %q", got, want)
	}
}

func TestSecondCheckoutElsewhere(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	elsewhere := newWorld(t)
	elsewhere.cache = w.cache
	report := elsewhere.run("")
	if got := reason(t, report, "read"); got != "in the cache already" {
		t.Errorf("reason %q", got)
	}
}

func TestRecordsAreKeptAndRemoved(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	w.run("")
	state := filepath.Join(w.cache, "state")
	store := w.store()
	records, err := engine.Records(state, filepath.Join(w.project, "toy.toml"))
	if err != nil || len(records) != 2 || !records[0].OK || records[0].Unended || records[0].Run < records[1].Run {
		t.Fatalf("records %+v, %v", records, err)
	}
	if n, err := engine.RemoveRecords(store, time.Now().Add(-time.Hour), 1); n != 0 || err != nil {
		t.Errorf("%d recent records removed, %v", n, err)
	}
	if n, err := engine.RemoveRecords(store, time.Now().Add(time.Hour), 1); n != 1 || err != nil {
		t.Errorf("%d records removed, %v: all but the newest were to go", n, err)
	}
	if _, err := w.engine().LastManifest(context.Background(), "total"); err != nil {
		t.Errorf("the newest result is still to be found: %v", err)
	}
}

// What a record says of its own name is not believed: paths are made of it.
func TestRecordWithAHostileName(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	runs := filepath.Join(w.cache, "state", "runs")
	for name, record := range map[string]string{
		"20200101-000000.000-hostile": `{"run":"../..","path":"x"}`, "20200102-000000.000-ended": `{"run":".","path":"x"}`,
	} {
		if err := os.Mkdir(filepath.Join(runs, name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(runs, name, "run.json"), []byte(record), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := engine.RemoveRecords(w.store(), time.Now(), 1); n != 1 || err != nil {
		t.Errorf("%d records removed, %v", n, err)
	}
	w.run("") // the cache is still there
}

// A run that was killed is no answer to "what came out last": the run before
// it stays, and so does one that is going on.
func TestRecordsThatStay(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	store := w.store()
	lease, err := store.Lease(context.Background(), "29990101-000000.000-running")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	for _, name := range []string{"29990101-000000.000-running", "29990102-000000.000-killed"} {
		dir := filepath.Join(w.cache, "state", "runs", name)
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		record := fmt.Sprintf(`{"path":%q,"unended":true}`, filepath.Join(w.project, "toy.toml"))
		if err := os.WriteFile(filepath.Join(dir, "run.json"), []byte(record), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := engine.RemoveRecords(store, time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), 1); err != nil {
		t.Fatal(err)
	}
	records, err := engine.Records(filepath.Join(w.cache, "state"), "")
	if err != nil || len(records) != 2 || records[0].Run != "29990101-000000.000-running" || !records[1].OK {
		t.Errorf("left are %+v, %v", records, err)
	}
}

// Two runs of one pipeline that overlap both leave what they found.
func TestHistoryOfOverlappingRuns(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	first, second := w.engine(), w.engine()
	for e, stage := range map[*engine.Engine]string{first: "lengths", second: "ids"} {
		if _, err := e.Run(ctx, engine.RunOptions{Stages: []string{stage}, Budget: dag.Resources{CPU: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, stage := range []string{"lengths", "ids"} {
		if _, err := w.engine().LastManifest(ctx, stage); err != nil {
			t.Error(err)
		}
	}
}

// An entry with other outputs than the stage declares is nobody's result, and
// no file is made by a name in it.
func TestResultWithForeignOutputs(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	ctx, store := context.Background(), w.store()
	manifest, err := artifacts.LookupManifest(ctx, store, report.Stages[2].Key)
	if err != nil {
		t.Fatal(err)
	}
	manifest.Outputs["foreign"] = manifest.Outputs["total"]
	if err := artifacts.Replace(ctx, store, manifest); err != nil {
		t.Fatal(err)
	}
	again := w.run("total")
	if got := reason(t, again, "total"); !strings.Contains(got, "2 outputs") {
		t.Errorf("reason %q", got)
	}
}
