// Package sweep makes one graph of a pipeline at many points, a point being one
// choice of the pipeline's parameters.
//
//	plan, err := sweep.New(points)          // what is the same at several points is one stage
//	engine.New(config, plan.Specs)          // runs them all, within one budget
//	plan.Nodes[3]["train"]                  // the stage that is train at the fourth point
//
// Two points share a stage when it has the same settings and reads the same
// shared stages; its key then cannot differ. A sweep is kept as a Record, so that
// it can be looked at later and gone on with: what has a result is not computed
// again, whoever computed it.
//
// The package parses no parameters, chooses no points and runs nothing.
package sweep
