package pipelines

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/exec"
)

var kindPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)

// readKinds adds the kinds of the [kinds] table to the registry.
func (c *checker) readKinds() {
	c.wrongKinds = map[string]bool{}
	table, n, ok := c.table("kinds")
	if !ok {
		return
	}
	all := c.registry.Kinds()
	for _, child := range n.order {
		before := len(c.diagnostics)
		kind := c.readKindTable(table[child.name], child)
		if hasError(c.diagnostics[before:]) {
			c.wrongKinds[child.name] = true
			continue
		}
		all = append(all, kind)
	}
	registry, err := stages.NewRegistry(all...)
	if err != nil { // names differ from one another in a table, and from the others by readKindTable
		c.errorAt(n.key, "kinds: %v", err)
		return
	}
	c.registry = registry
}

func (c *checker) readKindTable(v any, n *node) stages.Kind {
	raw, ok := v.(map[string]any)
	if !ok {
		c.errorAt(n.key, "kinds.%s must be a table, not %s", clip(n.name), describe(v))
		return stages.Kind{}
	}
	if !c.kindNameFits(raw, n) {
		return stages.Kind{}
	}
	s := &subject{label: "kind " + clip(n.name), node: n, raw: raw, broken: map[string]bool{}}
	values := stages.Values{}
	for _, child := range n.order {
		values[child.name] = c.settle(c.value(s, child), child, child.name == "files")
	}
	kind, problems := exec.Define(n.name, values)
	for _, p := range problems {
		c.report(s, p, exec.DefinitionKeys)
	}
	c.checkReserved(s, kind)
	return kind
}

// kindNameFits reports a name that no kind can have, or that one has already.
func (c *checker) kindNameFits(raw map[string]any, n *node) bool {
	if _, taken := c.opts.Registry.Kind(n.name); taken {
		c.errorAt(n.key, "kind %s: a kind of that name comes with prismflow; give it another, such as \"my.%s\"", n.name, n.name)
		return false
	}
	if !kindPattern.MatchString(n.name) {
		c.errorAt(n.key, "kind %q: a name is small letters, digits and _, in parts with dots between them", clip(n.name))
		return false
	}
	for _, child := range n.order { // [kinds.my.top] is a table top in kinds.my
		inside, isTable := raw[child.name].(map[string]any)
		if _, isKind := inside["command"]; isTable && isKind && !slices.Contains(exec.DefinitionKeys, child.name) {
			c.errorAt(child.key, "a name with a dot is written in quotes: [kinds.%q]", n.name+"."+clip(child.name))
			return false
		}
	}
	return true
}

// checkReserved reports names that every stage has for something else.
func (c *checker) checkReserved(s *subject, kind stages.Kind) {
	reserved := func(table, name string) {
		if slices.Contains(commonKeys, name) {
			c.report(s, stages.Problem{Param: table + "." + name, Message: fmt.Sprintf("%s is a key that every stage may have; give it another name", name)}, nil)
		}
	}
	for _, port := range kind.Inputs {
		reserved("inputs", port.Name)
	}
	for _, param := range kind.Params {
		table := "params"
		if param.Type == "path" {
			table = "inputs"
		}
		reserved(table, param.Name)
	}
}
