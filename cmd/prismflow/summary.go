package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/engine"
)

// A summary is what is said at the end of a run.
type summary struct {
	*workspace
	report  engine.Report
	seconds float64
	err     error
}

// write prints the summary and returns the run's outcome.
func (r *summary) write(ctx context.Context, o runOptions, s *streams) error {
	if o.json {
		if err := writeJSON(s.out, r.report); err != nil {
			return err
		}
		return failure(r.err)
	}
	r.writeFailures(s)
	r.writeVerified(s)
	s.out.printf("%s\n", r.headline(ctx))
	if moved := r.report.Shared; moved != nil {
		writeMoved(s.out, moved.DownloadedBytes, moved.Uploaded, moved.UploadedBytes)
	}
	r.writeRows(s)
	if r.report.OK {
		if err := r.writeMetrics(ctx, s); err != nil {
			return err
		}
	}
	return failure(r.err)
}

// headline counts how the stages ended.
func (r *summary) headline(ctx context.Context) string {
	end := ""
	switch {
	case ctx.Err() != nil:
		end = "; interrupted, the next run goes on from here"
	case r.report.OK && !computed(r.report):
		end = "; nothing to do"
	}
	return fmt.Sprintf("%s: %s in %s%s", r.report.Pipeline, stateCounts(r.report), seconds(r.seconds), end)
}

// computed says whether any stage had to do something.
func computed(report engine.Report) bool {
	for _, stage := range report.Stages {
		if dag.State(stage.State) != dag.Cached {
			return true
		}
	}
	return false
}

// writeFailures tells each root cause once, and what was skipped for them.
func (r *summary) writeFailures(s *streams) {
	var skipped []string
	for _, stage := range r.report.Stages {
		switch dag.State(stage.State) {
		case dag.Failed:
			s.err.printf("\nfailed: %s (%s)\n%s\n  log: %s\n", stage.Name, stage.Kind,
				indent(stage.Error), r.command("logs", stage.Name))
		case dag.Skipped:
			skipped = append(skipped, stage.Name)
		}
	}
	if len(skipped) > 0 {
		s.err.printf("\nskipped: %s\n", strings.Join(skipped, ", "))
	}
}

// notDeterministic is what to do about stages whose results do not come out the
// same.
const notDeterministic = `
What a stage depends on must be in its key, or whoever shares its result has
another one than they would compute: give it a seed, declare the files and
variables that it reads, take the clock and the order of threads out of it; or
set cache = false for it.
`

// writeVerified tells what came of computing results again.
func (r *summary) writeVerified(s *streams) {
	verdicts := map[string]int{}
	for _, v := range r.report.Verified {
		verdicts[v.Verdict]++
		switch v.Verdict {
		case engine.Different, engine.Broken:
			s.err.printf("\n%s\n  log: %s\n", v, engine.AgainLogPath(r.store.StateDir(), r.report.Run, v.Stage))
		case engine.Unchecked:
			s.err.printf("%s\n", v)
		}
	}
	if verdicts[engine.Different] > 0 {
		s.err.printf("%s", notDeterministic)
	}
	if compared := len(r.report.Verified) - verdicts[engine.Unchecked]; compared > 0 {
		s.out.printf("computed again: %s, %d the same\n", count(compared, "result"), verdicts[engine.Same])
	}
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}

// shellWord is a word that can be pasted into a shell.
func shellWord(word string) string {
	if strings.ContainsAny(word, " \t\n\"'\\$`*?[]{}()<>|&;#!~") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// writeMetrics prints the metrics of a pipeline that evaluates models, and what
// to do next.
func (r *summary) writeMetrics(ctx context.Context, s *streams) error {
	evaluated := false
	for _, stage := range r.report.Stages {
		evaluated = evaluated || stage.Kind == evaluateKind
	}
	if !evaluated {
		return nil
	}
	metrics, err := readMetrics(ctx, r.workspace)
	if err != nil {
		return err
	}
	s.out.printf("\n")
	r.writeMetricTables(s.out, metrics, s.colourful(s.out))
	s.out.printf("\nnext:\n")
	s.out.printf("  %s\n", r.command("explain", evaluateStage(r.report)))
	s.out.printf("  %s\n", r.command("show", evaluateStage(r.report)+"."+metricsOutput))
	if name := r.worthChanging(); name != "" {
		s.out.printf("  %s    reruns only what that changes\n", r.command("run", "-p", name+"=…"))
	}
	return nil
}

// worthChanging is a parameter to try: the seed, or the first that was not given.
func (r *summary) worthChanging() string {
	first := ""
	for _, param := range r.pipeline.Params {
		if param.Name == "seed" {
			return param.Name
		}
		if first == "" && !param.Overridden {
			first = param.Name
		}
	}
	return first
}

func evaluateStage(report engine.Report) string {
	for _, stage := range report.Stages {
		if stage.Kind == evaluateKind {
			return stage.Name
		}
	}
	return ""
}
