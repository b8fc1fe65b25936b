package engine_test

import (
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages/engine"
)

func TestSaved(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	first := w.run("read lengths total ids")
	w.run("")
	w.write("1 ONE\n2 THREE\n")
	w.run("read lengths") // total and ids are at hand
	saved, err := engine.Saved(w.store(), began.Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var bytes int64
	var seconds float64
	for i, stage := range first.Stages {
		times := int64(1)
		if i >= 2 {
			times = 2
		}
		for _, output := range stage.Outputs {
			bytes += times * output.Bytes
		}
		made, err := artifacts.LookupManifest(t.Context(), w.store(), stage.Key)
		if err != nil {
			t.Fatal(err)
		}
		seconds += float64(times) * made.Provenance.Seconds
	}
	want := engine.Savings{Runs: 3, Cached: 6, Ran: 6, HitRate: 0.5, Bytes: bytes, Seconds: seconds}
	if difference := saved.Seconds - want.Seconds; difference < -1e-9 || difference > 1e-9 {
		t.Errorf("%v seconds saved, want %v", saved.Seconds, want.Seconds)
	}
	saved.Seconds, want.Seconds = 0, 0
	if saved != want {
		t.Errorf("saved %+v, want %+v", saved, want)
	}
	if later, err := engine.Saved(w.store(), time.Now().Add(time.Second)); err != nil || later != (engine.Savings{}) {
		t.Errorf("of runs to come: %+v, %v", later, err)
	}
}
