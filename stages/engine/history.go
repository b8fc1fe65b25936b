package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts"
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
	h := history{path: filepath.Join(stateDir, "pipelines", name), Stages: map[string]historyEntry{}}
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

// save writes the history in one piece.
func (h history) save() error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := writeFile(h.path, data); err != nil {
		return fmt.Errorf("writing the pipeline's history: %w", err)
	}
	return nil
}

// writeFile replaces the file at path in one piece.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
