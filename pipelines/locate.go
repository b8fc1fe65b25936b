package pipelines

import (
	"sort"
	"strconv"
	"unicode/utf8"
)

// A node is a key of a pipeline file, or an element of a list, with its places
// in the text in bytes.
type node struct {
	name     string
	key      int              // where the key stands; of an element, where it begins
	value    int              // where its value begins; the key for what a header opens
	children map[string]*node // of a table
	order    []*node          // the children in the order of the text
	elements []*node          // of a list, or of an array of tables
	defined  bool             // set by a value or a header of its own
}

// child is the node of a key, or nil. It may be asked of nil.
func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	return n.children[name]
}

// shift moves the places of a node, and of all below it, by a number of bytes.
func (n *node) shift(by int) {
	n.key += by
	n.value += by
	for _, child := range n.order {
		child.shift(by)
	}
	for _, element := range n.elements {
		element.shift(by)
	}
}

// element is the node of a list's element, or the list's own when there is none.
func (n *node) element(i int) *node {
	if n == nil || i >= len(n.elements) {
		return n
	}
	return n.elements[i]
}

// find follows a path as far as it goes. Elements of lists are named by their
// number from 0.
func (n *node) find(path ...string) *node {
	for _, name := range path {
		next := n.child(name)
		if i, err := strconv.Atoi(name); next == nil && err == nil && i >= 0 && i < len(n.elements) {
			next = n.elements[i]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// A duplicate is a key that was set before.
type duplicate struct {
	again, first *node
	path         string
}

// A locator builds the tree of a text's nodes.
type locator struct {
	root       *node
	table      *node   // what the last header opened
	path       string  // its name, for messages
	stack      []*node // open lists and inline tables
	brackets   []byte  // their kinds
	target     *node   // the key whose value comes next
	duplicates []duplicate
}

// locate finds every key of a text. With an error it holds those before it.
func locate(text string) (*locator, *scanError) {
	root := &node{}
	l := &locator{root: root, table: root}
	return l, scan(text, l)
}

func (n *node) add(seg segment) *node {
	child := &node{name: seg.name, key: seg.at, value: seg.at}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	n.children[seg.name] = child
	n.order = append(n.order, child)
	return child
}

// enter goes to the table of that key, of an array of tables to its last.
func (n *node) enter(seg segment) *node {
	child, ok := n.children[seg.name]
	if !ok {
		return n.add(seg)
	}
	if last := len(child.elements) - 1; last >= 0 {
		return child.elements[last]
	}
	return child
}

func (l *locator) header(path []segment, array bool) {
	n := l.root
	for _, seg := range path[:len(path)-1] {
		n = n.enter(seg)
	}
	last := path[len(path)-1]
	l.path = dotted("", path)
	child, ok := n.children[last.name]
	if !ok {
		child = n.add(last)
	}
	switch {
	case array:
		element := &node{name: last.name, key: last.at, value: last.at}
		child.elements = append(child.elements, element)
		child.defined = true
		l.table = element
	case child.defined:
		l.duplicates = append(l.duplicates, duplicate{&node{key: last.at}, child, l.path})
		l.table = &node{}
	default:
		child.defined = true
		child.key, child.value = last.at, last.at
		l.table = child
	}
}

func (l *locator) key(path []segment) {
	n, prefix := l.table, l.path
	if depth := len(l.stack); depth > 0 {
		n, prefix = l.stack[depth-1], l.stack[depth-1].name
	}
	for _, seg := range path[:len(path)-1] {
		n = n.enter(seg)
	}
	last := path[len(path)-1]
	if child, ok := n.children[last.name]; ok {
		l.duplicates = append(l.duplicates, duplicate{&node{key: last.at}, child, dotted(prefix, path)})
		l.target = &node{}
		return
	}
	l.target = n.add(last)
	l.target.defined = true
}

// slot is the node of the value that begins at a byte: the pending key's, or a
// new element of the list around it.
func (l *locator) slot(at int) *node {
	depth := len(l.stack)
	if depth > 0 && l.brackets[depth-1] == '[' {
		list := l.stack[depth-1]
		element := &node{name: list.name, key: at, value: at}
		list.elements = append(list.elements, element)
		return element
	}
	l.target.value = at
	return l.target
}

func (l *locator) open(at int, bracket byte) {
	l.stack = append(l.stack, l.slot(at))
	l.brackets = append(l.brackets, bracket)
}

func (l *locator) close() {
	l.stack = l.stack[:len(l.stack)-1]
	l.brackets = l.brackets[:len(l.brackets)-1]
}

func (l *locator) scalar(at int) { l.slot(at) }

func dotted(prefix string, path []segment) string {
	for _, seg := range path {
		if prefix != "" {
			prefix += "."
		}
		prefix += seg.name
	}
	return prefix
}

// A lineIndex turns bytes of a text into lines and columns.
type lineIndex struct {
	text   string
	starts []int // of each line
}

func newLineIndex(text string) lineIndex {
	index := lineIndex{text: text, starts: []int{0}}
	for i := range len(text) {
		if text[i] == '\n' {
			index.starts = append(index.starts, i+1)
		}
	}
	return index
}

// place is the line, and the column in characters, of a byte; both from 1.
func (x lineIndex) place(at int) (line, column int) {
	at = max(0, min(at, len(x.text)))
	line = sort.SearchInts(x.starts, at+1)
	return line, 1 + utf8.RuneCountInString(x.text[x.starts[line-1]:at])
}
