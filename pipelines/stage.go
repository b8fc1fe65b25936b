package pipelines

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
)

// commonKeys are the keys that every stage may have, whatever its kind.
var commonKeys = []string{"kind", "after", "resources", "timeout", "retries", "cache"}

// A subject is the table of a stage or a kind while it is read.
type subject struct {
	label  string // as messages begin
	node   *node
	raw    map[string]any  // as the file says it
	broken map[string]bool // keys whose parameters are wrong, so that nothing more is said of them
}

// A draft is a stage while it is read.
type draft struct {
	subject
	spec  stages.Spec
	kind  stages.Kind
	sound bool // whether its outputs are known
}

func (c *checker) isStage(name string) bool { return c.doc.root.child("stages").child(name) != nil }

// readStages reads all stages in the order of the file and what is between
// them.
func (c *checker) readStages() []stages.Spec {
	table, n, ok := c.table("stages")
	if !ok {
		return nil
	}
	if len(n.order) == 0 {
		c.errorAt(n.key, "a pipeline needs stages: add a table [stages.NAME] with a kind")
	}
	drafts := make([]*draft, 0, len(n.order))
	for _, child := range n.order {
		if d := c.readStage(table[child.name], child); d != nil {
			drafts = append(drafts, d)
		}
	}
	c.checkWiring(drafts)
	c.checkOrder(drafts)
	specs := make([]stages.Spec, len(drafts))
	for i, d := range drafts {
		specs[i] = d.spec
	}
	return specs
}

func (c *checker) readStage(v any, n *node) *draft {
	raw, ok := v.(map[string]any)
	if !ok {
		c.errorAt(n.key, "stages.%s must be a table, not %s", clip(n.name), describe(v))
		return nil
	}
	d := &draft{subject: subject{label: "stage " + clip(n.name), node: n, raw: raw, broken: map[string]bool{}}}
	d.spec.Name = n.name
	if !namePattern.MatchString(n.name) {
		c.errorAt(n.key, "stage %q: a name is a small letter followed by small letters, digits and _", clip(n.name))
	}
	known := c.readKind(d)
	values := stages.Values{}
	for _, child := range n.order {
		if child.name == "kind" {
			continue
		}
		value := c.value(&d.subject, child)
		if slices.Contains(commonKeys, child.name) {
			c.readCommon(d, child, plain(value))
		} else {
			values[child.name] = c.settle(value, child, d.isPath(child.name))
		}
	}
	if known {
		c.bind(d, values)
	}
	return d
}

// value is a key's value with parameters filled in.
func (c *checker) value(s *subject, n *node) any {
	before := len(c.diagnostics)
	value := c.expand(s.raw[n.name], n)
	s.broken[n.name] = hasError(c.diagnostics[before:])
	return value
}

func (d *draft) isPath(param string) bool {
	return slices.ContainsFunc(d.kind.Params, func(p stages.Param) bool { return p.Name == param && strings.HasPrefix(p.Type, "path") })
}

func (c *checker) stageError(d *draft, at int, format string, args ...any) {
	c.errorAt(at, "%s: %s", d.label, fmt.Sprintf(format, args...))
}

// readKind finds the stage's kind.
func (c *checker) readKind(d *draft) bool {
	n := d.node.child("kind")
	if n == nil {
		c.stageError(d, d.node.key, "has no kind")
		return false
	}
	value := plain(c.expand(d.raw["kind"], n))
	name, ok := value.(string)
	if !ok {
		c.stageError(d, n.value, "kind must be a string, not %s", describe(value))
		return false
	}
	d.spec.Kind = name
	if d.kind, ok = c.registry.Kind(name); !ok && !c.wrongKinds[name] {
		c.stageError(d, n.value, "there is no kind %q%s", clip(name), c.suggest(name, kindNames(c.registry)))
	}
	return ok
}

func kindNames(r stages.Registry) []string {
	var names []string
	for _, kind := range r.Kinds() {
		names = append(names, kind.Name)
	}
	return names
}

// readCommon reads a key that every stage may have.
func (c *checker) readCommon(d *draft, n *node, v any) {
	options, ok := &d.spec.Options, true
	var err error
	switch n.name {
	case "after":
		options.After = c.readAfter(d, n, v)
	case "resources":
		c.readResources(d, n, v)
	case "timeout":
		options.Timeout, err = parseDuration(v)
	case "retries":
		options.Retries, err = count(v, 0, maxRetries)
	case "cache":
		var cached bool
		if cached, ok = v.(bool); !ok {
			err = fmt.Errorf("must be true or false, not %s", describe(v))
		}
		options.NoCache = ok && !cached
	}
	if err != nil && !d.broken[n.name] {
		c.stageError(d, n.value, "%s: %v%s", n.name, err, c.given(d.raw[n.name]))
	}
}

// Bounds that only catch mistakes.
const (
	maxRetries = 1000
	maxSlots   = 1 << 20
)

// count is a whole number between two bounds.
func count(v any, least, most int64) (int, error) {
	n, ok := v.(int64)
	if !ok {
		return 0, fmt.Errorf("must be an integer, not %s", describe(v))
	}
	if n < least || n > most {
		return 0, fmt.Errorf("must be between %d and %d, not %d", least, most, n)
	}
	return int(n), nil
}

func (c *checker) readAfter(d *draft, n *node, v any) []string {
	names, ok := c.strings(n, v, d.label+": after")
	if !ok {
		return nil
	}
	for i, name := range names {
		if !c.isStage(name) {
			c.stageError(d, n.element(i).value, "after: there is no stage %q%s", clip(name), c.suggest(name, c.stageNames()))
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return !c.isStage(name) })
}

func (c *checker) stageNames() []string {
	var names []string
	for _, n := range c.doc.root.child("stages").order {
		names = append(names, n.name)
	}
	return names
}

var resourceKeys = []string{"cpu", "gpu", "memory"}

func (c *checker) readResources(d *draft, n *node, v any) {
	table, ok := v.(map[string]any)
	if !ok {
		c.stageError(d, n.value, "resources must be a table such as { cpu = 2, gpu = 1, memory = \"4GiB\" }, not %s", describe(v))
		return
	}
	uses := &d.spec.Options.Uses
	for _, name := range sortedNames(table) {
		child := n.find(name)
		var err error
		switch name {
		case "cpu":
			uses.CPU, err = count(table[name], 1, maxSlots)
		case "gpu":
			uses.GPU, err = count(table[name], 0, maxSlots)
		case "memory":
			uses.Memory, err = parseBytes(table[name])
		default:
			c.stageError(d, child.key, "resources: unknown key %q%s", clip(name), c.suggest(name, resourceKeys))
		}
		if err != nil {
			c.stageError(d, child.value, "resources.%s: %v", name, err)
		}
	}
}

// bind configures the stage by its kind.
func (c *checker) bind(d *draft, values stages.Values) {
	stage, problems := d.kind.Bind(values, stages.BindContext{IsStage: c.isStage, LookupEnv: c.opts.LookupEnv})
	for _, p := range problems {
		c.report(&d.subject, p, d.keys())
	}
	d.spec.Stage = stage
	// The outputs of a kind that declares none depend on what was not understood.
	d.sound = stage != nil && (len(problems) == 0 || len(d.kind.Outputs) > 0)
}

const unknownKey = "unknown key"

// report says where a problem of a table stands. Known are the keys that the
// table may have.
func (c *checker) report(s *subject, p stages.Problem, known []string) {
	path := strings.Split(p.Param, ".")
	if p.Param == "" {
		c.errorAt(s.node.key, "%s: %s", s.label, p.Message)
		return
	}
	if s.broken[path[0]] {
		return
	}
	n := s.node.find(path...)
	at, message := n.value, p.Message
	if strings.HasPrefix(message, unknownKey) {
		at = n.key
		if len(path) == 1 {
			message = unknownKey + c.suggest(p.Param, known)
		}
	}
	c.errorAt(at, "%s: %s: %s%s", s.label, clip(p.Param), message, c.given(s.raw[path[0]]))
}

// keys are all that a stage of the draft's kind may have.
func (d *draft) keys() []string {
	keys := slices.Clone(commonKeys)
	for _, port := range d.kind.Inputs {
		keys = append(keys, port.Name)
	}
	for _, param := range d.kind.Params {
		keys = append(keys, param.Name)
	}
	return keys
}

// A restricted stage shows only some of its inputs.
type restricted struct {
	stages.Stage
	inputs []stages.Input
}

func (r restricted) Inputs() []stages.Input { return r.inputs }

// checkWiring checks what the stages read of one another. A stage whose outputs
// are not known is there, so that its name is, but nothing is said of them.
func (c *checker) checkWiring(drafts []*draft) {
	byName := map[string]*draft{}
	for _, d := range drafts {
		byName[d.spec.Name] = d
	}
	var specs []stages.Spec
	for _, d := range drafts {
		if d.spec.Stage == nil {
			continue
		}
		var inputs []stages.Input
		for _, input := range d.spec.Stage.Inputs() {
			from := byName[input.From.Stage]
			if from != nil && from.sound || !c.isStage(input.From.Stage) {
				inputs = append(inputs, input)
			}
		}
		spec := d.spec
		spec.Stage = restricted{d.spec.Stage, inputs}
		specs = append(specs, spec)
	}
	for _, p := range stages.CheckWiring(specs) {
		p.Message = strings.ReplaceAll(p.Message, "\n", "; ")
		d := byName[p.Stage]
		c.report(&d.subject, p, d.keys())
	}
}

// lacks says whether the stage is known not to have an output. Reading it is
// reported, and may be no more than a file's name taken for an output's.
func (d *draft) lacks(output string) bool {
	return d.spec.Stage != nil && !slices.ContainsFunc(d.spec.Stage.Outputs(), func(p stages.Port) bool { return p.Name == output })
}

// checkOrder reports stages that wait for one another.
func (c *checker) checkOrder(drafts []*draft) {
	nodes := make([]dag.Node, len(drafts))
	byName := map[string]*draft{}
	for i, d := range drafts {
		nodes[i] = dag.Node{Name: d.spec.Name, After: slices.Clone(d.spec.Options.After)}
		byName[d.spec.Name] = d
	}
	for i, d := range drafts {
		nodes[i].After = slices.DeleteFunc(nodes[i].After, func(name string) bool { return byName[name] == nil })
		if d.spec.Stage == nil {
			continue
		}
		for _, input := range d.spec.Stage.Inputs() {
			if from := byName[input.From.Stage]; from != nil && !from.lacks(input.From.Output) {
				nodes[i].Needs = append(nodes[i].Needs, input.From.Stage)
			}
		}
	}
	_, err := dag.New(nodes)
	problems, _ := err.(dag.Problems)
	for _, p := range problems {
		if p.Code == dag.Cyclic {
			c.errorAt(byName[p.Node].node.key, "%s", p)
		}
	}
}
