// Package kinds lists the stage kinds that come with prismflow.
//
//	registry, err := kinds.All()
//	kind, ok := registry.Kind("corpus")
//	fmt.Println(kind.Summary)
//
// A family of kinds is one package with a function Kinds; adding a family is
// adding its line here. The package's tests keep a pin of every kind's source
// code beside its version (README.md says how), so that no change of the code
// forgets the version.
//
// The package declares no kind of its own and does not run any.
package kinds

import (
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/amazon"
	"github.com/prismflow/prismflow/stages/clip"
	"github.com/prismflow/prismflow/stages/corpus"
	"github.com/prismflow/prismflow/stages/evaluate"
	"github.com/prismflow/prismflow/stages/exec"
	"github.com/prismflow/prismflow/stages/features"
	"github.com/prismflow/prismflow/stages/fetch"
	"github.com/prismflow/prismflow/stages/images"
	"github.com/prismflow/prismflow/stages/recommend"
	"github.com/prismflow/prismflow/stages/sequences"
	"github.com/prismflow/prismflow/stages/split"
	"github.com/prismflow/prismflow/stages/synthetic"
	"github.com/prismflow/prismflow/stages/tabular"
	"github.com/prismflow/prismflow/stages/train"
	"github.com/prismflow/prismflow/stages/yelp"
)

// All is the registry of all kinds.
func All() (stages.Registry, error) {
	var all []stages.Kind
	for _, family := range families() {
		all = append(all, family()...)
	}
	return stages.NewRegistry(all...)
}

// families are the Kinds functions of the packages beside this one.
func families() []func() []stages.Kind {
	return []func() []stages.Kind{
		amazon.Kinds,
		clip.Kinds,
		corpus.Kinds,
		evaluate.Kinds,
		exec.Kinds,
		features.Kinds,
		fetch.Kinds,
		images.Kinds,
		recommend.Kinds,
		sequences.Kinds,
		split.Kinds,
		synthetic.Kinds,
		tabular.Kinds,
		train.Kinds,
		yelp.Kinds,
	}
}
