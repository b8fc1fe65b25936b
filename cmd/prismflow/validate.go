package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/pipelines"
)

// validateReport is what `validate --json` prints.
type validateReport struct {
	Format int             `json:"format"`
	OK     bool            `json:"ok"`
	Files  []validatedFile `json:"files"`
}

type validatedFile struct {
	Path        string                 `json:"path"`
	OK          bool                   `json:"ok"`
	Stages      int                    `json:"stages"`
	Diagnostics []pipelines.Diagnostic `json:"diagnostics"`
}

const validateDoc = `Validate checks pipeline files as far as that is possible without running them:
keys, types, references between stages and their columns, cycles. It prints all
that is wrong as file:line:column. The exit code is 2 when anything is.`

func newValidateCommand(s *streams) *cobra.Command {
	var o pipelineOptions
	asJSON := false
	cmd := &cobra.Command{
		Use:               "validate FILE...",
		Short:             "Check pipeline files without running them",
		Long:              validateDoc,
		Example:           "  prismflow validate pipelines/*.toml\n  prismflow validate sports.toml -p seed=x",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completePipelines,
		RunE:              func(_ *cobra.Command, args []string) error { return runValidate(args, &o, asJSON, s) },
	}
	registerParam(cmd, &o)
	registerJSON(cmd, &asJSON, "print one JSON object")
	return cmd
}

func runValidate(files []string, o *pipelineOptions, asJSON bool, s *streams) error {
	report := validateReport{Format: 1, OK: true}
	problems := 0
	for _, file := range files {
		checked, err := validateFile(file, o, s)
		if err != nil {
			return err
		}
		report.Files = append(report.Files, checked)
		report.OK = report.OK && checked.OK
		problems += errorsAmong(checked.Diagnostics)
	}
	if asJSON {
		if err := writeJSON(s.out, report); err != nil {
			return err
		}
	} else {
		writeValidation(s.out, report)
	}
	if report.OK {
		return nil
	}
	if !asJSON {
		s.err.printf("%s\n", count(problems, "error"))
	}
	return reportedError{usageError{errors.New("invalid pipeline")}}
}

func errorsAmong(diagnostics []pipelines.Diagnostic) int {
	n := 0
	for _, d := range diagnostics {
		if d.Severity == pipelines.Error {
			n++
		}
	}
	return n
}

func validateFile(file string, o *pipelineOptions, s *streams) (validatedFile, error) {
	checked := validatedFile{Path: file, Diagnostics: []pipelines.Diagnostic{}}
	silent := *s
	silent.err = stream{Writer: discard{}} // warnings are among the diagnostics
	pipeline, err := loadPipeline(file, o, &silent)
	var invalid *pipelines.Invalid
	switch {
	case errors.As(err, &invalid):
		checked.Diagnostics = invalid.Diagnostics
		return checked, nil
	case err != nil:
		return checked, err
	}
	checked.OK, checked.Stages = true, len(pipeline.Stages)
	checked.Diagnostics = append(checked.Diagnostics, pipeline.Warnings...)
	return checked, nil
}

func writeValidation(to stream, report validateReport) {
	for _, file := range report.Files {
		for _, diagnostic := range file.Diagnostics {
			to.printf("%s\n", diagnostic)
		}
		if file.OK {
			to.printf("%s: ok, %s\n", file.Path, count(file.Stages, "stage"))
		}
	}
}
