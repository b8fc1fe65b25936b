package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
)

//go:embed starter.toml
var starter []byte

const initDoc = `Init writes a pipeline to start from, pipeline.toml unless another name is given,
and has git ignore out/, where results appear. It overwrites nothing.

With --from it starts from a pipeline that comes with the program.`

func newInitCommand(s *streams) *cobra.Command {
	from := ""
	cmd := &cobra.Command{
		Use:     "init [FILE]",
		Short:   "Write a pipeline to start from",
		Long:    initDoc,
		Example: "  prismflow init\n  prismflow init sports.toml --from sports",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := "pipeline.toml"
			if len(args) == 1 {
				file = args[0]
			}
			return runInit(file, from, s)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "copy the pipeline `NAME` that comes with the program")
	complete(cmd, "from", shippedNames()...)
	return cmd
}

func shippedNames() []string {
	var names []string
	for _, name := range pipelines.EmbeddedNames() {
		names = append(names, strings.TrimSuffix(name, ".toml"))
	}
	return names
}

func runInit(file, from string, s *streams) error {
	text := starter
	if from != "" {
		var ok bool
		if text, ok = pipelines.Embedded(strings.TrimSuffix(from, ".toml") + ".toml"); !ok {
			return usageError{fmt.Errorf("no pipeline %s comes with the program%s; there are %s", from, stages.Suggest(from, shippedNames()), strings.Join(shippedNames(), ", "))}
		}
	}
	path := s.path(file)
	if err := writeNew(path, text); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return usageError{fmt.Errorf("%s exists already; give another name", file)}
		}
		return fmt.Errorf("writing the pipeline: %w", err)
	}
	s.out.printf("wrote %s\n", file)
	ignored, err := ignoreOut(filepath.Dir(path))
	if err != nil {
		return err
	}
	if ignored {
		s.out.printf("added /out/ to .gitignore\n")
	}
	s.out.printf("next: prismflow run %s\n", shellWord(file))
	return nil
}

// writeNew writes a file that must not exist.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

const ignoreLine = "/out/"

// ignoreOut adds out/ to a directory's .gitignore, unless it is there.
func ignoreOut(dir string) (added bool, err error) {
	path := filepath.Join(dir, ".gitignore")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for line := range bytes.Lines(text) {
		switch strings.TrimSpace(string(line)) {
		case "out", "out/", "/out", ignoreLine:
			return false, nil
		}
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return true, os.WriteFile(path, append(text, ignoreLine+"\n"...), 0o666)
}
