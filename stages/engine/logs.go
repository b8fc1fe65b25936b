package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

func decodeLogLine(line []byte) (map[string]any, error) {
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		return nil, fmt.Errorf("reading a log line: %w", err)
	}
	return fields, nil
}

// logPath is where the stage's log goes: that of an execution that is only to
// compare is beside the one that people ask for.
func (t *task) logPath() string {
	if t.afresh {
		return AgainLogPath(t.run.engine.config.Store.StateDir(), t.run.id, t.spec.Name)
	}
	return LogPath(t.run.engine.config.Store.StateDir(), t.run.id, t.spec.Name)
}

// LogPath is where the log of a stage of a run is.
func LogPath(stateDir, run, stage string) string {
	return filepath.Join(stateDir, "runs", run, stage+".log")
}

// AgainLogPath is where the log is of a stage that a run computed again to compare.
func AgainLogPath(stateDir, run, stage string) string {
	return filepath.Join(stateDir, "runs", run, stage+".again.log")
}

// Log is the newest log of a stage: of its last attempt in this pipeline on
// this machine, failed ones included. The caller closes it.
func (e *Engine) Log(stage string) (io.ReadCloser, error) {
	if _, err := e.spec(stage); err != nil {
		return nil, err
	}
	records, err := Records(e.config.Store.StateDir(), e.config.Path)
	if err != nil {
		return nil, err
	}
	for _, record := range records {
		f, err := os.Open(LogPath(e.config.Store.StateDir(), record.Run, stage))
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("stage %s: no run of it is recorded on this machine", stage)
}
