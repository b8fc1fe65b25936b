package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"
)

type cleanOptions struct {
	pipelineOptions
	dryRun bool
	json   bool
}

// cleanReport is what `clean --json` prints.
type cleanReport struct {
	Format  int      `json:"format"`
	Removed []string `json:"removed"` // files, absolute
	Bytes   int64    `json:"bytes"`
	Kept    []string `json:"kept"` // what is in the way of removing a directory and is not a result
	DryRun  bool     `json:"dry_run"`
}

const cleanDoc = `Clean removes the files for people, out/PIPELINE/STAGE/OUTPUT beside the pipeline
file, those of stages that the pipeline no longer has among them. The cache
stays as it is: the next run puts the files back. What else lies in those
directories is left alone. To empty the cache see "prismflow cache gc".`

func newCleanCommand(s *streams) *cobra.Command {
	var o cleanOptions
	cmd := &cobra.Command{
		Use:               "clean FILE",
		Short:             "Remove a pipeline's output files (not the cache)",
		Long:              cleanDoc,
		Example:           "  prismflow clean pipeline.toml --dry-run\n  prismflow clean pipeline.toml",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE:              func(_ *cobra.Command, args []string) error { return runClean(args[0], o, s) },
	}
	registerParam(cmd, &o.pipelineOptions)
	cmd.Flags().StringVar(&o.out, "out", "", "the files are below `DIR` instead of out/ beside the pipeline file")
	cmd.Flags().BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be removed")
	registerJSON(cmd, &o.json, "print one JSON object")
	return cmd
}

func runClean(file string, o cleanOptions, s *streams) error {
	pipeline, err := loadPipeline(file, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	dir := outDir(pipeline, &o.pipelineOptions, s)
	report := cleanReport{Format: 1, Removed: []string{}, Kept: []string{}, DryRun: o.dryRun}
	if err := report.clean(dir); err != nil {
		return fmt.Errorf("cleaning %s: %w", dir, err)
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	verb := "removed"
	if o.dryRun {
		verb = "would remove"
	}
	for _, path := range report.Removed {
		s.out.printf("%s %s\n", verb, relativeTo(s.dir, path))
	}
	for _, path := range report.Kept {
		s.err.printf("left alone: %s is no result\n", relativeTo(s.dir, path))
	}
	s.out.printf("%s %s, %s\n", verb, count(len(report.Removed), "file"), byteSize(report.Bytes))
	return nil
}

// resultName is the name of a stage's directory, and of an output in it.
var (
	stageName  = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	resultName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.arrow)?$`)
)

// clean removes the results below a pipeline's directory, and directories that
// are empty then.
func (r *cleanReport) clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if !entry.IsDir() || !stageName.MatchString(entry.Name()) {
			r.Kept = append(r.Kept, path)
			continue
		}
		if err := r.cleanStage(path); err != nil {
			return err
		}
	}
	return r.removeEmpty(dir)
}

func (r *cleanReport) cleanStage(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := entry.Info()
		if err != nil {
			return err
		}
		isFile := info.Mode().IsRegular() || info.Mode()&fs.ModeSymlink != 0
		if !isFile || !resultName.MatchString(entry.Name()) {
			r.Kept = append(r.Kept, path)
			continue
		}
		if !r.DryRun {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
		r.Removed = append(r.Removed, path)
		r.Bytes += info.Size()
	}
	return r.removeEmpty(dir)
}

// removeEmpty removes a directory unless something was left in it.
func (r *cleanReport) removeEmpty(dir string) error {
	if r.DryRun {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return err
	}
	return os.Remove(dir)
}
