package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/tiered"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
)

// Remotes are where others keep results; *tiered.Cache is one. What goes wrong
// with a remote is a miss, never an error: errors are the context's or the local
// store's.
type Remotes interface {
	// Find says who has a result, and its manifest, without fetching its outputs.
	Find(ctx context.Context, key artifacts.Key) (m artifacts.Manifest, from string, err error)

	// Refuse says that what Find saw under a key is no result of who asked, and why.
	Refuse(key artifacts.Key, why error)

	// Fetch brings a result into the local store.
	Fetch(ctx context.Context, key artifacts.Key, progress tiered.Progress) (m artifacts.Manifest, from string, err error)

	// FetchRows adds what others know of rows to the local list of a row memo.
	FetchRows(ctx context.Context, key artifacts.Key) error

	// Share and ShareRows send a result, or a list of rows, in the background.
	Share(key artifacts.Key)
	ShareRows(key artifacts.Key)

	// Listen says who hears what goes wrong.
	Listen(warn func(message string))

	// Pending is how many bytes are still to be sent; Finish waits for them.
	Pending() int64
	Finish(ctx context.Context, succeeded bool, progress tiered.Progress) tiered.Report
}

var _ Remotes = (*tiered.Cache)(nil)

// remotes are those that may be asked, if any.
func (c Config) remotes() Remotes {
	if c.Offline {
		return nil
	}
	return c.Remotes
}

// seek finds out who has a result that this stage would take. It is empty for
// one that nobody has, or that would be had again at once (see Engine.again):
// then only its rows are worth fetching.
func (e *Engine) seek(ctx context.Context, spec stages.Spec, key artifacts.Key) (m artifacts.Manifest, from string, err error) {
	remotes := e.config.remotes()
	if remotes == nil || e.again(spec, artifacts.Manifest{}) != "" {
		return m, "", nil
	}
	m, from, err = remotes.Find(ctx, key)
	var miss *artifacts.Miss
	if errors.As(err, &miss) {
		return m, "", nil
	}
	if err != nil {
		return m, "", err
	}
	if err := fits(spec, m); err != nil {
		remotes.Refuse(key, err)
		return m, "", nil
	}
	if e.again(spec, m) != "" {
		return m, "", nil
	}
	return m, from, nil
}

// A fetched result is one that a task had from others.
type fetched struct {
	from  string
	bytes int64
}

// fetch brings the result from whoever has it. The caller has the turn at the
// key, so that of several processes one fetches.
func (t *task) fetch(ctx context.Context) (m artifacts.Manifest, got fetched, err error) {
	_, from, err := t.run.engine.seek(ctx, t.spec, t.key)
	if from == "" || err != nil {
		return m, fetched{}, err
	}
	emit := t.run.emitter.Stage(t.spec.Name, t.spec.Kind)
	m, got.from, err = t.run.engine.config.Remotes.Fetch(ctx, t.key, func(done, total int64) {
		got.bytes = total
		emit(dag.Event{Type: dag.StageProgress, Done: done, Total: total, Unit: "bytes"})
	})
	var miss *artifacts.Miss
	switch {
	case errors.As(err, &miss):
		return m, fetched{}, nil
	case ctx.Err() != nil:
		return m, fetched{}, ctx.Err()
	case err != nil:
		return m, fetched{}, fmt.Errorf("%w: %w", ErrStore, err)
	}
	if fits(t.spec, m) != nil || t.run.engine.again(t.spec, m) != "" {
		return m, fetched{}, nil // another remote's than the one that was found
	}
	return m, got, nil
}

// computedBy says whose result it is.
func computedBy(m artifacts.Manifest, from string) string {
	p := m.Provenance
	who := strings.TrimSpace(cmp.Or(p.User, "somebody"))
	if p.Host != "" {
		who += " on " + p.Host
	}
	return fmt.Sprintf("computed by %s on %s, from %s", who, p.Started.UTC().Format(time.DateOnly), from)
}

// share sends a result that stands under its key to others.
func (t *task) share() {
	if remotes := t.run.engine.config.remotes(); remotes != nil {
		remotes.Share(t.key)
	}
}

// A SharedReport says what moved between this machine and others in a run.
type SharedReport struct {
	Downloaded      int   `json:"downloaded"`       // results
	DownloadedBytes int64 `json:"downloaded_bytes"` // row memos included
	Uploaded        int   `json:"uploaded"`
	UploadedBytes   int64 `json:"uploaded_bytes"` // over the wire
	Failed          int   `json:"failed"`         // results that could not be sent; the next run tries again
}

// share waits until others have what the run made, as long as ctx lasts.
func (r *run) share(ctx context.Context, succeeded bool) *SharedReport {
	remotes := r.engine.config.remotes()
	if remotes == nil {
		return nil
	}
	report := remotes.Finish(ctx, succeeded, func(done, total int64) {
		r.emitter.Emit(dag.Event{Type: dag.Sharing, Done: done, Total: total, Unit: "bytes"})
	})
	if report.Failed > 0 {
		r.warn(notShared(report.Failed))
	}
	return &SharedReport{
		Downloaded: report.Downloaded, DownloadedBytes: report.DownloadedBytes,
		Uploaded: report.Uploaded, UploadedBytes: report.UploadedBytes, Failed: report.Failed,
	}
}

func notShared(results int) string {
	if results == 1 {
		return "1 result was not shared; the next run tries again"
	}
	return fmt.Sprintf("%d results were not shared; the next run tries again", results)
}

// warn tells of something that no stage is to blame for.
func (r *run) warn(message string) {
	r.emitter.Emit(dag.Event{Type: dag.Note, Level: "warn", Message: message})
}
