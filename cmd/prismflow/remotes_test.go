package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/pipelines"
)

// atDesk is a streams whose environment is what is given.
func atDesk(t *testing.T, env map[string]string) (s *streams, out, errs *bytes.Buffer) {
	t.Helper()
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	dir := t.TempDir()
	return &streams{
		out: stream{Writer: out}, err: stream{Writer: errs}, dir: dir, now: time.Now,
		lookupEnv: func(name string) (string, bool) {
			value, ok := env[name]
			if name == "PRISMFLOW_CONFIG" && !ok {
				return filepath.Join(dir, "config.toml"), true
			}
			return value, ok
		},
	}, out, errs
}

func TestChooseRemotes(t *testing.T) {
	pipeline := &pipelines.Pipeline{Cache: pipelines.CacheConfig{Remotes: []pipelines.Remote{
		{URL: "s3://one", FromPipeline: true}, {URL: "https://two", FromPipeline: true},
	}}}
	settings := userSettings{Settings: pipelines.Settings{Cache: pipelines.CacheConfig{Remotes: []pipelines.Remote{
		{URL: "gs://three"}, {URL: "https://two", TokenEnv: "T"},
	}}}}
	for _, test := range []struct {
		flags    []string
		env      string
		pipeline *pipelines.Pipeline
		want     string
	}{
		{nil, "", nil, "gs://three https://two(T)"},
		{nil, "", pipeline, "s3://one https://two(T) gs://three"}, // the user's own entry has the token
		{nil, " s3://four#token_env=X  s3://five ", pipeline, "error"},
		{nil, " s3://four  s3://five s3://four", pipeline, "s3://four s3://five"},
		{nil, "none", pipeline, ""},
		{[]string{"s3://six"}, "s3://four", pipeline, "s3://six"},
		{[]string{"none"}, "s3://four", pipeline, ""},
		{[]string{"none", "s3://six"}, "", nil, "error"},
		{[]string{""}, "", nil, "error"},
	} {
		s, _, _ := atDesk(t, map[string]string{"PRISMFLOW_REMOTE": test.env})
		chosen, err := chooseRemotes(test.flags, test.pipeline, settings, s)
		var got []string
		for _, r := range chosen {
			text := r.URL
			if r.TokenEnv != "" {
				text += "(" + r.TokenEnv + ")"
			}
			got = append(got, text)
		}
		if err != nil {
			got = []string{"error"}
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("%q, %q: %s (%v), want %s", test.flags, test.env, text, err, test.want)
		}
	}
}

// A pipeline file, which may be of a stranger, gets the token that is for the
// server that it names and no other.
func TestToken(t *testing.T) {
	env := map[string]string{"PRISMFLOW_TOKEN": "general", "MINE": "mine", "PRISMFLOW_TOKEN_CACHE_EXAMPLE_COM": "bound"}
	for _, test := range []struct {
		remote pipelines.Remote
		want   string
	}{
		{pipelines.Remote{URL: "https://elsewhere.example.com"}, "general"},
		{pipelines.Remote{URL: "https://elsewhere.example.com", FromPipeline: true}, ""},
		{pipelines.Remote{URL: "https://cache.example.com", FromPipeline: true}, "bound"},
		{pipelines.Remote{URL: "https://cache.example.com"}, "bound"},
		{pipelines.Remote{URL: "https://cache-example.com", FromPipeline: true}, ""},
		{pipelines.Remote{URL: "https://cache.example.com:81", FromPipeline: true}, ""},
		{pipelines.Remote{URL: "https://cache.example.com", FromPipeline: true, CA: "theirs.pem"}, ""},
		{pipelines.Remote{URL: "https://cache.example.com", CA: "mine.pem"}, "bound"},
		{pipelines.Remote{URL: "https://cache.example.com", TokenEnv: "MINE"}, "mine"},
		{pipelines.Remote{URL: "https://cache.example.com", TokenEnv: "UNSET"}, ""},
		{pipelines.Remote{URL: "https://me:word@elsewhere.example.com"}, ""},
	} {
		s, _, _ := atDesk(t, env)
		warned := 0
		got := token(test.remote, func(message string) {
			warned++
			if !strings.Contains(message, "UNSET") && !strings.Contains(message, "PRISMFLOW_TOKEN_CACHE_EXAMPLE_COM") || strings.Contains(message, "bound") {
				t.Errorf("the warning does not name the variable: %s", message)
			}
		}, s)
		if got != test.want || (warned > 0) != (test.remote.TokenEnv == "UNSET" || test.remote.CA == "theirs.pem") {
			t.Errorf("%+v: %q, want %q; %d warnings", test.remote, got, test.want, warned)
		}
	}
}

// Credentials go over plain http to another machine where their owner says so.
func TestPlainCredentials(t *testing.T) {
	env := map[string]string{"PRISMFLOW_TOKEN": "general"}
	for _, test := range []struct {
		remote pipelines.Remote
		fine   bool
	}{
		{pipelines.Remote{URL: "http://cache.example.com"}, false},
		{pipelines.Remote{URL: "http://cache.example.com", FromPipeline: true}, true}, // it gets no token
		{pipelines.Remote{URL: "http://cache.example.com", PlainCredentials: true}, true},
		{pipelines.Remote{URL: "http://localhost:7117"}, true},
	} {
		s, _, _ := atDesk(t, env)
		store, err := openRemote(test.remote, func(string) {}, s)
		if (err == nil) != test.fine || err != nil && !strings.Contains(err.Error(), "plain_credentials = true") {
			t.Errorf("%+v: %v", test.remote, err)
		}
		if err == nil {
			store.Close()
		}
	}
}

// blabber is a server that answers everything by repeating what it was sent.
type blabber struct {
	mu   sync.Mutex // guards seen
	seen []string   // values of Authorization
}

func (b *blabber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	authorization := r.Header.Get("Authorization")
	b.mu.Lock()
	b.seen = append(b.seen, authorization)
	b.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprintf(w, "you sent %s to %s", authorization, r.URL)
}

func (b *blabber) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	sent := slices.Clone(b.seen)
	slices.Sort(sent)
	b.seen = nil
	return slices.Compact(sent)
}

const onePipeline = `name = "one"
[cache]
remotes = ["%s"]
[stages.one]
kind = "exec"
command = ["sh", "-c", "echo one > {output.one}"]
outputs = { one = "file" }
`

// Nothing that is printed or recorded has a credential, also where a server
// repeats it; and it is sent only where the user said so.
func TestCredentialsStayHidden(t *testing.T) {
	const secret = "s3cr3t-t0ken-of-mine"
	server := &blabber{}
	listening := httptest.NewServer(server)
	defer listening.Close()
	bound := pipelines.Remote{URL: listening.URL}.HostVariable()
	withPassword := strings.Replace(listening.URL, "http://", "http://me:"+secret+"@", 1)
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		want string // what the server saw, from its first word on
	}{
		"a token of the user's for all, and a remote of the pipeline": {map[string]string{"PRISMFLOW_TOKEN": secret}, nil, ""},
		"a token for the server of the pipeline":                      {map[string]string{bound: secret}, nil, "Bearer " + secret},
		"a token for all, and a remote of the user":                   {map[string]string{"PRISMFLOW_TOKEN": secret}, []string{"--remote", listening.URL}, "Bearer " + secret},
		"a token in a variable":                                       {map[string]string{"MINE": secret}, []string{"--remote", listening.URL + "#token_env=MINE"}, "Bearer " + secret},
		"a password in a URL":                                         {nil, []string{"--remote", withPassword}, "Basic "},
		"a password in the environment":                               {map[string]string{"PRISMFLOW_REMOTE": withPassword}, nil, "Basic "},
		"a secret instead of a variable":                              {nil, []string{"--remote", listening.URL + "#token_env=" + secret}, "refused"},
		"a password in a URL that is none":                            {nil, []string{"--remote", "https://me:" + secret + "@host:port"}, "refused"},
		"a password in the URL of a bucket":                           {nil, []string{"--remote", "s3://me:" + secret + "@bucket"}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			server.sent()
			env := map[string]string{"PATH": os.Getenv("PATH")}
			for key, value := range test.env {
				env[key] = value
			}
			s, out, errs := atDesk(t, env)
			if err := os.WriteFile(filepath.Join(s.dir, "one.toml"), fmt.Appendf(nil, onePipeline, listening.URL), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, verb := range [][]string{{"status"}, {"explain"}, {"run", "--json"}, {"doctor"}, {"cache", "push"}, {"cache", "pull"}} {
				args := append(slices.Clone(verb), filepath.Join(s.dir, "one.toml"))
				if verb[0] == "explain" {
					args = append(args, "one")
				}
				args = append(append(args, "--cache", filepath.Join(s.dir, "cache")), test.args...)
				code := execute(context.Background(), args, s)
				if refused := test.want == "refused"; refused != (code == exitUsage) {
					t.Errorf("%q ends in %d: %s", args, code, errs)
				}
			}
			if sent := server.sent(); test.want != "refused" {
				if len(sent) != 1 || !strings.HasPrefix(sent[0], test.want) || test.want == "" && sent[0] != "" {
					t.Errorf("the server was sent %q, want %q", sent, test.want)
				}
			}
			hidden := []string{secret}
			if test.want == "Basic " {
				hidden = append(hidden, "bWU6")
			}
			if repeated := strings.Contains(errs.String()+out.String(), "you sent"); repeated != (test.want != "refused") {
				t.Errorf("what the server says is shown: %v", repeated) // else there is nothing to hide
			}
			wantHidden(t, hidden, out.String()+errs.String(), s.dir)
		})
	}
}

// wantHidden looks for secrets in what was printed and in all files below dir.
func wantHidden(t *testing.T, secrets []string, printed, dir string) {
	t.Helper()
	files := 0
	look := func(where string, text []byte) {
		for _, secret := range secrets {
			if at := bytes.Index(text, []byte(secret)); at >= 0 {
				t.Errorf("%s has the secret: %s", where, text[max(0, at-100):min(len(text), at+100)])
			}
		}
	}
	look("what was printed", []byte(printed))
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		look(path, text)
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("looked into %d files: %v", files, err)
	}
}

// What doctor says to do fits the remote and what is wrong with it.
func TestRemedies(t *testing.T) {
	unknown := httptest.NewTLSServer(http.NotFoundHandler())
	defer unknown.Close()
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	forbidden := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer forbidden.Close()
	for url, want := range map[string]string{
		unknown.URL:                 "#ca=FILE",
		forbidden.URL:               "put a token of this server into PRISMFLOW_TOKEN_127_0_0_1_",
		"http://127.0.0.1:1":        "whether it is http or https",
		"file:///no/such/directory": "mount the share",
		"gs://bucket":               "the credentials in the environment",
	} {
		s, _, _ := atDesk(t, map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "/no/such/file"})
		if c := checkRemote(t.Context(), pipelines.Remote{URL: url}, s); c.State != checkMissing || !strings.Contains(c.Remedy, want) {
			t.Errorf("%s: %+v, want a remedy with %q", url, c, want)
		}
	}
	ours := fmt.Errorf("opening: %w", remote.ErrForbidden)
	if got := remedyOf(pipelines.Remote{URL: "file:///mnt/team"}, ours); !strings.Contains(got, "chgrp") {
		t.Errorf("of a share that may not be read: %s", got)
	}
}
