package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	unit    int64
	workers int64
	names   [4]string

	mu   sync.Mutex     // guards runs: stages may run side by side
	runs map[string]int // executions of the newest engine, by kind
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
				w.mu.Lock()
				w.runs[kind]++
				w.mu.Unlock()
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
