// Package ranking says at which place a model puts the item that a user really took next.
//
// A case is one answer of a user: the history (every item before it, oldest first) and the answer. A scorer gives every
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
// List gives the best candidates themselves, and Training.Spreads says what they are like: how much of the catalogue they
// cover, how unequally, how popular and how new they are.
//
// The package does not split data and knows no sampled-negatives protocol (its numbers are several times higher and
// compare with nothing). With one answer a user the hit rate is the recall; Answers.Value says what it is with several.
package ranking
