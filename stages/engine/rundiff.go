package engine

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/prismflow/prismflow/artifacts"
)

// A RunDiff is how two runs differ in what they were asked and what came of it.
type RunDiff struct {
	Params   []Difference `json:"params"`   // of the pipeline
	Files    []FileChange `json:"files"`    // that stages read
	Stages   []StageDiff  `json:"stages"`   // in the order of the later run, then those that only the earlier has
	Versions []Difference `json:"versions"` // of the program, and of what stages ran on
}

// Same says whether the runs differ in nothing.
func (d RunDiff) Same() bool {
	for _, stage := range d.Stages {
		if stage.Change != StageSame {
			return false
		}
	}
	return len(d.Params)+len(d.Files)+len(d.Versions) == 0
}

// A FileChange is one file of a stage that has another content, or is new or gone.
type FileChange struct {
	Stage  string           `json:"stage"`
	Param  string           `json:"param"`
	Name   string           `json:"name,omitempty"`
	Before artifacts.Digest `json:"before,omitempty"` // empty for a new file
	After  artifacts.Digest `json:"after,omitempty"`  // empty for one that is gone
}

// A StageDiff is how one stage differs between two runs.
type StageDiff struct {
	Name        string        `json:"name"`
	Change      string        `json:"change"` // one of those below
	Before      artifacts.Key `json:"before,omitempty"`
	After       artifacts.Key `json:"after,omitempty"`
	Differences []Difference  `json:"differences"`
}

// What can have become of a stage.
const (
	StageSame    = "same"    // the same key and the same outputs
	StageAdded   = "added"   // only the later run has it
	StageRemoved = "removed" // only the earlier run has it
	StageChanged = "changed" // another key
	StageDrifted = "drifted" // the same key, and outputs that came out differently
	StageUnknown = "unknown" // one of the runs did not get so far as to know the key
)

// DiffRuns says how a run differs from an earlier one.
func DiffRuns(before, after FullRecord) RunDiff {
	d := RunDiff{Params: []Difference{}, Files: []FileChange{}, Stages: []StageDiff{}, Versions: []Difference{}}
	for _, p := range paramDifferences("", before.Params, after.Params) {
		d.Params = append(d.Params, changeOf("parameter "+p.name, p.name, p.before, p.after))
	}
	earlier := map[string]StageReport{}
	for _, stage := range before.Stages {
		earlier[stage.Name] = stage
	}
	for _, stage := range after.Stages {
		was, ok := earlier[stage.Name]
		delete(earlier, stage.Name)
		if !ok {
			d.Stages = append(d.Stages, StageDiff{Name: stage.Name, Change: StageAdded, After: stage.Key, Differences: []Difference{}})
			continue
		}
		d.Stages = append(d.Stages, diffStages(was, stage, before, after))
		d.Files = append(d.Files, fileChanges(stage.Name, before.Requests[stage.Name].Files, after.Requests[stage.Name].Files)...)
	}
	for _, stage := range before.Stages {
		if _, left := earlier[stage.Name]; left {
			d.Stages = append(d.Stages, StageDiff{Name: stage.Name, Change: StageRemoved, Before: stage.Key, Differences: []Difference{}})
		}
	}
	d.Versions = versionChanges(before, after)
	return d
}

func changeOf(what, name, before, after string) Difference {
	return Difference{What: what, Before: before, After: after, Text: fmt.Sprintf("%s: %s → %s", name, orAbsent(before), orAbsent(after))}
}

// diffStages compares the keys of a stage, or where it failed, and so has none,
// what they would have been made of.
func diffStages(was, is StageReport, before, after FullRecord) StageDiff {
	d := StageDiff{Name: is.Name, Before: was.Key, After: is.Key, Differences: []Difference{}}
	from, wasAsked := before.Requests[is.Name]
	to, isAsked := after.Requests[is.Name]
	keyed, asked := was.Key != "" && is.Key != "", wasAsked && isAsked
	if asked {
		d.Differences = append(d.Differences, differences(from, to)...)
	}
	switch {
	case keyed && was.Key == is.Key:
		d.Change = StageSame
		if d.Differences = outputChanges(was.Outputs, is.Outputs); len(d.Differences) > 0 {
			d.Change = StageDrifted
		}
	case keyed && len(d.Differences) == 0:
		d.Change = StageChanged
		d.Differences = append(d.Differences, Difference{What: "key", Before: string(was.Key), After: string(is.Key), Text: "another key; what it was made of is not recorded of both runs"})
	case keyed || asked && len(d.Differences) > 0:
		d.Change = StageChanged
	case asked:
		d.Change = StageSame
	default:
		d.Change = StageUnknown
	}
	return d
}

// outputChanges are the outputs that came out differently although all that
// they depend on is the same.
func outputChanges(before, after map[string]OutputReport) []Difference {
	changes := []Difference{}
	for _, name := range union(before, after) {
		b, wasMade := before[name]
		a, isMade := after[name]
		if wasMade && isMade && a.Digest != b.Digest {
			changes = append(changes, Difference{
				What: "output " + name, Before: string(b.Digest), After: string(a.Digest),
				Text: fmt.Sprintf("output %s came out differently from the same key: %s → %s", name, b.Digest.Short(), a.Digest.Short()),
			})
		}
	}
	return changes
}

// fileChanges compares the files of each parameter, those with names by name and
// the others by their place.
func fileChanges(stage string, before, after map[string][]artifacts.FileDigest) []FileChange {
	var changes []FileChange
	for _, param := range union(before, after) {
		was, is := byName(before[param]), byName(after[param])
		for _, name := range union(was, is) {
			if was[name].Digest != is[name].Digest {
				shown := max(was[name].Name, is[name].Name)
				if shown == filepath.Ext(shown) { // the stage sees no more of the name
					shown = ""
				}
				changes = append(changes, FileChange{Stage: stage, Param: param, Name: shown, Before: was[name].Digest, After: is[name].Digest})
			}
		}
	}
	return changes
}

func byName(files []artifacts.FileDigest) map[string]artifacts.FileDigest {
	named := map[string]artifacts.FileDigest{}
	for i, file := range files {
		name := file.Name
		if _, taken := named[name]; taken || name == "" {
			name = fmt.Sprintf("%s #%d", file.Name, i+1)
		}
		named[name] = file
	}
	return named
}

// versionChanges compares the program's versions, and what the results of stages
// were made on beside it, such as a device.
func versionChanges(before, after FullRecord) []Difference {
	changes := []Difference{}
	for _, of := range union(before.Versions, after.Versions) {
		if b, a := before.Versions[of], after.Versions[of]; b != a {
			changes = append(changes, changeOf(of, of, b, a))
		}
	}
	for _, stage := range union(before.Made, after.Made) {
		was, hadStage := before.Made[stage]
		is, hasStage := after.Made[stage]
		if !hadStage || !hasStage {
			continue
		}
		for _, of := range union(was.Versions, is.Versions) {
			if _, ofProgram := after.Versions[of]; ofProgram {
				continue
			}
			if b, a := was.Versions[of], is.Versions[of]; b != a {
				name := of + " of stage " + stage
				changes = append(changes, changeOf(name, name, b, a))
			}
		}
	}
	return changes
}

// RunBefore is the run of the same pipeline file that ended last before a run;
// false where there is none. The records are newest first.
func RunBefore(records []Record, run Record) (Record, bool) {
	at := slices.IndexFunc(records, func(r Record) bool { return r.Run == run.Run })
	for _, r := range records[at+1:] {
		if r.Path == run.Path && !r.Unended && r.Damaged == "" {
			return r, true
		}
	}
	return Record{}, false
}
