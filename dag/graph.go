package dag

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Resources is what a node occupies while it executes, or what a run has to
// give. Memory is in bytes.
//
// In a Node, zero CPU means one. In a budget, zero CPU means as many as Go may
// use (GOMAXPROCS), and zero Memory means that memory is not rationed.
type Resources struct {
	CPU    int
	GPU    int
	Memory int64
}

// String lists what is not zero, memory in binary units.
func (r Resources) String() string {
	var parts []string
	if r.CPU != 0 {
		parts = append(parts, fmt.Sprintf("%d cpu", r.CPU))
	}
	if r.GPU != 0 {
		parts = append(parts, fmt.Sprintf("%d gpu", r.GPU))
	}
	if r.Memory != 0 {
		parts = append(parts, bytesString(r.Memory)+" memory")
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func bytesString(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1024 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.4g %ciB", size, "KMGTPE"[unit])
}

// Node is one unit of work and its place in the graph.
type Node struct {
	Name string
	Kind string // shown in drawings and events, otherwise without meaning

	// Needs names the nodes whose result this one uses. It starts when all of
	// them have ended well, and is skipped otherwise.
	Needs []string

	// After names nodes that only come first. This node waits for their end
	// too. It is skipped when one of them failed, unless Options.KeepGoing.
	After []string

	// Turn orders the nodes that could start: one of an earlier turn goes first,
	// however long the chain of nodes behind another is.
	Turn int

	Uses    Resources
	Timeout time.Duration // of one attempt of Execute; 0 is none
	Retries int           // further attempts after a failed Execute
	Task    Task          // may be nil in a graph that is only drawn
}

// Graph is a checked set of nodes without cycles. It never changes, so that
// any number of goroutines may use it at once.
type Graph struct {
	nodes []Node
	index map[string]int
	needs [][]int // for each node the nodes in Needs, without repeats
	after [][]int // for each node those in After that are not in Needs as well
	users [][]int // for each node those that have it in needs or after
	order []int   // topological, ties in declaration order
}

// New checks the nodes and links them. The error is a Problems value that lists
// everything that is wrong.
func New(nodes []Node) (*Graph, error) {
	g := &Graph{nodes: cloneNodes(nodes), index: make(map[string]int, len(nodes))}
	problems := g.checkNodes()
	problems = append(problems, g.link()...)
	g.sort()
	if len(g.order) < len(g.nodes) {
		problems = append(problems, g.cycles()...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return g, nil
}

func cloneNodes(nodes []Node) []Node {
	cloned := slices.Clone(nodes)
	for i := range cloned {
		cloned[i].Needs = slices.Clone(cloned[i].Needs)
		cloned[i].After = slices.Clone(cloned[i].After)
	}
	return cloned
}

// link turns names into edges and reports those that name nothing.
func (g *Graph) link() Problems {
	n := len(g.nodes)
	g.needs, g.after, g.users = make([][]int, n), make([][]int, n), make([][]int, n)
	var problems Problems
	seen := make([]int, n) // seen[j] == i+1: node i already has an edge from j
	suggest := newSuggester(g.nodes)
	for i, node := range g.nodes {
		resolve := func(names []string, after bool) (edges []int) {
			for _, name := range names {
				j, known := g.index[name]
				if !known {
					problems = append(problems, Problem{Code: Unknown, Node: node.Name, Index: i,
						Need: name, After: after, Suggestion: suggest.nearest(name)})
					continue
				}
				if seen[j] != i+1 {
					seen[j] = i + 1
					edges = append(edges, j)
					g.users[j] = append(g.users[j], i)
				}
			}
			return edges
		}
		g.needs[i] = resolve(node.Needs, false)
		g.after[i] = resolve(node.After, true)
	}
	return problems
}

// sort fills order by Kahn's algorithm; nodes on or behind a cycle are left out.
func (g *Graph) sort() {
	waiting := make([]int, len(g.nodes))
	var ready intHeap
	for i := range g.nodes {
		waiting[i] = len(g.needs[i]) + len(g.after[i])
		if waiting[i] == 0 {
			heap.Push(&ready, i)
		}
	}
	g.order = make([]int, 0, len(g.nodes))
	for len(ready) > 0 {
		i := heap.Pop(&ready).(int)
		g.order = append(g.order, i)
		for _, user := range g.users[i] {
			if waiting[user]--; waiting[user] == 0 {
				heap.Push(&ready, user)
			}
		}
	}
}

// Len returns the number of nodes.
func (g *Graph) Len() int { return len(g.nodes) }

// Nodes returns the nodes in declaration order. The slice is the caller's, the
// slices inside the nodes are the graph's and must not be changed.
func (g *Graph) Nodes() []Node { return slices.Clone(g.nodes) }

// Node returns the node of that name.
func (g *Graph) Node(name string) (Node, bool) {
	i, ok := g.index[name]
	if !ok {
		return Node{}, false
	}
	return g.nodes[i], true
}

// Order returns the names in an order in which each node comes after all that
// it waits for. It is the same each time: among the nodes that could come
// next, the one that was declared first does.
func (g *Graph) Order() []string {
	names := make([]string, len(g.order))
	for at, i := range g.order {
		names[at] = g.nodes[i].Name
	}
	return names
}

// Select returns the graph of the named nodes and everything they need, in
// declaration order; without names, the whole graph. A node that is only named
// in After is not drawn in, and its name is dropped from After when nothing
// else draws it in. The error is a Problems value with every unknown name.
func (g *Graph) Select(names ...string) (*Graph, error) {
	if len(names) == 0 {
		return g, nil
	}
	var problems Problems
	var pending []int
	suggest := newSuggester(g.nodes)
	for _, name := range names {
		i, ok := g.index[name]
		if !ok {
			problems = append(problems, Problem{Code: Unknown, Index: -1, Need: name, Suggestion: suggest.nearest(name)})
			continue
		}
		pending = append(pending, i)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return New(g.restrict(g.closure(pending)))
}

// closure marks the given nodes and everything they need.
func (g *Graph) closure(pending []int) []bool {
	in := make([]bool, len(g.nodes))
	for len(pending) > 0 {
		i := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if !in[i] {
			in[i] = true
			pending = append(pending, g.needs[i]...)
		}
	}
	return in
}

// restrict returns the marked nodes, in After only what is marked too.
func (g *Graph) restrict(in []bool) []Node {
	var nodes []Node
	for i, node := range g.nodes {
		if !in[i] {
			continue
		}
		var after []string
		for _, name := range node.After {
			if in[g.index[name]] {
				after = append(after, name)
			}
		}
		node.After = after
		nodes = append(nodes, node)
	}
	return nodes
}

// ranks gives each node its place in the order in which ready nodes are taken:
// by turn; within one those with the longest chain of nodes behind them first, so
// that the critical path is not left for last; ties in declaration order.
func (g *Graph) ranks() []int {
	behind := make([]int, len(g.nodes))
	for _, i := range slices.Backward(g.order) {
		for _, user := range g.users[i] {
			behind[i] = max(behind[i], behind[user]+1)
		}
	}
	byRank := make([]int, len(g.nodes))
	for i := range byRank {
		byRank[i] = i
	}
	slices.SortStableFunc(byRank, func(a, b int) int {
		return cmp.Or(g.nodes[a].Turn-g.nodes[b].Turn, behind[b]-behind[a])
	})
	ranks := make([]int, len(g.nodes))
	for rank, i := range byRank {
		ranks[i] = rank
	}
	return ranks
}

// intHeap is a container/heap of integers, smallest first.
type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(a, b int) bool { return h[a] < h[b] }
func (h intHeap) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
