package dag

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// ProblemCode says in which way a graph is wrong.
type ProblemCode string

const (
	Unnamed   ProblemCode = "unnamed"   // a node without a name
	Duplicate ProblemCode = "duplicate" // a name that an earlier node has
	Unknown   ProblemCode = "unknown"   // a need, or a selected name, that no node has
	Cyclic    ProblemCode = "cycle"     // nodes that wait for one another
	Invalid   ProblemCode = "invalid"   // a setting of a node that is out of bounds
)

// Problem is one thing that is wrong with a graph.
type Problem struct {
	Code       ProblemCode
	Node       string   // the node that has it; empty for a name given to Select
	Index      int      // the node's position among those given to New, or -1
	Need       string   // Unknown: the name that no node has
	After      bool     // Unknown: the name stands in After rather than in Needs
	Suggestion string   // Unknown: the nearest name that exists, if one is near
	Cycle      []string // Cyclic: each name is waited for by the next; the first is repeated at the end
	Message    string   // Invalid: which setting, its value and its bound
}

// String says it in one line.
func (p Problem) String() string {
	switch p.Code {
	case Unnamed:
		return fmt.Sprintf("node %d has no name", p.Index+1)
	case Duplicate:
		return fmt.Sprintf("%s: an earlier node has the same name", p.Node)
	case Unknown:
		return p.unknown()
	case Cyclic:
		return "cycle: " + strings.Join(p.Cycle, " -> ")
	default:
		return fmt.Sprintf("%s: %s", p.Node, p.Message)
	}
}

func (p Problem) unknown() string {
	hint := ""
	if p.Suggestion != "" {
		hint = fmt.Sprintf("; did you mean %q?", p.Suggestion)
	}
	switch {
	case p.Node == "":
		return fmt.Sprintf("%q does not exist%s", p.Need, hint)
	case p.After:
		return fmt.Sprintf("%s: comes after %q, which does not exist%s", p.Node, p.Need, hint)
	default:
		return fmt.Sprintf("%s: needs %q, which does not exist%s", p.Node, p.Need, hint)
	}
}

// Problems is everything that is wrong with a graph, as an error.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// checkNodes looks at each node by itself and fills the index of names.
func (g *Graph) checkNodes() Problems {
	var problems Problems
	for i, node := range g.nodes {
		if node.Name == "" {
			problems = append(problems, Problem{Code: Unnamed, Index: i})
		} else if _, taken := g.index[node.Name]; taken {
			problems = append(problems, Problem{Code: Duplicate, Node: node.Name, Index: i})
		} else {
			g.index[node.Name] = i
		}
		for _, message := range checkBounds(node) {
			problems = append(problems, Problem{Code: Invalid, Node: node.Name, Index: i, Message: message})
		}
	}
	return problems
}

func checkBounds(node Node) []string {
	messages := node.Uses.negatives()
	if node.Timeout < 0 {
		messages = append(messages, fmt.Sprintf("timeout %s is below 0", node.Timeout))
	}
	if node.Retries < 0 {
		messages = append(messages, fmt.Sprintf("retries %d is below 0", node.Retries))
	}
	return messages
}

func (r Resources) negatives() []string {
	var messages []string
	if r.CPU < 0 {
		messages = append(messages, fmt.Sprintf("cpu %d is below 0", r.CPU))
	}
	if r.GPU < 0 {
		messages = append(messages, fmt.Sprintf("gpu %d is below 0", r.GPU))
	}
	if r.Memory < 0 {
		messages = append(messages, fmt.Sprintf("memory %d is below 0", r.Memory))
	}
	return messages
}

// maxCycles bounds the report on a thoroughly tangled graph, and with it the
// time that the report takes.
const maxCycles = 20

// cycles returns cycles such that every node that is on one is on a reported
// one (up to maxCycles): the shortest through each node, in declaration order,
// that no earlier one has met.
func (g *Graph) cycles() Problems {
	var problems Problems
	knots := g.knots()
	reported := make([]bool, len(g.nodes))
	for i := range g.nodes {
		if reported[i] || knots[i] < 0 {
			continue
		}
		var names []string
		for _, j := range g.cycleThrough(i, knots) {
			reported[j] = true
			names = append(names, g.nodes[j].Name)
		}
		problems = append(problems, Problem{Code: Cyclic, Node: names[0], Index: i, Cycle: names})
		if len(problems) == maxCycles {
			break
		}
	}
	return problems
}

// cycleThrough returns a shortest cycle that starts and ends at a node of a
// knot, by breadth-first search along the edges inside that knot.
func (g *Graph) cycleThrough(start int, knots []int) []int {
	from := map[int]int{}
	queue := []int{start}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, user := range g.users[i] {
			if _, seen := from[user]; seen || knots[user] != knots[start] {
				continue
			}
			from[user] = i
			queue = append(queue, user)
		}
		if _, closed := from[start]; closed {
			break
		}
	}
	cycle := []int{start}
	for i := from[start]; i != start; i = from[i] {
		cycle = append(cycle, i)
	}
	cycle = append(cycle, start)
	slices.Reverse(cycle)
	return cycle
}

// knots numbers the strongly connected components that hold a cycle; a node on
// no cycle gets -1. Tarjan, "Depth-first search and linear graph algorithms",
// SIAM J. Comput. 1(2), 1972.
func (g *Graph) knots() []int {
	t := &tarjan{g: g, knot: make([]int, len(g.nodes)), at: make([]int, len(g.nodes)), low: make([]int, len(g.nodes))}
	for i := range g.nodes {
		t.knot[i] = -1
	}
	for i := range g.nodes {
		if t.at[i] == 0 {
			t.visit(i)
		}
	}
	return t.knot
}

type tarjan struct {
	g     *Graph
	knot  []int // the result
	at    []int // when a node was met, from 1; -1 once its component is complete
	low   []int // the earliest node on the stack that it reaches
	clock int
	stack []int
}

func (t *tarjan) visit(i int) {
	t.clock++
	t.at[i], t.low[i] = t.clock, t.clock
	met := t.clock
	t.stack = append(t.stack, i)
	for _, user := range t.g.users[i] {
		if t.at[user] == 0 {
			t.visit(user)
		}
		if t.at[user] > 0 {
			t.low[i] = min(t.low[i], t.low[user])
		}
	}
	if t.low[i] == met {
		t.complete(i)
	}
}

// complete takes the component whose first node is i off the stack.
func (t *tarjan) complete(i int) {
	first := len(t.stack) - 1
	for t.stack[first] != i {
		first--
	}
	members := t.stack[first:]
	t.stack = t.stack[:first]
	cyclic := len(members) > 1 || slices.Contains(t.g.users[i], i)
	for _, member := range members {
		t.at[member] = -1
		if cyclic {
			t.knot[member] = i
		}
	}
}

// maxSuggestions and maxSuggestRunes bound the time spent on a graph with
// thousands of misspelt needs, or with names that are not names.
const (
	maxSuggestions  = 50
	maxSuggestRunes = 100
)

// suggester finds the existing name that is nearest to a misspelt one.
type suggester struct {
	nodes []Node
	left  int
}

func newSuggester(nodes []Node) *suggester { return &suggester{nodes: nodes, left: maxSuggestions} }

// nearest returns the declared name at the smallest edit distance, the first
// declared of several, and "" when more than a third of the letters differ.
func (s *suggester) nearest(name string) string {
	runes := utf8.RuneCountInString(name)
	if s.left == 0 || runes > maxSuggestRunes {
		return ""
	}
	s.left--
	best, bestDistance := "", max(1, runes/3)+1
	for _, node := range s.nodes {
		if node.Name == "" {
			continue
		}
		if d := editDistance(name, node.Name, bestDistance); d < bestDistance {
			best, bestDistance = node.Name, d
		}
	}
	return best
}

// editDistance is the Levenshtein distance, or limit when it is not below it.
func editDistance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) >= limit || len(y)-len(x) >= limit {
		return limit
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i, cx := range x {
		diagonal, smallest := row[0], i+1
		row[0] = i + 1
		for j, cy := range y {
			substitute := diagonal
			if cx != cy {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
			smallest = min(smallest, row[j+1])
		}
		if smallest >= limit {
			return limit
		}
	}
	return min(row[len(y)], limit)
}
