package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/table"
)

type showOptions struct {
	pipelineOptions
	head int64
	json bool
}

const showDoc = `Show prints the beginning of the newest result of an output: rows of a table, or
lines of a plain file. With --json rows are objects, one a line. Of binary values
it says the size and the digest, and of pictures the type and dimensions too.

` + resultsDoc

func newShowCommand(s *streams) *cobra.Command {
	var o showOptions
	cmd := &cobra.Command{
		Use:   "show FILE STAGE.OUTPUT",
		Short: "Print the beginning of an output",
		Long:  showDoc,
		Example: `  prismflow show pipeline.toml count.counts
  prismflow show pipeline.toml count.counts --head 100
  prismflow show pipeline.toml count.counts --head -1 --json | jq .`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeThen(completePipelines, completeOutputs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runShow(cmd.Context(), args[0], args[1], o, s)
		},
	}
	o.register(cmd)
	registerStale(cmd, &o.pipelineOptions)
	cmd.Flags().Int64Var(&o.head, "head", 20, "print `N` rows or lines; -1 for all")
	registerJSON(cmd, &o.json, "print rows as JSON objects, one a line")
	return cmd
}

func runShow(ctx context.Context, file, ref string, o showOptions, s *streams) (err error) {
	found, err := openOutput(ctx, file, ref, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer found.closing(&err)
	switch {
	case o.json && !found.IsTable():
		return usageError{fmt.Errorf("%s is a plain file, which has no rows: leave out --json", found.ref)}
	case o.json:
		return table.WriteJSONRows(s.out, found.path, o.head, shownBinary)
	case found.IsTable():
		if err := table.WriteText(s.out, found.path, o.head, s.out.width(), shownBinary); err != nil {
			return err
		}
		s.err.printf("%s, %s\n", count(int(found.Rows), "row"), byteSize(found.Bytes))
		return nil
	}
	if err := writeHead(s.out, found.path, o.head); err != nil {
		return err
	}
	s.err.printf("%s\n", byteSize(found.Bytes))
	return nil
}

// writeHead copies the first lines of a file. Bytes that are no text are not
// sent to a terminal, which they could change.
func writeHead(to stream, path string, lines int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	beginning, err := r.Peek(512)
	if err != nil && err != io.EOF {
		return err
	}
	if to.terminal && !isText(beginning) {
		to.printf("(no text; send it to a file to see the bytes)\n")
		return nil
	}
	for n := int64(0); lines < 0 || n < lines; {
		piece, err := r.ReadSlice('\n')
		if _, werr := to.Write(piece); werr != nil {
			return werr
		}
		switch err {
		case nil:
			n++
		case bufio.ErrBufferFull: // a long line goes on
		case io.EOF:
			return nil
		default:
			return err
		}
	}
	return nil
}

// isText says whether bytes look like UTF-8 text, of which the last character
// may be cut.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1 && utf8.FullRune(b):
			return false
		case r < ' ' && r != '\n' && r != '\t' && r != '\r':
			return false
		}
		b = b[size:]
	}
	return true
}
