package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/memo"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// The rows stage maps lines one by one: length of a line by its text. A plan
// says what a test has in mind for it.
type rowsStage struct {
	Source  stages.Source         `stage:"source" doc:"lines"`
	Lengths stages.Out[lengthRow] `stage:"lengths" doc:"their lengths"`

	*plan
}

// A plan is shared by all rows stages of a test.
type plan struct {
	mu         sync.Mutex // guards what follows
	entered    int
	computed   []string
	resumed    string
	incomplete string // said of the result
	revalidate string
	lookedUp   func()                      // when a result was found that may have to be had again
	then       func(env *stages.Env) error // when all rows are computed
}

var rowsScope = artifacts.Request{Kind: "toy.rows", Version: 1}

func (s *rowsStage) Run(ctx context.Context, env *stages.Env) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	counter(env, "rows")
	s.entered++
	data, err := os.ReadFile(s.Source.Files()[0].Path)
	if err != nil {
		return err
	}
	var out []lengthRow
	for _, line := range strings.Fields(string(data)) {
		length, err := s.length(ctx, env, line)
		if err != nil {
			return err
		}
		out = append(out, lengthRow{length})
	}
	progress := filepath.Join(env.Resume, "progress")
	before, _ := os.ReadFile(progress)
	s.resumed = string(before)
	if err := os.WriteFile(progress, fmt.Append(nil, "entry ", s.entered), 0o666); err != nil {
		return err
	}
	if s.then != nil {
		if err := s.then(env); err != nil {
			return err
		}
	}
	if s.incomplete != "" {
		env.Incomplete(s.incomplete)
	}
	return s.Lengths.WriteAll(out)
}

func (s *rowsStage) length(ctx context.Context, env *stages.Env, line string) (int64, error) {
	rows, err := env.Memo(ctx, rowsScope)
	if err != nil {
		return 0, err
	}
	key := stages.MemoKeyOf([]byte(line))
	if value, known, err := rows.Get(key); known || err != nil {
		return int64(value[0]), err
	}
	s.computed = append(s.computed, line)
	return int64(len(line)), rows.Put(key, []byte{byte(len(line))})
}

// plannedStage gives the declared stage, which is made anew by each Bind, the
// test's plan.
type plannedStage struct {
	stages.Stage
	plan *plan
}

func (s plannedStage) Run(ctx context.Context, env *stages.Env) error {
	rows := &rowsStage{plan: s.plan, Lengths: stages.ToFile[lengthRow](env.Outputs["lengths"])}
	rows.Source = stages.SourceFiles(env.Sources["source"][0].Path)
	return rows.Run(ctx, env)
}

// Revalidates is asked of a result that was looked up and is there.
func (s plannedStage) Revalidates() string {
	if s.plan.lookedUp != nil {
		s.plan.lookedUp()
	}
	return s.plan.revalidate
}

// rowsWorld is a pipeline of rows, whose lengths total adds.
type rowsWorld struct {
	*world
	*plan
	offline bool
	shared  func(*engine.Config) // nil without a remote
}

func newRowsWorld(t *testing.T) *rowsWorld {
	w := &rowsWorld{world: newWorld(t), plan: &plan{}}
	w.names = [4]string{"rows", "total", "more"}
	w.write("one three")
	return w
}

func (w *rowsWorld) rowsSpec(name string) stages.Spec {
	w.t.Helper()
	spec := w.spec(name, stages.Declare[rowsStage]("toy.rows", 1, "maps"), stages.Values{"source": stages.Value{V: "in.txt", Base: w.project}})
	spec.Stage = plannedStage{spec.Stage, w.plan}
	return spec
}

func (w *rowsWorld) engine() *engine.Engine {
	w.t.Helper()
	total := w.spec("total", stages.Declare[totalStage]("toy.total", 1, "adds"), stages.Values{"lengths": stages.Value{V: "rows.lengths"}})
	w.plan.entered, w.computed, w.resumed = 0, nil, "nothing"
	e := w.engineWith(func(c *engine.Config) {
		c.Offline = w.offline
		if w.shared != nil {
			w.shared(c)
		}
	}, []stages.Spec{w.rowsSpec("rows"), total})
	return e
}

// try runs the pipeline; notes are what it said on the way.
func (w *rowsWorld) try(ctx context.Context) (report engine.Report, notes string, err error) {
	w.t.Helper()
	listener := func(event dag.Event) {
		if event.Type == dag.Note {
			notes += event.Message + "\n"
		}
	}
	report, err = w.engine().Run(ctx, engine.RunOptions{Budget: dag.Resources{CPU: 1}, Listener: listener})
	return report, notes, err
}

// run checks which stages ran and which rows were computed.
func (w *rowsWorld) run(want, computed string) engine.Report {
	w.t.Helper()
	report, _, err := w.try(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	w.expect(report, want)
	w.expectComputed(computed)
	return report
}

func (w *rowsWorld) expectComputed(want string) {
	w.t.Helper()
	if got := strings.Join(w.computed, " "); got != want {
		w.t.Errorf("the rows %q were computed, want %q", got, want)
	}
}

func TestOnlyNewRowsAreComputed(t *testing.T) {
	w := newRowsWorld(t)
	w.run("rows total", "one three")
	w.run("", "")
	w.write("one seven three")
	w.run("rows total", "seven")
	w.write("three")
	w.run("rows total", "")
	w.run("", "")
}

// Whatever becomes of the attempt, its rows are kept.
func TestRowsOutliveTheAttempt(t *testing.T) {
	ends := map[string]func(w *rowsWorld, stop func()) func(*stages.Env) error{
		"it fails": func(*rowsWorld, func()) func(*stages.Env) error {
			return func(*stages.Env) error { return errBroken }
		},
		"it panics": func(*rowsWorld, func()) func(*stages.Env) error {
			return func(*stages.Env) error { panic("broken") }
		},
		"it is called off": func(_ *rowsWorld, stop func()) func(*stages.Env) error {
			return func(*stages.Env) error { stop(); return context.Canceled }
		},
		"an input changes under it": func(w *rowsWorld, _ func()) func(*stages.Env) error {
			return func(*stages.Env) error { w.write("three one"); return errBroken }
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := newRowsWorld(t)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			w.then = end(w, stop)
			if _, _, err := w.try(ctx); err == nil {
				t.Error("it ended well")
			}
			w.expectComputed("one three")
			w.then = nil
			w.write("three one")
			w.run("rows total", "")
		})
	}
}

// A memo that cannot be sealed costs a warning. Its rows are there for the next
// attempt as far as they are right.
func TestMemoThatCannotBeSealed(t *testing.T) {
	w := newRowsWorld(t)
	w.then = func(*stages.Env) error {
		journals, err := filepath.Glob(filepath.Join(w.cache, "state", "memo", "*", "*"))
		if err != nil || len(journals) != 1 {
			t.Fatalf("journals %v, %v", journals, err)
		}
		info, err := os.Stat(journals[0])
		if err != nil {
			return err
		}
		return os.Truncate(journals[0], info.Size()-1)
	}
	report, notes, err := w.try(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	w.expect(report, "rows total")
	if !strings.Contains(notes, "for now") {
		t.Errorf("notes %q", notes)
	}
	w.then = nil
	w.write("one three five")
	w.run("rows total", "three five")
}

// The rows are in use as long as a result that was made of them is.
func TestUseOfAResultIsUseOfItsRows(t *testing.T) {
	w := newRowsWorld(t)
	w.run("rows total", "one three")
	key, err := memo.List(rowsScope).Key()
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(w.cache, "ac", string(key[:2]), string(key))
	longAgo := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(list, longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	w.run("", "")
	if info, err := os.Stat(list); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("the use was not recorded: %v, %v", info, err)
	}
}

func TestIncompleteResultIsEnteredAgain(t *testing.T) {
	w := newRowsWorld(t)
	w.incomplete = "3 rows failed in a way that may pass"
	first, notes, err := w.try(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	w.expect(first, "rows total")
	if !strings.Contains(notes, "rows is incomplete: 3 rows failed") {
		t.Errorf("notes %q", notes)
	}
	status, err := w.engine().Status(context.Background(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "incomplete: 3 rows failed in a way that may pass"
	if rows := status.Stages[0]; rows.State != engine.StateStale || rows.Reason != want || status.OK {
		t.Errorf("status %+v", rows)
	}
	w.incomplete = "1 row failed in a way that may pass"
	second := w.run("rows", "") // the same outputs: total has no reason
	if got := reason(t, second, "rows"); got != want {
		t.Errorf("reason %q", got)
	}
	x, err := w.engine().Explain(context.Background(), "rows")
	if err != nil || x.Stands == nil || x.Stands.Incomplete != w.incomplete {
		t.Errorf("it stands %+v, %v: the newer one was to", x.Stands, err)
	}
	w.incomplete = ""
	w.run("rows", "")
	w.run("", "")
}

func TestIncompleteResultServesOffline(t *testing.T) {
	w := newRowsWorld(t)
	w.incomplete, w.revalidate = "3 rows failed", "revalidate = true"
	w.run("rows total", "one three")
	w.offline = true
	report := w.run("", "")
	if got := reason(t, report, "rows"); got != "unchanged; incomplete: 3 rows failed" {
		t.Errorf("reason %q", got)
	}
	if status, err := w.engine().Status(context.Background(), nil, nil); err != nil || !status.OK {
		t.Errorf("status %+v, %v", status, err)
	}
}

// A stage that asks others by itself is told not to.
func TestStagesKnowThatTheyAreOffline(t *testing.T) {
	for _, offline := range []bool{false, true} {
		w := newRowsWorld(t)
		w.offline = offline
		w.then = func(env *stages.Env) error {
			if env.Offline != offline {
				t.Errorf("the stage is told Offline = %v, want %v", env.Offline, offline)
			}
			return nil
		}
		w.run("rows total", "one three")
	}
}

// What stands is not lost by an entry that fails.
func TestFailureOfAnEntryAgain(t *testing.T) {
	w := newRowsWorld(t)
	w.incomplete = "3 rows failed"
	w.run("rows total", "one three")
	w.then = func(*stages.Env) error { return errBroken }
	if _, _, err := w.try(context.Background()); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
	w.then, w.offline = nil, true
	w.run("", "")
}

func TestRevalidation(t *testing.T) {
	w := newRowsWorld(t)
	w.run("rows total", "one three")
	w.revalidate = "revalidate = true"
	for range 2 {
		report := w.run("rows", "")
		if got := reason(t, report, "rows"); got != w.revalidate {
			t.Errorf("reason %q", got)
		}
		x, err := w.engine().Explain(context.Background(), "rows")
		if err != nil || x.Stage.State != engine.StateStale || x.Stage.Reason != w.revalidate {
			t.Errorf("explained as %+v, %v", x.Stage, err)
		}
		if x.Stands == nil || x.Stands.Provenance.Run != report.Run || len(x.Others) != 0 {
			t.Errorf("it stands %+v, and beside it %v", x.Stands, x.Others)
		}
	}
	w.revalidate = ""
	w.run("", "")
}

// A stage that is entered again goes on where such an entry stopped, not where
// somebody stopped before there was a result.
func TestCheckpointOfAnEntryAgain(t *testing.T) {
	w := newRowsWorld(t)
	w.incomplete = "3 rows failed"
	report := w.run("rows total", "one three")
	checkpoint := filepath.Join(w.cache, "state", "checkpoints", string(report.Stages[0].Key))
	if err := os.Mkdir(checkpoint, 0o777); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(checkpoint, "progress")
	if err := os.WriteFile(old, []byte("before there was a result"), 0o666); err != nil {
		t.Fatal(err)
	}
	longAgo := time.Now().Add(-time.Hour)
	if err := errors.Join(os.Chtimes(old, longAgo, longAgo), os.Chtimes(checkpoint, longAgo, longAgo)); err != nil {
		t.Fatal(err)
	}
	w.then = func(*stages.Env) error { return errBroken }
	if _, _, err := w.try(context.Background()); err == nil || w.resumed != "" {
		t.Errorf("went on from %q, %v", w.resumed, err)
	}
	later := time.Now().Add(time.Hour) // some file systems tell time in seconds, and this took less
	if err := os.Chtimes(old, later, later); err != nil {
		t.Fatal(err)
	}
	w.then, w.incomplete = nil, ""
	w.run("rows", "")
	if w.resumed != "entry 1" {
		t.Errorf("went on from %q", w.resumed)
	}
	if _, err := os.Stat(checkpoint); !os.IsNotExist(err) {
		t.Errorf("the checkpoint is still there: %v", err)
	}
}

// Two stages that ask the same enter it once, and so do two runs at a time.
func TestEnteredAgainOnce(t *testing.T) {
	w := newRowsWorld(t)
	w.incomplete = "3 rows failed"
	w.run("rows total", "one three")
	budget := engine.RunOptions{Budget: dag.Resources{CPU: 2}}
	e := w.engine()
	twice := w.engineOf([]stages.Spec{w.rowsSpec("rows"), w.rowsSpec("more")})
	if _, err := twice.Run(context.Background(), budget); err != nil || w.entered != 1 {
		t.Errorf("two stages: entered %d times, %v", w.entered, err)
	}
	waits, wants := make(chan error), make(chan struct{})
	w.entered = 0
	w.then = func(*stages.Env) error {
		w.lookedUp = sync.OnceFunc(func() { close(wants) })
		go func() {
			_, err := e.Run(context.Background(), budget)
			waits <- err
		}()
		<-wants // it found what stands, which is not replaced yet, and goes on to wait for the turn
		return nil
	}
	if _, err := w.engineOf([]stages.Spec{w.rowsSpec("rows")}).Run(context.Background(), budget); err != nil {
		t.Error(err)
	}
	if err := <-waits; err != nil || w.entered != 1 {
		t.Errorf("two runs: entered %d times, %v", w.entered, err)
	}
}
