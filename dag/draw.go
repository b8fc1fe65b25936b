package dag

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Annotate gives a node's drawing a further remark, a state for example; "" is
// none. A nil Annotate gives none to any.
type Annotate func(name string) string

func (a Annotate) of(name string) string {
	if a == nil {
		return ""
	}
	return a(name)
}

// Text draws the graph for a terminal, one node a line in the order of Order.
// A line runs down from each node to the last one that needs it; a node that
// none needs is hollow. After is written out. It uses box-drawing characters of
// Unicode.
func (g *Graph) Text(w io.Writer, annotate Annotate) error {
	rows := g.railRows()
	railWidth, nameWidth, kindWidth := 0, 0, 0
	for at, i := range g.order {
		railWidth = max(railWidth, utf8.RuneCountInString(rows[at]))
		nameWidth = max(nameWidth, utf8.RuneCountInString(g.nodes[i].Name))
		kindWidth = max(kindWidth, utf8.RuneCountInString(g.nodes[i].Kind))
	}
	out := bufio.NewWriter(w)
	for at, i := range g.order {
		node := g.nodes[i]
		line := fmt.Sprintf("%-*s  %-*s  %-*s", railWidth, rows[at], nameWidth, node.Name, kindWidth, node.Kind)
		if len(g.after[i]) > 0 {
			line += "  (after " + strings.Join(g.names(g.after[i]), ", ") + ")"
		}
		if note := annotate.of(node.Name); note != "" {
			line += "  " + note
		}
		fmt.Fprintln(out, strings.TrimRight(strings.Map(printable, line), " "))
	}
	return out.Flush()
}

// printable keeps a remark from breaking the line, or from driving the terminal.
func printable(c rune) rune {
	if unicode.IsControl(c) {
		return ' '
	}
	return c
}

func (g *Graph) names(of []int) []string {
	names := make([]string, len(of))
	for at, i := range of {
		names[at] = g.nodes[i].Name
	}
	return names
}

// rails is the state of the text drawing between two rows: for each column the
// node whose line runs down in it, or none.
type rails struct {
	columns []int
	unmet   []int // for each node the users whose row is still to come
}

// railRows draws the left part of each row of the text.
func (g *Graph) railRows() []string {
	r := rails{unmet: make([]int, len(g.nodes))}
	for _, needs := range g.needs {
		for _, j := range needs {
			r.unmet[j]++
		}
	}
	rows := make([]string, len(g.order))
	for at, i := range g.order {
		rows[at] = r.row(i, g.needs[i])
	}
	return rows
}

// row draws the row of one node: a bullet in a column of its own, joined to the
// lines of what it needs. A line that ends here gives its column up, the
// leftmost of them to the bullet.
func (r *rails) row(node int, needs []int) string {
	var joined []int
	place := none
	for column, j := range r.columns {
		if j == none || !slices.Contains(needs, j) {
			continue
		}
		joined = append(joined, column)
		if r.unmet[j]--; r.unmet[j] == 0 && place == none {
			place = column
		}
	}
	if place == none {
		place = r.vacant()
	}
	bullet := "●"
	if r.unmet[node] == 0 {
		bullet = "○"
	}
	row := r.draw(place, bullet, joined)
	r.advance(node, place, joined)
	return row
}

// vacant returns the leftmost column without a line.
func (r *rails) vacant() int {
	if column := slices.Index(r.columns, none); column != none {
		return column
	}
	r.columns = append(r.columns, none)
	return len(r.columns) - 1
}

func (r *rails) draw(place int, bullet string, joined []int) string {
	first, last := place, place
	for _, column := range joined {
		first, last = min(first, column), max(last, column)
	}
	var b strings.Builder
	for column, j := range r.columns {
		within := first < column && column < last
		switch {
		case column == place:
			b.WriteString(bullet)
		case slices.Contains(joined, column):
			b.WriteString(junction(column > first, column < last, r.unmet[j] > 0))
		case j != none:
			b.WriteString("│")
		case within:
			b.WriteString("─")
		default:
			b.WriteString(" ")
		}
		if first <= column && column < last {
			b.WriteString("─")
		} else {
			b.WriteString(" ")
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// junction is where a line from above meets the horizontal one of a row. One
// that has nothing to its left goes on down: the leftmost line that ends here
// ends in the bullet.
func junction(left, right, down bool) string {
	switch {
	case left && right && down:
		return "┼"
	case left && right:
		return "┴"
	case left && down:
		return "┤"
	case left:
		return "╯"
	default:
		return "├"
	}
}

func (r *rails) advance(node, place int, joined []int) {
	for _, column := range joined {
		if r.unmet[r.columns[column]] == 0 {
			r.columns[column] = none
		}
	}
	if r.unmet[node] > 0 {
		r.columns[place] = node
	}
	for len(r.columns) > 0 && r.columns[len(r.columns)-1] == none {
		r.columns = r.columns[:len(r.columns)-1]
	}
}

// DOT draws the graph in the language of Graphviz: full arrows for Needs,
// dashed ones for After.
func (g *Graph) DOT(w io.Writer, annotate Annotate) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "digraph {\n\trankdir=TB\n\tnode [shape=box style=rounded fontname=\"sans-serif\"]\n")
	for _, node := range g.nodes {
		fmt.Fprintf(out, "\t%s [label=%s]\n", dotQuote(node.Name), dotQuote(label(node, annotate, "\n")))
	}
	g.eachEdge(func(from, to int, order bool) {
		style := ""
		if order {
			style = " [style=dashed]"
		}
		fmt.Fprintf(out, "\t%s -> %s%s\n", dotQuote(g.nodes[from].Name), dotQuote(g.nodes[to].Name), style)
	})
	fmt.Fprintln(out, "}")
	return out.Flush()
}

var dotEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", `\n`)

func dotQuote(s string) string { return `"` + dotEscape.Replace(s) + `"` }

// Mermaid draws the graph as a Mermaid flowchart: full arrows for Needs, dotted
// ones for After.
func (g *Graph) Mermaid(w io.Writer, annotate Annotate) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "flowchart TD")
	for i, node := range g.nodes {
		lines := strings.Split(label(node, annotate, "\n"), "\n")
		for at := range lines {
			lines[at] = mermaidEscape(lines[at])
		}
		fmt.Fprintf(out, "    n%d[\"%s\"]\n", i, strings.Join(lines, "<br/>"))
	}
	g.eachEdge(func(from, to int, order bool) {
		arrow := "-->"
		if order {
			arrow = "-.->"
		}
		fmt.Fprintf(out, "    n%d %s n%d\n", from, arrow, to)
	})
	return out.Flush()
}

// mermaidEscape writes everything that Mermaid, or the HTML that it makes of a
// label, could take for its own as a numbered entity.
func mermaidEscape(s string) string {
	var b strings.Builder
	for _, c := range s {
		if strings.ContainsRune("\"#&<>;`\\*", c) || c < ' ' {
			fmt.Fprintf(&b, "#%d;", c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// label is what a box shows: name, kind, annotation, as far as there are.
func label(node Node, annotate Annotate, separator string) string {
	parts := []string{node.Name}
	for _, part := range []string{node.Kind, annotate.of(node.Name)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, separator)
}

// eachEdge visits the edges in the order of the nodes that they lead to; order
// is true for those of After.
func (g *Graph) eachEdge(visit func(from, to int, order bool)) {
	for to := range g.nodes {
		for _, from := range g.needs[to] {
			visit(from, to, false)
		}
		for _, from := range g.after[to] {
			visit(from, to, true)
		}
	}
}
