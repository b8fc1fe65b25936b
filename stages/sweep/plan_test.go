package sweep

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// A toy is a stage that is described and never run.
type toy struct {
	params  map[string]any
	reads   []string
	device  string // a setting: in no key
	sources []stages.SourceSpec
}

func (s toy) Request() artifacts.Request {
	return artifacts.Request{Kind: "toy", Version: 1, Params: s.params}
}
func (s toy) Inputs() []stages.Input {
	var inputs []stages.Input
	for i, name := range s.reads {
		inputs = append(inputs, stages.Input{Port: fmt.Sprint(i), From: stages.Ref{Stage: name, Output: "out"}})
	}
	return inputs
}
func (s toy) Sources() []stages.SourceSpec         { return s.sources }
func (toy) Outputs() []stages.Port                 { return []stages.Port{{Name: "out", File: true}} }
func (toy) Run(context.Context, *stages.Env) error { return nil }
func spec(name string, s toy, after ...string) stages.Spec {
	return stages.Spec{Name: name, Kind: "toy", Stage: s, Options: stages.Options{After: after}}
}

// point is a pipeline whose split depends on min, its training on the backbone
// and the seed; it is declared last first.
func point(least, backbone, seed string) Point {
	return Point{
		Params: []Param{{"min", least}, {"backbone", backbone}, {"seed", seed}},
		Specs: []stages.Spec{
			spec("report", toy{}, "evaluate"),
			spec("evaluate", toy{reads: []string{"train", "split"}}),
			spec("train", toy{params: map[string]any{"backbone": backbone, "seed": seed}, reads: []string{"split"}}),
			spec("split", toy{params: map[string]any{"min": least}, reads: []string{"ingest"}}),
			spec("ingest", toy{sources: []stages.SourceSpec{{Param: "source", Patterns: []stages.Value{{V: "x.json", Base: "/data"}}}}}),
		},
	}
}

func grid() []Point {
	var points []Point
	for _, least := range []string{"3", "5"} {
		for _, backbone := range []string{"a", "b/c"} {
			points = append(points, point(least, backbone, "1"))
		}
	}
	return points
}

func TestSharedStagesAreOne(t *testing.T) {
	plan, err := New(grid())
	if err != nil {
		t.Fatal(err)
	}
	wires := map[string][]string{}
	for _, spec := range plan.Specs {
		wires[spec.Name] = append([]string{}, spec.Options.After...)
		for _, input := range spec.Stage.Inputs() {
			wires[spec.Name] = append(wires[spec.Name], input.From.Stage)
		}
	}
	want := map[string][]string{"ingest": {}, "split[min=3]": {"ingest"}, "split[min=5]": {"ingest"}}
	for _, least := range []string{"3", "5"} {
		for _, backbone := range []string{"a", "b_c"} {
			at := fmt.Sprintf("[min=%s,backbone=%s]", least, backbone)
			want["train"+at] = []string{"split[min=" + least + "]"}
			want["evaluate"+at] = []string{"train" + at, "split[min=" + least + "]"}
			want["report"+at] = []string{"evaluate" + at}
		}
	}
	if diff := cmp.Diff(want, wires); diff != "" {
		t.Error(diff)
	}
	if problems := stages.CheckWiring(plan.Specs); len(problems) > 0 {
		t.Error(problems)
	}
	if got := plan.Nodes[3]["train"]; got != "train[min=5,backbone=b_c]" {
		t.Errorf("train of the fourth point is %s", got)
	}
	for name, turn := range map[string]int{"ingest": 0, "split[min=5]": 2, "evaluate[min=5,backbone=b_c]": 3} {
		if plan.Turns[name] != turn {
			t.Errorf("the turn of %s is %d, want %d", name, plan.Turns[name], turn)
		}
	}
}

// Values that look alike as file names still make two stages, and settings that
// no key has make none.
func TestNamesAndSettings(t *testing.T) {
	train := func(text, device string) Point {
		return Point{Params: []Param{{"text", text}}, Specs: []stages.Spec{spec("train", toy{params: map[string]any{"text": text}, device: device})}}
	}
	plan, err := New([]Point{train("a/b", "cpu"), train("a b", "cpu"), train("a/b", "cuda")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, nodes := range plan.Nodes {
		names = append(names, nodes["train"])
	}
	if want := []string{"train[text=a_b]", "train[#2]", "train[text=a_b]"}; !slices.Equal(names, want) {
		t.Errorf("train is called %v, want %v", names, want)
	}
}

// A retried stage is asked for revalidation as it was.
func TestRewiredStagesRevalidate(t *testing.T) {
	r := rewired{Stage: revalidating{}}
	if got := r.Revalidates(); got != "asked to" {
		t.Errorf("got %q", got)
	}
	if got := (rewired{Stage: toy{}}).Revalidates(); got != "" {
		t.Errorf("a stage that cannot says %q", got)
	}
}

type revalidating struct{ toy }

func (revalidating) Revalidates() string { return "asked to" }

func TestTally(t *testing.T) {
	plan, err := New(grid())
	if err != nil {
		t.Fatal(err)
	}
	tally := NewTally(plan)
	began := time.Unix(1000, 0)
	tally.Event(dag.Event{Type: dag.RunStarted, Time: began})
	finish := func(node string, state dag.State) bool {
		tally.Event(dag.Event{Type: dag.StageStarted, Stage: node})
		return tally.Event(dag.Event{Type: dag.StageFinished, Stage: node, State: state})
	}
	finish("ingest", dag.Ran)
	finish("split[min=3]", dag.Ran)
	tally.Event(dag.Event{Type: dag.StageStarted, Stage: "train[min=3,backbone=a]"})
	if got := tally.Counts(); got != (Counts{Total: 4, Running: 1}) {
		t.Errorf("one point is running: %+v", got)
	}
	finish("train[min=3,backbone=a]", dag.Ran)
	finish("evaluate[min=3,backbone=a]", dag.Ran)
	if got := tally.Left(began.Add(time.Minute)); got != 0 {
		t.Errorf("%s left with no point done", got)
	}
	if !finish("report[min=3,backbone=a]", dag.Ran) {
		t.Error("the first point's end changes nothing")
	}
	if got := tally.Left(began.Add(time.Minute)); got != 3*time.Minute {
		t.Errorf("%s left after a minute for one of four", got)
	}
	if !finish("split[min=5]", dag.Failed) {
		t.Error("a failure changes nothing")
	}
	if got := tally.Counts(); got != (Counts{Total: 4, Done: 1, Failed: 2}) {
		t.Errorf("a shared stage failed: %+v", got)
	}
}

func TestRecord(t *testing.T) {
	points := grid()
	plan, err := New(points)
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecord("s", "p", "/p.toml", points, plan)
	r.Begin("run", time.Unix(1, 0))
	r.Begin("run", time.Unix(2, 0))
	for _, node := range []string{"ingest", "split[min=3]", "train[min=3,backbone=a]", "evaluate[min=3,backbone=a]", "report[min=3,backbone=a]"} {
		r.Event(dag.Event{Type: dag.StageFinished, Stage: node, State: dag.Ran, Detail: engine.StageDetail{Key: artifacts.Key("of " + node)}})
	}
	r.Event(dag.Event{Type: dag.StageFinished, Stage: "train[min=5,backbone=a]", State: dag.Failed})
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecord(dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Errorf("read back: %s", diff)
	}
	var states []string
	for _, p := range got.Points {
		states = append(states, p.State)
	}
	if want := []string{PointDone, PointWaiting, PointFailed, PointWaiting}; !slices.Equal(states, want) {
		t.Errorf("points are %v, want %v", states, want)
	}
	if got.Points[0].Label != "min=3 backbone=a seed=1" || got.Points[1].Stages[3].Key != "of split[min=3]" || !slices.Equal(got.Runs, []string{"run"}) {
		t.Errorf("got %+v", got)
	}
	if names, err := Names(dir); err != nil || !slices.Equal(names, []string{"s"}) {
		t.Errorf("names %v, %v", names, err)
	}
	if _, err := ReadRecord(dir, "../s"); err == nil {
		t.Error("a name with a path was read")
	}
}
