// Package artifacts names, records and stores the results of stages.
//
// An artifact is a file that a stage made: an Arrow table or a plain file. A
// Digest names its bytes. A Key names the question that it answers: the
// stage's code version, its parameters, and the digests of what it reads. A
// Manifest records which artifacts answered which question, and how that came
// about. A Store keeps all three:
//
//	key, err := request.Key()
//	m, err := artifacts.Lookup(ctx, store, key) // a *Miss says why not
//	err = store.Put(ctx, digest, size, content) // the stage ran: keep what it made
//	m, err = artifacts.Publish(ctx, store, m)   // say so; the first to say so stays
//
// Stores are in the packages below: disk for a directory, memory for tests.
// They pass one suite, storetest. Package table reads and writes the tables.
//
// The package runs no stage and does not know what a stage is; it does not
// choose what to read or to keep.
package artifacts
