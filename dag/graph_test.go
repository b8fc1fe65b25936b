package dag

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestNewReportsAllProblemsAtOnce(t *testing.T) {
	_, err := New([]Node{
		{Name: "split", Needs: []string{"corpsu"}, After: []string{"zzz"}},
		{Name: "corpus"},
		{Name: "corpus", Timeout: -time.Second},
		{Name: "", Retries: -1},
		{Name: "a", Needs: []string{"c"}},
		{Name: "b", Needs: []string{"a"}},
		{Name: "c", After: []string{"b"}},
		{Name: "self", Needs: []string{"self"}, Uses: Resources{CPU: -1, GPU: -2, Memory: -3}},
		{Name: "behind", Needs: []string{"c"}},
	})
	want := strings.Join([]string{
		`corpus: an earlier node has the same name`,
		`corpus: timeout -1s is below 0`,
		`node 4 has no name`,
		`: retries -1 is below 0`,
		`self: cpu -1 is below 0`,
		`self: gpu -2 is below 0`,
		`self: memory -3 is below 0`,
		`split: needs "corpsu", which does not exist; did you mean "corpus"?`,
		`split: comes after "zzz", which does not exist`,
		`cycle: a -> b -> c -> a`,
		`cycle: self -> self`,
	}, "\n")
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("%T is no Problems", err)
	}
	wantTyped := Problem{Code: Unknown, Node: "split", Index: 0, Need: "corpsu", Suggestion: "corpus"}
	if !slices.ContainsFunc(problems, func(p Problem) bool { return cmp.Equal(p, wantTyped) }) {
		t.Errorf("no %+v in %+v", wantTyped, problems)
	}
}

func TestEveryNodeOnACycleIsReported(t *testing.T) {
	_, err := New([]Node{
		{Name: "hub", Needs: []string{"left", "right"}},
		{Name: "left", Needs: []string{"hub"}},
		{Name: "right", Needs: []string{"hub"}},
		{Name: "bridge", Needs: []string{"hub"}},
		{Name: "x", Needs: []string{"y", "bridge"}},
		{Name: "y", Needs: []string{"x"}},
	})
	want := "cycle: hub -> left -> hub\ncycle: right -> hub -> right\ncycle: x -> y -> x"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
}

func TestCycleReportIsBounded(t *testing.T) {
	var nodes []Node
	for i := range 10_000 {
		name := fmt.Sprintf("n%d", i)
		nodes = append(nodes, Node{Name: name, Needs: []string{name, "hub", "nowhere"}})
	}
	nodes = append(nodes, Node{Name: "hub"})
	_, err := New(nodes)
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 10_000+maxCycles {
		t.Errorf("%d problems", len(problems))
	}
}

func TestSuggestion(t *testing.T) {
	s := newSuggester([]Node{{Name: ""}, {Name: "reviews"}, {Name: "metadata"}, {Name: "été"}, {Name: "b"}})
	for name, want := range map[string]string{
		"review": "reviews", "metdata": "metadata", "meta": "", "ete": "", "éte": "été", "a": "b", "zz": "", "": "b",
		strings.Repeat("reviews", 1000): "",
	} {
		if got := s.nearest(name); got != want {
			t.Errorf("%q: suggested %q, want %q", name, got, want)
		}
	}
}

func TestOrderIsTopologicalWithTiesByDeclaration(t *testing.T) {
	g := mustNew(t,
		Node{Name: "evaluate", Needs: []string{"train", "split"}},
		Node{Name: "train", Needs: []string{"split"}},
		Node{Name: "report", After: []string{"evaluate"}},
		Node{Name: "reviews"},
		Node{Name: "metadata"},
		Node{Name: "split", Needs: []string{"reviews", "metadata", "reviews"}, After: []string{"reviews"}},
	)
	want := []string{"reviews", "metadata", "split", "train", "evaluate", "report"}
	if diff := cmp.Diff(want, g.Order()); diff != "" {
		t.Error(diff)
	}
}

func TestSelect(t *testing.T) {
	g := mustNew(t,
		Node{Name: "a"},
		Node{Name: "b", Needs: []string{"a"}},
		Node{Name: "c", Needs: []string{"b"}, After: []string{"d", "a"}},
		Node{Name: "d"},
	)
	some, err := g.Select("c", "b")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, some.Order()); diff != "" {
		t.Error(diff)
	}
	if c, _ := some.Node("c"); !slices.Equal(c.After, []string{"a"}) {
		t.Errorf("c comes after %q", c.After)
	}
	if all, err := g.Select(); err != nil || all.Len() != 4 {
		t.Errorf("everything: %v", err)
	}
	_, err = g.Select("bb", "a", "nothing")
	want := "\"bb\" does not exist; did you mean \"b\"?\n\"nothing\" does not exist"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
}

func TestGraphIsNotChangedThroughTheCallersSlices(t *testing.T) {
	needs := []string{"a"}
	nodes := []Node{{Name: "a"}, {Name: "b", Needs: needs}}
	g := mustNew(t, nodes...)
	needs[0], nodes[0].Name = "b", "z"
	if b, _ := g.Node("b"); b.Needs[0] != "a" || g.Nodes()[0].Name != "a" {
		t.Error("the graph shares the caller's memory")
	}
	if _, ok := g.Node("z"); ok {
		t.Error("a node that was never declared")
	}
}

// TestCyclesAreRealAndComplete compares the report with the definition: every
// reported path is one of the graph, and without the nodes on them and what
// lies behind, nothing is left but a graph without cycles.
func TestCyclesAreRealAndComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "nodes")
		nodes := make([]Node, n)
		for i := range nodes {
			nodes[i].Name = fmt.Sprint(i)
			for _, j := range rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(n, 3), rapid.ID).Draw(t, "needs") {
				nodes[i].Needs = append(nodes[i].Needs, fmt.Sprint(j))
			}
		}
		reaches := closure(nodes)
		covered := map[string]bool{}
		_, err := New(nodes)
		var problems Problems
		errors.As(err, &problems)
		for _, p := range problems {
			for at := range p.Cycle[1:] {
				covered[p.Cycle[at]] = true
				if !slices.Contains(nodes[indexOf(nodes, p.Cycle[at+1])].Needs, p.Cycle[at]) {
					t.Fatalf("%s is no path of the graph", p)
				}
			}
			if p.Cycle[0] != p.Cycle[len(p.Cycle)-1] {
				t.Fatalf("%s is not closed", p)
			}
		}
		for i := range nodes {
			if reaches[i][i] != covered[nodes[i].Name] {
				t.Fatalf("node %d: on a cycle %v, reported %v\n%v", i, reaches[i][i], covered[nodes[i].Name], err)
			}
		}
	})
}

func indexOf(nodes []Node, name string) int {
	return slices.IndexFunc(nodes, func(n Node) bool { return n.Name == name })
}

// closure says from which node which can be reached (Warshall).
func closure(nodes []Node) [][]bool {
	reaches := make([][]bool, len(nodes))
	for i, node := range nodes {
		reaches[i] = make([]bool, len(nodes))
		for _, need := range node.Needs {
			reaches[i][indexOf(nodes, need)] = true
		}
	}
	for k := range nodes {
		for i := range nodes {
			for j := range nodes {
				reaches[i][j] = reaches[i][j] || reaches[i][k] && reaches[k][j]
			}
		}
	}
	return reaches
}

func TestResourcesString(t *testing.T) {
	for want, r := range map[string]Resources{
		"nothing":                      {},
		"4 cpu, 1 gpu, 1.5 GiB memory": {CPU: 4, GPU: 1, Memory: 3 << 29},
		"100 B memory":                 {Memory: 100},
		"8 EiB memory":                 {Memory: 1<<63 - 1},
		"2 cpu, 1 KiB memory":          {CPU: 2, Memory: 1024},
	} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
