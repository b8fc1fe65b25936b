// Package memo remembers what a stage computed of single rows.
//
// A stage that maps items one by one asks before it computes, and says what it
// computed:
//
//	m, err := memo.Open(ctx, store, scope, memo.Options{}) // what all rows depend on
//	value, known, err := m.Get(key)                        // what this row depends on
//	err = m.Put(key, value)                                // survives a kill from here on
//	err = m.Close(ctx)                                     // into the store, for everybody
//
// A row goes at once into a journal in the store's machine-local state:
//
//	state/memo/<key of the list>/<time>-<random>   locked by the process that writes it
//
// Close seals journals: each becomes a blob of the store, a segment, which has
// the same format. The segments of a scope, oldest first, are the outputs of an
// ordinary result, so that gc, verification and remotes treat them as any other.
// Of two values of one key the later stands. What a dead process left in its
// journal is taken over by the next that opens the scope.
//
// A row that is lost or damaged is one that is not known; it is never an error
// and never a wrong value.
//
// The package does not know what a row is, decides nothing about how long it is
// right, and fetches nothing from elsewhere.
package memo
