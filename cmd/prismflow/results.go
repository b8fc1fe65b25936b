package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// resultsDoc says of which settings shown results are.
const resultsDoc = `With -p it is the result of these parameters, of a run or a sweep, or an error if
there is none; --stale takes the newest all the same.`

// registerStale registers the flag by which a command takes the newest results
// where there are none of the pipeline as it stands.
func registerStale(cmd *cobra.Command, o *pipelineOptions) {
	cmd.Flags().BoolVar(&o.stale, "stale", false, "take the last results although the pipeline has changed since")
}

// openResults opens a workspace for a command that shows results. Without -p
// these are the newest ones. Where parameters are set they are those of just
// these parameters, or an error: numbers of another seed would be taken for
// theirs. The caller closes it.
func openResults(argument string, o *pipelineOptions, s *streams) (*workspace, error) {
	exact := len(o.params) > 0 && !o.stale
	if exact {
		o.offline = true // what is at hand is shown, also where a run would ask for more
	}
	w, err := openWorkspace(argument, o, s)
	if err != nil {
		return nil, err
	}
	if exact {
		w.exact, w.warn = true, s.err
	}
	return w, nil
}

// result is the manifest of the result of a stage that the command is to show.
func (w *workspace) result(ctx context.Context, stage string) (artifacts.Manifest, error) {
	if !w.exact {
		return w.engine.LastManifest(ctx, stage)
	}
	status, err := w.engine.Status(ctx, []string{stage}, nil)
	if err != nil {
		return artifacts.Manifest{}, err
	}
	var unknown *engine.StageReport
	for i, report := range status.Stages {
		switch {
		case report.State == engine.StateFresh || report.State == engine.StateUnknown: // unknown follows from another
		case w.neverFresh(report):
			unknown = &status.Stages[i]
		default:
			return artifacts.Manifest{}, w.staleResult(ctx, report, stage)
		}
	}
	if unknown != nil {
		w.warn.printf("this is the newest result of stage %s; whether it is of these parameters cannot be known (stage %s: %s)\n", stage, unknown.Name, unknown.Reason)
		return w.engine.LastManifest(ctx, stage)
	}
	for _, report := range status.Stages {
		if report.Name == stage {
			return artifacts.LookupManifest(ctx, w.store, report.Key)
		}
	}
	return artifacts.Manifest{}, fmt.Errorf("stage %s: %w", stage, engine.ErrNoResult)
}

// neverFresh says whether what a stage would make cannot be known without running
// it: it is never cached, or its sources are not here any more.
func (w *workspace) neverFresh(report engine.StageReport) bool {
	spec, _ := w.stage(report.Name)
	return spec.Options.NoCache || report.State == engine.StateMissingInput || report.Key == ""
}

// resultOf is the result of an output that the command is to show, and the path
// of its verified bytes.
func (w *workspace) resultOf(ctx context.Context, ref stages.Ref) (artifacts.Output, string, error) {
	if !w.exact {
		return w.engine.Output(ctx, ref)
	}
	manifest, err := w.result(ctx, ref.Stage)
	if err != nil {
		return artifacts.Output{}, "", err
	}
	path, err := w.bytesOf(ctx, manifest, ref)
	return manifest.Outputs[ref.Output], path, err
}

// bytesOf is the path of an output's verified bytes.
func (w *workspace) bytesOf(ctx context.Context, manifest artifacts.Manifest, ref stages.Ref) (string, error) {
	path, err := w.store.Verified(ctx, manifest.Outputs[ref.Output].Digest)
	if err != nil {
		return "", fmt.Errorf("%s: its bytes are no longer in the cache; run the pipeline again: %w", ref, err)
	}
	return path, nil
}

// A staleError says that the pipeline was not run as it stands: a kind of having
// no result.
type staleError struct{ error }

func (staleError) Is(target error) bool { return target == engine.ErrNoResult }

// staleResult is the error about a stage that would run for the sake of wanted.
func (w *workspace) staleResult(ctx context.Context, stage engine.StageReport, wanted string) error {
	remedy := fmt.Sprintf("run \"%s\" first", w.command("run", wanted))
	if _, err := w.engine.LastManifest(ctx, wanted); err == nil {
		remedy += ", or take the last results by --stale"
	}
	return staleError{fmt.Errorf("stage %s has no result for the pipeline as it stands (%s): %s", stage.Name, stage.Reason, remedy)}
}

// noResult says whether an error is that of a stage without a result to show.
func noResult(err error) bool { return errors.Is(err, engine.ErrNoResult) }
