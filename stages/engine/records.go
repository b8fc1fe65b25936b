package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
)

const recordName = "run.json"

// A Record is what is kept of a run.
type Record struct {
	Report
	Path     string    `json:"path"` // of the pipeline file
	User     string    `json:"user,omitempty"`
	Host     string    `json:"host,omitempty"`
	Finished time.Time `json:"finished"`
	Unended  bool      `json:"unended,omitempty"` // it is still running, or was killed
}

// Records are the runs of one pipeline file, or of all when path is empty,
// newest first. A run that has no record yet is there with its name alone.
func Records(stateDir, path string) ([]Record, error) {
	dir := filepath.Join(stateDir, "runs")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the records of runs: %w", err)
	}
	slices.Reverse(entries)
	var records []Record
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		record := readRecord(filepath.Join(dir, entry.Name()))
		if path == "" || record.Path == path {
			records = append(records, record)
		}
	}
	return records, nil
}

// RemoveRecords removes the records, events and logs of runs that began before
// a time, and says how many. What it never removes: the run of a pipeline file
// that ended last, which is what people ask about, and a run that is going on.
func RemoveRecords(store *disk.Store, before time.Time) (int, error) {
	leases, err := store.Leases() // first: a run that ends meanwhile counts as going on
	if err != nil {
		return 0, fmt.Errorf("removing the records of runs: %w", err)
	}
	running := map[string]bool{}
	for _, lease := range leases {
		running[lease.Name] = true
	}
	records, err := Records(store.StateDir(), "")
	if err != nil {
		return 0, err
	}
	limit := before.UTC().Format(runTime)
	hasNewer := map[string]bool{}
	removed := 0
	for _, record := range records {
		newest := !record.Unended && !hasNewer[record.Path]
		if newest {
			hasNewer[record.Path] = true
		}
		if newest || running[record.Run] || record.Run >= limit {
			continue
		}
		if err := os.RemoveAll(filepath.Join(store.StateDir(), "runs", record.Run)); err != nil {
			return removed, fmt.Errorf("removing the record of run %s: %w", record.Run, err)
		}
		removed++
	}
	return removed, nil
}

// readRecord reads one run's record; of a run that did not end there is what
// was written when it began. A run is called as its directory is, whatever the
// record in it says: paths are made of that name.
func readRecord(dir string) Record {
	var record Record
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil || json.Unmarshal(data, &record) != nil {
		record = Record{Unended: true}
	}
	record.Run = filepath.Base(dir)
	return record
}
