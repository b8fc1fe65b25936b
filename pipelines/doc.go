// Package pipelines reads pipeline files: one TOML file says which stages there
// are, what kind each is of, whose outputs it reads and how it is set.
//
//	p, err := pipelines.Load("sports.toml", pipelines.Options{
//		Registry: registry,
//		Params:   map[string]string{"seed": "7"}, // -p seed=7
//	})
//	var invalid *pipelines.Invalid // lists every problem with its line and column
//	for _, s := range p.Stages { … }
//
// A file is checked as a whole before anything runs: names, types, references,
// the columns that one stage makes and the next one reads, cycles. What may
// stand in a file is decided by the registry of stage kinds, which also gives
// JSONSchema (for editors) and DescribeKind (for people). docs/pipelines.md is
// the grammar.
//
// The package does not open the data that a pipeline names, does not plan or
// run, and has never heard of storage or tensors.
package pipelines
