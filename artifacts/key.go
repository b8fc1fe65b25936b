package artifacts

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A Key names what was asked: a stage's code version, its parameters, and the
// digests of what it reads. It is the 64 hex digits of the SHA-256 of the
// request's canonical JSON.
type Key string

// ParseKey checks s, which may come from outside, and returns it as a Key.
func ParseKey(s string) (Key, error) {
	if !isHex64(s) {
		return "", fmt.Errorf("%q is not a key (want 64 lower-case hex digits)", s)
	}
	return Key(s), nil
}

// Short is an abbreviation for people.
func (k Key) Short() string { return short(string(k)) }

// A Request is everything that decides a stage's result, and so everything
// that its key is made of. What cannot change the result has no place in it:
// not the stage's name, worker counts, paths, nor where the cache lives.
//
// For a cached result to be valid, the following must hold: the stage's code
// is the one that Kind and Version name; it read no parameter but Params, no
// column but those listed for each of Inputs, and no file but Files; and each
// of those had, from before the stage read it until after, the content that
// its digest names.
type Request struct {
	Kind    string                       `json:"kind"`
	Version int                          `json:"version"`
	Params  map[string]any               `json:"params,omitempty"`
	Inputs  map[string]map[string]Digest `json:"inputs,omitempty"` // input → column it reads → digest; column "" is a whole plain file, or the order of the columns where that is seen
	Files   map[string][]FileDigest      `json:"files,omitempty"`  // file parameter → its files in order
}

// A FileDigest is one input file by content. Name is empty where the stage
// cannot see the file's name, so that renaming it changes nothing.
type FileDigest struct {
	Name   string `json:"name,omitempty"`
	Digest Digest `json:"digest"`
}

// Canonical is the request as canonical JSON: object keys sorted, no
// insignificant space, numbers in the shortest form that reads back equal.
// Text that is not UTF-8 is an error: JSON would make two of them one.
func (r Request) Canonical() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encoding the request of a %s stage: %w", r.Kind, err)
	}
	canonical := bytes.TrimRight(buf.Bytes(), "\n")
	if hasReplacedText(canonical) {
		return nil, fmt.Errorf("encoding the request of a %s stage: a name or text in it is not UTF-8: %.200s", r.Kind, canonical)
	}
	return canonical, nil
}

// hasReplacedText says whether the encoder met text that is not UTF-8, which
// it replaces by an escape that it uses for nothing else.
func hasReplacedText(encoded []byte) bool {
	for i := 0; i < len(encoded); i++ {
		if encoded[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(encoded[i:], []byte(`\ufffd`)) {
			return true
		}
		i++ // the escaped character may be another backslash
	}
	return false
}

// Key is the request's key.
func (r Request) Key() (Key, error) {
	canonical, err := r.Canonical()
	if err != nil {
		return "", err
	}
	return Key(DigestOf(canonical).Hex()), nil
}
