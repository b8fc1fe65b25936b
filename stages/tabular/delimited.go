package tabular

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// A delimitedTable reads a file whose records are fields with a delimiter
// between them.
type delimitedTable struct {
	name     string // of the file
	records  recordReader
	form     form
	columns  []column
	header   []string
	at       []int  // where in a record each of columns stands, -1 where it is not read
	sequence []bool // whether that is a RecBole column of several tokens
	record   []string
}

// A recordReader reads the records of delimited text.
type recordReader interface {
	// read gives the fields of the next record, valid until the one after it.
	// Behind the last it returns io.EOF.
	read() ([]string, error)
	// position is where a field of the record begins: its line, and its column in
	// bytes, both from 1.
	position(field int) (line, column int)
	close()
}

func openDelimited(ctx context.Context, file stages.File, f form, columns []column, progress func(done, total int64)) (table, error) {
	t := &delimitedTable{name: file.Name, form: f, columns: columns, header: f.Columns, at: make([]int, len(columns)), sequence: make([]bool, len(columns))}
	options := lines.Options{OnProgress: progress}
	if f.Quotes && utf8.RuneCountInString(f.Delimiter) == 1 && f.Format != recboleFormat {
		t.records = openQuoted(ctx, file, f.Delimiter, options)
	} else {
		t.records = openSplit(ctx, file, f.Delimiter, options)
	}
	if err := t.begin(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *delimitedTable) close() { t.records.close() }

// begin reads the header, unless the columns are named, and finds the columns.
func (t *delimitedTable) begin() error {
	where, what := t.name, "columns"
	if len(t.header) == 0 {
		where, what = t.name+":1", "the header"
		if err := t.readHeader(); err != nil {
			return err
		}
	}
	names := t.header
	if t.form.Format == recboleFormat {
		if !isAtomic(names) {
			return fmt.Errorf("%s: the header is not one of RecBole's, such as user_id:token; it has %s", where, listed(names))
		}
		names = t.atomicNames()
	}
	at, err := locate(where, what, names, t.columns, otherDelimiter(names, t.form.Delimiter))
	if err != nil {
		return err
	}
	t.at = at
	return t.checkAtomic(where)
}

func (t *delimitedTable) readHeader() error {
	record, err := t.records.read()
	switch {
	case err == io.EOF:
		return fmt.Errorf("%s: the file is empty: a table begins with a header (set format = \"jsonl\" where it is JSON lines)", t.name)
	case err != nil:
		return err
	}
	for _, name := range record {
		name = t.decoded(name)
		if !utf8.ValidString(name) {
			return fmt.Errorf("%s:1: the header is not UTF-8%s", t.name, otherEncoding(record[0]))
		}
		t.header = append(t.header, strings.Clone(name))
	}
	return nil
}

// atomicNames are the columns' names without their types, but for those that a
// parameter names with it.
func (t *delimitedTable) atomicNames() []string {
	names := slices.Clone(t.header)
	for i, name := range names {
		whole := slices.ContainsFunc(t.columns, func(c column) bool { return c.name == name })
		if !whole {
			names[i] = atomicName.FindStringSubmatch(name)[1]
		}
	}
	return names
}

// checkAtomic checks the types that a RecBole header says.
func (t *delimitedTable) checkAtomic(where string) error {
	if t.form.Format != recboleFormat {
		return nil
	}
	for i, c := range t.columns {
		if t.at[i] < 0 {
			continue
		}
		switch typ := atomicName.FindStringSubmatch(t.header[t.at[i]])[2]; {
		case typ == "float_seq", typ == "float" && (c.holds == words || c.holds == list), typ == "token_seq" && (c.holds == number || c.holds == moment):
			return wrongType(where, c, typ)
		default:
			t.sequence[i] = typ == "token_seq"
		}
	}
	return nil
}

// wrongType is the error about a column whose type its parameter does not want.
func wrongType(where string, c column, typ string) error {
	return fmt.Errorf("%s: column %q is of type %s, and %s wants %s", where, c.name, typ, c.param, c.holds)
}

// locate finds the columns among names, which are what of a file.
func locate(where, what string, names []string, columns []column, hint string) ([]int, error) {
	at := make([]int, len(columns))
	var problems []error
	for i, c := range columns {
		at[i] = -1
		if c.name == "" {
			continue
		}
		at[i] = slices.Index(names, c.name)
		switch {
		case at[i] < 0:
			problems = append(problems, fmt.Errorf("%s: no column %q%s, which %s names; %s has %s%s",
				where, c.name, stages.Suggest(c.name, names), c.param, what, listed(names), hint))
		case slices.Contains(names[at[i]+1:], c.name):
			problems = append(problems, fmt.Errorf("%s: %s has column %q twice", where, what, c.name))
		}
	}
	return at, errors.Join(problems...)
}

// listed names the columns of a file for a message.
func listed(header []string) string {
	const most = 20
	var b strings.Builder
	for i, name := range header[:min(len(header), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		if name == "" || strings.TrimSpace(name) != name {
			fmt.Fprintf(&b, "%.40q", name) // or nobody would see the spaces
			continue
		}
		fmt.Fprintf(&b, "%.40s", name)
	}
	if len(header) > most {
		fmt.Fprintf(&b, " and %d more", len(header)-most)
	}
	return b.String()
}

// otherDelimiter says what a header or record of one column may be delimited by.
func otherDelimiter(header []string, delimiter string) string {
	if len(header) > 1 {
		return ""
	}
	for _, other := range []string{",", ";", "\t", "|", "::"} {
		if other != delimiter && strings.Contains(header[0], other) {
			return fmt.Sprintf(" (is it delimited by %q? set delimiter)", other)
		}
	}
	return ""
}

func otherEncoding(start string) string {
	if strings.HasPrefix(start, "\xff\xfe") || strings.HasPrefix(start, "\xfe\xff") {
		return " but UTF-16: save the file as UTF-8"
	}
	return `: save the file as UTF-8, or set encoding = "latin1" where it is that`
}

// decoded is a field in UTF-8, where the encoding is not that. Every byte of
// Latin-1 is the number of its character.
func (t *delimitedTable) decoded(text string) string {
	if t.form.Encoding != latin1 {
		return text
	}
	characters := make([]rune, len(text))
	for i := range len(text) {
		characters[i] = rune(text[i])
	}
	return string(characters)
}

func (t *delimitedTable) next(fields []field) (err error) {
	if t.record, err = t.records.read(); err != nil {
		return err
	}
	if len(t.record) != len(t.header) {
		line, _ := t.records.position(0)
		whose, fields := "the header has", "fields"
		if len(t.form.Columns) > 0 {
			whose = "columns names"
		}
		if len(t.record) == 1 {
			fields = "field"
		}
		return &rowError{place: fmt.Sprintf("%s:%d", t.name, line), cause: fmt.Errorf("%d %s, and %s %d%s",
			len(t.record), fields, whose, len(t.header), otherDelimiter(t.record, t.form.Delimiter))}
	}
	for i, at := range t.at {
		if fields[i] = (field{}); at >= 0 {
			fields[i] = field{text: t.decoded(t.record[at]), sequence: t.sequence[i]}
		}
	}
	return nil
}

func (t *delimitedTable) place(i int) string {
	line, column := t.records.position(t.at[i])
	return fmt.Sprintf("%s:%d:%d", t.name, line, column)
}
