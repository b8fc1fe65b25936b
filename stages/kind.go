package stages

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
)

// A Kind is what `kind = "…"` names in a pipeline file: a documented, typed
// and versioned way to make outputs from inputs.
type Kind struct {
	Name    string
	Version int    // of its code: part of the key, pinned by a test beside a hash of the source
	Summary string // one line
	Doc     string // paragraphs, for `prismflow stages KIND`
	Example string // a [stages.…] table

	Inputs  []Port
	Outputs []Port
	Params  []Param

	// Bind configures a stage of this kind, or says everything that is wrong.
	Bind func(Values, BindContext) (Stage, []Problem)
}

// A Port is one input or output of a kind.
type Port struct {
	Name     string
	Doc      string
	Optional bool
	File     bool         // a plain file, not a table
	Schema   table.Schema // of an output, the columns it has; of an input, those that are read
}

// A Param is one parameter of a kind.
type Param struct {
	Name     string
	Type     string // string, integer, number, boolean, strings, integers, numbers, path or table
	Doc      string
	Unit     string
	Default  any // nil when it has none
	Required bool
	Enum     []string
	Min, Max *float64
	Keyed    bool // false for a setting, which cannot change the result
}

// A Value is one value of a pipeline file: a string, int64, float64, bool,
// time.Time, []any or map[string]any.
type Value struct {
	V    any
	Base string // directory that a relative path in it is relative to
}

// Values are a stage's settings by their name in the pipeline file, without
// those that every stage has.
type Values map[string]Value

// BindContext is what a stage may ask while it is configured.
type BindContext struct {
	IsStage   func(name string) bool           // whether the pipeline has a stage of that name
	LookupEnv func(name string) (string, bool) // the environment, for what a stage declares that it reads
}

// A Problem is something wrong with one stage's settings. Param is the name of
// the offending key, dotted inside tables, or empty for the stage as a whole.
type Problem struct {
	Stage   string
	Param   string
	Message string
}

func (p Problem) String() string {
	switch {
	case p.Param == "":
		return fmt.Sprintf("stage %s: %s", p.Stage, p.Message)
	default:
		return fmt.Sprintf("stage %s: %s: %s", p.Stage, p.Param, p.Message)
	}
}

// A Stage is one configured stage.
type Stage interface {
	// Request is the part of the key's request that the settings decide: kind,
	// version and parameters. The engine adds inputs and files by content.
	Request() artifacts.Request
	Inputs() []Input
	Sources() []SourceSpec
	Outputs() []Port
	// Run reads what env names as inputs and sources and writes every output.
	Run(ctx context.Context, env *Env) error
}

// An Input is a use of another stage's output.
type Input struct {
	Port    string       // the input's name
	Key     string       // where it stands in the pipeline file, when not under its own name
	From    Ref          // whose output it is
	Columns []string     // columns it reads; nil for all of them
	File    bool         // wants a plain file
	Schema  table.Schema // nil where a plain file will do as well, empty for a table of whatever columns
}

// Param is where the input stands in the pipeline file.
func (i Input) Param() string {
	if i.Key != "" {
		return i.Key
	}
	return i.Port
}

// A Ref names an output of a stage: "<stage>.<output>".
type Ref struct{ Stage, Output string }

func (r Ref) String() string { return r.Stage + "." + r.Output }

// A SourceSpec is a parameter that names files outside the pipeline. They are
// part of the key by content and order.
type SourceSpec struct {
	Param    string
	Patterns []Value // paths, globs, URLs, or models on a hub (see HubModel)
	SHA256   string  // hex digits that the one file must have; empty when not pinned
	Names    Names   // what the stage sees of the files' names, and so is keyed
	// Directories says that a directory stands for all regular files below it,
	// and, with NamesBelow, that a HubModel stands for the files of the model.
	Directories bool
	// Parts says that a directory stands for the parts of one table: the regular
	// files below it, but those that have, or are below what has, a name that
	// begins with _ or ., by which Hadoop's tools mark what is no part.
	Parts bool
}

// Names says what a stage sees of the names of its files.
type Names int

const (
	NamesHidden    Names = iota // nothing: a file may be renamed freely
	NamesExtension              // the extension, by which many programs tell formats apart
	NamesKept                   // the path relative to the pipeline file
	NamesBelow                  // the path below the directory that was named; of a file, its last element
)

// A Spec is one stage of a pipeline, ready to be planned.
type Spec struct {
	Name    string
	Kind    string
	Stage   Stage
	Options Options
}

// Registry holds the kinds that a program knows.
type Registry struct{ kinds []Kind }

// NewRegistry makes a registry of kinds with distinct names.
func NewRegistry(kinds ...Kind) (Registry, error) {
	sorted := slices.Clone(kinds)
	slices.SortFunc(sorted, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Name == sorted[i-1].Name {
			return Registry{}, fmt.Errorf("stage kind %s is declared twice", sorted[i].Name)
		}
	}
	return Registry{sorted}, nil
}

// Kinds are all kinds by name.
func (r Registry) Kinds() []Kind { return slices.Clone(r.kinds) }

// Kind is the kind of that name.
func (r Registry) Kind(name string) (Kind, bool) {
	i, ok := slices.BinarySearchFunc(r.kinds, name, func(k Kind, n string) int { return strings.Compare(k.Name, n) })
	if !ok {
		return Kind{}, false
	}
	return r.kinds[i], true
}
