// Package table reads and writes tables: Arrow IPC files whose columns are the
// fields of a Go struct, and which know a digest of each column.
//
// A row struct declares a table. Each exported field is a column, in order,
// named by its tag:
//
//	type Interaction struct {
//		User      string   `arrow:"user" doc:"external id of the user"`
//		Rating    float32  `arrow:"rating"`
//		Timestamp *int64   `arrow:"timestamp" doc:"seconds since 1970, null where unknown"`
//	}
//
//	w, err := table.Create[Interaction](path)
//	err = w.Append(Interaction{User: "A1", Rating: 5})
//	output, err := w.Close()
//	for row, err := range table.Rows[Interaction](path) { … }
//
// The field's type gives the column's:
//
//	string                        utf8
//	bool, int8 … uint64, float32, float64
//	[]byte                        binary
//	[]string, []int32, …           list<utf8>, list<int32>, …: so for every number
//	[]float32 with ",fixed"       fixed_size_list<float32>[d]: so for every number.
//	                              d is the length of the first one written, or that
//	                              of ",fixed=512", or of WithWidth
//	*T of a scalar                the same, nullable
//	any slice with ",nullable"    the same, nullable: a nil slice is null
//
// Fields of an embedded struct are columns of the row. A field tagged
// `arrow:"-"`, or not exported, is no column. int and uint have no column
// type, since their size depends on the machine.
//
// A column's digest is of its logical values; digest.go defines it. The file's
// digest is of its bytes. The same rows always give the same bytes with the
// same build of the program.
//
// Files that others wrote may use every Arrow type but null, intervals,
// unions, list views and run-end encodings, and compression by zstd or LZ4.
// Nothing in a file is believed before it was checked against the file's size,
// so that a hostile one gives an error that names it and not a crash.
//
// The package does not keep artifacts (see the store), does not write
// atomically (the caller gives it a temporary name), and does not convert
// values: a column is read as the type that it has, or refused.
package table
