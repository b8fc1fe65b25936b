package pipelines

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// Bounds of what one pipeline may include.
const (
	maxIncludeDepth = 16
	maxIncluded     = 100
)

// A place is where a file is found and what it is called.
type place struct {
	file string // as messages name it: as it was given, of an included one beside its includer
	path string // absolute; of an embedded pipeline "embedded:demo.toml"
	dir  string // absolute: what the paths in it are relative to
}

// isEmbedded says whether the file comes with the program.
func (p place) isEmbedded() bool { return strings.HasPrefix(p.path, EmbeddedPrefix) }

// A fileSet is a pipeline file and all that it includes. The bytes of all files
// are numbered through, so that a byte's number tells its file.
type fileSet struct {
	docs  []*document // in the order in which they were read; the first is the pipeline file
	bytes int
}

// add gives the document's nodes their numbers.
func (s *fileSet) add(doc *document) {
	doc.base = s.bytes
	doc.root.shift(doc.base)
	s.docs = append(s.docs, doc)
	s.bytes += len(doc.index.text) + 1 // a place may be behind the last byte
}

// of is the document that a byte is in.
func (s *fileSet) of(at int) *document {
	return s.docs[sort.Search(len(s.docs), func(i int) bool { return s.docs[i].base > at })-1]
}

func (s *fileSet) place(at int) (file string, line, column int) {
	doc := s.of(at)
	line, column = doc.index.place(at - doc.base)
	return doc.file, line, column
}

func (s *fileSet) diagnostic(at int, severity, message string) Diagnostic {
	file, line, column := s.place(at)
	return Diagnostic{File: file, Line: line, Column: column, Severity: severity, Message: message}
}

// names are the files' names in order.
func (s *fileSet) names() []string {
	names := make([]string, len(s.docs))
	for i, doc := range s.docs {
		names[i] = doc.file
	}
	return names
}

// A loader reads a pipeline file and what it includes.
type loader struct {
	workDir     string // what the paths of embedded pipelines are relative to
	read        func(place) ([]byte, error)
	files       fileSet
	size        int // of all files, in bytes
	diagnostics []Diagnostic
}

// load reads a file and all that it includes, and returns the one put over the
// other. It is nil when one of them is no TOML or cannot be read, which is among
// the diagnostics then. The error is about the pipeline file itself.
func (l *loader) load(at place) (*merged, error) {
	data, err := l.read(at)
	if err != nil {
		return nil, err
	}
	doc := l.parse(at, data)
	if doc == nil {
		return nil, nil
	}
	m := l.withIncluded(doc, []*document{doc})
	if hasError(l.diagnostics) {
		return nil, nil
	}
	m.files = l.files
	return &m, nil
}

func (l *loader) parse(at place, data []byte) *document {
	doc, diagnostics := readDocument(at.file, data)
	l.diagnostics = append(l.diagnostics, diagnostics...)
	if doc == nil {
		return nil
	}
	doc.place = at
	l.size += len(data)
	l.files.add(doc)
	return doc
}

// withIncluded puts a document over what it includes. Chain is how it was
// reached, and ends with it.
func (l *loader) withIncluded(doc *document, chain []*document) merged {
	under := merged{root: &node{}, values: map[string]any{}}
	n := doc.root.child("include")
	texts, ok := l.includes(doc, n)
	for i := 0; ok && i < len(texts); i++ {
		at := n.element(i).value
		included, err := l.include(doc, texts[i], chain)
		if err != nil {
			l.diagnostics = append(l.diagnostics, l.files.diagnostic(at, Error, "include: "+err.Error()))
		}
		if included != nil {
			under = overlay(under, l.withIncluded(included, append(slices.Clip(chain), included)))
		}
	}
	own := merged{root: doc.root, values: doc.values}
	if len(chain) > 1 {
		own = own.without("name", "description")
	}
	return overlay(under, own.without("include"))
}

// includes are the texts of a document's include.
func (l *loader) includes(doc *document, n *node) ([]string, bool) {
	switch v := doc.values["include"].(type) {
	case nil:
		return nil, true
	case string:
		return []string{v}, true
	case []any:
		texts := make([]string, len(v))
		for i, item := range v {
			var ok bool
			if texts[i], ok = item.(string); !ok {
				l.diagnostics = append(l.diagnostics, l.files.diagnostic(n.element(i).value, Error,
					fmt.Sprintf("include must be a list of files; this is %s", describe(item))))
				return nil, false
			}
		}
		return texts, true
	default:
		l.diagnostics = append(l.diagnostics, l.files.diagnostic(n.value, Error, fmt.Sprintf("include must be a list of files, not %s", describe(v))))
		return nil, false
	}
}

// include reads a file that a document includes. It returns nil without an error
// for one that was read before: it counts once, in the first place.
func (l *loader) include(doc *document, text string, chain []*document) (*document, error) {
	at, err := l.locate(doc, text)
	if err != nil {
		return nil, err
	}
	for i, above := range chain {
		if above.path == at.path {
			return nil, fmt.Errorf("a file cannot include itself: %s", cycle(chain[i:], at.file))
		}
	}
	if slices.ContainsFunc(l.files.docs, func(d *document) bool { return d.path == at.path }) {
		return nil, nil
	}
	switch {
	case len(chain) > maxIncludeDepth:
		return nil, fmt.Errorf("files include one another more than %d deep", maxIncludeDepth)
	case len(l.files.docs) > maxIncluded:
		return nil, fmt.Errorf("more than %d files are included", maxIncluded)
	}
	data, err := l.read(at)
	if err != nil {
		return nil, err
	}
	if l.size+len(data) > maxSize {
		return nil, fmt.Errorf("%s: all files together are larger than %d MiB, which is no pipeline", clip(text), maxSize>>20)
	}
	return l.parse(at, data), nil
}

func cycle(chain []*document, again string) string {
	var names []string
	for _, doc := range chain {
		names = append(names, doc.file)
	}
	return strings.Join(append(names, again), " -> ")
}

// locate finds the file that a document means by a text.
func (l *loader) locate(doc *document, text string) (place, error) {
	name, embedded := strings.CutPrefix(text, EmbeddedPrefix)
	switch {
	case embedded:
		return place{file: text, path: EmbeddedPrefix + name, dir: l.workDir}, nil
	case text == "" || strings.Contains(text, "${") || strings.Contains(text, "://"):
		return place{}, fmt.Errorf("%q is no path of a file; parameters and URLs cannot be used here", clip(text))
	case doc.isEmbedded():
		// Such a file is copied by init, and what is beside it is not.
		return place{}, fmt.Errorf("%q: a pipeline that comes with the program includes only others of them, \"%sNAME\"", clip(text), EmbeddedPrefix)
	case filepath.IsAbs(text):
		text = filepath.Clean(text)
		return place{file: text, path: text, dir: filepath.Dir(text)}, nil
	}
	path := filepath.Join(doc.dir, text)
	return place{file: filepath.Join(filepath.Dir(doc.file), text), path: path, dir: filepath.Dir(path)}, nil
}

// readPlace reads a file, or a pipeline that comes with the program.
func readPlace(at place) ([]byte, error) {
	if name, ok := strings.CutPrefix(at.path, EmbeddedPrefix); ok {
		data, found := Embedded(name)
		if !found {
			return nil, fmt.Errorf("there is no embedded pipeline %s%s", clip(name), stages.Suggest(name, EmbeddedNames()))
		}
		return data, nil
	}
	return readFile(at.path)
}

// A merged is what files say together: values, and where each of them stands.
type merged struct {
	files  fileSet
	root   *node
	values map[string]any
}

// without leaves top-level keys out.
func (m merged) without(names ...string) merged {
	root := *m.root
	root.children, m.values = maps.Clone(root.children), maps.Clone(m.values)
	for _, name := range names {
		delete(root.children, name)
		delete(m.values, name)
	}
	root.order = slices.DeleteFunc(slices.Clone(root.order), func(n *node) bool { return slices.Contains(names, n.name) })
	m.root = &root
	return m
}

// overlay puts one file over another: a table is merged key by key, at any
// depth; anything else replaces what is under it. So does a stage of another
// kind, to which the keys of the stage under it would mean nothing.
func overlay(under, over merged) merged {
	root, values := overlayTable(nil, under.root, over.root, under.values, over.values)
	return merged{root: root, values: values}
}

func overlayTable(path []string, under, over *node, underValues, values map[string]any) (*node, map[string]any) {
	result := *over
	result.children, result.order = maps.Clone(under.children), slices.Clone(under.order)
	if result.children == nil {
		result.children = map[string]*node{}
	}
	all := maps.Clone(underValues)
	for _, child := range over.order {
		name, value := child.name, values[child.name]
		below := under.child(name)
		tableBelow, isTableBelow := underValues[name].(map[string]any)
		table, isTable := value.(map[string]any)
		if isTable && isTableBelow && !isOtherKind(path, tableBelow, table) {
			child, value = overlayTable(append(slices.Clip(path), name), below, child, tableBelow, table)
		}
		result.children[name], all[name] = child, value
		if below == nil {
			result.order = append(result.order, child)
		} else {
			result.order[slices.Index(result.order, below)] = child
		}
	}
	return &result, all
}

// isOtherKind says whether two tables are stages, the second of which says that
// it is of another kind.
func isOtherKind(path []string, under, over map[string]any) bool {
	kind, given := over["kind"]
	return len(path) == 1 && path[0] == "stages" && given && !sameText(kind, under["kind"])
}

func sameText(a, b any) bool {
	textA, okA := a.(string)
	textB, okB := b.(string)
	return okA && okB && textA == textB
}
