// Package prism is the Personalized Recommendation via Information Synergy
// Module: a sequence model whose input also says what pictures and texts of the
// items tell, each for itself, only together, and in common.
//
//	model, err := prism.New(s, config, features)
//	out := model.Forward(batch, prism.Pass{Mode: nn.Train})
//	loss := recommendation(out.Hidden).Add(out.Interaction)
//	…
//	ranks, err := ranking.Evaluate(ctx, model.Scorer(), cases, ranking.Options{Items: n, FilterSeen: true, Workers: 1})
//
// For M modalities there are M uniqueness experts, a synergy and a redundancy
// expert, small networks on the pooled modality vectors of what a user has taken
// so far. Interaction losses compare what an expert says with what it says when
// one modality is replaced by noise. A gate mixes the experts to one vector m,
// and a place's input is e + m + ΣI + p: the item, the mixture, the item's own
// modalities, the position. Without modalities the model is its backbone, bit for
// bit. See Mode for what is read differently in paper and published code, and
// Config for the options that choose between readings one by one.
//
// Source: "PRISM: Personalized Recommendation via Information Synergy Module",
// arXiv 2601.10944, and its published code. The package does not train (package
// training does) and does not make features.
package prism
