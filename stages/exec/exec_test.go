package exec

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	}, nil)
	want := []string{
		`comand: unknown key (did you mean command?)`,
		`command: {input.wrods}: the stage has no input wrods (did you mean words?)`,
		`command: {output.x}: the stage has no output x`,
		`command: ./absent.sh is no file beside the pipeline file; a program that is found through PATH is written without a slash`,
		`env: "not a name" is not the name of an environment variable`,
		`env: PATH is always set by prismflow`,
		`inputs.Bad: a name is lower-case letters, digits and underscores, and begins with a letter`,
		`inputs.c: columns must be a list of column names; leave the table out to see all columns`,
		`inputs.n: must be "<stage>.<output>", "file:PATH", or { from = "<stage>.<output>", columns = ["…"] }`,
		`outputs.x: must be "arrow" or "file"`,
		`secrets: A is in env too, and so in the key: name it in one of the two`,
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
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
	if got, want := out.String(), "a *** b\n"; got != want {
		t.Errorf("passed on %q, want %q", got, want)
	}
	r.Flush()
	if got, want := out.String(), "a *** b\nno newline s3cre"; got != want {
		t.Errorf("after the end %q, want %q", got, want)
	}
	out.Reset()
	long := strings.Repeat("x", maxHeld-3)
	r.Write([]byte(long + "s3c"))
	r.Write([]byte("ret" + long))
	r.Flush()
	if strings.Contains(out.String(), "s3c") {
		t.Error("a part of a secret in a line without end was passed on")
	}
}
