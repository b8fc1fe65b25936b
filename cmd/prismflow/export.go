package main

import (
	"bufio"
	"context"
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
}

const exportDoc = `Export writes the newest result of an output in a format that other programs
read: CSV (lists as JSON within a field), Parquet (vectors of fixed length as
lists) or, of a model or features, safetensors (as PyTorch and others load it).
Without -o it goes to stdout.`

var exporters = map[string]func(io.Writer, string) error{"csv": table.WriteCSV, "parquet": parquet.Write, "safetensors": writeSafetensors}

var exportFormats = []string{"csv", "parquet", "safetensors"}

func newExportCommand(s *streams) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:               "export FILE STAGE.OUTPUT",
		Short:             "Write an output as CSV, Parquet or safetensors",
		Long:              exportDoc,
		Example:           "  prismflow export pipeline.toml count.counts --format csv\n  prismflow export pipeline.toml count.counts -o counts.parquet\n  prismflow export sports train.model -o sports.safetensors",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeThen(completePipelines, completeOutputs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExport(cmd.Context(), args[0], args[1], o, s)
		},
	}
	o.register(cmd)
	cmd.Flags().StringVar(&o.format, "format", "", "`FORMAT`: csv, parquet or safetensors (default by the file's suffix)")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "write to `FILE`")
	complete(cmd, "format", exportFormats...)
	return cmd
}

func runExport(ctx context.Context, file, ref string, o exportOptions, s *streams) (err error) {
	write, err := o.exporter()
	if err != nil {
		return err
	}
	w, err := openWorkspace(file, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	name, _, err := w.output(ref)
	if err != nil {
		return err
	}
	output, path, err := w.engine.Output(ctx, name)
	if err != nil {
		return err
	}
	if !output.IsTable() {
		return usageError{fmt.Errorf("%s is a plain file, not a table: copy it from %s", name, w.engine.OutPath(name.Stage, name.Output, false))}
	}
	if o.output != "" {
		return exportFile(s.path(o.output), path, write)
	}
	if o.format != "csv" && s.out.terminal {
		return usageError{fmt.Errorf("%s is no text: give -o FILE or redirect the output", o.format)}
	}
	return write(s.out, path)
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
	case o.format == "":
		return nil, usageError{fmt.Errorf("say in which format: --format %s", strings.Join(exportFormats, " or --format "))}
	}
	return nil, usageError{fmt.Errorf("there is no format %s%s; there are %s", o.format, stages.Suggest(o.format, exportFormats), strings.Join(exportFormats, ", "))}
}

// exportFile writes a file that appears under its name only when it is whole.
func exportFile(to, from string, write func(io.Writer, string) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-*")
	if err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	defer os.Remove(f.Name())
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := write(buffered, from); err != nil {
		f.Close()
		return err
	}
	if err := buffered.Flush(); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}
