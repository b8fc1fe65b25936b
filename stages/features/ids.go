package features

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// maxID bounds an id in bytes, so that a file of something else is refused
// before all of it is in memory.
const maxID = 4 << 10

// readIDs reads files of external ids, one behind the other: one id a line, or
// a JSON list of strings and whole numbers, which begins with a bracket.
func readIDs(ctx context.Context, env *stages.Env, files []stages.File) ([]string, error) {
	var ids []string
	for _, file := range files {
		more, err := readIDFile(ctx, env, file)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	return ids, nil
}

func readIDFile(ctx context.Context, env *stages.Env, file stages.File) ([]string, error) {
	in := lines.Open(ctx, []stages.File{file}, lines.Options{MaxBytes: maxAttributeBytes}) // a JSON list may be one line
	defer in.Close()
	var ids []string
	for in.Next() {
		if len(ids) == 0 && bytes.HasPrefix(bytes.TrimLeft(in.Text(), " \t"), []byte("[")) {
			return readIDList(ctx, env, file)
		}
		if err := checkID(in.Text()); err != nil {
			return nil, in.Errorf("%w", err)
		}
		ids = append(ids, string(in.Text()))
	}
	return ids, in.Err()
}

func checkID(id []byte) error {
	switch {
	case len(id) == 0:
		return errors.New("an empty id: every row needs one")
	case len(id) > maxID:
		return fmt.Errorf("an id of %d bytes, and at most %d are allowed", len(id), maxID)
	case !utf8.Valid(id):
		return fmt.Errorf("id %.40q is not UTF-8", id)
	}
	return nil
}

// readIDList reads a JSON list.
func readIDList(ctx context.Context, env *stages.Env, file stages.File) ([]string, error) {
	text, err := readText(ctx, env, file)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s: begins like a JSON list, and is none: %w", file.Name, err)
	}
	ids := make([]string, len(list))
	for i, element := range list {
		id, err := idOf(element)
		if err != nil {
			return nil, fmt.Errorf("%s: element %d: %w", file.Name, i, err)
		}
		ids[i] = id
	}
	return ids, nil
}

// idOf is an element of a JSON list, a string or a whole number.
func idOf(element json.RawMessage) (string, error) {
	id := string(element)
	switch c := element[0]; {
	case c == '"':
		if !utf8.Valid(element) {
			return "", fmt.Errorf("%.40q is not UTF-8", element)
		}
		if err := json.Unmarshal(element, &id); err != nil {
			return "", err
		}
	case (c == '-' || '0' <= c && c <= '9') && !bytes.ContainsAny(element, ".eE"):
	default:
		return "", fmt.Errorf("%.40s is no id: want a string or a whole number", element)
	}
	return id, checkID([]byte(id))
}
