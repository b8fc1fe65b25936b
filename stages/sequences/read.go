package sequences

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// contents are what the files hold, with words numbered as they come: line i is
// that of the user with number i.
type contents struct {
	users, items *words
	places       []string  // of the users, "file:line"
	sequences    [][]int32 // numbers of items
	interactions int64
}

// read reads the files.
func read(ctx context.Context, env *stages.Env, files []stages.File, asGiven bool) (*contents, error) {
	in := lines.Open(ctx, files, lines.Options{
		OnProgress: func(done, total int64) { env.Progress(done, total, "bytes") },
	})
	defer in.Close()
	c := &contents{users: newWords(), items: newWords()}
	for in.Next() {
		if err := c.add(in, asGiven); err != nil {
			return nil, in.Errorf("%w", err)
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	if len(c.sequences) == 0 {
		return nil, errors.New("the source holds no sequences: is it the right file?")
	}
	return c, nil
}

// add takes in the current line.
func (c *contents) add(in *lines.Reader, asGiven bool) error {
	tokens, err := parse(in.Text(), asGiven)
	if err != nil {
		return err
	}
	user, known := c.users.of(tokens[0])
	if known {
		return fmt.Errorf("user %.40q has a sequence already, at %s", tokens[0], c.places[user])
	}
	c.places = append(c.places, fmt.Sprintf("%s:%d", in.File(), in.Line()))
	sequence := make([]int32, len(tokens)-1)
	for i, token := range tokens[1:] {
		sequence[i], _ = c.items.of(token)
	}
	c.sequences = append(c.sequences, sequence)
	c.interactions += int64(len(sequence))
	if len(c.items.list) > math.MaxInt32 || len(c.users.list) > math.MaxInt32 {
		return errors.New("more than 2³¹ users or items")
	}
	return nil
}

// parse divides a line into a user and at least one item, each a word of valid
// UTF-8 without control characters or, with asGiven, a whole number from 1.
func parse(line []byte, asGiven bool) ([][]byte, error) {
	tokens := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
	switch len(tokens) {
	case 0:
		return nil, errors.New("the line is blank")
	case 1:
		return nil, fmt.Errorf("user %.40q has no items: a line is \"user item item …\", separated by spaces", tokens[0])
	}
	for _, token := range tokens {
		if !utf8.Valid(token) || bytes.ContainsFunc(token, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("%.40q is not a word: it has control characters, or is not valid UTF-8", token)
		}
		if asGiven && !isNumber(token) {
			return nil, fmt.Errorf("%.40q is not a whole number from 1, as ids = \"as_given\" requires", token)
		}
	}
	return tokens, nil
}

// isNumber says whether token is how an internal id is written.
func isNumber(token []byte) bool {
	n, err := strconv.ParseInt(string(token), 10, 32)
	return err == nil && n >= 1 && token[0] != '0' && token[0] != '+'
}

// words numbers words in the order in which they come.
type words struct {
	list    []string
	numbers map[string]int32
}

func newWords() *words { return &words{numbers: map[string]int32{}} }

// of is a word's number, and whether it was known.
func (w *words) of(word []byte) (number int32, known bool) {
	if i, ok := w.numbers[string(word)]; ok {
		return i, true
	}
	i := int32(len(w.list))
	w.list = append(w.list, string(word))
	w.numbers[w.list[i]] = i
	return i, false
}

// ids are internal ids of words.
type ids struct {
	names []string // by id, from id 1 at index 0
	of    []int32  // by number
}

// number gives internal ids to the words.
func (w *words) number(asGiven bool) (ids, error) {
	v := ids{names: slices.Clone(w.list), of: make([]int32, len(w.list))}
	if asGiven {
		return v, v.take(w.list)
	}
	slices.Sort(v.names)
	for i, name := range v.names {
		v.of[w.numbers[name]] = int32(i + 1)
	}
	return v, nil
}

// take makes the numbers that the words are their ids, if there is no gap.
func (v *ids) take(list []string) error {
	clear(v.names)
	for i, word := range list {
		id, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return err
		}
		v.of[i] = int32(id)
		if id <= int64(len(list)) {
			v.names[id-1] = word
		}
	}
	if gap := slices.Index(v.names, ""); gap >= 0 {
		return fmt.Errorf("number %d does not occur, though there are %d and %d does: ids = \"as_given\" needs 1 to N without a gap, ids = \"sorted\" does not",
			gap+1, len(list), slices.Max(v.of))
	}
	return nil
}
