// Package baseline has the recommenders that need no training, and that a trained one must beat.
//
// Popularity gives every item its training count. KNN scores by co-occurrence: which items were taken shortly before
// or after those at the end of the history. Neither sees the answers: both are fitted on the training part of each
// sequence only, which under leave-one-out is all but the last two items, for the validation and the test answers alike.
//
//	knn, err := baseline.FitKNN(ctx, items, training, baseline.DefaultKNN())
//	ranks, err := ranking.Evaluate(ctx, knn, cases, ranking.DefaultOptions(items))
//	summary, err := ranking.Summarize(ranks, []int{10, 20})
//
// Results are deterministic: sums are in float64 and in an order that does not depend on the number of workers.
//
// The package does not split sequences, tune anything, or filter what a user has seen (ranking does).
package baseline
