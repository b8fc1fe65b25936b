package images

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages/stagetest"
)

// Two thousand pictures from one server, many of them twice.
func TestManyPictures(t *testing.T) {
	s := newSite(t)
	var busy, most atomic.Int32
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		now := busy.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		defer busy.Add(-1)
		var n int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d.png", &n); err != nil {
			t.Error(err)
		}
		_, _ = w.Write(aPNG(n))
	})
	var items []itemURL
	for i := range 2000 {
		items = append(items, itemURL{fmt.Sprint(i), fmt.Sprintf("%s/%d.png", s.URL, i%1600)})
	}
	d := newDownload()
	d.AllowPrivate, d.PerHost.Value = true, 7
	env := stagetest.Env(t)
	var progress, told int64
	env.OnProgress = func(done, total int64, unit string) {
		if unit == "pictures" && (done != progress+1 || total != 1600) {
			t.Errorf("%d of %d after %d", done, total, progress)
		}
		if unit == "pictures" {
			progress = done
		}
	}
	env.OnMetrics = func(metrics map[string]any) {
		told++
		if metrics["failed"] != 0 {
			t.Errorf("metrics %v", metrics)
		}
	}
	rows := download(t, d, env, items...)
	for i, row := range rows {
		if row.Item != fmt.Sprint(i) || string(row.Bytes) != string(aPNG(i%1600)) {
			t.Fatalf("row %d is of item %s: %q", i, row.Item, row.Error)
		}
	}
	if s.total() != 1600 || most.Load() > 7 || progress != 1600 || told == 0 {
		t.Errorf("%d requests, at most %d at once; %d pictures of progress, metrics told %d times", s.total(), most.Load(), progress, told)
	}
}

// An interrupted run stops at once and keeps what it has.
func TestInterrupted(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	var served atomic.Int32
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1) > 20 {
			cancel()
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(aPNG(1))
	})
	var items []itemURL
	for i := range 100 {
		items = append(items, itemURL{fmt.Sprint(i), fmt.Sprintf("%s/%d", s.URL, i)})
	}
	env := stagetest.Env(t)
	d := newDownload()
	d.AllowPrivate, d.Concurrency.Value = true, 4
	d.Items = stagetest.Table[itemURL](t, items)
	stagetest.Result(t, &d.Images)
	if err := d.Run(ctx, env); !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted run: %v", err)
	}
	before := s.total()
	served.Store(-1000)
	download(t, d, env, items...)
	if kept := before + 100 - s.total(); kept < before-4 || before > 24 {
		t.Errorf("%d requests by 4 workers, then %d: %d pictures were kept", before, s.total()-before, kept)
	}
}

// A host that does not get better is left alone, and what was not asked for is
// asked for by the next run.
func TestHostThatIsGivenUp(t *testing.T) {
	bad, good := newSite(t), newSite(t)
	bad.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	good.serves("/", aPNG(1))
	good.mux.Handle("/to-bad", http.RedirectHandler(bad.URL+"/redirected", http.StatusFound))
	items := []itemURL{{"good", good.URL + "/"}, {"redirected", good.URL + "/to-bad"}}
	for i := range 50 {
		items = append(items, itemURL{fmt.Sprint(i), fmt.Sprintf("%s/%d", bad.URL, i)})
	}
	env := stagetest.Env(t)
	for range 2 {
		before := bad.total()
		d := newDownload()
		d.AllowPrivate, d.HostFailures.Value, d.Concurrency.Value = true, 10, 4
		rows := download(t, d, env, items...)
		if asked := bad.total() - before; asked < 10 || asked > 13 {
			t.Errorf("a host that is given up after 10 failures was asked %d times", asked)
		}
		want := fmt.Sprintf("not asked for: %s was given up because it failed 10 times in a row", bad.address())
		if got := rows[len(rows)-1].Error; rows[0].Error != "" || got != want {
			t.Errorf("the last row: %q, want %q", got, want)
		}
	}
	if reason := env.IncompleteReason(); !strings.HasPrefix(reason, "51 pictures failed in a way that may pass: ") {
		t.Errorf("incomplete: %q", reason)
	}
}

func TestHostThatAsksForTooLongAPause(t *testing.T) {
	s := newSite(t)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	good := newSite(t)
	good.serves("/", aPNG(1))
	d := newDownload()
	d.AllowPrivate, d.Concurrency.Value = true, 1
	rows := download(t, d, stagetest.Env(t), itemURL{"good", good.URL}, itemURL{"a", s.URL + "/a"}, itemURL{"b", s.URL + "/b"})
	want := fmt.Sprintf("not asked for: %s was given up because it asked to be left alone for longer than max_wait", s.address())
	if rows[1].Error != "the server answered 429 Too Many Requests" || rows[2].Error != want || s.total() != 1 {
		t.Errorf("%q and %q after %d requests", rows[1].Error, rows[2].Error, s.total())
	}
}

// Progress is of what is asked for, not of what failed in an earlier run.
func TestProgressIsOfThisRun(t *testing.T) {
	s := newSite(t)
	s.serves("/good.png", aPNG(1))
	env := stagetest.Env(t)
	items := []itemURL{{"a", s.URL + "/missing"}, {"b", s.URL + "/missing"}, {"c", s.URL + "/good.png"}}
	var told map[string]any
	env.OnMetrics = func(metrics map[string]any) { told = metrics }
	for _, step := range []struct {
		items []itemURL
		want  map[string]any
	}{
		{items, map[string]any{"bytes": int64(len(aPNG(1))), "failed": 2, "failed_not_found": 2}},
		{append(items, itemURL{"d", s.URL + "/missing too"}), map[string]any{"bytes": int64(0), "failed": 1, "failed_not_found": 1}},
	} {
		d := newDownload()
		d.AllowPrivate = true
		download(t, d, env, step.items...)
		if diff := cmp.Diff(step.want, told); diff != "" {
			t.Errorf("%d items: metrics (-want +got):\n%s", len(step.items), diff)
		}
	}
}
