package sweep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/groupmode"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/engine"
)

// RecordFormat is the version of the JSON form of Record.
const RecordFormat = 1

// A Record is what is kept of a sweep on this machine.
type Record struct {
	Format   int           `json:"format"`
	Name     string        `json:"name"`
	Pipeline string        `json:"pipeline"`
	Path     string        `json:"path"` // of the pipeline file
	Points   []PointRecord `json:"points"`
	Runs     []string      `json:"runs"` // the runs that worked on it, oldest first
	Updated  time.Time     `json:"updated"`
}

// States of a point.
const (
	PointDone    = "done"    // every stage has a result
	PointFailed  = "failed"  // a stage failed
	PointWaiting = "waiting" // it was not come to, or not to its end
)

// A PointRecord is what is kept of one point.
type PointRecord struct {
	Label  string        `json:"label"`
	Params []Param       `json:"params"`
	State  string        `json:"state"` // done, failed or waiting
	Stages []StageRecord `json:"stages"`
}

// A StageRecord is a stage of a point and the key of its result.
type StageRecord struct {
	Name  string        `json:"name"` // in the pipeline
	Node  string        `json:"node"` // in the sweep's runs, where several points may share it
	Kind  string        `json:"kind"`
	State string        `json:"state"`         // as in a run's report; empty before the first
	Key   artifacts.Key `json:"key,omitempty"` // empty before it is known
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)

// CheckName refuses what is no name for a sweep.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%.100q is no name for a sweep: use letters, digits, _, . and -", name)
	}
	return nil
}

func directory(stateDir string) string { return filepath.Join(stateDir, "sweeps") }

func recordPath(stateDir, name string) string {
	return filepath.Join(directory(stateDir), name+".json")
}

// ErrUnknown says that no sweep of a name is recorded on this machine.
var ErrUnknown = errors.New("no such sweep is recorded on this machine")

// ReadRecord reads the record of a sweep.
func ReadRecord(stateDir, name string) (Record, error) {
	if err := CheckName(name); err != nil {
		return Record{}, err
	}
	data, err := os.ReadFile(recordPath(stateDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	if err != nil {
		return Record{}, fmt.Errorf("reading the record of sweep %s: %w", name, err)
	}
	var record Record
	if err := json.Unmarshal(data, &record); err != nil {
		return Record{}, fmt.Errorf("reading the record of sweep %s: %w", name, err)
	}
	record.Name = name
	return record, nil
}

// Names are the names of the recorded sweeps.
func Names(stateDir string) ([]string, error) {
	entries, err := os.ReadDir(directory(stateDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the records of sweeps: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), ".json"); ok && CheckName(name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

// Write writes the record in one piece.
func (r Record) Write(stateDir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	dir := directory(stateDir)
	if err := groupmode.MkdirAll(dir); err != nil {
		return fmt.Errorf("writing the record of sweep %s: %w", r.Name, err)
	}
	tmp, err := os.CreateTemp(dir, ".record-*")
	if err != nil {
		return fmt.Errorf("writing the record of sweep %s: %w", r.Name, err)
	}
	defer os.Remove(tmp.Name())
	groupmode.Share(tmp)
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("writing the record of sweep %s: %w", r.Name, err)
	}
	return os.Rename(tmp.Name(), recordPath(stateDir, r.Name))
}

// NewRecord is the record of a sweep that has not run.
func NewRecord(name, pipeline, path string, points []Point, plan Plan) Record {
	r := Record{Format: RecordFormat, Name: name, Pipeline: pipeline, Path: path, Points: []PointRecord{}, Runs: []string{}}
	for i, point := range points {
		p := PointRecord{Label: label(point.Params), Params: point.Params, State: PointWaiting, Stages: []StageRecord{}}
		for _, spec := range point.Specs {
			p.Stages = append(p.Stages, StageRecord{Name: spec.Name, Node: plan.Nodes[i][spec.Name], Kind: spec.Kind})
		}
		r.Points = append(r.Points, p)
	}
	return r
}

// label is a point for people: "backbone=sasrec seed=1".
func label(params []Param) string {
	parts := make([]string, len(params))
	for i, param := range params {
		parts[i] = param.Name + "=" + param.Text
	}
	return strings.Join(parts, " ")
}

// Begin notes a run.
func (r *Record) Begin(run string, now time.Time) {
	if !slices.Contains(r.Runs, run) {
		r.Runs = append(r.Runs, run)
	}
	r.Updated = now.UTC()
}

// Event takes over how a stage ended, so that a sweep that is killed has on record
// what it came to. It says whether there was something to take.
func (r *Record) Event(e dag.Event) bool {
	if e.Type != dag.StageFinished {
		return false
	}
	detail, _ := e.Detail.(engine.StageDetail)
	for i := range r.Points {
		r.Points[i].stage(e.Stage, e.State, detail.Key)
	}
	r.Updated = e.Time.UTC()
	return true
}

func (p *PointRecord) stage(node string, state dag.State, key artifacts.Key) {
	i := slices.IndexFunc(p.Stages, func(s StageRecord) bool { return s.Node == node })
	if i < 0 {
		return
	}
	p.Stages[i].State = string(state)
	if key != "" {
		p.Stages[i].Key = key
	}
	done, failed := 0, false
	for _, stage := range p.Stages {
		switch state := dag.State(stage.State); {
		case state.OK():
			done++
		case state == dag.Failed || state == dag.Skipped:
			failed = true
		}
	}
	switch {
	case failed:
		p.State = PointFailed
	case done == len(p.Stages):
		p.State = PointDone
	default:
		p.State = PointWaiting
	}
}
