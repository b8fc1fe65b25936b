package server

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Bazel finds again what it built, directories among it, after gc came by. (Of the
// independent clients ccache is the one that CI must have: Bazel brings Java.)
func TestBazel(t *testing.T) {
	if os.Getenv("PRISMFLOW_LONG") == "" {
		t.Skip("Bazel takes half a minute to start; set PRISMFLOW_LONG to run it")
	}
	if _, err := exec.LookPath("bazel"); err != nil {
		t.Skipf("needs bazel, as Debian's bazel-bootstrap has it: %v", err)
	}
	r := newRig(t, Options{})
	server := r.serve(nil)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"WORKSPACE": "",
		"BUILD": `load(":dir.bzl", "directory")
genrule(name = "file", outs = ["file.txt"], cmd = "echo hello > $@; echo printed")
directory(name = "directory")
`,
		"dir.bzl": `def _directory(ctx):
    out = ctx.actions.declare_directory("out")
    ctx.actions.run_shell(outputs = [out], command = "mkdir -p {0}/sub; echo a > {0}/a; echo b > {0}/sub/b".format(out.path))
    return [DefaultInfo(files = depset([out]))]

directory = rule(implementation = _directory)
`,
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	bazel := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bazel", append([]string{"--batch", "--output_user_root=" + filepath.Join(dir, ".root")}, args...)...)
		cmd.Dir, cmd.WaitDelay = dir, time.Second
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("bazel %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	t.Cleanup(func() { // it makes directories that may not be written to
		_ = exec.Command("chmod", "-R", "u+w", dir).Run()
	})
	build := []string{"build", "//:all", "--remote_cache=" + server.url}
	if out := bazel(build...); strings.Contains(out, "remote cache hit") {
		t.Errorf("the first build:\n%s", out)
	}
	bazel("clean")
	r.endHolds()
	r.gc(0)
	if out := bazel(build...); !strings.Contains(out, "2 remote cache hit") {
		t.Errorf("the second build:\n%s", out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "bazel-bin/out/sub/b")); err != nil || string(b) != "b\n" {
		t.Errorf("a file of a directory: %q, %v", b, err)
	}
	r.verify()
}
