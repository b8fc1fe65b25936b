// Package ranking says at which place a model puts the item that a user really took next.
//
// A case is one user: the history (every item before the answer, oldest first) and the answer. A scorer gives every
// item a score, and the rank of the answer is 1 + the number of candidates that are strictly better + those that are
// tied with it, as the tie rule says. Every user is counted, the padding row is never a candidate, seen items are out
// when Options.FilterSeen is set, and a score that is not a number is an error, not a good or a bad rank.
//
//	options := ranking.DefaultOptions(items)
//	ranks, err := ranking.Evaluate(ctx, scorer, cases, options)
//	summary, err := ranking.Summarize(ranks, []int{10, 20})
//	err = ranking.Check(summary.At, 0) // bounds that every honest table keeps
//	fmt.Println(summary.At[0].Recall, summary.At[0].NDCG)
//
// Ranks are kept for each user, so that any metric at any k, and a paired comparison of two models (Compare), can be
// computed later without the model. Items are numbered 1…N; 0 is padding.
//
// The package does not split data, does not recommend (it counts, it never sorts), knows no sampled-negatives protocol
// (its numbers are several times higher and compare with nothing), and has one answer a user: with one answer the
// hit rate is the recall.
package ranking
