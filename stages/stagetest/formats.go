package stagetest

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts/table/foreign/foreigntest"
)

// Formats are those of TableFile.
var Formats = []string{"csv", "tsv", "::", "jsonl", "recbole", "parquet", "arrow"}

// TableFile is a file as other programs write it, in one of Formats, where "::"
// is text with that between the fields and without a header. Values are string,
// int64, float64, []string or nil, which is null where there is such a thing and
// else nothing; a column's type is that of example. Lists are written as they are,
// and in text with "|" between their elements, or a space in recbole.
func TableFile(t testing.TB, format string, header []string, example []any, rows [][]any) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case "jsonl":
		err = writeJSON(&b, header, rows)
	case "parquet", "arrow":
		return foreigntest.File(t, format, header, example, rows)
	case "::":
		writeText(&b, "::", "|", nil, rows)
	case "recbole":
		writeText(&b, "\t", " ", atomicHeader(header, example), rows)
	default:
		err = writeQuoted(&b, format, header, rows)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeQuoted(b *bytes.Buffer, format string, header []string, rows [][]any) error {
	w := csv.NewWriter(b)
	if format == "tsv" {
		w.Comma = '\t'
	}
	if err := w.Write(header); err != nil {
		return err
	}
	for _, row := range rows {
		if err := w.Write(texts(row, "|")); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func writeText(b *bytes.Buffer, delimiter, between string, header []string, rows [][]any) {
	if header != nil {
		fmt.Fprintln(b, strings.Join(header, delimiter))
	}
	for _, row := range rows {
		fmt.Fprintln(b, strings.Join(texts(row, between), delimiter))
	}
}

// texts are the fields of a row in formats of text.
func texts(row []any, between string) []string {
	fields := make([]string, len(row))
	for i, v := range row {
		switch v := v.(type) {
		case nil:
		case []string:
			fields[i] = strings.Join(v, between)
		default:
			fields[i] = fmt.Sprint(v)
		}
	}
	return fields
}

func atomicHeader(header []string, example []any) []string {
	typed := make([]string, len(header))
	for i, name := range header {
		switch example[i].(type) {
		case string:
			typed[i] = name + ":token"
		case []string:
			typed[i] = name + ":token_seq"
		default:
			typed[i] = name + ":float"
		}
	}
	return typed
}

func writeJSON(b *bytes.Buffer, header []string, rows [][]any) error {
	out := json.NewEncoder(b)
	for _, row := range rows {
		object := map[string]any{}
		for i, name := range header {
			object[name] = row[i]
		}
		if err := out.Encode(object); err != nil {
			return err
		}
	}
	return nil
}
