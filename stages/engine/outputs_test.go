package engine

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
)

// What a command leaves in place of an output is taken only if it is a file
// that nobody writes to any more.
func TestDescribeRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	steps := []error{
		os.Mkdir(at("directory"), 0o777), os.Symlink("/etc/passwd", at("link")),
		syscall.Mkfifo(at("pipe"), 0o666), os.WriteFile(at("file"), []byte("x"), 0o666),
	}
	for _, err := range steps {
		if err != nil {
			t.Fatal(err)
		}
	}
	open, err := os.OpenFile(at("open"), os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	wants := map[string]string{
		"directory": "not a directory", "link": "not a symbolic link", "pipe": "not a pipe",
		"absent": "without writing it", "file": "", "open": "still has it open for writing",
	}
	if runtime.GOOS != "linux" {
		delete(wants, "open")
	}
	x := execution{env: &stages.Env{}}
	for name, want := range wants {
		_, err := x.describe(stages.Port{Name: "o", File: true}, at(name))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

type describedRow struct {
	N int64 `arrow:"n"`
}

// A table that a command wrote must be as it is declared.
func TestDescribeComparesWithTheDeclaredSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "o.arrow")
	if err := stages.ToFile[describedRow](path).WriteAll([]describedRow{{1}}); err != nil {
		t.Fatal(err)
	}
	x := execution{env: &stages.Env{}}
	for typ, want := range map[string]string{"int64": "", "utf8": `column "n" has type int64 and is declared utf8`} {
		_, err := x.describe(stages.Port{Name: "o", Schema: table.Schema{{Name: "n", Type: typ}}}, path)
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("declared %s: %v", typ, err)
		}
	}
}

func TestOrderOfColumnsDecidesForWhoReadsThemAll(t *testing.T) {
	column := func(name string) artifacts.Column {
		return artifacts.Column{Name: name, Type: "int64", Digest: artifacts.DigestOf([]byte(name))}
	}
	one := artifacts.Output{Columns: []artifacts.Column{column("a"), column("b")}}
	other := artifacts.Output{Columns: []artifacts.Column{column("b"), column("a")}}
	digests := func(input stages.Input, output artifacts.Output) map[string]artifacts.Digest {
		t.Helper()
		d, err := columnDigests(input, output)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	all, both := stages.Input{Port: "in"}, stages.Input{Port: "in", Columns: []string{"a", "b"}}
	if got, want := inputDifference("in", digests(all, one), digests(all, other)), "input in: the order of its columns changed"; got != want {
		t.Errorf("difference %q, want %q", got, want)
	}
	if got := inputDifference("in", digests(both, one), digests(both, other)); got != "" {
		t.Errorf("difference %q for who names the columns", got)
	}
}

func TestOutputsBehindALinkAreNotTaken(t *testing.T) {
	x := execution{workspace: t.TempDir()}
	if x.checkPlace() == nil {
		t.Error("no directory: no error")
	}
	out := filepath.Join(x.workspace, "out")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := x.checkPlace(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(out), os.Symlink(t.TempDir(), out)); err != nil {
		t.Fatal(err)
	}
	if x.checkPlace() == nil {
		t.Error("a link: no error")
	}
}

// A stage that waited for a result says whom it waited for.
func TestMeanwhile(t *testing.T) {
	x := task{run: &run{id: "this"}}
	standing := artifacts.Manifest{Provenance: artifacts.Provenance{Run: "this", Stage: "raw"}}
	if got, want := x.meanwhile(standing), "computed by stage raw, which has the same key"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	standing.Provenance.Run = "another"
	if got := x.meanwhile(standing); got != "computed by another run meanwhile" {
		t.Errorf("got %q", got)
	}
}
