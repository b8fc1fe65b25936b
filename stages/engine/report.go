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
}

// An OutputReport is one output of a stage. Path is absolute.
type OutputReport struct {
	Digest artifacts.Digest `json:"digest"`
	Rows   int64            `json:"rows"`
	Bytes  int64            `json:"bytes"`
	Path   string           `json:"path"`
}

// States that only `status` knows.
const (
	StateFresh        = "fresh"         // the result is in the cache
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
		s.Key, s.Outputs, s.Report = detail.Key, detail.Outputs, detail.Report
	}
	return s
}
