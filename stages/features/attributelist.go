package features

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// What an attribute file may hold. The published ones have some hundred
// kilobytes and at most ten attributes an item.
const (
	maxAttributeBytes = 256 << 20 // of a file, inflated
	maxAttributes     = 1 << 16   // of an item
)

// attributeLists are the attributes of items, by external id, as files have
// them. Lists are sorted and without repetitions.
type attributeLists struct {
	items    []string // in the order of the files
	of       map[string][]int32
	repeated int // attributes that stood in a list before
}

// readAttributes reads all files.
func readAttributes(ctx context.Context, env *stages.Env, files []stages.File) (*attributeLists, error) {
	lists := &attributeLists{of: map[string][]int32{}}
	for _, file := range files {
		text, err := readText(ctx, env, file)
		if err != nil {
			return nil, err
		}
		var misplaced *placedError
		switch err := parseAttributes(text, lists.add); {
		case errors.As(err, &misplaced):
			line, column := placeOf(text, misplaced.offset)
			return nil, fmt.Errorf("%s:%d:%d: %w", file.Name, line, column, misplaced.cause)
		case err != nil:
			return nil, err
		}
	}
	return lists, nil
}

// readText reads a file that may be compressed, with line feeds alone at the
// ends of lines.
func readText(ctx context.Context, env *stages.Env, file stages.File) ([]byte, error) {
	in := lines.Open(ctx, []stages.File{file}, lines.Options{
		MaxBytes:   maxAttributeBytes, // these files usually have one line
		OnProgress: func(done, total int64) { env.Progress(done, total, "bytes") },
	})
	defer in.Close()
	var text []byte
	for in.Next() {
		if len(text)+len(in.Text()) > maxAttributeBytes {
			return nil, in.Errorf("the file has more than %d bytes", maxAttributeBytes)
		}
		text = append(append(text, in.Text()...), '\n')
	}
	return text, in.Err()
}

// placeOf is the line and the column, in characters, of an offset; both from 1.
func placeOf(text []byte, offset int) (line, column int) {
	before := text[:offset]
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}

// add takes in an item's list.
func (l *attributeLists) add(item string, attributes []int32) error {
	if _, twice := l.of[item]; twice {
		return fmt.Errorf("item %.40q has a list already", item)
	}
	n := len(attributes)
	slices.Sort(attributes)
	attributes = slices.Compact(attributes)
	l.repeated += n - len(attributes)
	l.items = append(l.items, item)
	l.of[item] = attributes
	return nil
}

// A placedError is about a place in a text.
type placedError struct {
	offset int
	cause  error
}

func (e *placedError) Error() string { return fmt.Sprintf("byte %d: %v", e.offset, e.cause) }
func (e *placedError) Unwrap() error { return e.cause }

// parseAttributes reads a JSON object of lists of whole numbers from 0 to 2³¹-1
// and calls add for each. An error is a *placedError. The tokens are walked one by
// one since json.Unmarshal takes the last of two lists of an item without a word.
func parseAttributes(text []byte, add func(item string, attributes []int32) error) error {
	p := &attributeParser{text: text, json: json.NewDecoder(bytes.NewReader(text))}
	p.json.UseNumber()
	if err := p.object(add); err != nil {
		return &placedError{p.at, err}
	}
	return nil
}

type attributeParser struct {
	text []byte
	json *json.Decoder
	at   int // where the last token begins
}

func (p *attributeParser) object(add func(string, []int32) error) error {
	if err := p.valid(); err != nil {
		return err
	}
	if err := p.delim('{', "an object of lists, {\"item\": [attribute, …], …}"); err != nil {
		return err
	}
	for p.json.More() {
		token, err := p.next()
		if err != nil {
			return err
		}
		item, at := token.(string), p.at // the decoder lets no other key pass
		attributes, err := p.list()
		if err != nil {
			return fmt.Errorf("item %.40q: %w", item, err)
		}
		if err := add(item, attributes); err != nil {
			p.at = at
			return err
		}
	}
	if err := p.delim('}', "the end of the object"); err != nil {
		return err
	}
	p.at = int(p.json.InputOffset())
	if p.skip(whiteSpace); p.at < len(p.text) {
		return errors.New("something stands behind the object")
	}
	return nil
}

// valid refuses what the decoder would replace without a word.
func (p *attributeParser) valid() error {
	for p.at < len(p.text) {
		r, size := utf8.DecodeRune(p.text[p.at:])
		if r == utf8.RuneError && size == 1 {
			return errors.New("not valid UTF-8")
		}
		p.at += size
	}
	return nil
}

func (p *attributeParser) list() ([]int32, error) {
	if err := p.delim('[', "a list of attributes"); err != nil {
		return nil, err
	}
	attributes := []int32{}
	for p.json.More() {
		attribute, err := p.attribute()
		if err != nil {
			return nil, err
		}
		if attributes = append(attributes, attribute); len(attributes) > maxAttributes {
			return nil, fmt.Errorf("more than %d attributes", maxAttributes)
		}
	}
	return attributes, p.delim(']', "the end of the list")
}

func (p *attributeParser) attribute() (int32, error) {
	token, err := p.next()
	if err != nil {
		return 0, err
	}
	number, ok := token.(json.Number)
	if !ok {
		return 0, fmt.Errorf("an attribute is a whole number, not %.40q", fmt.Sprint(token))
	}
	n, err := strconv.ParseInt(string(number), 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("an attribute is a whole number from 0 to %d, not %.40s", math.MaxInt32, number)
	}
	return int32(n), nil
}

func (p *attributeParser) delim(want json.Delim, what string) error {
	token, err := p.next()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("want %s, not %.40q", what, fmt.Sprint(token))
	}
	return nil
}

const whiteSpace = " \t\r\n"

var errEnd = errors.New("the text ends here, unfinished")

// next reads a token, and notes where it begins: behind white space and what
// separates it from the one before.
func (p *attributeParser) next() (json.Token, error) {
	p.at = int(p.json.InputOffset())
	p.skip(whiteSpace)
	if p.at < len(p.text) && (p.text[p.at] == ',' || p.text[p.at] == ':') {
		p.at++
		p.skip(whiteSpace)
	}
	token, err := p.json.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errEnd
	}
	return token, err
}

func (p *attributeParser) skip(characters string) {
	p.at = len(p.text) - len(bytes.TrimLeft(p.text[p.at:], characters))
}
