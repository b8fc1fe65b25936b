package exec

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
)

// bound binds an exec stage whose pipeline file is in dir.
func bound(t *testing.T, dir string, values map[string]any, env map[string]string) (*command, []string) {
	t.Helper()
	wrapped := stages.Values{}
	for name, v := range values {
		wrapped[name] = stages.Value{V: v, Base: dir}
	}
	stage, problems := Kinds()[0].Bind(wrapped, stages.BindContext{LookupEnv: lookup(env)})
	var texts []string
	for _, p := range problems {
		texts = append(texts, strings.TrimPrefix(p.Param+": "+p.Message, ": "))
	}
	return stage.(*command), texts
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if name == "PATH" {
			return os.Getenv("PATH"), true
		}
		v, ok := env[name]
		return v, ok
	}
}

func list(items ...any) []any { return items }

// ran runs a command and returns what it printed and wrote to its output o.
func ran(t *testing.T, ctx context.Context, c *command, env map[string]string, files ...stages.File) (printed, output string, err error) {
	t.Helper()
	var console bytes.Buffer
	e := stagetest.Env(t)
	e.Console, e.LookupEnv = &console, lookup(env)
	e.Outputs = map[string]string{"o": filepath.Join(t.TempDir(), "o")}
	e.Sources = map[string][]stages.File{filesParam: files}
	err = c.Run(ctx, e)
	written, _ := os.ReadFile(e.Outputs["o"])
	return console.String(), string(written), err
}

// Why a command failed is mostly its last line, without any secret.
func TestFailureTellsTheLastLine(t *testing.T) {
	env := map[string]string{"TOKEN": "s3cret"}
	for script, want := range map[string]string{
		`exit 3`: `sh ended with exit status 3; what it printed`,
		`echo begin; echo no s3cret; printf ' \n\n'; exit 3`: `exit status 3 and last printed "no ***"; what`,
		`printf 'a\nKey'; printf 'Error: n'; exit 1`:         `and last printed "KeyError: n"`,
		`printf '%0999d' 1; exit 1`:                          `and last printed "` + strings.Repeat("0", maxLastWords) + `"; what`,
	} {
		c, problems := bound(t, t.TempDir(), map[string]any{
			"command": list("sh", "-c", script), "outputs": map[string]any{"o": "file"}, "secrets": list("TOKEN"),
		}, env)
		if problems != nil {
			t.Fatal(problems)
		}
		printed, _, err := ran(t, context.Background(), c, env)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q; printed %q", script, err, want, printed)
		}
	}
}

func TestCommandSeesWhatIsDeclared(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"declared.txt": "yes", "undeclared.txt": "no"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"SEEN": "visible", "UNSEEN": "hidden", "TOKEN": "s3cret"}
	c, problems := bound(t, dir, map[string]any{
		"command": list("sh", "-c", `ls; env | cut -d= -f1 | sort | tr '\n' ' '; echo $SEEN $UNSEEN $TOKEN {param.top} "$PRISMFLOW_PARAMS" > "{output.o}"`),
		"outputs": map[string]any{"o": "file"},
		"params":  map[string]any{"top": int64(3)},
		"files":   list("declared.txt"),
		"env":     list("SEEN", "ABSENT"),
		"secrets": list("TOKEN"),
	}, env)
	if problems != nil {
		t.Fatal(problems)
	}
	printed, output, err := ran(t, context.Background(), c, env, stages.File{Name: "declared.txt", Path: filepath.Join(dir, "declared.txt")})
	if err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	if want := "visible s3cret 3 {\"top\":3}\n"; output != want {
		t.Errorf("output %q, want %q", output, want)
	}
	if want := "declared.txt\nHOME LANG PATH PRISMFLOW_OUTPUT_O PRISMFLOW_PARAMS PWD SEEN TMPDIR TOKEN"; !strings.HasPrefix(strings.ReplaceAll(printed, " _ ", " "), want) {
		t.Errorf("printed %q, want %q", printed, want)
	}
}

func TestSecretsAreInNoLogAndNoKey(t *testing.T) {
	values := map[string]any{
		"command": list("sh", "-c", "echo token=$TOKEN; printf half-$TOKEN; touch {output.o}"),
		"outputs": map[string]any{"o": "file"}, "secrets": list("TOKEN"),
	}
	env := map[string]string{"TOKEN": "s3cret"}
	c, problems := bound(t, t.TempDir(), values, env)
	if problems != nil {
		t.Fatal(problems)
	}
	printed, _, err := ran(t, context.Background(), c, env)
	if err != nil {
		t.Fatal(err)
	}
	if want := "token=***\nhalf-***"; printed != want {
		t.Errorf("printed %q, want %q", printed, want)
	}
	canonical, err := c.Request().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(canonical, []byte("s3cret")) {
		t.Errorf("the secret is in the key: %s", canonical)
	}
	if _, _, err := ran(t, context.Background(), c, nil); err == nil || !strings.Contains(err.Error(), "TOKEN") {
		t.Errorf("without the secret: %v", err)
	}
}

func TestEnvironmentIsInTheKey(t *testing.T) {
	values := map[string]any{"command": list("true"), "outputs": map[string]any{"o": "file"}, "env": list("TZ")}
	key := func(env map[string]string) string {
		c, _ := bound(t, t.TempDir(), values, env)
		k, err := c.Request().Key()
		if err != nil {
			t.Fatal(err)
		}
		return string(k)
	}
	utc, berlin, unset := key(map[string]string{"TZ": "UTC"}), key(map[string]string{"TZ": "Berlin"}), key(nil)
	if utc == berlin || utc == unset || utc != key(map[string]string{"TZ": "UTC", "OTHER": "x"}) {
		t.Error("a declared variable decides the key, and no other does")
	}
}

func TestProblems(t *testing.T) {
	dir := t.TempDir()
	_, problems := bound(t, dir, map[string]any{
		"comand":  list("x"),
		"command": list("./absent.sh", "{input.wrods}", "{output.x}", "{{output.y}}", "{unrelated}"),
		"inputs":  map[string]any{"words": "a.b", "Bad": "a.b", "n": int64(3), "c": map[string]any{"from": "a.b"}},
		"outputs": map[string]any{"x": "parquet"},
		"env":     list("A", "not a name", "PATH"), "secrets": list("A"),
		"params": map[string]any{"rate": math.NaN(), "nested": []any{map[string]any{"x": "a\x00b"}}},
		"files":  list("https://example.org/x.py"),
	}, nil)
	want := []string{
		`comand: unknown key (did you mean command?)`,
		`command: {input.wrods}: the stage has no input wrods (did you mean words?)`,
		`command: {output.x}: the stage has no output x`,
		`command: ./absent.sh is no file beside the pipeline file; a program that is found through PATH is written without a slash`,
		`env: "not a name" is not the name of an environment variable`,
		`env: PATH is always set by prismflow`,
		`files: "https://example.org/x.py" is a URL, and files are beside the pipeline file: make it an input, NAME = "file:https://…"`,
		`inputs.Bad: a name is lower-case letters, digits and underscores, and begins with a letter`,
		`inputs.c: columns must be a list of column names; leave the table out to see all columns`,
		`inputs.n: must be "<stage>.<output>", "file:PATH", or { from = "<stage>.<output>", columns = ["…"] }`,
		`outputs.x: must be "arrow", "file", or { type = "arrow", columns = { NAME = "TYPE" } }`,
		`params.nested: x must not contain a null character`,
		`params.rate: must be a finite number, not NaN`,
		`secrets: A is in env too, and so in the key: name it in one of the two`,
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestDeclaredColumns(t *testing.T) {
	columns := map[string]any{"word": "utf8", "n": map[string]any{"type": "int64,nullable", "help": "how often"}}
	c, problems := bound(t, t.TempDir(), map[string]any{
		"command": list("true"), "outputs": map[string]any{"o": map[string]any{"type": "arrow", "columns": columns}},
		"inputs": map[string]any{"i": map[string]any{"from": "a.b", "columns": map[string]any{"word": "utf8"}}},
	}, nil)
	if problems != nil {
		t.Fatal(problems)
	}
	want := table.Schema{{Name: "n", Type: "int64", Nullable: true, Doc: "how often"}, {Name: "word", Type: "utf8"}}
	if diff := cmp.Diff(want, c.Outputs()[0].Schema); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	in := c.Inputs()[0]
	if diff := cmp.Diff([]any{[]string{"word"}, want[1:]}, []any{in.Columns, in.Schema}); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
	outputs := c.Request().Params["outputs"]
	if diff := cmp.Diff(map[string]any{"o": map[string]any{"type": "arrow", "columns": map[string]any{"n": "int64, nullable", "word": "utf8"}}}, outputs); diff != "" {
		t.Errorf("outputs in the key (-want +got):\n%s", diff)
	}
}

func TestProgramIsNoPlaceholder(t *testing.T) {
	_, problems := bound(t, t.TempDir(), map[string]any{
		"command": list("{param.tool}"), "outputs": map[string]any{"o": "file"}, "params": map[string]any{"tool": "sh"},
	}, nil)
	if len(problems) != 1 || !strings.Contains(problems[0], "not a placeholder") {
		t.Errorf("problems %q", problems)
	}
}

func TestExpand(t *testing.T) {
	value := func(kind, name string) string { return "<" + kind + " " + name + ">" }
	for in, want := range map[string]string{
		"{input.a}/{output.b_2}": "<input a>/<output b_2>",
		"{{input.a}}":            "{input.a}",
		"awk '{print $1}'":       "awk '{print $1}'",
		"{param.x}{param.y}":     "<param x><param y>",
		"{input.}":               "{input.}",
		"{{{input.a}}}":          "{{input.a}}",
	} {
		if got := expand(in, value); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFailureNamesTheUndeclaredFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script.sh"), []byte("true"), 0o666); err != nil {
		t.Fatal(err)
	}
	c, _ := bound(t, dir, map[string]any{"command": list("sh", "script.sh"), "outputs": map[string]any{"o": "file"}}, nil)
	_, _, err := ran(t, context.Background(), c, nil)
	if err == nil || !strings.Contains(err.Error(), "script.sh beside the pipeline file is not declared") {
		t.Errorf("error %v", err)
	}
}

// Ending the context ends the command and all that it started.
func TestCancellationEndsTheGroup(t *testing.T) {
	c, _ := bound(t, t.TempDir(), map[string]any{
		"command": list("sh", "-c", `sleep 600 & echo $! ; echo started > "{output.o}"; wait`), "outputs": map[string]any{"o": "file"},
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := stagetest.Env(t)
	started := filepath.Join(t.TempDir(), "o")
	e.LookupEnv, e.Outputs = lookup(nil), map[string]string{"o": started}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, e) }()
	for {
		if _, err := os.Stat(started); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("error %v", err)
	}
}

func TestRedactorAcrossWrites(t *testing.T) {
	var out bytes.Buffer
	r := newRedactor(&out, map[string]string{"T": "s3cret"})
	for _, piece := range []string{"a s3", "cr", "et b\nno newline s3cre"} {
		if _, err := r.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "a *** b\nno newline "; got != want {
		t.Errorf("passed on %q, want %q", got, want)
	}
	r.Flush()
	if got, want := out.String(), "a *** b\nno newline s3cre"; got != want {
		t.Errorf("after the end %q, want %q", got, want)
	}
}

// Of secrets that begin alike, or span lines, nothing is left in any split.
func TestRedactorSplitAnywhere(t *testing.T) {
	secrets := map[string]string{"A": "abc", "B": "abcdef", "C": "-key-\nabcd\n-end-"}
	text := "abc abcdef abcde -key-\nabcd\n-end- -key-\nno ab"
	want := "*** *** ***de *** -key-\nno ab"
	for i := range text {
		for j := i; j <= len(text); j++ {
			var out bytes.Buffer
			r := newRedactor(&out, secrets)
			for _, piece := range []string{text[:i], text[i:j], text[j:]} {
				r.Write([]byte(piece))
			}
			r.Flush()
			if got := out.String(); got != want {
				t.Fatalf("split at %d and %d: %q, want %q", i, j, got, want)
			}
		}
	}
}

func TestDeclaredFilesInPlace(t *testing.T) {
	project := t.TempDir()
	dir := filepath.Join(project, "pipelines")
	for _, path := range []string{"pipelines/src/a.sh", "tools/b.sh"} {
		path = filepath.Join(project, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\nstat -c '%a %n' src/a.sh b.sh > \"$PRISMFLOW_OUTPUT_O\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, problems := bound(t, dir, map[string]any{
		"command": list("../tools/b.sh"), "outputs": map[string]any{"o": "file"}, "files": list("src", "src/a.sh"),
	}, nil)
	if problems != nil {
		t.Fatal(problems)
	}
	a := stages.File{Name: "src/a.sh", Path: filepath.Join(dir, "src/a.sh")}
	b := stages.File{Name: "b.sh", Path: filepath.Join(project, "tools/b.sh")}
	printed, output, err := ran(t, context.Background(), c, nil, a, a, b)
	if want := "755 src/a.sh\n755 b.sh\n"; err != nil || output != want {
		t.Errorf("output %q, want %q: %v: %s", output, want, err, printed)
	}
	_, _, err = ran(t, context.Background(), c, nil, b, stages.File{Name: "b.sh", Path: a.Path})
	if err == nil || !strings.Contains(err.Error(), "rename one") {
		t.Errorf("two files of one name: %v", err)
	}
}

// A command that leaves others to write its output has not made it.
func TestCommandMustWaitForWhatItStarts(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"a moment longer": {`(while kill -0 $$; do sleep 0.01; done; echo late > "{output.o}") >/dev/null 2>&1 & echo early > "{output.o}"`, ""}, // $$ is the command
		"for long":        {`sleep 600 >/dev/null 2>&1 & echo early > "{output.o}"`, "left processes running"},
		"out of sight":    {`setsid sleep 20 & echo early > "{output.o}"`, "left processes running"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stage, _ := bound(t, t.TempDir(), map[string]any{"command": list("sh", "-c", c.script), "outputs": map[string]any{"o": "file"}}, nil)
			printed, output, err := ran(t, context.Background(), stage, nil)
			if c.want == "" && (err != nil || output != "late\n") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("output %q, error %v: %s", output, err, printed)
			}
		})
	}
}

func TestCommandInheritsNothing(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc")
	}
	inherited, err := unix.FcntlInt(0, unix.F_DUPFD, 50) // as from a shell: not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	c, _ := bound(t, t.TempDir(), map[string]any{
		"command": list("sh", "-c", `ls /proc/$$/fd > {output.o}; readlink /proc/$$/fd/0 >> {output.o}`),
		"outputs": map[string]any{"o": "file"},
	}, nil)
	_, output, err := ran(t, context.Background(), c, nil)
	if err != nil || strings.Contains("\n"+output, fmt.Sprintf("\n%d\n", inherited)) {
		t.Errorf("the command has descriptor %d of %q, %v", inherited, output, err)
	}
	if !strings.Contains(output, "/dev/null") {
		t.Errorf("standard input is not /dev/null: %q", output)
	}
}

// What package managers protect in HOME must not outlive the stage.
func TestScratchCanBeRemoved(t *testing.T) {
	c, _ := bound(t, t.TempDir(), map[string]any{
		"command": list("sh", "-c", `mkdir -p $HOME/a/b && chmod 500 $HOME/a/b && chmod 0 $HOME/a; touch {output.o}`), "outputs": map[string]any{"o": "file"},
	}, nil)
	e := stagetest.Env(t)
	e.LookupEnv, e.Outputs = lookup(nil), map[string]string{"o": filepath.Join(t.TempDir(), "o")}
	if err := c.Run(context.Background(), e); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"home/a", "home/a/b"} {
		info, err := os.Stat(filepath.Join(e.Scratch, dir))
		if err != nil || info.Mode().Perm()&0o700 != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
}

// The command gets its columns in the order in which they are declared.
func TestOrderOfDeclaredColumnsIsInTheKey(t *testing.T) {
	key := func(columns ...any) string {
		c, problems := bound(t, t.TempDir(), map[string]any{
			"command": list("true"), "outputs": map[string]any{"o": "file"},
			"inputs": map[string]any{"i": map[string]any{"from": "a.b", "columns": list(columns...)}},
		}, nil)
		k, err := c.Request().Key()
		if err != nil || problems != nil {
			t.Fatal(err, problems)
		}
		return string(k)
	}
	if key("x", "y") == key("y", "x") {
		t.Error("two orders have one key")
	}
}
