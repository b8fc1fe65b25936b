package images

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

func TestDownload(t *testing.T) {
	s := newSite(t)
	s.serves("/a.png", aPNG(1))
	s.mux.Handle("/old.png", http.RedirectHandler("/a.png?signature=secret", http.StatusFound))
	d := newDownload()
	d.AllowPrivate = true
	env := stagetest.Env(t)
	rows := download(t, d, env, itemURL{"x", s.URL + "/a.png"}, itemURL{"../../y", s.URL + "/a.png"}, itemURL{"none", ""}, itemURL{"moved", s.URL + "/old.png"})
	digest := sha256.Sum256(aPNG(1))
	picture := tables.Image{Item: "x", URL: s.URL + "/a.png", FinalURL: s.URL + "/a.png", Status: 200, MediaType: "image/png", Width: 9, Height: 6,
		SHA256: hex.EncodeToString(digest[:]), Bytes: aPNG(1)}
	same, moved := picture, picture
	same.Item = "../../y"
	moved.Item, moved.URL, moved.FinalURL = "moved", s.URL+"/old.png", s.URL+"/a.png?***"
	want := []tables.Image{picture, same, {Item: "none", Error: "no picture is known"}, moved}
	if diff := cmp.Diff(want, rows, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if n := s.times("/a.png"); n != 2 { // once for two items, once for the redirect
		t.Errorf("a picture of two items and a redirect was asked for %d times", n)
	}
	wantCounts := map[string]int{"items": 4, "pictures": 3, "without_url": 1, "reused": 0, "from_files": 0, "downloaded": 2, "not_modified": 0, "not_revalidated": 0, "bytes": 2 * len(aPNG(1)), "retried": 0, "failed": 0}
	if diff := cmp.Diff(wantCounts, counts(env)); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// Ten new items cost ten requests, and a changed picture one body.
func TestOnlyWhatIsNew(t *testing.T) {
	s := newSite(t)
	var items []itemURL
	for i := range 30 {
		path := fmt.Sprintf("/%d.png", i)
		s.serves(path, aPNG(i))
		items = append(items, itemURL{fmt.Sprint(i), s.URL + path})
	}
	env := stagetest.Env(t)
	again := func(items []itemURL, change func(*Download)) ([]tables.Image, map[string]int) {
		d := newDownload()
		d.AllowPrivate = true
		change(d)
		before := len(env.Report())
		rows := download(t, d, env, items...)
		report := map[string]int{}
		for _, c := range env.Report()[before:] {
			report[c.Name] = int(c.Value)
		}
		return rows, report
	}
	same := func(*Download) {}
	_, first := again(items[:20], same)
	rows, second := again(items, same)
	if first["downloaded"] != 20 || second["downloaded"] != 10 || second["reused"] != 20 || s.total() != 30 {
		t.Errorf("first %v, then %v, %d requests", first, second, s.total())
	}
	unchanged, third := again(items, func(d *Download) { d.Revalidate.Value = true })
	if diff := cmp.Diff(rows, unchanged); diff != "" || third["not_modified"] != 30 || third["downloaded"] != 0 {
		t.Errorf("revalidated: %v, rows differ: %s", third, diff)
	}
}

func TestFailuresThatAreAskedAgain(t *testing.T) {
	for policy, want := range map[string][2]int{"transient": {6, 1}, "none": {3, 1}, "all": {6, 2}} {
		s := newSite(t)
		s.serves("/good.png", aPNG(1))
		s.mux.HandleFunc("/busy.png", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		items := []itemURL{{"good", s.URL + "/good.png"}, {"busy", s.URL + "/busy.png"}, {"gone", s.URL + "/gone.png"}}
		env := stagetest.Env(t)
		for range 2 {
			d := newDownload()
			d.AllowPrivate = true
			d.RetryFailed.Value = policy
			rows := download(t, d, env, items...)
			if rows[1].Error != "the server answered 502 Bad Gateway" || rows[1].Status != 502 || rows[2].Error != "the server answered 404 Not Found" {
				t.Errorf("%s: rows %v", policy, rows)
			}
		}
		if got := [2]int{s.times("/busy.png"), s.times("/gone.png")}; got != want || s.times("/good.png") != 1 {
			t.Errorf("retry_failed = %q: %v requests for failures, want %v", policy, got, want)
		}
		wantReason := "1 pictures failed in a way that may pass: 1 server error"
		if policy == "none" {
			wantReason = ""
		}
		if got := env.IncompleteReason(); got != wantReason {
			t.Errorf("retry_failed = %q: incomplete for %q, want %q", policy, got, wantReason)
		}
	}
}

// Limits decide about what is remembered, too, and ask nobody whom they do not concern.
func TestLimitsThatChange(t *testing.T) {
	s := newSite(t)
	large := append(aPNG(1), make([]byte, 5000)...)
	s.serves("/large.png", large)
	s.serves("/small.png", aPNG(2))
	env := stagetest.Env(t)
	for i, step := range []struct {
		maxBytes  int64
		failed    bool
		downloads int // of the large one
	}{{2000, true, 1}, {2000, true, 1}, {9000, false, 2}, {2000, true, 2}, {9000, false, 2}} {
		d := newDownload()
		d.AllowPrivate, d.MaxBytes = true, step.maxBytes
		rows := download(t, d, env, itemURL{"l", s.URL + "/large.png"}, itemURL{"s", s.URL + "/small.png"})
		if failed := rows[0].Error != ""; failed != step.failed || s.times("/large.png") != step.downloads || s.times("/small.png") != 1 {
			t.Errorf("step %d: %q, %d and %d requests", i, rows[0].Error, s.times("/large.png"), s.times("/small.png"))
		}
	}
}

func TestTooManyFailures(t *testing.T) {
	s := newSite(t)
	s.serves("/good.png", aPNG(1))
	items := []itemURL{{"a", s.URL + "/good.png"}, {"b", s.URL + "/1"}, {"c", s.URL + "/good.png"}, {"d", s.URL + "/2"}, {"e", ""}}
	tests := []struct {
		maxFailed float64
		items     []itemURL
		want      string
	}{
		{0.5, items, ""},
		{0.49, items, "2 of 4 pictures failed, and max_failed = 0.49 allows 1: 2 not found; for example " + s.URL},
		{0.49, items, "; 2 of them are not asked for again but with retry_failed = \"all\""},
		{1, items[1:2], "all 1 pictures failed: 1 not found"},
		{0, items[:1], ""},
		{0, items[4:], ""},
	}
	for _, test := range tests {
		d := newDownload()
		d.AllowPrivate, d.MaxFailed = true, test.maxFailed
		_, err := tryDownload(t, d, stagetest.Env(t), test.items...)
		if got := fmt.Sprint(err); test.want == "" && err != nil || !strings.Contains(got, test.want) {
			t.Errorf("max_failed = %g of %d items: %v, want %q", test.maxFailed, len(test.items), err, test.want)
		}
	}
}

// What was downloaded before too many failed is not asked for again.
func TestTooManyFailuresKeepWhatCame(t *testing.T) {
	s := newSite(t)
	s.serves("/good.png", aPNG(1))
	env := stagetest.Env(t)
	for range 2 {
		d := newDownload()
		d.AllowPrivate, d.MaxFailed, d.Concurrency.Value = true, 0, 1
		if _, err := tryDownload(t, d, env, itemURL{"a", s.URL + "/good.png"}, itemURL{"b", s.URL + "/1"}); err == nil {
			t.Error("a failure was let pass")
		}
	}
	if n := s.total(); n != 2 {
		t.Errorf("%d requests for two URLs that are remembered", n)
	}
}

func TestRevalidationThatFails(t *testing.T) {
	s := newSite(t)
	status := http.StatusOK
	s.mux.HandleFunc("/a.png", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(aPNG(1))
	})
	s.serves("/b.png", aPNG(2))
	env := stagetest.Env(t)
	var log bytes.Buffer
	env.Log = zerolog.New(&log)
	for _, step := range []struct {
		status int
		want   string
	}{{200, ""}, {503, ""}, {410, "the server answered 410 Gone"}, {503, "the server answered 410 Gone"}} {
		d := newDownload()
		d.AllowPrivate, d.Revalidate.Value = true, true
		status = step.status
		rows := download(t, d, env, itemURL{"a", s.URL + "/a.png"}, itemURL{"b", s.URL + "/b.png"})
		if rows[0].Error != step.want || (len(rows[0].Bytes) == 0) != (step.want != "") {
			t.Errorf("a server that answers %d: %q", step.status, rows[0].Error)
		}
		const kept = "1 of 2 URLs could not be asked: what is known of them stays"
		if told := strings.Contains(log.String(), kept); told != (step.status == 503) {
			t.Errorf("a server that answers %d: %s", step.status, log.String())
		}
		log.Reset()
		if reason := env.IncompleteReason(); reason != "" {
			t.Errorf("a server that answers %d makes a complete result incomplete: %s", step.status, reason)
		}
	}
}

// A revalidation that fails for too many rows, as behind a network that answers
// everything with a page of its own, loses no picture.
func TestRevalidationThatLosesNothing(t *testing.T) {
	s := newSite(t)
	portal := false
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if portal {
			_, _ = w.Write([]byte("<!DOCTYPE html><p>Log in to our network"))
			return
		}
		_, _ = w.Write(aPNG(1))
	})
	var items []itemURL
	for i := range 20 {
		items = append(items, itemURL{fmt.Sprint(i), fmt.Sprintf("%s/%d", s.URL, i)})
	}
	env := stagetest.Env(t)
	download := func(revalidate bool) ([]tables.Image, error) {
		d := newDownload()
		d.AllowPrivate, d.MaxFailed, d.Revalidate.Value = true, 0.2, revalidate
		return tryDownload(t, d, env, items...)
	}
	known, err := download(false)
	if err != nil {
		t.Fatal(err)
	}
	portal = true
	if _, err := download(true); err == nil {
		t.Fatal("20 pictures became pages, and 4 may fail")
	}
	after, err := download(false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(known, after); diff != "" || s.total() > 40 {
		t.Errorf("%d requests; rows after a revalidation that failed: %s", s.total(), diff)
	}
}

// What lets a server say "unchanged" is of the URL that served the picture: a
// redirect that leads to another one since gets the other picture.
func TestRedirectThatLeadsElsewhere(t *testing.T) {
	s := newSite(t)
	to := "/new.png"
	s.mux.HandleFunc("/a.png", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	for path, picture := range map[string]struct {
		modified time.Time
		data     []byte
	}{
		"/new.png": {time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), aPNG(1)},
		"/old.png": {time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), aPNG(2)},
	} {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", picture.modified, bytes.NewReader(picture.data))
		})
	}
	env := stagetest.Env(t)
	for i, step := range []struct {
		to          string
		picture     []byte
		notModified int
	}{{"/new.png", aPNG(1), 0}, {"/new.png", aPNG(1), 1}, {"/old.png", aPNG(2), 1}} {
		to = step.to
		d := newDownload()
		d.AllowPrivate, d.Revalidate.Value = true, true
		rows := download(t, d, env, itemURL{"a", s.URL + "/a.png"})
		got := 0
		for _, c := range env.Report() {
			if c.Name == "not_modified" {
				got += int(c.Value)
			}
		}
		if !bytes.Equal(rows[0].Bytes, step.picture) || got != step.notModified {
			t.Errorf("step %d: %q from %s, %d times not modified, want %d", i, rows[0].Error, rows[0].FinalURL, got, step.notModified)
		}
	}
}

// Offline nobody is asked: what is known serves, as it is, and what was never
// asked for is an error that says what to do.
func TestOffline(t *testing.T) {
	s := newSite(t)
	s.serves("/good.png", aPNG(1))
	s.mux.HandleFunc("/busy.png", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	items := []itemURL{{"good", s.URL + "/good.png"}, {"busy", s.URL + "/busy.png"}, {"gone", s.URL + "/gone.png"}}
	env := stagetest.Env(t)
	stage := func() *Download {
		d := newDownload()
		d.AllowPrivate = true
		return d
	}
	online := download(t, stage(), env, items...)
	asked := s.total()
	env.Offline = true
	d := stage()
	d.Revalidate.Value = true
	if diff := cmp.Diff(online, download(t, d, env, items...)); diff != "" {
		t.Errorf("offline the rows differ: %s", diff)
	}
	if reason := env.IncompleteReason(); !strings.Contains(reason, "1 pictures failed in a way that may pass") {
		t.Errorf("incomplete for %q", reason)
	}
	_, err := tryDownload(t, stage(), env, append(items, itemURL{"new", s.URL + "/new.png?key=secret"})...)
	want := "1 of 4 pictures are not at hand and --offline forbids asking for them, such as " + s.URL + "/new.png?***: run once without --offline"
	if fmt.Sprint(err) != want {
		t.Errorf("a picture that was never asked for: %v, want %s", err, want)
	}
	if s.total() != asked {
		t.Errorf("%d requests offline", s.total()-asked)
	}
}

// The site of a demonstration is this process, so that it works offline, too.
func TestOfflineSite(t *testing.T) {
	d := newDownload()
	var items []itemURL
	d.Site, items = shopWith(t, exhibits[:1])
	env := stagetest.Env(t)
	env.Offline = true
	if rows := download(t, d, env, items...); rows[0].Error != "" {
		t.Errorf("offline: %s", rows[0].Error)
	}
}

func TestRevalidates(t *testing.T) {
	tests := map[string]string{
		"":    "",
		"all": `retry_failed = "all" asks again for those that failed`,
		"yes": "revalidate asks whether pictures changed",
	}
	for name, want := range tests {
		values := stages.Values{"items": {V: "a.items"}}
		if name == "yes" {
			values["revalidate"] = stages.Value{V: true}
		} else if name != "" {
			values["retry_failed"] = stages.Value{V: name}
		}
		stage, problems := downloadKind().Bind(values, stages.BindContext{})
		if problems != nil {
			t.Fatal(problems)
		}
		if got := stage.(stages.Revalidator).Revalidates(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestUserAgentIsOneLine(t *testing.T) {
	for agent, good := range map[string]bool{"me (me@example.org)": true, "": false, "a\r\nHost: b": false, "né": false} {
		values := stages.Values{"items": {V: "a.items"}, "user_agent": {V: agent}}
		if _, problems := downloadKind().Bind(values, stages.BindContext{}); (problems == nil) != good {
			t.Errorf("user_agent = %q: %v", agent, problems)
		}
	}
}
