package sweep

import (
	"time"

	"github.com/prismflow/prismflow/dag"
)

// Counts are how far the points of a sweep are.
type Counts struct {
	Total   int `json:"total"`
	Done    int `json:"done"`    // every stage has a result
	Failed  int `json:"failed"`  // a stage failed
	Running int `json:"running"` // a stage of its own, or one that it shares, is running
}

// A Tally follows the points of a sweep through the events of its run.
type Tally struct {
	points  [][]string       // for each point its nodes
	of      map[string][]int // node → its points
	state   map[string]dag.State
	counts  Counts
	entered map[int]bool // points for which something was computed
	began   time.Time
}

// NewTally follows the points of a plan.
func NewTally(plan Plan) *Tally {
	t := &Tally{of: map[string][]int{}, state: map[string]dag.State{}, entered: map[int]bool{}}
	for i, nodes := range plan.Nodes {
		var names []string
		for _, name := range nodes {
			names = append(names, name)
			t.of[name] = append(t.of[name], i)
		}
		t.points = append(t.points, names)
	}
	t.counts.Total = len(t.points)
	return t
}

// Event takes note of an event and says whether a point is done or failed by it.
func (t *Tally) Event(e dag.Event) (changed bool) {
	switch e.Type {
	case dag.RunStarted:
		t.began = e.Time
		return false
	case dag.StageStarted:
		t.state[e.Stage] = dag.Running
		for _, point := range t.of[e.Stage] {
			t.entered[point] = true
		}
	case dag.StageFinished:
		t.state[e.Stage] = e.State
	default:
		return false
	}
	before := t.counts
	t.counts = t.count()
	return t.counts.Done != before.Done || t.counts.Failed != before.Failed
}

// Counts are how far the points are.
func (t *Tally) Counts() Counts { return t.counts }

func (t *Tally) count() Counts {
	c := Counts{Total: len(t.points)}
	for _, nodes := range t.points {
		done, failed, running := 0, false, false
		for _, name := range nodes {
			switch state := t.state[name]; {
			case state.OK():
				done++
			case state == dag.Failed || state == dag.Skipped:
				failed = true
			case state == dag.Running:
				running = true
			}
		}
		switch {
		case failed:
			c.Failed++
		case done == len(nodes):
			c.Done++
		case running:
			c.Running++
		}
	}
	return c
}

// Left is how long the rest will take if it goes on as it went so far; 0 as long
// as no point was computed.
func (t *Tally) Left(now time.Time) time.Duration {
	ended, computed := t.counts.Done+t.counts.Failed, 0
	for i := range t.points {
		if t.entered[i] && t.ended(i) {
			computed++
		}
	}
	if computed == 0 {
		return 0
	}
	return time.Duration(float64(now.Sub(t.began)) / float64(computed) * float64(t.counts.Total-ended))
}

func (t *Tally) ended(point int) bool {
	for _, name := range t.points[point] {
		if state := t.state[name]; state == "" || state == dag.Running {
			return false
		}
	}
	return true
}
