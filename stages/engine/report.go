package engine

import (
	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/dag"
)

// ReportFormat is the version of the JSON form of Report and Status.
const ReportFormat = 1

// A Report is how a run went: what `run --json` ends with.
type Report struct {
	Format   int           `json:"format"`
	Pipeline string        `json:"pipeline"`
	Run      string        `json:"run"`
	OK       bool          `json:"ok"` // every stage has a result
	Stages   []StageReport `json:"stages"`
	Shared   *SharedReport `json:"shared,omitempty"` // of a run with remotes

	// Verified are the results that were computed again to compare (see
	// RunOptions.Verify), those first that could not be.
	Verified []Verification `json:"verified,omitempty"`
}

// A StageReport is how one stage went, in a run or in the eyes of `status`.
type StageReport struct {
	Name     string                  `json:"name"`
	Kind     string                  `json:"kind"`
	State    string                  `json:"state"`
	Key      artifacts.Key           `json:"key,omitempty"`
	Reason   string                  `json:"reason"`
	Seconds  float64                 `json:"seconds"`
	Outputs  map[string]OutputReport `json:"outputs,omitempty"`
	Report   []artifacts.Count       `json:"report,omitempty"`
	CausedBy string                  `json:"caused_by,omitempty"`
	Error    string                  `json:"error,omitempty"`
	Origin
}

// An Origin says what it spared that a result was at hand.
type Origin struct {
	From         string  `json:"from,omitempty"`          // the remote that a downloaded or remote result is from
	FetchedBytes int64   `json:"fetched_bytes,omitempty"` // that were downloaded
	SavedSeconds float64 `json:"saved_seconds,omitempty"` // that it took whoever computed a cached or downloaded result
}

// An OutputReport is one output of a stage. Path is absolute.
type OutputReport struct {
	Digest artifacts.Digest `json:"digest"`
	Rows   int64            `json:"rows"`
	Bytes  int64            `json:"bytes"`
	Path   string           `json:"path"`
	Table  bool             `json:"-"` // of a stage that ran; else it is a plain file, which has no rows
}

// States that only `status` knows.
const (
	StateFresh        = "fresh"         // the result is in the cache
	StateRemote       = "remote"        // a remote has the result
	StateStale        = "stale"         // the stage would run
	StateUnknown      = "unknown"       // behind a stale stage
	StateMissingInput = "missing-input" // a file that it reads is not there
)

// StageDetail is the Detail of a dag.StageFinished event: it travels through
// the scheduler from a task to its report.
type StageDetail struct {
	Key     artifacts.Key           `json:"key,omitempty"`
	Outputs map[string]OutputReport `json:"outputs,omitempty"`
	Report  []artifacts.Count       `json:"report,omitempty"`
	Origin
}

func stageReport(r dag.Result) StageReport {
	s := StageReport{
		Name: r.Name, Kind: r.Kind, State: string(r.State), Reason: r.Reason,
		Seconds: r.Seconds, CausedBy: r.CausedBy,
	}
	if r.Err != nil {
		s.Error = r.Err.Error()
	}
	if detail, ok := r.Detail.(StageDetail); ok {
		s.Key, s.Outputs, s.Report, s.Origin = detail.Key, detail.Outputs, detail.Report, detail.Origin
	}
	return s
}
