package dag

import (
	"context"
	"fmt"
	"testing"
)

type trivial struct{ reused bool }

func (t trivial) Reuse(context.Context) (Outcome, bool, error)  { return Outcome{}, t.reused, nil }
func (t trivial) Execute(context.Context, int) (Outcome, error) { return Outcome{}, nil }

func chain(n int, task Task) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i] = Node{Name: fmt.Sprint("n", i), Task: task}
		if i > 0 {
			nodes[i].Needs = []string{nodes[i-1].Name}
		}
	}
	return nodes
}

// fan is one node, n-2 that need it, and one that needs all of those.
func fan(n int, task Task) []Node {
	nodes := make([]Node, n)
	sink := &nodes[n-1]
	for i := range nodes {
		nodes[i] = Node{Name: fmt.Sprint("n", i), Task: task, Uses: Resources{CPU: 1 + i%2}}
		if i > 0 && i < n-1 {
			nodes[i].Needs = []string{"n0"}
			sink.Needs = append(sink.Needs, nodes[i].Name)
		}
	}
	for i := 1; i < n-1; i++ {
		sink.Needs = append(sink.Needs, nodes[i].Name)
	}
	return nodes
}

func BenchmarkRun1000(b *testing.B)  { benchmarkRun(b, 1_000) }
func BenchmarkRun10000(b *testing.B) { benchmarkRun(b, 10_000) }

func benchmarkRun(b *testing.B, n int) {
	for name, shape := range map[string]func(int, Task) []Node{"chain": chain, "fan": fan} {
		for _, reused := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/reused=%v", name, reused), func(b *testing.B) {
				nodes := shape(n, trivial{reused})
				b.ReportAllocs()
				for b.Loop() {
					g, err := New(nodes)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := g.Run(context.Background(), Options{Budget: Resources{CPU: 8}}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
