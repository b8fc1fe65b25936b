package main

import (
	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages/kinds"
)

const schemaDoc = `Schema prints a JSON Schema of pipeline files, with which editors complete and
check them. With the Even Better TOML extension or taplo, name it in the file's
first line:

  #:schema ./pipeline.schema.json`

func newSchemaCommand(s *streams) *cobra.Command {
	return &cobra.Command{
		Use:               "schema",
		Short:             "Print a JSON Schema of pipeline files, for editors",
		Long:              schemaDoc,
		Example:           "  prismflow schema > pipeline.schema.json",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return runSchema(s) },
	}
}

func runSchema(s *streams) error {
	registry, err := kinds.All()
	if err != nil {
		return err
	}
	schema, err := pipelines.JSONSchema(registry)
	if err != nil {
		return err
	}
	s.out.printf("%s\n", schema)
	return nil
}
