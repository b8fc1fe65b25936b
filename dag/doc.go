// Package dag runs a graph of named nodes: what a node needs comes before it,
// what does not depend on one another runs side by side, within budgets of cpu,
// gpu and memory.
//
//	g, err := dag.New([]dag.Node{
//		{Name: "corpus", Task: corpus},
//		{Name: "train", Needs: []string{"corpus"}, Uses: dag.Resources{CPU: 4}, Task: train},
//	})
//	results, err := g.Run(ctx, dag.Options{Budget: dag.Resources{CPU: 8}, Listener: emitter.Emit})
//
// A node's work is a [Task] in two steps. Reuse asks whether the result is
// already at hand and costs no budget; Execute computes it within the budgets.
// So a graph whose results are all there is walked without a single node
// waiting for a slot.
//
// New finds every problem of a graph at once ([Problems]). Run tells what it
// does as a stream of [Event] values, returns one [Result] per node, and names
// the root causes in one [Failure]; everything behind a root cause is skipped,
// everything else goes on. Text, DOT and Mermaid draw the graph.
//
// What the package does not do: it does not know what a node computes, where
// results live, what makes them reusable or how they travel from node to node.
// It keeps nothing between runs, reads no clock but the one it is given (save
// for timers), and prints nothing.
package dag
