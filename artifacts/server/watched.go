package server

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// checkEvery is how often a watched file is looked at, at most: a request must
// not cost a stat each.
const checkEvery = time.Second

// watched is what was read from files that people change while the server runs.
// It is read again when one of them changes. What cannot be read then leaves the
// last good value standing, and is told of once for each change.
type watched[T any] struct {
	what  string // for people
	files []string
	read  func() (T, error)
	warn  func(string)

	mu      sync.Mutex // guards the rest
	value   T
	state   []fileState
	checked time.Time
}

// fileState is what tells a changed file from one that is not. Editors replace
// files, so its identity counts, too.
type fileState struct {
	info     os.FileInfo
	modified time.Time
	size     int64
}

func watch[T any](what string, files []string, read func() (T, error), warn func(string)) (*watched[T], error) {
	w := &watched[T]{what: what, files: files, read: read, warn: warn}
	w.state, w.checked = stateOf(files), time.Now()
	var err error
	if w.value, err = read(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	return w, nil
}

// get is the value as the files now have it.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.checked) < checkEvery {
		return w.value
	}
	w.checked = now
	if state := stateOf(w.files); !slices.EqualFunc(state, w.state, fileState.same) {
		w.readAgain(state)
	}
	return w.value
}

func (w *watched[T]) reload() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readAgain(stateOf(w.files))
}

// readAgain takes a new value. The state is of before the read: a change in
// between is noticed by the next look. The caller holds the lock.
func (w *watched[T]) readAgain(state []fileState) {
	w.state = state
	value, err := w.read()
	if err != nil {
		w.warn(fmt.Sprintf("%s changed and cannot be used, what it said before still holds: %v", w.what, err))
		return
	}
	w.value = value
}

func stateOf(files []string) []fileState {
	states := make([]fileState, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			states[i] = fileState{info, info.ModTime(), info.Size()}
		}
	}
	return states
}

func (s fileState) same(t fileState) bool {
	if s.info == nil || t.info == nil {
		return s.info == nil && t.info == nil
	}
	return os.SameFile(s.info, t.info) && s.modified.Equal(t.modified) && s.size == t.size
}
