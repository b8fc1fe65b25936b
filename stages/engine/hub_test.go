package engine

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/stages"
)

const (
	someCommit  = "0123456789abcdef0123456789abcdef01234567"
	otherCommit = "89abcdef0123456789abcdef0123456789abcdef"
	someToken   = "hf_hunter2"
)

// hubServer serves one model as the hub does: small files itself, weights by a
// redirect to another server, with their checksums in its own answer.
type hubServer struct {
	commit string
	files  map[string]string
	answer func(w http.ResponseWriter, r *http.Request, file string) bool // instead of the rest; may be nil
	cdn    *httptest.Server
	breaks atomic.Int64 // bodies of weights that are cut short

	mu       sync.Mutex // guards requests and tokens
	requests []string
	tokens   map[string]bool // Authorization headers that reached the hub …
	leaked   atomic.Bool     // … and whether one reached the other server
	sent     atomic.Int64    // bytes of weights
}

func (s *hubServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.URL.Path)
	s.tokens[r.Header.Get("Authorization")] = true
	s.mu.Unlock()
	revision, isListing := strings.CutPrefix(r.URL.Path, "/api/models/some/clip/revision/")
	file, isFile := strings.CutPrefix(r.URL.Path, "/some/clip/resolve/"+s.commit+"/")
	content, has := s.files[file]
	switch {
	case s.answer != nil && s.answer(w, r, file):
	case isListing && (revision == "main" || revision == "refs/pr/3" || revision == s.commit):
		s.list(w)
	case !isFile || !has:
		http.NotFound(w, r)
	case strings.HasSuffix(file, ".safetensors"):
		w.Header().Set("X-Repo-Commit", s.commit)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(content)))
		w.Header().Set("X-Linked-Etag", strconv.Quote(artifacts.DigestOf([]byte(content)).Hex()))
		http.Redirect(w, r, s.cdn.URL+"/"+file+"?signature=hunter2", http.StatusFound)
	default:
		w.Header().Set("X-Repo-Commit", s.commit)
		w.Header().Set("ETag", strconv.Quote(gitNameOf(content)))
		_, _ = w.Write([]byte(content))
	}
}

func (s *hubServer) list(w http.ResponseWriter) {
	type sibling struct {
		Name string `json:"rfilename"`
	}
	var siblings []sibling
	for name := range s.files {
		siblings = append(siblings, sibling{name})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"sha": s.commit, "siblings": siblings, "likes": 7})
}

// serveWeights is the other server, which has byte ranges and hangs up at times.
func (s *hubServer) serveWeights(w http.ResponseWriter, r *http.Request) {
	content := s.files[strings.TrimPrefix(r.URL.Path, "/")]
	w.Header().Set("ETag", `"parts-1"`)
	if r.Header.Get("Authorization") != "" {
		s.leaked.Store(true)
	}
	left := len(content)
	if s.breaks.Add(-1) >= 0 {
		left /= 2
	}
	http.ServeContent(&cutWriter{w, left, &s.sent}, r, "", time.Time{}, strings.NewReader(content))
}

// cutWriter hangs up when nothing is left.
type cutWriter struct {
	http.ResponseWriter
	left int
	sent *atomic.Int64
}

func (w *cutWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p[:min(len(p), w.left)])
	w.left -= n
	w.sent.Add(int64(n))
	if err == nil && n < len(p) {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func gitNameOf(content string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	return hex.EncodeToString(sum[:])
}

// someModel is a model with decoys beside what is wanted of it.
func someModel() map[string]string {
	return map[string]string{
		"config.json": `{"a": 1}`, "preprocessor_config.json": `{}`, "vocab.json": `{"b": 2}`, "merges.txt": "#version: 0.2\na b\n",
		"model.safetensors": strings.Repeat("weights ", 40_000),
		"pytorch_model.bin": "code", "modeling.py": "code", "README.md": "read me", "../../x/config.json": "elsewhere", "onnx/model.safetensors": "elsewhere",
	}
}

var wantedFiles = []string{"config.json", "merges.txt", "model.safetensors", "preprocessor_config.json", "vocab.json"}

// hubTest is a resolver that asks a hub which serves files, with a token.
func hubTest(t *testing.T, files map[string]string) (*sourceResolver, *hubServer) {
	t.Helper()
	store, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	server := &hubServer{commit: someCommit, files: files, tokens: map[string]bool{}}
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	server.cdn = httptest.NewServer(http.HandlerFunc(server.serveWeights))
	t.Cleanup(server.cdn.Close)
	urls := &urlCache{store: store, dir: t.TempDir(), client: listener.Client(), stall: time.Minute, pause: time.Millisecond}
	environment := map[string]string{"HF_ENDPOINT": listener.URL + "/", "HF_TOKEN": someToken + "\n"} // as of a file
	return &sourceResolver{store: store, hasher: store.Files(), urls: urls, hub: newHub(urls, func(name string) (string, bool) {
		value, ok := environment[name]
		return value, ok
	})}, server
}

func directorySpec(text string) stages.SourceSpec {
	return stages.SourceSpec{Param: "weights", Patterns: []stages.Value{{V: text}}, Names: stages.NamesBelow, Directories: true}
}

// hubFiles are the files of a model by name, with their content.
func hubFiles(t *testing.T, s *sourceResolver, text string) map[string]string {
	t.Helper()
	source, err := s.source(context.Background(), directorySpec(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, file := range source.files {
		data, err := os.ReadFile(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		files[file.Name] = string(data)
	}
	if changed, err := s.changed(map[string]resolvedSource{"weights": source}); changed != "" || err != nil {
		t.Errorf("%s is told to have changed in the store (%v)", changed, err)
	}
	return files
}

func only(files map[string]string, names ...string) map[string]string {
	some := map[string]string{}
	for _, name := range names {
		some[name] = files[name]
	}
	return some
}

func TestHubModelIsFetchedOnce(t *testing.T) {
	model := someModel()
	s, server := hubTest(t, model)
	for range 2 {
		if diff := cmp.Diff(only(model, wantedFiles...), hubFiles(t, s, "hf://some/clip")); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	if n := len(server.requests); n != 1+len(wantedFiles) {
		t.Errorf("asked for %v; the second time nothing is asked", server.requests)
	}
	if diff := cmp.Diff(map[string]bool{"Bearer " + someToken: true}, server.tokens); diff != "" || server.leaked.Load() {
		t.Errorf("the token goes to the hub and to nobody else (leaked: %v)%s", server.leaked.Load(), diff)
	}
	s.urls.offline = true
	hubFiles(t, s, "hf://some/clip@main")
}

// Whoever has no way to a hub is told what else there is.
func TestUnreachableHub(t *testing.T) {
	s, _ := hubTest(t, someModel())
	s.hub.endpoint = "http://127.0.0.1:1"
	_, err := s.source(context.Background(), directorySpec("hf://some/clip"), nil)
	if err == nil || !strings.Contains(err.Error(), "name a directory that holds the model") {
		t.Error(err)
	}
}

// What the stage sees, and so the key, is that of a directory with these files.
func TestHubModelHasTheKeyOfItsDirectory(t *testing.T) {
	s, server := hubTest(t, someModel())
	dir := t.TempDir()
	for _, name := range wantedFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(server.files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var keys [2]string
	for i, text := range []string{"hf://some/clip@refs/pr/3", dir} {
		spec := stages.Spec{Stage: sourceStage{directorySpec(text)}}
		sources, err := s.resolve(context.Background(), spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		asked, err := request(spec, nil, sources)
		if err != nil {
			t.Fatal(err)
		}
		key, err := asked.Key()
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = string(key)
	}
	if keys[0] != keys[1] {
		t.Errorf("keys %v", keys)
	}
}

// sourceStage is a stage that has a source and nothing else.
type sourceStage struct{ spec stages.SourceSpec }

func (s sourceStage) Request() artifacts.Request             { return artifacts.Request{Kind: "test", Version: 1} }
func (s sourceStage) Inputs() []stages.Input                 { return nil }
func (s sourceStage) Sources() []stages.SourceSpec           { return []stages.SourceSpec{s.spec} }
func (s sourceStage) Outputs() []stages.Port                 { return nil }
func (s sourceStage) Run(context.Context, *stages.Env) error { return nil }

func TestHubTransferGoesOn(t *testing.T) {
	s, server := hubTest(t, someModel())
	server.breaks.Store(2)
	var last, total int64
	_, err := s.source(context.Background(), directorySpec("hf://some/clip"), func(done, of int64) { last, total = done, of })
	if err != nil {
		t.Fatal(err)
	}
	whole := len(server.files["model.safetensors"])
	if sent := int(server.sent.Load()); sent > whole*3/2 {
		t.Errorf("%d bytes were sent of a file of %d: it did not go on where it stopped", sent, whole)
	}
	all := int64(0)
	for _, name := range wantedFiles {
		all += int64(len(server.files[name]))
	}
	if last != all || total != all {
		t.Errorf("progress ends at %d of %d bytes, and %d were fetched", last, total, all)
	}
}

func TestRefreshAsksWhichCommitARevisionIs(t *testing.T) {
	s, server := hubTest(t, someModel())
	pinned := "hf://some/clip@" + someCommit
	hubFiles(t, s, "hf://some/clip")
	hubFiles(t, s, pinned)
	asked := len(server.requests)
	s.urls.refresh = true
	hubFiles(t, s, pinned)
	if n := len(server.requests) - asked; n != 0 {
		t.Errorf("%d requests for a commit, which never changes", n)
	}
	hubFiles(t, s, "hf://some/clip")
	if n := len(server.requests) - asked; n != 1 {
		t.Errorf("%d requests for a branch that did not move, want 1", n)
	}
	server.commit, server.files = otherCommit, someModel()
	server.files["config.json"] = `{"a": 2}`
	if got := hubFiles(t, s, "hf://some/clip")["config.json"]; got != `{"a": 2}` {
		t.Errorf("after the branch moved: %s", got)
	}
}

func TestHubModelInShards(t *testing.T) {
	model := someModel()
	delete(model, "model.safetensors")
	model["model-00001-of-00002.safetensors"], model["model-00002-of-00002.safetensors"] = "first", "second"
	model[weightIndex] = `{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}}`
	s, _ := hubTest(t, model)
	want := only(model, "config.json", "merges.txt", "preprocessor_config.json", "vocab.json", weightIndex,
		"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
	if diff := cmp.Diff(want, hubFiles(t, s, "hf://some/clip")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHubModelThatIsNotAtHand(t *testing.T) {
	s, server := hubTest(t, someModel())
	s.urls.noFetch = true
	_, err := s.source(context.Background(), directorySpec("hf://some/clip"), nil)
	if !errors.Is(err, errNotFetched) || !strings.Contains(err.Error(), "hf://some/clip@main") {
		t.Errorf("status: %v", err)
	}
	s.urls.noFetch, s.urls.offline = false, true
	if _, err := s.source(context.Background(), directorySpec("hf://some/clip"), nil); err == nil || !strings.Contains(err.Error(), "--offline") {
		t.Errorf("offline: %v", err)
	}
	if len(server.requests) > 0 {
		t.Errorf("asked for %v", server.requests)
	}
	file := directorySpec("hf://some/clip")
	file.Directories = false
	if _, err := s.source(context.Background(), file, nil); err == nil || !strings.Contains(err.Error(), "a file is wanted") {
		t.Errorf("as a file: %v", err)
	}
}

// A hub that lies, or the network between, is found out, and nothing of it is
// remembered.
func TestHubsThatAreNotBelieved(t *testing.T) {
	status := func(code int) func(http.ResponseWriter, *http.Request, string) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ string) bool {
			w.WriteHeader(code)
			return true
		}
	}
	listing := func(text string) func(http.ResponseWriter, *http.Request, string) bool {
		return func(w http.ResponseWriter, r *http.Request, _ string) bool {
			if !strings.HasPrefix(r.URL.Path, "/api/") {
				return false
			}
			_, _ = w.Write([]byte(text))
			return true
		}
	}
	headers := func(of string, headers map[string]string, body string) func(http.ResponseWriter, *http.Request, string) bool {
		return func(w http.ResponseWriter, _ *http.Request, file string) bool {
			if file != of {
				return false
			}
			for name, value := range headers {
				w.Header().Set(name, value)
			}
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	weights := "model.safetensors"
	sum := artifacts.DigestOf([]byte("x")).Hex()
	for _, test := range []struct {
		name, want string
		answer     func(http.ResponseWriter, *http.Request, string) bool
	}{
		{"no token is enough", "may not read it", status(http.StatusUnauthorized)},
		{"gated", "agreed to at http", status(http.StatusForbidden)},
		{"absent", "no such model", status(http.StatusNotFound)},
		{"down", "name a directory that holds the model", status(http.StatusInternalServerError)},
		{"page instead of a listing", "no list of files", listing("<html>")},
		{"no commit", "40 hex digits", listing(`{"sha": "../../x"}`)},
		{"wrong SHA-256", "the hub says " + sum, headers(weights, map[string]string{"X-Linked-Etag": `"` + sum + `"`}, "y")},
		{"wrong git name", "git's name", headers("config.json", map[string]string{"ETag": `"` + gitNameOf("x") + `"`}, "y")},
		{"no checksum", "names no checksum", headers("config.json", map[string]string{"ETag": `"abc"`}, "y")},
		{"other commit", "of commit " + strconv.Quote(otherCommit), headers("config.json", map[string]string{"X-Repo-Commit": otherCommit}, "y")},
		{"too few bytes", "it has 1 bytes, and the hub says 2", headers(weights, map[string]string{"X-Linked-Size": "2"}, "y")},
		{"too many bytes", "may have 1", headers(weights, map[string]string{"X-Linked-Size": "1"}, "yy")},
		{"endless", "more than 3 bytes", func(w http.ResponseWriter, r *http.Request, file string) bool {
			if file != weights {
				return false
			}
			w.Header().Set("X-Linked-Size", "3")
			for r.Context().Err() == nil {
				_, _ = w.Write(bytes.Repeat([]byte("y"), 1<<16))
			}
			return true
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, server := hubTest(t, someModel())
			server.answer = test.answer
			_, err := s.source(context.Background(), directorySpec("hf://some/clip"), nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "hf://some/clip") || strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			server.answer = nil
			hubFiles(t, s, "hf://some/clip")
		})
	}
}

func TestWeightsThatMayHoldCode(t *testing.T) {
	model := someModel()
	delete(model, "model.safetensors")
	s, server := hubTest(t, model)
	_, err := s.source(context.Background(), directorySpec("hf://some/clip"), nil)
	if err == nil || !strings.Contains(err.Error(), "refs/pr/") || len(server.requests) != 1 {
		t.Errorf("error %v after asking for %v", err, server.requests)
	}
}

func TestHostileIndexOfWeights(t *testing.T) {
	for name, index := range map[string]string{
		"path":      `{"weight_map": {"a": "../config.safetensors"}}`,
		"code":      `{"weight_map": {"a": "pytorch_model.bin"}}`,
		"directory": `{"weight_map": {"a": "onnx/model.safetensors"}}`,
		"absent":    `{"weight_map": {"a": "other.safetensors"}}`,
		"empty":     `{}`,
		"no JSON":   `{`,
	} {
		model := someModel()
		delete(model, "model.safetensors")
		model[weightIndex] = index
		s, _ := hubTest(t, model)
		if _, err := s.source(context.Background(), directorySpec("hf://some/clip"), nil); err == nil || !strings.Contains(err.Error(), weightIndex) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEndpointOfAHub(t *testing.T) {
	for endpoint, want := range map[string]string{"": hubEndpoint, "http://mirror:8080/hf/": "http://mirror:8080/hf"} {
		h := newHub(nil, func(string) (string, bool) { return endpoint, true })
		if h.endpoint != want {
			t.Errorf("endpoint %q of %q", h.endpoint, endpoint)
		}
	}
	if h := newHub(nil, nil); h.endpoint != hubEndpoint {
		t.Errorf("endpoint %q", h.endpoint)
	}
	h := newHub(nil, func(string) (string, bool) { return "mirror:8080", true })
	if _, err := h.files(context.Background(), stages.HubModel{}, nil); err == nil || !strings.Contains(err.Error(), "HF_ENDPOINT") {
		t.Errorf("error %v", err)
	}
}
