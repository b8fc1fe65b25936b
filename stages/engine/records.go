package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

const recordName = "run.json"

// A Record is what is kept of a run, and told in lists.
type Record struct {
	Report
	Path     string            `json:"path"` // of the pipeline file
	User     string            `json:"user,omitempty"`
	Host     string            `json:"host,omitempty"`
	Finished time.Time         `json:"finished"`
	Unended  bool              `json:"unended,omitempty"`  // it is still running, or was killed
	Params   map[string]any    `json:"params,omitempty"`   // of the pipeline, as the run had them
	Versions map[string]string `json:"versions,omitempty"` // of the program
	Pinned   bool              `json:"pinned,omitempty"`
	Damaged  string            `json:"damaged,omitempty"` // why nothing but the name is known
}

// Began is when the run began, by its name; zero for a name that does not say.
func (r Record) Began() time.Time {
	began, err := time.Parse(runTime, r.Run[:min(len(r.Run), len(runTime))])
	if err != nil {
		return time.Time{}
	}
	return began
}

// A FullRecord is everything that is kept of a run. Records that older versions
// wrote have neither requests nor provenance.
type FullRecord struct {
	Record
	Requests map[string]artifacts.Request    `json:"requests,omitempty"` // by stage: what its key was made of
	Made     map[string]artifacts.Provenance `json:"made,omitempty"`     // by stage: where its result is from, which may be an earlier run
}

// Records are the runs of one pipeline file, or of all when path is empty,
// newest first. A run that has no record yet is there with its name alone.
func Records(stateDir, path string) ([]Record, error) {
	names, err := runNames(stateDir)
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, name := range names {
		record := readRecord(filepath.Join(stateDir, "runs", name))
		if path == "" || record.Path == path {
			records = append(records, record.Record)
		}
	}
	return records, nil
}

// runNames are the names of the runs that there is something of, newest first.
func runNames(stateDir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(stateDir, "runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the records of runs: %w", err)
	}
	var names []string
	for _, entry := range slices.Backward(entries) {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// ReadRecord is everything that is kept of the run of a name. What a record of an
// older version does not say is taken from the manifests that are still in the
// store.
func ReadRecord(ctx context.Context, store *disk.Store, run string) (FullRecord, error) {
	dir := runDir(store, run)
	if _, err := os.Stat(dir); err != nil {
		return FullRecord{}, fmt.Errorf("reading the record of run %s: %w", run, err)
	}
	record := readRecord(dir)
	if record.Requests != nil || record.Damaged != "" || record.Unended {
		return record, nil
	}
	record.Requests, record.Made = map[string]artifacts.Request{}, map[string]artifacts.Provenance{}
	for _, stage := range record.Stages {
		if manifest, err := artifacts.LookupManifest(ctx, store.Onlooker(), stage.Key); err == nil {
			record.Requests[stage.Name], record.Made[stage.Name] = manifest.Request, manifest.Provenance
		}
	}
	return record, nil
}

func runDir(store *disk.Store, run string) string {
	return filepath.Join(store.StateDir(), "runs", filepath.Base(run))
}

// Running are the runs that are going on, by their names.
func Running(store *disk.Store) (map[string]bool, error) {
	leases, err := store.Leases()
	if err != nil {
		return nil, fmt.Errorf("finding the runs that are going on: %w", err)
	}
	running := map[string]bool{}
	for _, lease := range leases {
		running[lease.Name] = true
	}
	return running, nil
}

// What RemoveRecord refuses to remove.
var (
	ErrRunning = errors.New("is going on")
	ErrPinned  = errors.New("is pinned")
)

// RemoveRecord removes the record, events and logs of a run, and no result. One
// that is going on or pinned it leaves, with ErrRunning or ErrPinned.
func RemoveRecord(store *disk.Store, run string) error {
	running, err := Running(store)
	switch {
	case err != nil:
		return err
	case running[run]:
		return fmt.Errorf("run %s %w", run, ErrRunning)
	case isPinned(runDir(store, run)):
		return fmt.Errorf("run %s %w", run, ErrPinned)
	}
	if err := os.RemoveAll(runDir(store, run)); err != nil {
		return fmt.Errorf("removing the record of run %s: %w", run, err)
	}
	return nil
}

// RemoveRecords removes the records, events and logs of runs that began before
// a time, and says how many. What it never removes: the keep runs of each
// pipeline file that ended last, at least one of them, which is what people ask
// about, a run that is going on, and one that is pinned.
func RemoveRecords(store *disk.Store, before time.Time, keep int) (int, error) {
	running, err := Running(store) // first: a run that ends meanwhile counts as going on
	if err != nil {
		return 0, err
	}
	records, err := Records(store.StateDir(), "")
	if err != nil {
		return 0, err
	}
	limit := before.UTC().Format(runTime)
	last := map[string]bool{}
	for _, record := range lastOfEach(records, max(keep, 1)) {
		last[record.Run] = true
	}
	removed := 0
	for _, record := range records {
		if last[record.Run] || running[record.Run] || record.Pinned || record.Run >= limit {
			continue
		}
		if err := os.RemoveAll(runDir(store, record.Run)); err != nil {
			return removed, fmt.Errorf("removing the record of run %s: %w", record.Run, err)
		}
		removed++
	}
	return removed, nil
}

// readRecord reads one run's record; of a run that did not end there is what
// was written when it began. A run is called as its directory is, whatever the
// record in it says: paths are made of that name.
func readRecord(dir string) FullRecord {
	var record FullRecord
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		record.Unended = true
	case err != nil:
		record.Damaged = err.Error()
	default:
		if err := json.Unmarshal(data, &record); err != nil {
			record = FullRecord{Record: Record{Damaged: err.Error()}}
		}
	}
	record.Run, record.Pinned = filepath.Base(dir), isPinned(dir)
	return record
}
