package main

import (
	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/pipelines"
)

const schemaDoc = `Schema prints a JSON Schema of pipeline files, with which editors complete and
check them. With the Even Better TOML extension or taplo, name it in the file's
first line:

  #:schema ./pipeline.schema.json

A pipeline that defines kinds of its own needs a schema that knows them: --in.`

func newSchemaCommand(s *streams) *cobra.Command {
	in := ""
	cmd := &cobra.Command{
		Use:               "schema",
		Short:             "Print a JSON Schema of pipeline files, for editors",
		Long:              schemaDoc,
		Example:           "  prismflow schema > pipeline.schema.json\n  prismflow schema --in pipeline.toml > pipeline.schema.json",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return runSchema(in, s) },
	}
	registerIn(cmd, &in)
	return cmd
}

func runSchema(in string, s *streams) error {
	registry, err := knownKinds(in, s)
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
