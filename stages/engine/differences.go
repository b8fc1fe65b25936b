package engine

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
)

// A Difference is one thing in which a request differs from an earlier one.
type Difference struct {
	What   string `json:"what"`             // "parameter seed", "input interactions", "file source"
	Before string `json:"before,omitempty"` // empty for what is new
	After  string `json:"after,omitempty"`  // empty for what is gone
	Text   string `json:"text"`             // the sentence that people read
}

// differences lists what tells two requests apart: the code first, then
// parameters, inputs and files, each by name.
func differences(before, after artifacts.Request) []Difference {
	var d []Difference
	add := func(what, from, to, text string) { d = append(d, Difference{what, from, to, text}) }
	if before.Kind != after.Kind {
		add("kind", before.Kind, after.Kind, fmt.Sprintf("kind: %s → %s", before.Kind, after.Kind))
		return d
	}
	if before.Version != after.Version {
		from, to := fmt.Sprint(before.Version), fmt.Sprint(after.Version)
		add("code version", from, to, fmt.Sprintf("the code of %s changed: version %s → %s", after.Kind, from, to))
	}
	for _, p := range paramDifferences("", before.Params, after.Params) {
		add("parameter "+p.name, p.before, p.after, fmt.Sprintf("parameter %s: %s → %s", p.name, orAbsent(p.before), orAbsent(p.after)))
	}
	for _, name := range union(before.Inputs, after.Inputs) {
		if text := inputDifference(name, before.Inputs[name], after.Inputs[name]); text != "" {
			add("input "+name, "", "", text)
		}
	}
	for _, name := range union(before.Files, after.Files) {
		if text := fileDifference(name, before.Files[name], after.Files[name]); text != "" {
			add("file "+name, "", "", text)
		}
	}
	return d
}

type paramDifference struct{ name, before, after string }

// paramDifferences descends into tables, so that one changed entry of a table
// is named by its path and not by printing the whole table.
func paramDifferences(prefix string, before, after map[string]any) []paramDifference {
	var d []paramDifference
	for _, name := range union(before, after) {
		b, a := before[name], after[name]
		bt, bIsTable := b.(map[string]any)
		at, aIsTable := a.(map[string]any)
		if bIsTable && aIsTable {
			d = append(d, paramDifferences(prefix+name+".", bt, at)...)
			continue
		}
		if from, to := text(b), text(a); from != to {
			d = append(d, paramDifference{prefix + name, from, to})
		}
	}
	return d
}

// text is a parameter as JSON; empty for an absent one.
func text(v any) string {
	if v == nil {
		return ""
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// orAbsent is a parameter's text, cut for people.
func orAbsent(s string) string {
	const most = 60
	switch {
	case s == "":
		return "(absent)"
	case len(s) > most:
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func inputDifference(name string, before, after map[string]artifacts.Digest) string {
	switch {
	case before == nil:
		return "input " + name + " is new"
	case after == nil:
		return "input " + name + " is gone"
	}
	var changed, added, dropped []string
	reordered := false
	for _, column := range union(before, after) {
		b, wasRead := before[column]
		a, isRead := after[column]
		switch {
		case column != "" && !wasRead:
			added = append(added, column)
		case column != "" && !isRead:
			dropped = append(dropped, column)
		case a != b && column == "" && len(after) == 1: // a plain file
			return "input " + name + " changed"
		case column == "":
			reordered = a != b
		case a != b:
			changed = append(changed, column)
		}
	}
	var parts []string
	for _, p := range []struct {
		verb    string
		columns []string
	}{{"changed", changed}, {"is read now", added}, {"is no longer read", dropped}} {
		if len(p.columns) > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", columns(p.columns), p.verb))
		}
	}
	switch {
	case len(parts) > 0:
	case reordered:
		parts = []string{"the order of its columns changed"}
	default:
		return ""
	}
	return "input " + name + ": " + strings.Join(parts, ", ")
}

func columns(names []string) string {
	if len(names) == 1 {
		return "column " + names[0]
	}
	return "columns " + strings.Join(names, ", ")
}

func fileDifference(name string, before, after []artifacts.FileDigest) string {
	switch {
	case slices.Equal(before, after):
		return ""
	case len(before) == 0:
		return "file " + name + " is new"
	case len(after) == 0:
		return "file " + name + " is gone"
	case len(before) != len(after):
		return fmt.Sprintf("files of %s: %d → %d", name, len(before), len(after))
	}
	var changed []string
	for i := range after {
		isName := after[i].Name != filepath.Ext(after[i].Name) // not an extension alone
		if after[i] != before[i] && isName {
			changed = append(changed, after[i].Name)
		}
	}
	if len(changed) > 0 {
		return fmt.Sprintf("file %s: the content of %s changed", name, strings.Join(changed, ", "))
	}
	return "file " + name + ": its content changed"
}

// union is the names in either map, sorted.
func union[V any](a, b map[string]V) []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sentence joins what differs into one reason.
func sentence(d []Difference) string {
	const most = 3
	var texts []string
	for i, difference := range d {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(d)-most))
			break
		}
		texts = append(texts, difference.Text)
	}
	return strings.Join(texts, "; ")
}
