package sweep

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
)

// A Point is a pipeline at one choice of parameters.
type Point struct {
	Params []Param       // those that were chosen, in their order
	Specs  []stages.Spec // the pipeline's stages, wired and without cycles
}

// A Param is a parameter and its value as text.
type Param struct {
	Name string `json:"name"`
	Text string `json:"value"`
}

// A Plan is one graph for all points of a sweep.
type Plan struct {
	Specs []stages.Spec       // the graph's stages: each once, however many points share it
	Nodes []map[string]string // for each point: its stage → the graph's
	Turns map[string]int      // the first point that has a stage: earlier points go first
}

// New plans a sweep.
func New(points []Point) (Plan, error) {
	p := planner{byIdentity: map[string]*node{}}
	for i, point := range points {
		if err := p.addPoint(i, point); err != nil {
			return Plan{}, err
		}
	}
	return p.plan(points), nil
}

// A node is a stage that one or several points have.
type node struct {
	spec   stages.Spec
	points []int
	name   string
	inputs map[string]*node // the stages that it reads or waits for, by their name in the pipeline
}

type planner struct {
	byIdentity map[string]*node
	order      []*node            // as they were met
	at         []map[string]*node // for each point: its stage → its node
}

// addPoint adds the stages of a point, each after those that it needs.
func (p *planner) addPoint(i int, point Point) error {
	byName := map[string]stages.Spec{}
	nodes := make([]dag.Node, len(point.Specs))
	for at, spec := range point.Specs {
		byName[spec.Name] = spec
		nodes[at] = dag.Node{Name: spec.Name, After: spec.Options.After}
		for _, input := range spec.Stage.Inputs() {
			nodes[at].Needs = append(nodes[at].Needs, input.From.Stage)
		}
	}
	graph, err := dag.New(nodes)
	if err != nil {
		return err
	}
	at := map[string]*node{}
	p.at = append(p.at, at)
	for _, name := range graph.Order() {
		spec := byName[name]
		identity, err := identify(spec, at)
		if err != nil {
			return err
		}
		n := p.byIdentity[identity]
		if n == nil {
			n = &node{spec: spec, inputs: inputsOf(spec, at)}
			p.byIdentity[identity] = n
			p.order = append(p.order, n)
		}
		n.points = append(n.points, i)
		at[name] = n
	}
	return nil
}

func inputsOf(spec stages.Spec, at map[string]*node) map[string]*node {
	inputs := map[string]*node{}
	for _, input := range spec.Stage.Inputs() {
		inputs[input.From.Stage] = at[input.From.Stage]
	}
	for _, name := range spec.Options.After {
		inputs[name] = at[name]
	}
	return inputs
}

// identify tells stages apart whose results may differ: by what the settings say
// to the key, the files that are named, and the very stages that are read. What
// no key has, such as a device, makes no second stage.
func identify(spec stages.Spec, at map[string]*node) (string, error) {
	request, err := spec.Stage.Request().Canonical()
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", spec.Name, err)
	}
	type wire struct {
		Port    string
		From    string // the node's address, which is its identity
		Output  string
		Columns []string
	}
	var wires []wire
	for _, input := range spec.Stage.Inputs() {
		wires = append(wires, wire{input.Port, fmt.Sprintf("%p", at[input.From.Stage]), input.From.Output, input.Columns})
	}
	var after []string
	for _, name := range spec.Options.After {
		after = append(after, fmt.Sprintf("%p", at[name]))
	}
	revalidates := ""
	if r, ok := spec.Stage.(stages.Revalidator); ok {
		revalidates = r.Revalidates()
	}
	text, err := json.Marshal(struct {
		Name, Kind, Revalidates string
		Request                 json.RawMessage
		Sources                 []stages.SourceSpec
		Wires                   []wire
		After                   []string
		NoCache                 bool
	}{spec.Name, spec.Kind, revalidates, request, spec.Stage.Sources(), wires, after, spec.Options.NoCache})
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", spec.Name, err)
	}
	return artifacts.DigestOf(text).Hex(), nil
}

// plan names the nodes and wires them by these names.
func (p *planner) plan(points []Point) Plan {
	taken := map[string]bool{}
	for _, n := range p.order {
		n.name = nameOf(n, points)
		if taken[n.name] {
			n.name = fmt.Sprintf("%s[#%d]", n.spec.Name, n.points[0]+1)
		}
		taken[n.name] = true
	}
	plan := Plan{Turns: map[string]int{}}
	for _, n := range p.order {
		plan.Specs = append(plan.Specs, n.renamed())
		plan.Turns[n.name] = n.points[0]
	}
	for _, at := range p.at {
		names := map[string]string{}
		for stage, n := range at {
			names[stage] = n.name
		}
		plan.Nodes = append(plan.Nodes, names)
	}
	return plan
}

// nameOf is the stage's own name where all points share it; else with the values
// that those points have in common which share it, as "train[seed=1]". It serves
// as a file name.
func nameOf(n *node, points []Point) string {
	if len(n.points) == len(points) {
		return n.spec.Name
	}
	var common []string
	for i, param := range points[n.points[0]].Params {
		sameIn := func(p int) bool { return i < len(points[p].Params) && points[p].Params[i] == param }
		everywhere := !slices.ContainsFunc(points, func(p Point) bool { return i >= len(p.Params) || p.Params[i] != param })
		if !everywhere && !slices.ContainsFunc(n.points, func(p int) bool { return !sameIn(p) }) {
			common = append(common, param.Name+"="+fileText(param.Text))
		}
	}
	if len(common) == 0 {
		return fmt.Sprintf("%s[#%d]", n.spec.Name, n.points[0]+1)
	}
	return n.spec.Name + "[" + strings.Join(common, ",") + "]"
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_.+=-]`)

// fileText is a value as part of a file name.
func fileText(text string) string {
	const longest = 40
	text = notInNames.ReplaceAllString(text, "_")
	return text[:min(len(text), longest)]
}

// renamed is the node's stage, reading other nodes by their names in the graph.
func (n *node) renamed() stages.Spec {
	spec := n.spec
	spec.Name = n.name
	spec.Options.After = slices.Clone(spec.Options.After)
	for i, name := range spec.Options.After {
		spec.Options.After[i] = n.inputs[name].name
	}
	inputs := slices.Clone(spec.Stage.Inputs())
	for i := range inputs {
		inputs[i].From.Stage = n.inputs[inputs[i].From.Stage].name
	}
	spec.Stage = rewired{spec.Stage, inputs}
	return spec
}

// A rewired stage reads what it reads from stages of other names.
type rewired struct {
	stages.Stage
	inputs []stages.Input
}

func (r rewired) Inputs() []stages.Input { return r.inputs }

// Revalidates asks the stage, if it is a Revalidator.
func (r rewired) Revalidates() string {
	if inner, ok := r.Stage.(stages.Revalidator); ok {
		return inner.Revalidates()
	}
	return ""
}
