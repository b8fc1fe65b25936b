package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/artifacts/table/parquet"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/recommend"
	"github.com/prismflow/prismflow/stages/tables"
	"github.com/prismflow/prismflow/stages/train"
)

// recommendationsFormat is what a model is exported as when its lists are wanted.
const recommendationsFormat = "recommendations"

// listOptions are the flags of that format.
type listOptions struct {
	modelOptions
	k        int
	withSeen bool
}

// register says which flags are this format's alone.
func (o *listOptions) register(cmd *cobra.Command) (own []string) {
	before := map[string]bool{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) { before[f.Name] = true })
	cmd.Flags().IntVarP(&o.k, "number", "k", 10, "of recommendations: `N` items for each user")
	cmd.Flags().BoolVar(&o.withSeen, "with-seen", false, "of recommendations: also items that the user has had")
	o.modelOptions.register(cmd)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !before[f.Name] {
			own = append(own, f.Name)
			f.Usage = "of recommendations: " + strings.TrimPrefix(f.Usage, "of recommendations: ")
		}
	})
	return own
}

// listWriters write the table of recommendations, by the suffix of the file.
var listWriters = map[string]func(io.Writer, string) error{
	".csv": table.WriteCSV, ".parquet": parquet.Write, ".arrow": copyFile,
	".jsonl": func(to io.Writer, path string) error { return table.WriteJSONRows(to, path, -1, table.Binary{}) },
}

func copyFile(to io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err
}

// listWriter is the writer for a target; CSV for stdout.
func listWriter(target string) (func(io.Writer, string) error, error) {
	if target == "" {
		return table.WriteCSV, nil
	}
	if write, ok := listWriters[filepath.Ext(target)]; ok {
		return write, nil
	}
	return nil, usageError{fmt.Errorf("-o %s: recommendations are written as .csv, .parquet, .jsonl or .arrow: choose by the suffix", target)}
}

// runExportRecommendations writes the best items for each user. It is the stage
// recommend.top_k, run without a pipeline.
func runExportRecommendations(ctx context.Context, file, ref string, o exportOptions, s *streams) (err error) {
	write, err := listWriter(o.output)
	if err != nil {
		return err
	}
	if err := o.lists.validate(); err != nil {
		return err
	}
	o.offline = true
	w, err := openWorkspace(file, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	stage, err := w.topK(ctx, ref, o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(temporaryBeside(o.output, s), ".export-*")
	if err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	defer os.RemoveAll(dir)
	rows := filepath.Join(dir, "recommendations.arrow")
	stage.Recommendations = stages.ToFile[tables.Recommendation](rows)
	torch, err := torchOptions("", s)
	if err != nil {
		return err
	}
	env := &stages.Env{Torch: torch, OnProgress: progressLines(s, "recommending")}
	if err := stage.Run(ctx, env); err != nil {
		return err
	}
	for _, c := range env.Report() {
		s.err.printf("%s: %s\n", strings.ReplaceAll(c.Name, "_", " "), number(c.Value))
	}
	if o.output == "" {
		return write(s.out, rows)
	}
	return exportFile(s.path(o.output), func(to io.Writer) error { return write(to, rows) })
}

// temporaryBeside is a directory for what becomes a file: that of the file.
func temporaryBeside(target string, s *streams) string {
	if target == "" {
		return ""
	}
	return filepath.Dir(s.path(target))
}

func (o *listOptions) validate() error {
	if o.k < 1 {
		return usageError{fmt.Errorf("-k %d: give 1 or more", o.k)}
	}
	return o.modelOptions.validate()
}

// topK is the stage that makes the lists of a model in this pipeline.
func (w *workspace) topK(ctx context.Context, ref string, o exportOptions) (*recommend.TopK, error) {
	name, _, err := w.output(ref)
	if err != nil {
		return nil, err
	}
	spec, _ := w.stage(name.Stage)
	if spec.Kind != trainKind || name.Output != modelInput {
		return nil, usageError{fmt.Errorf("%s is no trained model: recommendations are made by the output %s of a stage of kind %s", name, modelInput, trainKind)}
	}
	wired, err := w.wiringOf(spec)
	if err != nil {
		return nil, err
	}
	files, err := w.filesOf(ctx, wired, o.stale)
	if err != nil {
		return nil, err
	}
	if files.users == "" {
		return nil, errors.New("no stage behind " + wired.split.String() + " has a table of users, so nobody has an external id")
	}
	stage := &recommend.TopK{
		Model: stages.FromFile[tables.ModelPart](files.model), Split: stages.FromFile[recommend.SplitRow](files.split),
		Users: stages.FromFile[recommend.UserRow](files.users),
		K:     o.lists.k, WithSeen: o.lists.withSeen, Threads: o.lists.threads, Device: stages.Setting[string]{Value: o.lists.device},
	}
	model, err := train.ReadModel(stage.Model)
	if err != nil {
		return nil, err
	}
	if _, err := itemIDsOf(model, wired, files); err != nil {
		return nil, err
	}
	if model.ItemIDs == nil {
		stage.Items = stages.FromFile[train.ItemRow](files.items)
	}
	return stage, nil
}

// progressLines prints a line every few seconds.
func progressLines(s *streams, what string) func(done, total int64, unit string) {
	printed := s.now()
	return func(done, total int64, unit string) {
		if s.now().Sub(printed) < progressEvery {
			return
		}
		printed = s.now()
		s.err.printf("%-8s %s: %s of %s\n", "…", what, thousands(done), amount(total, unit))
	}
}
