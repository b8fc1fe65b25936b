package dag

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func progress(stage string, done int64) Event {
	return Event{Type: StageProgress, Stage: stage, Done: done}
}

// heard writes events as type, stage and count, one string each.
func heard(events []Event) []string {
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%s %s %d", e.Type, e.Stage, e.Done))
	}
	return lines
}

func TestEmitterThinsOutProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		e := NewEmitter(j.listen, EmitterOptions{})
		for i := range int64(1000) { // a second of progress, every millisecond
			e.Emit(progress("a", i))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := len(j.events); n < 10 || n > 12 {
			t.Errorf("%d progress events in a second", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if last := j.events[len(j.events)-1]; last.Done != 999 {
			t.Errorf("after a pause the last progress heard of is %d", last.Done)
		}
		e.Close()
	})
}

func TestEmitterDeliversTheLastProgressBeforeWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		e := NewEmitter(j.listen, EmitterOptions{})
		for i := range int64(5) {
			e.Emit(progress("a", i))
			e.Emit(progress("b", 10+i))
		}
		e.Emit(Event{Type: StageLog, Stage: "a"})
		e.Emit(progress("a", 5)) // held back: a log line is no excuse
		e.Emit(Event{Type: StageFinished, Stage: "a"})
		e.Close()
		e.Emit(Event{Type: Note}) // dropped
		e.Close()
		want := []string{"stage_progress a 0", "stage_progress b 10", "stage_progress a 4", "stage_log a 0",
			"stage_progress a 5", "stage_finished a 0", "stage_progress b 14"}
		if diff := cmp.Diff(want, heard(j.events)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEmitterDoesNotWaitForItsListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var e *Emitter
		e = NewEmitter(func(event Event) {
			time.Sleep(time.Second)
			j.listen(event)
			if event.Type == RunStarted {
				e.Emit(Event{Type: Note}) // a listener may emit
			}
		}, EmitterOptions{})
		start := time.Now()
		e.Emit(Event{Type: RunStarted})
		for i := range int64(100) {
			e.Emit(progress("a", i))
		}
		if time.Since(start) != 0 {
			t.Error("Emit waited")
		}
		time.Sleep(1500 * time.Millisecond)
		e.Close()
		want := []string{"run_started  0", "stage_progress a 0", "note  0", "stage_progress a 99"}
		if diff := cmp.Diff(want, heard(j.events)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEmitterCallsItsListenerOneAtATime(t *testing.T) {
	var j journal // has no lock: the race detector is the test
	e := NewEmitter(Multi(nil, j.listen), EmitterOptions{Interval: time.Microsecond})
	var senders sync.WaitGroup
	for s := range 4 {
		listen := e.Stage(fmt.Sprint("s", s), "kind")
		senders.Go(func() {
			for i := range int64(500) {
				listen(Event{Type: StageProgress, Done: i})
				listen(Event{Type: StageMetrics, Done: i})
			}
		})
	}
	senders.Wait()
	e.Close()
	next, shown := map[string]int64{}, map[string]int64{}
	for _, event := range j.events {
		if event.Type == StageProgress {
			shown[event.Stage] = event.Done
			continue
		}
		if event.Done != next[event.Stage] || shown[event.Stage] != event.Done || event.Kind != "kind" {
			t.Fatalf("metrics %d of %s after metrics %d and progress %d", event.Done, event.Stage, next[event.Stage]-1, shown[event.Stage])
		}
		next[event.Stage]++
	}
	if want := map[string]int64{"s0": 500, "s1": 500, "s2": 500, "s3": 500}; !cmp.Equal(want, next) {
		t.Error(next)
	}
}

func TestEmitterCompletesEvents(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	var j journal
	e := NewEmitter(j.listen, EmitterOptions{Run: "r1", Pipeline: "sports", Clock: func() time.Time { return now }})
	e.Emit(Event{Type: Note})
	e.Emit(Event{Type: Note, Time: now.Add(time.Hour), Run: "other", Pipeline: "beauty"})
	e.Close()
	want := []Event{
		{Time: now, Type: Note, Run: "r1", Pipeline: "sports"},
		{Time: now.Add(time.Hour), Type: Note, Run: "other", Pipeline: "beauty"},
	}
	if diff := cmp.Diff(want, j.events); diff != "" {
		t.Error(diff)
	}
}

func TestEmitterOutlivesAPanic(t *testing.T) {
	var j journal
	e := NewEmitter(func(event Event) {
		if event.Type == Note {
			panic("cannot read a note")
		}
		j.listen(event)
	}, EmitterOptions{})
	e.Emit(Event{Type: Note})
	e.Emit(Event{Type: RunFinished})
	defer func() {
		if recover() == nil || len(j.events) != 1 {
			t.Errorf("the panic was lost, or the event after it: %v", j.events)
		}
	}()
	e.Close()
}

func TestMulti(t *testing.T) {
	var a, b journal
	Multi(a.listen, nil, b.listen)(Event{Type: Note})
	Multi()(Event{Type: Note})
	if len(a.events) != 1 || len(b.events) != 1 {
		t.Errorf("%d and %d events", len(a.events), len(b.events))
	}
}

func TestEventJSON(t *testing.T) {
	full := Event{Time: time.Date(2026, 11, 23, 8, 0, 0, 5e6, time.UTC), Type: StageFinished, Run: "r1", Pipeline: "sports",
		Stage: "train", Kind: "prism.train", State: Skipped, Reason: "corpus failed", CausedBy: "corpus", Seconds: 1.5, Attempt: 2,
		Done: 3, Total: 4, Unit: "epochs", Message: "m", Level: "info", Fields: map[string]any{"ndcg": 0.1}, Detail: []int{1}, Error: "e"}
	for want, event := range map[string]Event{
		`{"time":"2026-11-23T08:00:00.005Z","type":"stage_finished","run":"r1","pipeline":"sports","stage":"train","kind":"prism.train",` +
			`"state":"skipped","reason":"corpus failed","caused_by":"corpus","seconds":1.5,"attempt":2,"done":3,"total":4,"unit":"epochs",` +
			`"message":"m","level":"info","fields":{"ndcg":0.1},"detail":[1],"error":"e"}`: full,
		`{"time":"2026-11-23T08:00:00.005Z","type":"note"}`: {Time: full.Time, Type: Note},
	} {
		got, err := json.Marshal(event)
		if err != nil || string(got) != want {
			t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
		}
	}
}
