package artifacts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// maxManifest is the most bytes that are believed of a manifest. The largest
// real ones, of tables with a thousand columns, have a few hundred kilobytes.
const maxManifest = 16 << 20

// maxMemos is the most row memos that are believed of a manifest: each may be asked
// for, and a stage has a few.
const maxMemos = 1000

// Encode is the manifest as JSON, after Validate.
func (m Manifest) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding manifest of %s: %w", m.Key.Short(), err)
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("manifest of %s has %d bytes, at most %d can be read back", m.Key.Short(), len(b), maxManifest)
	}
	return b, nil
}

// DecodeManifest reads a manifest that may come from outside: it is bounded
// in size and valid as Validate says. Numbers among the request's parameters
// are json.Number, so that a large integer keeps its digits. What people are told
// of it is bounded, too, and has no control characters, which could move a
// terminal's cursor.
func DecodeManifest(b []byte) (Manifest, error) {
	if len(b) > maxManifest {
		return Manifest{}, fmt.Errorf("manifest of %d bytes where at most %d are believed", len(b), maxManifest)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var m Manifest
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	if len(bytes.TrimSpace(b[dec.InputOffset():])) > 0 {
		return Manifest{}, errors.New("manifest: more than one JSON value")
	}
	m.tidy()
	return m, m.Validate()
}

// maxSeconds is more than any execution takes: thirty years. maxText bounds a text
// that is shown, in bytes: the search path of a command may be long.
const (
	maxSeconds = 1e9
	maxText    = 4 << 10
)

// tidy makes text that is shown, and that nothing vouches for, one line each, and
// drops numbers that cannot be and would spoil sums.
func (m *Manifest) tidy() {
	p := &m.Provenance
	if !(p.Seconds >= 0 && p.Seconds <= maxSeconds) {
		p.Seconds = 0
	}
	p.PeakRSS = max(p.PeakRSS, 0)
	for _, text := range []*string{&m.Incomplete, &p.Pipeline, &p.Stage, &p.Run, &p.User, &p.Host} {
		*text = oneLine(*text)
	}
	for i := range m.Report {
		m.Report[i].Name = oneLine(m.Report[i].Name)
	}
	versions := maps.Clone(p.Versions)
	clear(p.Versions)
	for name, version := range versions {
		p.Versions[oneLine(name)] = oneLine(version)
	}
}

func oneLine(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, text)
}

// isControl says whether a character does something to the text around it, as those
// do that turn its direction.
func isControl(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// Validate says whether the manifest is one that a run can rely on: of a
// format that this program knows, its key is that of its request, and names,
// digests and sizes of its outputs are well formed. An output's name becomes
// a file's name, so a remote must not choose it freely.
func (m Manifest) Validate() error {
	if m.Format != ManifestFormat {
		return fmt.Errorf("manifest: format %d is not %d, the one that this version of prismflow reads", m.Format, ManifestFormat)
	}
	if _, err := ParseKey(string(m.Key)); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if strings.ContainsFunc(m.Request.Kind, isControl) {
		return fmt.Errorf("manifest of %s: the kind %.100q has control characters", m.Key.Short(), m.Request.Kind)
	}
	key, err := m.Request.Key()
	if err != nil {
		return fmt.Errorf("manifest of %s: %w", m.Key.Short(), err)
	}
	if key != m.Key {
		return fmt.Errorf("manifest of %s: its request has the key %s", m.Key.Short(), key.Short())
	}
	if len(m.Outputs) > maxActionFiles-1 {
		return fmt.Errorf("manifest of %s: more than %d outputs", m.Key.Short(), maxActionFiles-1)
	}
	if len(m.Memos) > maxMemos {
		return fmt.Errorf("manifest of %s: %d row memos, more than %d", m.Key.Short(), len(m.Memos), maxMemos)
	}
	for _, memo := range m.Memos {
		if _, err := ParseKey(string(memo)); err != nil {
			return fmt.Errorf("manifest of %s: row memo: %w", m.Key.Short(), err)
		}
	}
	for name, out := range m.Outputs {
		if err := out.validate(name); err != nil {
			return fmt.Errorf("manifest of %s: %w", m.Key.Short(), err)
		}
	}
	return nil
}

func (o Output) validate(name string) error {
	if !isOutputName(name) {
		return fmt.Errorf("output %.100q: not a name (lower-case letters, digits and _, a letter first)", name)
	}
	if _, err := ParseDigest(string(o.Digest)); err != nil {
		return fmt.Errorf("output %s: %w", name, err)
	}
	if o.Bytes < 0 || o.Rows < 0 {
		return fmt.Errorf("output %s: negative size", name)
	}
	for _, c := range o.Columns {
		if _, err := ParseDigest(string(c.Digest)); err != nil {
			return fmt.Errorf("output %s, column %.100q: %w", name, c.Name, err)
		}
	}
	return nil
}

// isOutputName says whether s is a name as the pipeline file has them. The
// length keeps a file's name, made of it, within what file systems take.
func isOutputName(s string) bool {
	if s == "" || len(s) > 200 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// action is what is published for a manifest that was stored as blob d.
func (m Manifest) action(d Digest, size int64) ActionResult {
	files := []OutputFile{{Path: ManifestPath, Digest: d, Bytes: size}}
	for _, name := range slices.Sorted(maps.Keys(m.Outputs)) {
		files = append(files, OutputFile{Path: name, Digest: m.Outputs[name].Digest, Bytes: m.Outputs[name].Bytes})
	}
	return ActionResult{OutputFiles: files}
}

// sameOutputs says whether two executions came to the same result.
func (m Manifest) sameOutputs(n Manifest) bool {
	return maps.EqualFunc(m.Outputs, n.Outputs, func(a, b Output) bool { return a.Digest == b.Digest })
}
