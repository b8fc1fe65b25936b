package stages

import (
	"context"
	"io"
	"maps"

	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/model/gotorch"
)

// Env is what a running stage has of the world.
type Env struct {
	Name    string            // the stage's name in its pipeline
	Inputs  map[string]string // input → path of its verified file
	Sources map[string][]File // source parameter → its files
	Outputs map[string]string // output → path that the stage must write
	Scratch string            // an empty directory, gone afterwards
	Resume  string            // a directory that outlives a killed attempt at the same key; empty when there is none
	Torch   gotorch.Options   // where to find libtorch
	Log     zerolog.Logger    // kept with the run
	// Offline says that nobody may be asked who is not on this machine: what is at
	// hand serves, or the stage fails with an error that names --offline.
	Offline bool
	// LookupEnv is the caller's environment, for kinds that pass some of it on or
	// go through the proxies that it names.
	LookupEnv func(string) (string, bool)
	Console   io.Writer // what a command prints; kept with the run's log
	// OnProgress and OnMetrics hear how far the stage is; both may be nil.
	OnProgress func(done, total int64, unit string)
	OnMetrics  func(values map[string]any)
	// OpenMemo opens the rows that were computed before under scope. Where it is
	// nil they are remembered for as long as this Env lasts.
	OpenMemo func(ctx context.Context, scope artifacts.Request) (Memo, error)

	incomplete string
	memos      map[artifacts.Key]Memo // of an Env without OpenMemo

	report   []artifacts.Count
	written  map[string]artifacts.Output
	versions map[string]string
}

// Progress tells how much of the work is done; total is 0 when it is unknown.
func (e *Env) Progress(done, total int64, unit string) {
	if e.OnProgress != nil {
		e.OnProgress(done, total, unit)
	}
}

// Metrics tells values that a person watches while the stage runs, such as
// epoch, loss and validation metric.
func (e *Env) Metrics(values map[string]any) {
	if e.OnMetrics != nil {
		e.OnMetrics(values)
	}
}

// Count reports a number with the stage's result, such as how many rows it
// left out. Counts keep their order.
func (e *Env) Count(name string, value float64) {
	e.report = append(e.report, artifacts.Count{Name: name, Value: value})
}

// Report is what was counted so far.
func (e *Env) Report() []artifacts.Count { return e.report }

// Version records as provenance what the stage ran on, such as a library or a
// device.
func (e *Env) Version(of, version string) {
	if e.versions == nil {
		e.versions = map[string]string{}
	}
	e.versions[of] = version
}

// Versions are those of base and those that the stage recorded.
func (e *Env) Versions(base map[string]string) map[string]string {
	all := maps.Clone(base)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, e.versions)
	return all
}

// Written is what is known of an output that the stage wrote as a table.
func (e *Env) Written(port string) (artifacts.Output, bool) {
	output, ok := e.written[port]
	return output, ok
}

// wrote records a finished output table.
func (e *Env) wrote(port string, output artifacts.Output) {
	if e.written == nil {
		e.written = map[string]artifacts.Output{}
	}
	e.written[port] = output
}
