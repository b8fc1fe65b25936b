package pipelines

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// maxSize bounds a pipeline file in bytes. The largest that a person would
// write has a few hundred kilobytes.
const maxSize = 4 << 20

// A document is a pipeline file's text, its values and where they stand.
type document struct {
	place
	base   int // the number of its first byte; see fileSet
	index  lineIndex
	root   *node
	values map[string]any
}

func (d *document) diagnostic(at int, severity, message string) Diagnostic {
	line, column := d.index.place(at)
	return Diagnostic{File: d.file, Line: line, Column: column, Severity: severity, Message: message}
}

// readDocument parses the TOML text of a file.
func readDocument(file string, data []byte) (*document, []Diagnostic) {
	if len(data) > maxSize {
		return nil, []Diagnostic{{File: file, Severity: Error,
			Message: fmt.Sprintf("is larger than %d MiB, which is no pipeline file", maxSize>>20)}}
	}
	text := strings.TrimPrefix(string(data), "\ufeff") // a byte order mark
	doc := &document{place: place{file: file}, index: newLineIndex(text)}
	if at := invalidUTF8(text); at >= 0 {
		return nil, []Diagnostic{doc.diagnostic(at, Error, fmt.Sprintf("byte 0x%02x is not UTF-8; a TOML file must be", text[at]))}
	}
	located, scanned := locate(text)
	doc.root = located.root
	if scanned != nil && scanned.deep {
		return nil, []Diagnostic{doc.diagnostic(scanned.at, Error, scanned.message)}
	}
	values, failure := decode(scannedPart(text, scanned))
	if failure != nil {
		return nil, doc.syntaxErrors(failure, located.duplicates)
	}
	if scanned != nil { // what the library does not mind either is not read
		return nil, []Diagnostic{doc.diagnostic(scanned.at, Error, scanned.message)}
	}
	doc.values = values
	return doc, nil
}

// scannedPart is the text up to the line on which the scan stopped. The library
// finds the same mistake there, and is kept from what was not scanned, whose
// nesting is not known to be bounded.
func scannedPart(text string, stopped *scanError) string {
	if stopped == nil {
		return text
	}
	if i := strings.IndexByte(text[stopped.at:], '\n'); i >= 0 {
		return text[:stopped.at+i+1]
	}
	return text
}

func invalidUTF8(text string) int {
	if utf8.ValidString(text) {
		return -1
	}
	for i, r := range text {
		if _, size := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && size == 1 {
			return i
		}
	}
	return -1
}

// decode has the TOML library read the text. The library panics where it finds
// itself in a state that it thinks impossible; such a text is refused.
func decode(text string) (values map[string]any, failure *toml.ParseError) {
	defer func() {
		if r := recover(); r != nil {
			failure = &toml.ParseError{Message: "cannot be read as TOML"}
		}
	}()
	_, err := toml.Decode(text, &values)
	var parse toml.ParseError
	switch {
	case err == nil:
		return values, nil
	case errors.As(err, &parse):
		return nil, &parse
	default:
		return nil, &toml.ParseError{Message: err.Error()}
	}
}

// syntaxErrors are the library's error at its place, or, when that is about a
// key that was set before, all such keys with both their places.
func (d *document) syntaxErrors(failure *toml.ParseError, duplicates []duplicate) []Diagnostic {
	if len(duplicates) == 0 || !strings.Contains(failure.Message, "already") {
		return []Diagnostic{d.diagnostic(failure.Position.Start, Error, failure.Message)}
	}
	var list []Diagnostic
	for _, dup := range duplicates {
		line, column := d.index.place(dup.first.key)
		list = append(list, d.diagnostic(dup.again.key, Error, fmt.Sprintf("%s is already set at %d:%d", clip(dup.path), line, column)))
	}
	return list
}

// maxNameShown bounds in messages what a file gives as a name.
const maxNameShown = 80

func clip(text string) string {
	runes := []rune(text)
	if len(runes) <= maxNameShown {
		return text
	}
	return string(runes[:maxNameShown]) + "…"
}
