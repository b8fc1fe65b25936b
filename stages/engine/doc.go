// Package engine runs a pipeline's stages, or reuses what they once produced.
//
//	e, err := engine.New(config, specs)
//	report, err := e.Run(ctx, engine.RunOptions{})
//	fmt.Println(report.Stages[0].State, report.Stages[0].Reason)
//
// For each stage it gathers the digests of what the stage reads, makes the key
// of them, looks that up, and only on a miss lets the stage run, in a directory
// of its own, and records what it wrote. It does not order or schedule stages
// (dag does), parse pipeline files, or know any stage kind.
package engine
