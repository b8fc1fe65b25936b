package artifacts

import "time"

// An Output describes one stored artifact: its bytes and, for an Arrow file,
// its table. It is what a manifest says of each result of a stage.
type Output struct {
	Digest  Digest   `json:"digest"`
	Bytes   int64    `json:"bytes"`
	Rows    int64    `json:"rows"`
	Columns []Column `json:"columns,omitempty"` // none for a plain file
}

// IsTable says whether the output is an Arrow file and not a plain one.
func (o Output) IsTable() bool { return len(o.Columns) > 0 }

// A Column is one column of an Arrow artifact. Its Digest depends on the type
// and the logical values alone: not on record batches, compression, the name,
// or the columns beside it.
type Column struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Digest Digest `json:"digest"`
}

// ManifestFormat is the version of the manifest's JSON form.
const ManifestFormat = 1

// A Manifest records what one execution of a stage produced: everything that
// a later run needs to reuse it, and to say why it may or may not.
type Manifest struct {
	Format  int               `json:"format"`
	Key     Key               `json:"key"`
	Request Request           `json:"request"` // what the key was made of
	Outputs map[string]Output `json:"outputs"`
	Report  []Count           `json:"report,omitempty"` // what the stage counted, in its order

	// Incomplete says what is missing of a result that serves until a better one
	// comes: some rows failed in a way that may pass. It is empty for others.
	Incomplete string `json:"incomplete,omitempty"`

	// Memos are the keys of the results that hold what was computed of single
	// rows (see package memo). They are as much in use as the result is.
	Memos []Key `json:"memos,omitempty"`

	Provenance Provenance `json:"provenance"`
}

// A Count is one number that a stage reports beside its outputs, such as the
// rows that it left out.
type Count struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Provenance says how a result came to be. Nothing in it is part of a key.
type Provenance struct {
	Pipeline string            `json:"pipeline"`
	Stage    string            `json:"stage"`
	Run      string            `json:"run"`
	User     string            `json:"user,omitempty"`
	Host     string            `json:"host,omitempty"`
	Started  time.Time         `json:"started"`
	Seconds  float64           `json:"seconds"`
	PeakRSS  int64             `json:"peak_rss,omitempty"` // bytes, of the process that ran the stage
	Versions map[string]string `json:"versions,omitempty"` // prismflow, Go, libtorch, device, …
}
