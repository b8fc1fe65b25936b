// Package backbone holds the sequence models that a recommender is built on:
// they read a user's items, oldest first, and give each place a hidden state from
// which the next item is scored.
//
//	rows := backbone.Pack(lengths)
//	batch, err := backbone.NewBatch(s, rows, sequences, 50)
//	model, err := backbone.New(s, "sasrec", backbone.Config{Rows: items + 1, Hidden: 64, Layers: 2, Heads: 2, MaxLength: 50})
//	hidden := model.Encode(batch, model.Embed(batch), nn.Eval)
//	scores := model.ScoreRange(backbone.At(hidden, batch.Newest), 1, items) // [users, items]
//
// A batch is laid out in rows of places. Pack puts several sequences into one
// row and masks them from one another, so that nothing is computed on padding;
// Pad is the usual one sequence a row. Positions count from the newest item in
// both. Between Embed and Encode a caller may add to the input, which is how
// PRISM enters.
//
// Another backbone is one more file with a constructor in the constructors
// table. The loss of the scores is not here, nor are optimizers and item
// features; a backbone that learns by more than its scores has a loss of its own.
package backbone
