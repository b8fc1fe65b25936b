package server

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ccache, which knows nothing of prismflow, keeps what it compiled here, and
// finds it again after its own cache is gone.
func TestCcache(t *testing.T) {
	for _, program := range []string{"ccache", "gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%v: .ci/test-servers installs it", err)
			}
			t.Skipf("needs ccache and gcc: %v", err)
		}
	}
	path, _, writer := tokenFile(t)
	tokens, err := OpenTokens(path, func(string) {})
	must(t, err)
	for name, remote := range map[string]func(host string) string{
		"bearer": func(host string) string { return "http://" + host + "|layout=bazel|bearer-token=" + writer },
		"basic":  func(host string) string { return "http://ci:" + writer + "@" + host + "|layout=bazel" },
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			r := newRig(t, Options{Tokens: tokens, Log: log.logger()})
			server := r.serve(nil)
			c := &ccache{t, t.TempDir(), remote(strings.TrimPrefix(server.url, "http://"))}
			must(t, os.WriteFile(filepath.Join(c.dir, "main.c"), []byte("#include <stddef.h>\nint main(void) { return (int)sizeof(size_t) - 8; }\n"), 0o600))
			first := c.compile()
			if c.stat("cache_miss") != 1 || c.stat("remote_storage_hit") != 0 || c.stat("remote_storage_error") != 0 {
				t.Errorf("the first time:\n%s", c.stats())
			}
			must(t, os.RemoveAll(filepath.Join(c.dir, "ccache")))
			second := c.compile()
			if c.stat("cache_miss") != 0 || c.stat("remote_storage_hit") < 1 || c.stat("remote_storage_error") != 0 {
				t.Errorf("the second time:\n%s\n%s", c.stats(), &log)
			}
			if !bytes.Equal(first, second) {
				t.Error("the object files differ")
			}
			if !strings.Contains(log.String(), `"token":"ci"`) || strings.Contains(log.String(), writer) {
				t.Errorf("the log: %s", &log)
			}
			if report := r.verify(); report.Actions == 0 {
				t.Errorf("the store has %+v", report)
			}
		})
	}
}

type ccache struct {
	t      *testing.T
	dir    string
	remote string
}

func (c *ccache) run(args ...string) []byte {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "ccache", args...)
	cmd.Dir, cmd.WaitDelay = c.dir, time.Second
	cmd.Env = append(os.Environ(), "CCACHE_DIR="+filepath.Join(c.dir, "ccache"), "CCACHE_CONFIGPATH="+os.DevNull,
		"CCACHE_REMOTE_STORAGE="+c.remote+"|connect-timeout=60000|operation-timeout=60000", "CCACHE_SLOPPINESS=include_file_ctime,include_file_mtime")
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("ccache %v: %v\n%s", args, err, out)
	}
	return out
}

func (c *ccache) compile() []byte {
	c.t.Helper()
	object := filepath.Join(c.dir, "main.o")
	c.run("gcc", "-O1", "-c", "main.c", "-o", object)
	compiled, err := os.ReadFile(object)
	must(c.t, err)
	must(c.t, os.Remove(object))
	return compiled
}

func (c *ccache) stats() string { return string(c.run("--print-stats")) }

// stat is a counter of ccache's.
func (c *ccache) stat(name string) int {
	c.t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `\t(\d+)$`).FindStringSubmatch(c.stats())
	if m == nil {
		c.t.Fatalf("ccache has no counter %s:\n%s", name, c.stats())
	}
	n, err := strconv.Atoi(m[1])
	must(c.t, err)
	return n
}
