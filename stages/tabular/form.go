package tabular

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/prismflow/prismflow/artifacts/table/foreign"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// The formats.
const (
	autoFormat    = "auto"
	csvFormat     = "csv"
	tsvFormat     = "tsv"
	jsonlFormat   = "jsonl"
	parquetFormat = "parquet"
	arrowFormat   = "arrow"
	recboleFormat = "recbole"
)

// A form says how files are written. The kinds have its fields as parameters.
type form struct {
	Format    string   `stage:"format" default:"auto" enum:"auto,csv,tsv,jsonl,parquet,arrow,recbole" doc:"how the files are written; auto: told by what is in each"`
	Delimiter string   `stage:"delimiter" optional:"true" doc:"what stands between fields of text, such as \";\" or \"::\"; a comma or, in tsv and recbole, a tab when left out"`
	Quotes    bool     `stage:"quotes" default:"true" doc:"whether fields of text may be in quotation marks; false: those are characters like others, as they always are in recbole and beside a delimiter of several characters"`
	Encoding  string   `stage:"encoding" default:"utf-8" enum:"utf-8,latin1" doc:"of delimited text"`
	Columns   []string `stage:"columns" optional:"true" doc:"names of all columns, for delimited text without a header"`
}

const latin1 = "latin1"

// problems are those of the parameters of a form.
func (f form) problems() []stages.Problem {
	var problems []stages.Problem
	if f.Delimiter != "" && (strings.ContainsAny(f.Delimiter, "\"\r\n") || strings.ToValidUTF8(f.Delimiter, "\uFFFD") != f.Delimiter || strings.Contains(f.Delimiter, "\uFFFD")) {
		problems = append(problems, stages.Problem{Param: "delimiter", Message: fmt.Sprintf("must be one or more characters, and no quotation mark or line break, not %q", f.Delimiter)})
	}
	seen := map[string]bool{}
	for _, name := range f.Columns {
		if name == "" || seen[name] {
			problems = append(problems, stages.Problem{Param: "columns", Message: fmt.Sprintf("must be distinct names, and %q is none or comes twice", name)})
		}
		seen[name] = true
	}
	if f.Format == recboleFormat && len(f.Columns) > 0 {
		problems = append(problems, stages.Problem{Param: "columns", Message: "is for files without a header, which RecBole's have"})
	}
	if param := f.unused(f.Format); param != "" {
		problems = append(problems, stages.Problem{Param: param, Message: "is for delimited text, and format is " + f.Format})
	}
	return problems
}

// unused is a parameter that was set and says nothing about files of format,
// columns before all others.
func (f form) unused(format string) string {
	switch {
	case format != jsonlFormat && format != parquetFormat && format != arrowFormat:
		return ""
	case len(f.Columns) > 0:
		return "columns"
	case f.Delimiter != "":
		return "delimiter"
	case !f.Quotes:
		return "quotes"
	case f.Encoding == latin1:
		return "encoding"
	}
	return ""
}

// of is the form of a file: that which the parameters say or, where they leave
// it open, its content. Names do not count, since they are in no key.
func (f form) of(ctx context.Context, file stages.File) (form, error) {
	head, err := headOf(file)
	if err != nil {
		return f, err
	}
	magic := formatByMagic(head)
	switch {
	case f.Format != autoFormat && f.Format != magic && (magic != "" || f.Format == parquetFormat || f.Format == arrowFormat):
		return f, fmt.Errorf("%s: this is %s, and format is %q", file.Name, described(magic), f.Format)
	case f.Format != autoFormat:
	case magic != "":
		f.Format = magic
	case f.Delimiter != "":
		f.Format = csvFormat
	default:
		line, err := firstLine(ctx, file)
		if err != nil {
			return f, err
		}
		if isArray(line) {
			return f, fmt.Errorf("%s: this is an array of JSON, and not JSON lines: write an object a line, as jq -c '.[]' does", file.Name)
		}
		f.Format = f.formatByLine(line)
	}
	if f.unused(f.Format) == "columns" { // what else is unused does no harm, and may be for other files
		return f, fmt.Errorf("%s: this is %s, and columns is for delimited text", file.Name, described(f.Format))
	}
	return f.completed(), nil
}

// completed has the delimiter of its format.
func (f form) completed() form {
	switch {
	case f.Delimiter != "":
	case f.Format == tsvFormat || f.Format == recboleFormat:
		f.Delimiter = "\t"
	default:
		f.Delimiter = ","
	}
	return f
}

// headOf are the first bytes of a file, as it lies on the disk.
func headOf(file stages.File) ([]byte, error) {
	f, err := os.Open(file.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name, err)
	}
	defer f.Close()
	head := make([]byte, len(foreign.ArrowMagic))
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("%s: %w", file.Name, err)
	}
	return head[:n], nil
}

func formatByMagic(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte(foreign.ParquetMagic)):
		return parquetFormat
	case bytes.HasPrefix(head, []byte(foreign.ArrowMagic)):
		return arrowFormat
	}
	return ""
}

// described names a format for a message.
func described(format string) string {
	switch format {
	case parquetFormat:
		return "a Parquet file"
	case arrowFormat:
		return "an Arrow file"
	case jsonlFormat:
		return "a file of JSON lines"
	}
	return "neither a Parquet nor an Arrow file"
}

// maxSniffed bounds what is looked at of a line to tell what it is.
const maxSniffed = 64 << 10

// firstLine is the first line of a text that is not blank, or its beginning.
func firstLine(ctx context.Context, file stages.File) (string, error) {
	text := lines.OpenTexts(ctx, []stages.File{file}, lines.Options{})
	defer text.Close()
	if !text.NextFile() {
		return "", text.Err()
	}
	head, err := io.ReadAll(io.LimitReader(text, maxSniffed))
	if err != nil {
		return "", fmt.Errorf("%s: %w", text.File(), err)
	}
	line, _, _ := strings.Cut(strings.TrimLeft(string(head), " \r\n"), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// isArray says whether a first line begins an array of JSON objects.
func isArray(line string) bool {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), "[")
	rest = strings.TrimSpace(rest)
	return ok && (rest == "" || rest[0] == '{')
}

// formatByLine tells the formats of text apart by the first line of a file.
func (f form) formatByLine(line string) string {
	switch {
	case strings.HasPrefix(line, "{"):
		return jsonlFormat
	case len(f.Columns) == 0 && isAtomic(strings.Split(line, "\t")):
		return recboleFormat
	case strings.Contains(line, "\t") && !strings.Contains(line, ","):
		return tsvFormat
	}
	return csvFormat
}

// atomicName is the name of a column in a header of RecBole's atomic files
// (https://recbole.io/atomic_files.html).
var atomicName = regexp.MustCompile(`^(.+):(token|token_seq|float|float_seq)$`)

// isAtomic says whether a header is that of an atomic file.
func isAtomic(header []string) bool {
	for _, name := range header {
		if !atomicName.MatchString(name) {
			return false
		}
	}
	return len(header) > 0
}

// An opener opens files of one form, and tells env how far they are read.
type opener struct {
	ctx     context.Context
	env     *stages.Env
	form    form
	columns []column
	fields  *jsonFields
	done    int64 // bytes of the files before the current one
	total   int64
}

func newOpener(ctx context.Context, env *stages.Env, files []stages.File, f form, columns []column) *opener {
	o := &opener{ctx: ctx, env: env, form: f, columns: columns, fields: newJSONFields(columns)}
	for _, file := range files {
		o.total += sizeOf(file)
	}
	return o
}

func sizeOf(file stages.File) int64 {
	info, err := os.Stat(file.Path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (o *opener) open(file stages.File) (table, error) {
	f, err := o.form.of(o.ctx, file)
	if err != nil {
		return nil, err
	}
	before, size := o.done, sizeOf(file)
	o.done += size
	progress := func(done, total int64) { o.env.Progress(before+done, o.total, "bytes") }
	switch f.Format {
	case parquetFormat, arrowFormat:
		return openColumnar(file, o.columns, func(row, rows int64) error {
			progress(int64(float64(size)*float64(row)/float64(max(rows, 1))), size)
			return o.ctx.Err()
		})
	case jsonlFormat:
		return openJSON(o.ctx, file, o.fields, progress), nil
	}
	return openDelimited(o.ctx, file, f, o.columns, progress)
}
