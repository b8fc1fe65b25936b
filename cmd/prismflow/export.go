package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/artifacts/table/parquet"
	"github.com/prismflow/prismflow/stages"
)

type exportOptions struct {
	pipelineOptions
	format string
	output string
	force  bool
	lists  listOptions
}

const exportDoc = `Export writes the newest result of an output in a format that other programs
read: CSV (lists as JSON within a field), Parquet (vectors of fixed length as
lists) or, of a model or features, safetensors (as PyTorch and others load it).
Without -o it goes to stdout.

` + resultsDoc + `

With --format png the pictures of a table, such as that of images.download, are
written into the directory DIR: each decoded as the stages see it and encoded
anew, under the item's id, in which %XX stands for what file names cannot hold.

With --format recommendations and the model of a prism.train stage, the k best
items for every user are written, with external ids: user, rank, item, score. The
file's suffix says how: .csv, .parquet, .jsonl or .arrow; stdout gets CSV. What is
recommended, and to whom, is as in "prismflow recommend" and the stage kind
recommend.top_k, which does it within a pipeline.`

var exporters = map[string]func(io.Writer, string) error{"csv": table.WriteCSV, "parquet": parquet.Write, "safetensors": writeSafetensors}

var exportFormats = []string{"csv", "parquet", "safetensors", pngFormat, recommendationsFormat}

func newExportCommand(s *streams) *cobra.Command {
	var o exportOptions
	var ofLists []string
	cmd := &cobra.Command{
		Use:   "export FILE STAGE.OUTPUT [DIR]",
		Short: "Write an output as CSV, Parquet, safetensors, pictures or recommendations",
		Long:  exportDoc,
		Example: `  prismflow export pipeline.toml count.counts --format csv
  prismflow export pipeline.toml count.counts -o counts.parquet
  prismflow export sports train.model -o sports.safetensors
  prismflow export sports images.images --format png pictures
  prismflow export sports train.model --format recommendations -k 20 -o lists.parquet`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: completeThen(completePipelines, completeOutputs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.format == pngFormat {
				dir, err := o.directory(args[2:])
				if err != nil {
					return err
				}
				return runExportPictures(cmd.Context(), args[0], args[1], dir, o, s)
			}
			if len(args) > 2 {
				return usageError{fmt.Errorf("%s: only --format png writes into a directory", args[2])}
			}
			if o.format == recommendationsFormat {
				return runExportRecommendations(cmd.Context(), args[0], args[1], o, s)
			}
			for _, name := range ofLists {
				if cmd.Flags().Changed(name) {
					return usageError{fmt.Errorf("--%s: only --format recommendations takes it", name)}
				}
			}
			return runExport(cmd.Context(), args[0], args[1], o, s)
		},
	}
	o.register(cmd)
	cmd.Flags().StringVar(&o.format, "format", "", "`FORMAT`: csv, parquet, safetensors, png or recommendations (default by the file's suffix)")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "write to `FILE`")
	cmd.Flags().BoolVar(&o.force, "force", false, "of png: write into a directory that is not empty")
	registerStale(cmd, &o.pipelineOptions)
	ofLists = o.lists.register(cmd)
	complete(cmd, "format", exportFormats...)
	return cmd
}

func runExport(ctx context.Context, file, ref string, o exportOptions, s *streams) (err error) {
	write, err := o.exporter()
	if err != nil {
		return err
	}
	found, err := openOutput(ctx, file, ref, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer found.closing(&err)
	if !found.IsTable() {
		return usageError{fmt.Errorf("%s is a plain file, not a table: copy it from %s", found.ref, found.engine.OutPath(found.ref.Stage, found.ref.Output, false))}
	}
	if o.output != "" {
		return exportFile(s.path(o.output), func(to io.Writer) error { return write(to, found.path) })
	}
	if o.format != "csv" && s.out.terminal {
		return usageError{fmt.Errorf("%s is no text: give -o FILE or redirect the output", o.format)}
	}
	return write(s.out, found.path)
}

// directory is the one that the pictures go to.
func (o *exportOptions) directory(args []string) (string, error) {
	switch {
	case o.output != "":
		return "", usageError{errors.New("png is written into a directory, not a file: --format png DIR, without -o")}
	case len(args) == 0 || args[0] == "":
		return "", usageError{errors.New("say into which directory the pictures go: --format png DIR")}
	}
	return args[0], nil
}

// exporter chooses the writer by the flag, or by the file's suffix.
func (o *exportOptions) exporter() (func(io.Writer, string) error, error) {
	if o.format == "" {
		o.format = strings.TrimPrefix(filepath.Ext(o.output), ".")
	}
	write, ok := exporters[o.format]
	switch {
	case ok:
		return write, nil
	case o.format == pngFormat:
		return nil, usageError{errors.New("png is written into a directory: --format png DIR")}
	case o.format == "":
		return nil, usageError{fmt.Errorf("say in which format: --format %s", strings.Join(exportFormats, " or --format "))}
	}
	return nil, usageError{fmt.Errorf("there is no format %s%s; there are %s", o.format, stages.Suggest(o.format, exportFormats), strings.Join(exportFormats, ", "))}
}

// exportFile writes a file that appears under its name only when it is whole.
func exportFile(to string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(to), ".export-*")
	if err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	defer os.Remove(f.Name())
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(write(buffered), buffered.Flush(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}
