// Command prismflow runs data and model pipelines.
//
//	prismflow init
//	prismflow run pipeline.toml
//	prismflow status pipeline.toml
//	prismflow show pipeline.toml count.counts
//	prismflow explain pipeline.toml count
//
// This package is all that knows of flags, of the environment and of terminals.
// Each command has a file of its own: a constructor, its options, and a function
// that does the work. What the commands print for machines and what their exit
// codes mean is a contract, written down in docs/cli.md. It computes nothing by
// itself: pipelines reads files, stages/engine runs them.
package main
