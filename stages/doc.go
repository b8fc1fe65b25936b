// Package stages says what a stage is: its inputs, outputs and parameters, what
// of them decides its result, and its code.
//
// A stage kind is declared once, by a Go struct whose fields are its inputs,
// outputs and parameters; documentation, validation, keys and wiring are all
// read off that struct:
//
//	type Head struct {
//		Rows  stages.In[tables.Item]  `stage:"rows" doc:"items"`
//		Count int64                   `stage:"count" default:"10" min:"1" unit:"rows" doc:"how many to keep"`
//		First stages.Out[tables.Item] `stage:"first" doc:"the first of them"`
//	}
//
//	func (h *Head) Run(ctx context.Context, env *stages.Env) error { … }
//
//	var kind = stages.Declare[Head]("items.head", 1, "the first items of a table")
//
// The row type of an input is the set of columns that the stage reads, and only
// those columns' digests enter its key.
//
// The package does not parse pipeline files, does not run stages or reuse their
// results (stages/engine does), does not store (artifacts does), and knows no kind by name: the families are its
// subpackages, and stages/kinds lists them.
package stages
