// Package records reads files of which each line is one record: a JSON object,
// or, where that is allowed, the dict that Python's repr prints for one.
//
//	in := records.Open(ctx, env, source.Files(), records.Options{What: "reviews", MaxBad: 10})
//	defer in.Close()
//	for in.Next(func(r records.Record) (err error) {
//		user, err = r.ID("user_id") // "reviews.json:17:13: field "user_id" is empty; …"
//		return err
//	}) {
//		use(user, in.Row())
//	}
//	err := in.Err()
//
// Where a line is not what it should be, the error says so with file, line and,
// where there is one, column (in bytes, from 1). Some such lines may be left out;
// they are counted and logged.
//
// The package knows no data set: which fields there must be, and what they may
// hold, its callers say.
package records
