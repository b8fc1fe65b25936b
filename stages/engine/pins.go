package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// pinName is the file in a run's directory that says that the run is pinned: its
// record and its results stay until it is unpinned. Pins are this machine's; who
// shares the cache directory sees them, who shares a remote does not.
const pinName = "pinned"

func isPinned(runDir string) bool {
	_, err := os.Lstat(filepath.Join(runDir, pinName))
	return err == nil
}

// Pin keeps what a run made and read from being removed, by a gc that has begun,
// too. The stages are those of the run whose results are no longer there, which
// no pin brings back. A run that has not ended, or whose record is damaged, is
// an error: nobody knows what it needs.
func Pin(ctx context.Context, store *disk.Store, run string) (gone []string, err error) {
	record, err := ReadRecord(ctx, store, run)
	switch {
	case err != nil:
		return nil, err
	case record.Damaged != "":
		return nil, fmt.Errorf("run %s: its record is damaged (%s), so what it needs is not known", run, record.Damaged)
	case record.Unended:
		return nil, fmt.Errorf("run %s has not ended: what it needs is not known yet, or never was", run)
	}
	// Looking a result up under a lease keeps it until the pin is there.
	lease, err := store.Lease(ctx, "pin "+run)
	if err != nil {
		return nil, err
	}
	defer lease.Close()
	needs := record.needs(ctx, store)
	for _, key := range needs.Keys {
		_, _ = store.GetAction(ctx, key)
	}
	if err := lease.Keep(ctx, needs.Blobs...); err != nil {
		return nil, fmt.Errorf("pinning run %s: %w", run, err)
	}
	if err := writeFile(filepath.Join(runDir(store, run), pinName), nil); err != nil {
		return nil, fmt.Errorf("pinning run %s: %w", run, err)
	}
	for _, stage := range record.Stages {
		for _, output := range stage.Outputs {
			if _, err := store.Stat(ctx, output.Digest); err != nil {
				gone = append(gone, stage.Name)
				break
			}
		}
	}
	return gone, nil
}

// Unpin ends a pin. A run without one stays as it is.
func Unpin(store *disk.Store, run string) error {
	if err := os.Remove(filepath.Join(runDir(store, run), pinName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpinning run %s: %w", run, err)
	}
	return nil
}

// Needs are what runs are made of, for disk.Keep.
type Needs struct {
	Runs  []string
	Keys  []artifacts.Key
	Blobs []artifacts.Digest
}

// Pinned is what all pinned runs need.
func Pinned(ctx context.Context, store *disk.Store) (Needs, error) {
	records, err := Records(store.StateDir(), "")
	if err != nil {
		return Needs{}, err
	}
	var all Needs
	for _, r := range records {
		if !r.Pinned {
			continue
		}
		if r.Damaged != "" {
			return Needs{}, fmt.Errorf("run %s is pinned and its record is damaged (%s), so what must stay is not known: \"prismflow runs unpin %s\" gives it up", r.Run, r.Damaged, r.Run)
		}
		if err := all.add(ctx, store, r.Run); err != nil {
			return Needs{}, err
		}
	}
	return all, nil
}

// LastRuns is what the last n runs of each pipeline file made and read. Runs
// that have not ended, or whose record is damaged, are not counted: nobody knows
// what they need.
func LastRuns(ctx context.Context, store *disk.Store, n int) (Needs, error) {
	records, err := Records(store.StateDir(), "")
	if err != nil {
		return Needs{}, err
	}
	var all Needs
	for _, r := range lastOfEach(records, n) {
		if err := all.add(ctx, store, r.Run); err != nil {
			return Needs{}, err
		}
	}
	return all, nil
}

// lastOfEach are the n runs of each pipeline file that ended last, of records
// that are newest first.
func lastOfEach(records []Record, n int) []Record {
	taken := map[string]int{}
	var last []Record
	for _, r := range records {
		if !r.Unended && r.Damaged == "" && taken[r.Path] < n {
			taken[r.Path]++
			last = append(last, r)
		}
	}
	return last
}

// add adds what a run needs.
func (n *Needs) add(ctx context.Context, store *disk.Store, run string) error {
	record, err := ReadRecord(ctx, store, run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its record was removed just now
	}
	if err != nil {
		return err
	}
	needs := record.needs(ctx, store)
	n.Runs = append(n.Runs, run)
	n.Keys = append(n.Keys, needs.Keys...)
	n.Blobs = append(n.Blobs, needs.Blobs...)
	return nil
}

// needs are the results of the run, with the rows that were remembered for them,
// and the downloads that its stages read. Outputs are named by themselves, too:
// another result may stand under the key by now, and some stand under none.
// Asking what a run needs is no use of it.
func (r FullRecord) needs(ctx context.Context, store *disk.Store) Needs {
	var needs Needs
	for _, stage := range r.Stages {
		if stage.Key != "" {
			needs.Keys = append(needs.Keys, stage.Key)
			if manifest, err := artifacts.LookupManifest(ctx, store.Onlooker(), stage.Key); err == nil {
				needs.Keys = append(needs.Keys, manifest.Memos...)
			}
		}
		for _, output := range stage.Outputs {
			needs.Blobs = append(needs.Blobs, output.Digest)
		}
		for _, files := range r.Requests[stage.Name].Files {
			for _, file := range files {
				needs.Blobs = append(needs.Blobs, file.Digest)
			}
		}
	}
	return needs
}
