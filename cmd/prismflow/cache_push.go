package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/tiered"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages/engine"
)

// transferReport is what `cache push --json` and `cache pull --json` print.
type transferReport struct {
	Format   int                 `json:"format"`
	Pipeline string              `json:"pipeline"`
	OK       bool                `json:"ok"` // no remote failed where it was needed
	Remotes  []string            `json:"remotes"`
	Stages   []transferStage     `json:"stages"`
	Shared   engine.SharedReport `json:"shared"`
}

// A transferStage is what became of the result of one stage.
type transferStage struct {
	Name   string        `json:"name"`
	Kind   string        `json:"kind"`
	State  string        `json:"state"`
	Key    artifacts.Key `json:"key,omitempty"`
	Reason string        `json:"reason"`
	From   string        `json:"from,omitempty"` // the remote that a result was downloaded from
}

// States of a transferStage.
const (
	transferOffered    = "offered"    // push: remotes that lack the result are sent it
	transferDownloaded = "downloaded" // pull: it is here now
	transferHere       = "here"       // pull: it was here
	transferAbsent     = "absent"     // it is not here, and pull found nobody who has it
)

type transferOptions struct {
	pipelineOptions
	json bool
}

const pushDoc = `Push sends the results of a pipeline that are in the cache, and the rows that are
remembered behind them, to all remotes that may be written to, whatever their
upload says. What a remote has already is not sent again. It runs nothing: name
the parameters with which the results were computed.

The exit code is 3 when a result could not be sent to one of them.`

func newCachePushCommand(s *streams) *cobra.Command {
	var o transferOptions
	cmd := &cobra.Command{
		Use:               "push FILE [STAGE...]",
		Short:             "Send a pipeline's results to remotes",
		Long:              pushDoc,
		Example:           "  prismflow cache push pipeline.toml\n  prismflow cache push pipeline.toml train -p seed=7 --remote s3://team-cache",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeThen(completePipelines, completeStages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPush(cmd.Context(), args[0], args[1:], o, s)
		},
	}
	o.register(cmd)
	return cmd
}

const pullDoc = `Pull downloads what remotes have of a pipeline's results, and the rows that are
remembered behind them, so that a run finds them without asking anybody: on a
train, or on nodes without a network. It runs nothing. Of a stage that reads
what nobody has, it cannot be known what to ask for.

The exit code is 3 when a remote failed and a result is missing; that nobody has
computed it is none.`

func newCachePullCommand(s *streams) *cobra.Command {
	var o transferOptions
	cmd := &cobra.Command{
		Use:               "pull FILE [STAGE...]",
		Short:             "Download what remotes have of a pipeline's results",
		Long:              pullDoc,
		Example:           "  prismflow cache pull pipeline.toml\n  prismflow cache pull pipeline.toml train -p seed=7 && prismflow run pipeline.toml train -p seed=7 --offline",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeThen(completePipelines, completeStages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPull(cmd.Context(), args[0], args[1:], o, s)
		},
	}
	o.register(cmd)
	return cmd
}

func (o *transferOptions) register(cmd *cobra.Command) {
	registerParam(cmd, &o.pipelineOptions)
	registerCache(cmd, &o.cache)
	registerRemote(cmd, &o.remotes)
	registerJSON(cmd, &o.json, "print one JSON object")
}

// A transfer is a pipeline for a command that is nothing without remotes.
type transfer struct {
	*workspace
	report transferReport

	mu     sync.Mutex // guards warned
	warned int        // times that something went wrong with a remote
}

// openTransfer opens a pipeline and its remotes. The caller closes it.
func openTransfer(file string, names []string, o transferOptions, sharing sharingOptions, s *streams) (*transfer, error) {
	t := &transfer{}
	sharing.Warn = func(message string) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.warned++
		s.err.printf("warning: %s\n", message)
	}
	o.sharing = &sharing
	var err error
	if t.workspace, err = openWorkspace(file, &o.pipelineOptions, s); err != nil {
		return nil, err
	}
	err = t.checkStages(names...)
	switch {
	case err != nil:
	case t.sharing.cache == nil && t.troubled(): // there are remotes, and none could be opened
		err = reportedError{cacheError{errors.New("no remote can be used")}}
	case t.sharing.cache == nil && t.sharing.chosen > 0:
		err = usageError{errors.New("nothing may be sent to any of the remotes: their mode is \"read\"")}
	case t.sharing.cache == nil:
		err = usageError{errors.New("there is no remote to share with: name one by --remote URL, $PRISMFLOW_REMOTE, or [cache] remotes in the pipeline or in your settings")}
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.report = transferReport{Format: 1, Pipeline: t.pipeline.Name, OK: true, Remotes: t.sharing.names, Stages: []transferStage{}}
	return t, nil
}

// troubled says whether anything went wrong with a remote.
func (t *transfer) troubled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.warned > 0
}

// finish waits for what is sent, and counts what moved.
func (t *transfer) finish(ctx context.Context, s *streams) {
	line := newProgressLine(s, "sharing results", "bytes")
	moved := t.sharing.cache.Finish(ctx, true, line.show)
	line.clear()
	t.sharing.ended()
	t.report.Shared = engine.SharedReport{
		Downloaded: moved.Downloaded, DownloadedBytes: moved.DownloadedBytes,
		Uploaded: moved.Uploaded, UploadedBytes: moved.UploadedBytes, Failed: moved.Failed,
	}
}

// end prints the report; summary is the last line for people.
func (t *transfer) end(ctx context.Context, summary string, o transferOptions, s *streams) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.json {
		if err := writeJSON(s.out, t.report); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		for _, stage := range t.report.Stages {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", stage.State, stage.Name, stage.Kind, stage.Reason)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		s.out.printf("%s\n", summary)
	}
	if !t.report.OK {
		return reportedError{cacheError{errors.New("a remote failed")}}
	}
	return nil
}

// writable are the remotes that something may be sent to, and now is, whatever
// their upload says.
func writable(remotes []pipelines.Remote) []pipelines.Remote {
	var may []pipelines.Remote
	for _, r := range remotes {
		if !r.ReadOnly {
			r.Upload = string(tiered.Always)
			may = append(may, r)
		}
	}
	return may
}

func runPush(ctx context.Context, file string, names []string, o transferOptions, s *streams) (err error) {
	t, err := openTransfer(file, names, o, sharingOptions{Options: tiered.Options{Recheck: true}, choose: writable}, s)
	if err != nil {
		return err
	}
	defer t.closing(&err)
	status, err := t.engine.Status(ctx, names, nil)
	if err != nil {
		return err
	}
	offered := 0
	for _, stage := range status.Stages {
		state := transferAbsent
		if stage.State == engine.StateFresh {
			state = transferOffered
			t.sharing.cache.Share(stage.Key)
			offered++
		}
		t.report.Stages = append(t.report.Stages, transferStage{Name: stage.Name, Kind: stage.Kind, State: state, Key: stage.Key, Reason: stage.Reason})
	}
	t.finish(ctx, s)
	moved := t.report.Shared
	t.report.OK = moved.Failed == 0 && t.sharing.unopened == 0
	summary := fmt.Sprintf("%s sent (%s) of %s that are here", count(moved.Uploaded, "result"), byteSize(moved.UploadedBytes), count(offered, "result"))
	if moved.Failed > 0 {
		summary += fmt.Sprintf("; %d could not be sent", moved.Failed)
	}
	return t.end(ctx, summary, o, s)
}

func runPull(ctx context.Context, file string, names []string, o transferOptions, s *streams) (err error) {
	t, err := openTransfer(file, names, o, sharingOptions{}, s)
	if err != nil {
		return err
	}
	defer t.closing(&err)
	lease, err := t.store.Lease(ctx, "cache pull "+t.pipeline.Name)
	if err != nil {
		return cacheError{err}
	}
	defer lease.Close()
	status, err := t.engine.Status(ctx, names, nil)
	if err != nil {
		return err
	}
	missing := 0
	for _, stage := range status.Stages {
		pulled, err := t.pull(ctx, stage, s)
		if err != nil {
			return err
		}
		if pulled.State == transferAbsent {
			missing++
		}
		t.report.Stages = append(t.report.Stages, pulled)
	}
	t.finish(ctx, s)
	moved := t.report.Shared
	t.report.OK = missing == 0 || !t.troubled()
	summary := fmt.Sprintf("%s downloaded (%s)", count(moved.Downloaded, "result"), byteSize(moved.DownloadedBytes))
	if missing > 0 {
		summary += fmt.Sprintf("; of %s there is no result", count(missing, "stage"))
	}
	return t.end(ctx, summary, o, s)
}

// pull downloads the result of a stage if somebody has it. The error is the
// context's or the local store's.
func (t *transfer) pull(ctx context.Context, stage engine.StageReport, s *streams) (transferStage, error) {
	pulled := transferStage{Name: stage.Name, Kind: stage.Kind, State: transferAbsent, Key: stage.Key, Reason: stage.Reason}
	switch stage.State {
	case engine.StateFresh:
		pulled.State = transferHere
		return pulled, t.pullRowsOf(ctx, stage)
	case engine.StateRemote:
	default:
		return pulled, nil
	}
	line := newProgressLine(s, stage.Name, "bytes")
	manifest, from, err := t.sharing.cache.Fetch(ctx, stage.Key, line.show)
	line.clear()
	var miss *artifacts.Miss
	switch {
	case errors.As(err, &miss):
		pulled.Reason = miss.Reason
		return pulled, nil
	case err != nil:
		return pulled, fmt.Errorf("stage %s: %w", stage.Name, err)
	}
	pulled.State, pulled.From = transferDownloaded, from
	return pulled, t.pullRows(ctx, stage.Name, manifest)
}

// pullRowsOf downloads the rows behind a result that is here already: a run that
// downloaded it had no use for them.
func (t *transfer) pullRowsOf(ctx context.Context, stage engine.StageReport) error {
	manifest, err := artifacts.LookupManifest(ctx, t.store, stage.Key)
	var miss *artifacts.Miss
	if errors.As(err, &miss) {
		return nil // collected since
	}
	if err != nil {
		return err
	}
	return t.pullRows(ctx, stage.Name, manifest)
}

// pullRows downloads the rows that are remembered behind a result.
func (t *transfer) pullRows(ctx context.Context, stage string, manifest artifacts.Manifest) error {
	for _, rows := range manifest.Memos {
		if err := t.sharing.cache.FetchRows(ctx, rows); err != nil {
			return fmt.Errorf("the rows behind stage %s: %w", stage, err)
		}
	}
	return nil
}
