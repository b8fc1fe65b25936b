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
		record := readRecord(filepath.Join(dir, entry.Name()))
		if path == "" || record.Path == path {
			records = append(records, record)
		}
	}
	return records, nil
}

// RemoveRecords removes the records, events and logs of runs that began before
// a time, and says how many. It never removes the newest run of a pipeline
// file, by which its results are found and explained.
func RemoveRecords(stateDir string, before time.Time) (int, error) {
	records, err := Records(stateDir, "")
	if err != nil {
		return 0, err
	}
	limit := before.UTC().Format(runTime)
	newest := map[string]bool{}
	removed := 0
	for _, record := range records {
		first := !newest[record.Path]
		newest[record.Path] = true
		if first && !record.Unended || record.Run >= limit {
			continue
		}
		if err := os.RemoveAll(filepath.Join(stateDir, "runs", record.Run)); err != nil {
			return removed, fmt.Errorf("removing the record of run %s: %w", record.Run, err)
		}
		removed++
	}
	return removed, nil
}

// readRecord reads one run's record; of a run that did not end there is what
// was written when it began.
func readRecord(dir string) Record {
	var record Record
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil || json.Unmarshal(data, &record) != nil {
		return Record{Report: Report{Run: filepath.Base(dir)}, Unended: true}
	}
	return record
}
