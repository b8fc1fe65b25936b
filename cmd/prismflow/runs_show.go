package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/stages/engine"
)

// runShowReport is what `runs show --json` prints.
type runShowReport struct {
	Format  int               `json:"format"`
	Run     engine.FullRecord `json:"run"`
	State   string            `json:"state"`
	Seconds float64           `json:"seconds"`
	Since   string            `json:"since,omitempty"` // the run before, of the same pipeline file
	Changes engine.RunDiff    `json:"changes"`         // from that run to this one
	Metrics []metricRow       `json:"metrics"`
	Signed  map[string]string `json:"signed_by,omitempty"` // who vouches for the result of a stage, by stage
}

const runsShowDoc = `Show prints what is recorded of a run: what became of each stage and why, what
it made, the pipeline's parameters, what had changed since the run of the same
pipeline file before it, the metrics that it came to, and what it ran on.
Metrics are read from the cache, as long as they are there.

` + runNames

func newRunsShowCommand(s *streams) *cobra.Command {
	var o runsOptions
	cmd := &cobra.Command{
		Use:     "show RUN",
		Short:   "Say everything about a run",
		Long:    runsShowDoc,
		Example: "  prismflow runs show last\n  prismflow runs show 20261126-0930 --json\n  prismflow runs show last~1 --of pipeline.toml",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runRunsShow(cmd.Context(), args[0], o, s) },
	}
	o.register(cmd, s)
	return cmd
}

func runRunsShow(ctx context.Context, name string, o runsOptions, s *streams) error {
	book, err := openRuns(o, s)
	if err != nil {
		return err
	}
	defer book.store.Close()
	found, err := book.find(name)
	if err != nil {
		return err
	}
	record, err := engine.ReadRecord(ctx, book.store, found.Run)
	if err != nil {
		return err
	}
	report := runShowReport{
		Format: 1, Run: record, State: book.stateOf(found), Seconds: book.lasted(found, s.now()),
		Changes: engine.DiffRuns(engine.FullRecord{}, engine.FullRecord{}), // none
	}
	if before, ok := engine.RunBefore(book.records, found); ok && !found.Unended && found.Damaged == "" {
		earlier, err := engine.ReadRecord(ctx, book.store, before.Run)
		if err != nil {
			return err
		}
		report.Since, report.Changes = before.Run, engine.DiffRuns(earlier, record)
	}
	var gone []string
	report.Metrics, gone = book.metrics(ctx, found)
	if report.Signed, err = signatures(ctx, book.store, record, s); err != nil {
		return err
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	return report.write(s, gone)
}

func (r runShowReport) write(s *streams, gone []string) error {
	to := s.out
	to.printf("run       %s  %s\n", r.Run.Run, r.State)
	if r.Run.Damaged != "" {
		to.printf("damaged   %s\n", r.Run.Damaged)
		return nil
	}
	to.printf("pipeline  %s (%s)\n", r.Run.Pipeline, r.Run.Path)
	to.printf("when      %s", instant(r.Run.Began()))
	if r.Seconds > 0 {
		to.printf(", %s", seconds(r.Seconds))
	}
	to.printf("\n")
	if by := who(r.Run.Record); by != "" {
		to.printf("who       %s\n", by)
	}
	if r.Run.Pinned {
		to.printf("pinned    gc leaves what it needs\n")
	}
	writeSettings(to, "parameters", texts(r.Run.Params))
	if err := writeRunStages(to, r.Run); err != nil {
		return err
	}
	if err := r.writeMakers(to); err != nil {
		return err
	}
	if r.Since != "" {
		to.printf("\nchanged since %s, the run before\n", r.Since)
		writeRunDiff(to, r.Changes)
	}
	writeRunMetrics(to, r.Metrics, gone, s.colourful(to))
	writeSettings(to, "versions", versionsOf(r.Run))
	return nil
}

// signatures are who signed the results of a run's stages, as far as they are
// still there.
func signatures(ctx context.Context, store *disk.Store, run engine.FullRecord, s *streams) (map[string]string, error) {
	settings, err := readSettings(s)
	if err != nil {
		return nil, err
	}
	circle, err := settings.circle(nil, s)
	if err != nil {
		return nil, err
	}
	signed := map[string]string{}
	for _, stage := range run.Stages {
		if by := circle.signedBy(ctx, store, stage.Key); by != "" {
			signed[stage.Name] = by
		}
	}
	return signed, nil
}

// writeMakers says whose the results are that the run did not compute itself,
// and who vouches for each.
func (r runShowReport) writeMakers(to stream) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	title := "\nresults of\n"
	for _, stage := range r.Run.Stages {
		made, known := r.Run.Made[stage.Name]
		signed := r.Signed[stage.Name]
		if !known || made.Run == r.Run.Run && signed == "" {
			continue
		}
		if signed != "" {
			signed = "\tsigned by " + signed
		}
		fmt.Fprintf(w, "%s  %s\t%s\t%s\trun %s%s\n", title, stage.Name, maker(made), instant(made.Started), made.Run, signed)
		title = ""
	}
	return w.Flush()
}

// maker is who computed a result, and where.
func maker(p artifacts.Provenance) string {
	return who(engine.Record{User: p.User, Host: p.Host})
}

// versionsOf are the program's versions and, of stages, what else their results
// were made on.
func versionsOf(run engine.FullRecord) map[string]string {
	of := maps.Clone(run.Versions)
	for stage, made := range run.Made {
		for name, version := range made.Versions {
			if _, ofProgram := run.Versions[name]; !ofProgram && run.Versions != nil {
				of[stage+": "+name] = version
			}
		}
	}
	return of
}

// texts are parameters as people write them.
func texts(params map[string]any) map[string]string {
	of := map[string]string{}
	for name, value := range params {
		of[name] = valueText(value)
	}
	return of
}

func writeSettings(to stream, title string, settings map[string]string) {
	if len(settings) == 0 {
		return
	}
	to.printf("\n%s\n", title)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		to.printf("  %s = %s\n", name, settings[name])
	}
}

func writeRunStages(to stream, run engine.FullRecord) error {
	if len(run.Stages) == 0 {
		return nil
	}
	to.printf("\nstages\n")
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, stage := range run.Stages {
		why := stage.Reason
		switch {
		case stage.CausedBy != "":
			why = "behind " + stage.CausedBy
		case stage.Error != "":
			why = stage.Error
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", stage.State, stage.Name, stage.Kind, seconds(stage.Seconds), printable(why))
		for _, name := range slices.Sorted(maps.Keys(stage.Outputs)) {
			output := stage.Outputs[name]
			size := byteSize(output.Bytes)
			if output.Rows > 0 {
				size = count(int(output.Rows), "row") + ", " + size
			}
			fmt.Fprintf(w, "  \t  %s\t%s\t\t%s\n", name, output.Digest.Short(), size)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, v := range run.Verified {
		to.printf("  %s\n", printable(v.String()))
	}
	return nil
}
