package dag

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sports is the pipeline of the design, with a stage more that is only ordered.
func sports() []Node {
	return []Node{
		{Name: "reviews", Kind: "amazon.reviews"},
		{Name: "metadata", Kind: "amazon.metadata"},
		{Name: "corpus", Kind: "corpus", Needs: []string{"reviews", "metadata"}},
		{Name: "images", Kind: "images.download", Needs: []string{"corpus"}},
		{Name: "embed", Kind: "clip.embed", Needs: []string{"corpus", "images"}},
		{Name: "split", Kind: "split.leave_one_out", Needs: []string{"corpus"}},
		{Name: "train", Kind: "prism.train", Needs: []string{"split", "embed"}},
		{Name: "evaluate", Kind: "evaluate", Needs: []string{"train", "split"}},
		{Name: "tell", Kind: "exec", After: []string{"evaluate"}},
	}
}

// tangle has crossings, lines that end in the middle, repeats, and names that
// the drawing languages could take for their own.
func tangle() []Node {
	return []Node{
		{Name: "a"}, {Name: "b"}, {Name: "c", Kind: "k"}, {Name: "d"},
		{Name: "ad", Needs: []string{"d", "a", "a"}},
		{Name: "bd", Needs: []string{"b", "d"}, After: []string{"b", "a"}},
		{Name: "abc", Needs: []string{"c", "a", "b"}},
		{Name: "alone"},
		{Name: `q"\<b>&#;` + "`*", Kind: "two\nlines", Needs: []string{"ad", "bd"}},
		{Name: "acad", Needs: []string{"c", "ad", "alone"}},
		{Name: "abad", Needs: []string{"abc"}},
		{Name: "Länge", Needs: []string{"abad", "acad", "a"}},
	}
}

// holes has columns that become free between others.
func holes() []Node {
	return []Node{
		{Name: "a"}, {Name: "b"}, {Name: "c"},
		{Name: "ab", Needs: []string{"a", "b"}},
		{Name: "abc", Needs: []string{"ab", "c"}},
		{Name: "late"},
		{Name: "end", Needs: []string{"ab", "late", "abc"}},
	}
}

func TestDrawings(t *testing.T) {
	remarks := func(name string) string {
		return map[string]string{"alone": "stale:\nseed 42 -> 7", "c": `"c"`}[name]
	}
	for _, drawn := range []struct {
		name    string
		nodes   []Node
		remarks Annotate
	}{
		{"sports", sports(), nil},
		{"tangle", tangle(), remarks},
		{"holes", holes(), nil},
	} {
		g := mustNew(t, drawn.nodes...)
		for suffix, draw := range map[string]func(io.Writer, Annotate) error{"txt": g.Text, "dot": g.DOT, "mmd": g.Mermaid} {
			t.Run(drawn.name+"."+suffix, func(t *testing.T) {
				var b bytes.Buffer
				if err := draw(&b, drawn.remarks); err != nil {
					t.Fatal(err)
				}
				golden(t, drawn.name+"."+suffix, b.Bytes())
			})
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (rewrite with -update):\n%s", name, diff)
	}
}

// brokenPipe is a reader that has gone away.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestDrawingReportsWriteErrors(t *testing.T) {
	g := mustNew(t, sports()...)
	for _, draw := range []func(io.Writer, Annotate) error{g.Text, g.DOT, g.Mermaid} {
		if err := draw(brokenPipe{}, nil); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	}
}

func TestTextHasNoTrailingSpace(t *testing.T) {
	var b strings.Builder
	if err := mustNew(t, tangle()...).Text(&b, nil); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if strings.HasSuffix(line, " \n") {
			t.Errorf("%q", line)
		}
	}
}
