package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// history remembers, for one pipeline file on this machine, the key of each
// stage's last result. It decides nothing: it serves to say why a stage runs,
// and to find the newest result. Losing it loses those answers, no result.
type history struct {
	path   string
	Stages map[string]historyEntry `json:"stages"`
}

type historyEntry struct {
	Key artifacts.Key `json:"key"`
	Run string        `json:"run"`
	// Manifest is set for a result that stands under no key, because the stage
	// is not to be cached or an input changed while it was read.
	Manifest *artifacts.Manifest `json:"manifest,omitempty"`
}

func openHistory(stateDir, pipelinePath string) (history, error) {
	name := artifacts.DigestOf([]byte(pipelinePath)).Hex()[:32] + ".json"
	return readHistory(filepath.Join(stateDir, "pipelines", name))
}

func readHistory(path string) (history, error) {
	h := history{path: path, Stages: map[string]historyEntry{}}
	data, err := os.ReadFile(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("reading the pipeline's history: %w", err)
	}
	if err := json.Unmarshal(data, &h); err != nil || h.Stages == nil {
		h.Stages = map[string]historyEntry{} // a damaged history is no history
	}
	return h, nil
}

// merge adds entries to the history as it is on the disk by now: another run of
// the same pipeline may have ended since this one read it. It does so also for
// a run that was called off, and takes milliseconds.
func (h history) merge(store *disk.Store, entries map[string]historyEntry) (history, error) {
	turn := artifacts.Key(artifacts.DigestOf([]byte("history " + h.path)).Hex())
	unlock, err := store.Lock(context.Background(), turn)
	if err != nil {
		return h, fmt.Errorf("writing the pipeline's history: %w", err)
	}
	defer unlock()
	merged, err := readHistory(h.path)
	if err != nil {
		return h, err
	}
	maps.Copy(merged.Stages, entries)
	data, err := json.Marshal(merged)
	if err != nil {
		return h, err
	}
	if err := writeFile(merged.path, data); err != nil {
		return h, fmt.Errorf("writing the pipeline's history: %w", err)
	}
	return merged, nil
}

// writeFile replaces the file at path in one piece.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := groupmode.MkdirAll(dir); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	groupmode.Share(tmp)
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
