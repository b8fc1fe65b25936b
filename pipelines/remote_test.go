package pipelines

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRemotes(t *testing.T) {
	p := mustLoad(t, `[params]
bucket = "team"
slow = 2
[cache]
trusted = ["ann   ed25519:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
remotes = [
  "file:../share",
  "file:///mnt//x/",
  "s3://${params.bucket}?region=eu#mode=read&parallel=4",
  { url = "https://cache.example.com/p", upload = "on-success", parallel = "${params.slow}", bandwidth = "50MiB/s", timeout = "30s", min_rate = "1KiB/s", ca = "ca.pem" },
  "file:///mnt/x",
]
`+oneStage, nil)
	dir := p.Dir
	want := []Remote{
		{URL: "file://" + filepath.Join(filepath.Dir(dir), "share"), FromPipeline: true},
		{URL: "file:///mnt/x", FromPipeline: true},
		{URL: "s3://team?region=eu", ReadOnly: true, Parallel: 4, FromPipeline: true},
		{URL: "https://cache.example.com/p", Upload: "on-success", Parallel: 2, Bandwidth: 50 << 20, Timeout: 30 * time.Second,
			MinRate: 1 << 10, CA: filepath.Join(dir, "ca.pem"), FromPipeline: true},
	}
	if diff := cmp.Diff(want, p.Cache.Remotes); diff != "" {
		t.Errorf("remotes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ann ed25519:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}, p.Cache.Trusted); diff != "" {
		t.Errorf("trusted (-want +got):\n%s", diff)
	}
}

// An array of tables and a single text are lists, too.
func TestRemotesInOtherForms(t *testing.T) {
	for name, text := range map[string]string{
		"text":   oneStage + "[cache]\nremotes = \"s3://b\"\n",
		"tables": oneStage + "[[cache.remotes]]\nurl = \"s3://b\"\n",
	} {
		if diff := cmp.Diff([]Remote{{URL: "s3://b", FromPipeline: true}}, mustLoad(t, text, nil).Cache.Remotes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRemotesRefused(t *testing.T) {
	for _, test := range []struct{ name, remotes, want string }{
		{"all at once", `[
  3,
  "s4://bucket",
  { url = "s3://b", mod = "read", upload = "allways", parallel = 0 },
  { mode = "read", upload = "always" },
]`, `6:3: cache.remotes must be a list of URLs and tables { url = … }; this is the number 3
7:3: cache.remotes: there are no remotes s4:// (did you mean s3?); there are file, s3, gs, azblob, http, https
8:21: cache.remotes: a remote has no option "mod" (did you mean mode?)
8:44: cache.remotes: upload must be one of always, on-success, never, not "allways" (did you mean always?)
8:66: cache.remotes: parallel: must be between 1 and 256, not 0
9:3: cache.remotes: the remote has no url
9:29: cache.remotes: upload is "always", and with mode "read" nothing is sent: leave one of them out
`},
		{"bounds", `[{ url = "s3://b", parallel = 257, bandwidth = "1/s", timeout = "2h", ca = "x" }]`,
			`5:41: cache.remotes: parallel: must be between 1 and 256, not 257
5:58: cache.remotes: bandwidth must be an amount a second such as "50MiB/s", not the string "1/s"
5:75: cache.remotes: timeout must be from 100ms to 1h0m0s, not 2h0m0s
5:86: cache.remotes: ca is for https://, not for s3://b
`},
		{"rates", `[{ url = "s3://b", min_rate = "2MiB/s", bandwidth = "1kB/s" }, { url = "s3://c", min_rate = 0 }, "s3://d#min_rate=0B"]`,
			`5:41: cache.remotes: min_rate must be at most 1MiB/s, not "2MiB/s"
5:63: cache.remotes: bandwidth must be at least 1KiB/s, not "1kB/s"
5:103: cache.remotes: min_rate must be an amount a second such as "256B/s", not the number 0
5:108: cache.remotes: min_rate must be an amount a second such as "256B/s", not the string "0B"
`},
		{"options in an address", `["s3://b#parallel=many&mood=1", { url = "s3://b#mode=read" }, "s3://b#mode=read&mode=read"]`,
			`5:12: cache.remotes: a remote has no option "mood" (did you mean mode?)
5:12: cache.remotes: parallel: must be an integer, not the string "many"
5:51: cache.remotes: s3://b: in a table the options are keys of their own, and not behind a #
5:73: cache.remotes: the option mode is set more than once
`},
		{"addresses", `["", "/mnt/share", "file://host/x", "s3://", "https:///x", "gs://me@b"]`,
			`5:12: cache.remotes: a remote needs a URL, such as s3://bucket or file:///mnt/share
5:16: cache.remotes: "/mnt/share" is no URL: a directory is written file:/mnt/share
5:30: cache.remotes: file://host/x: a directory is written file:/// and its absolute path, or file: and a relative one
5:47: cache.remotes: s3: names no bucket
5:56: cache.remotes: https:///x names no server
5:70: cache.remotes: gs://***@b: a pipeline file is no place for credentials: docs/sharing.md says where they are found
5:70: cache.remotes: gs://***@b: credentials do not belong into the URL of a bucket or a directory: docs/sharing.md says where they are found
`},
		{"in the clear", `[{ url = "http://c", plain_credentials = true }, { url = "http://d", plain_credentials = "yes" }]`,
			`5:52: cache.remotes: a pipeline file cannot say that your credentials may go where others can read them: name the remote in your settings
5:100: cache.remotes: plain_credentials must be true or false, not the string "yes"
`},
		{"a stranger's", `[{ url = "https://a-b.example.com:8443", token_env = "AWS_SECRET_ACCESS_KEY" }, "azblob://c?endpoint=https://evil.example", "s3://b?profile=work"]`,
			`5:64: cache.remotes: a pipeline file cannot say which of your variables is sent to a server: put the token into PRISMFLOW_TOKEN_A__B_EXAMPLE_COM_8443, which is for this server alone, or name the remote in your settings
5:91: cache.remotes: azblob://c?***: endpoint says which of your credentials are shown, or to whom: it may stand in your settings, in PRISMFLOW_REMOTE or in --remote, not in a pipeline file
5:135: cache.remotes: s3://b?***: profile says which of your credentials are shown, or to whom: it may stand in your settings, in PRISMFLOW_REMOTE or in --remote, not in a pipeline file
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := strings.ReplaceAll(problems(t, oneStage+"[cache]\nremotes = "+test.remotes+"\n", nil), "words.toml:", "")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTrustedRefused(t *testing.T) {
	for _, wrong := range []string{"ann", "ed25519:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ann ed25519:AAEC", "a b ed25519:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="} {
		got := problems(t, oneStage+"[cache]\ntrusted = [\""+wrong+"\"]\n", nil)
		if !strings.HasPrefix(got, "words.toml:5:12: cache.trusted: ") {
			t.Errorf("%q: %s", wrong, got)
		}
	}
}

func TestParseRemote(t *testing.T) {
	got, err := ParseRemote("https://me:secret@c.example.com/x#token_env=MY_TOKEN&ca=ca.pem&timeout=2s&bandwidth=1MB&min_rate=1B/s", "/home/me")
	want := Remote{URL: "https://me:secret@c.example.com/x", TokenEnv: "MY_TOKEN", CA: "/home/me/ca.pem", Timeout: 2 * time.Second, Bandwidth: 1e6, MinRate: 1}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got.Public() != "https://***@c.example.com/x" {
		t.Errorf("shown as %s", got.Public())
	}
	if got, err := ParseRemote("http://c#plain_credentials=true", "/"); err != nil || !got.PlainCredentials {
		t.Errorf("credentials in the clear: %+v, %v", got, err)
	}
	for _, text := range []string{"https://c#plain_credentials=true", "s3://c#plain_credentials=true", "http://c#plain_credentials=1"} {
		if _, err := ParseRemote(text, "/"); err == nil || !strings.Contains(err.Error(), "plain_credentials ") {
			t.Errorf("%s: %v, want an error that names the option", text, err)
		}
	}
	if got, err := ParseRemote("file:share", "/home/me"); err != nil || got.URL != "file:///home/me/share" {
		t.Errorf("a relative directory is %+v, %v", got, err)
	}
}

// No message about a wrong remote repeats what may be a secret.
func TestParseRemoteKeepsSecrets(t *testing.T) {
	for _, text := range []string{
		"https://me:s3cr3t@c#mode=x", "https://me:s3cr3t@c#token_env=s3cr3t", "s3://key:s3cr3t@b", "https:me:s3cr3t@c",
		"https://me:s3cr3t@ c", "s5://me:s3cr3t@b?x=s3cr3t", "azblob://c?sig=s3cr3t#ca=x", "http://me:s3cr3t@c:port", "https://me:s3cr3t@c/x?sig=s3cr3t",
	} {
		_, err := ParseRemote(text, "/")
		if err == nil {
			t.Errorf("%s: accepted", text)
		} else if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: the message has the secret: %v", text, err)
		}
	}
}

func TestHostVariable(t *testing.T) {
	for address, want := range map[string]string{
		"https://cache.example.com/x":   "PRISMFLOW_TOKEN_CACHE_EXAMPLE_COM",
		"https://cache-example.com":     "PRISMFLOW_TOKEN_CACHE__EXAMPLE_COM",
		"http://127.0.0.1:8080":         "PRISMFLOW_TOKEN_127_0_0_1_8080",
		"http://cache_example_com":      "",
		"http://[::1]:8080":             "",
		"http://cache.-example.com":     "",
		"http://cache..example.com":     "",
		"http://cache.corp.8443":        "", // else that of cache.corp:8443
		"http://127.0.0.1.8080":         "",
		"http://127.1":                  "", // another name of a machine than its address
		"s3://cache.example.com":        "",
		"https://me@cache.example.com/": "PRISMFLOW_TOKEN_CACHE_EXAMPLE_COM",
	} {
		if got := (Remote{URL: address}).HostVariable(); got != want {
			t.Errorf("%s: %q and not %q", address, got, want)
		}
	}
}

func TestSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if s, err := LoadSettings(path); err != nil || !cmp.Equal(s, Settings{}) {
		t.Errorf("no settings: %+v, %v", s, err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[cache]\ndir = \"cache\"\nsign = false\nremotes = [{ url = \"https://c\", token_env = \"TEAM_TOKEN\" }]\n")
	got, err := LoadSettings(path)
	sign := false
	want := Settings{Cache: CacheConfig{Dir: filepath.Join(filepath.Dir(path), "cache"), Sign: &sign, Remotes: []Remote{{URL: "https://c", TokenEnv: "TEAM_TOKEN"}}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	write("name = 1\n[cach]\n[cache]\nsing = true\nsign = 1\nremotes = [\"${params.x}\"]\n")
	_, err = LoadSettings(path)
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("not an Invalid: %v", err)
	}
	diff := cmp.Diff(`1:1: unknown key "name"; settings have the table [cache]
2:2: unknown key "cach" (did you mean cache?); settings have the table [cache]
4:1: cache: unknown key "sing" (did you mean sign?)
5:8: cache.sign must be true or false, not the number 1
6:12: cache.remotes: "${params.x}" is no URL: a directory is written file:${params.x}
6:12: there is no parameter "x"`, strings.ReplaceAll(invalid.Error(), path+":", ""))
	if diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is accepted keeps its promises, whatever was written.
func FuzzParseRemote(f *testing.F) {
	for _, seed := range []string{"s3://b?endpoint=http://x#mode=read", "file:../x", "https://me:s3cr3t@c:1/x#token_env=T", "file://localhost/x#parallel=3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRemote(text, "/dir")
		if err != nil {
			return
		}
		if again, err := ParseRemote(r.URL, "/other"); err != nil || again.URL != r.URL {
			t.Errorf("%q is %q, which is %q (%v)", text, r.URL, again.URL, err)
		}
		if strings.HasPrefix(r.URL, "file:") && !strings.HasPrefix(r.URL, "file:///") {
			t.Errorf("%q is the relative directory %q", text, r.URL)
		}
	})
}
