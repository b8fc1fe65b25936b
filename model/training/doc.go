// Package training fits a recommender to users' sequences.
//
//	config := training.Default()
//	config.Loss = training.BCE
//	result, err := training.Train(ctx, lib, data, config, training.Options{Device: "auto"})
//	fmt.Println(result.History[result.Best-1].Value) // validation metric of the epoch that was kept
//	model, err := prism.Load(session, result.Model)
//
// A user is one example an epoch, the newest items of the training part, each with
// the item that follows as its target; or one for every prefix of them. Batches
// are packed, so the work grows with the items and not with the window. Every few
// epochs every user's next item is ranked among all items; the parameters of the
// best epoch are kept, and training stops when Patience validations brought
// nothing better.
//
// One seed, device type, number of threads and libtorch gives one result to the
// bit, also when the training was killed and resumed. The package does not split
// sequences (test answers are never seen), does not evaluate on test items and
// writes no artifact; Options.Resume is its only use of a disk.
package training
