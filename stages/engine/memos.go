package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/memo"
	"github.com/prismflow/prismflow/stages"
)

var _ stages.Memo = (*memo.Memo)(nil)

// memos are the row memos that one attempt opened, by scope.
type memos struct {
	task *task

	mu   sync.Mutex // guards open
	open map[artifacts.Key]*memo.Memo
}

// Open opens the rows of a scope, once for each attempt.
func (m *memos) Open(ctx context.Context, scope artifacts.Request) (stages.Memo, error) {
	key, err := memo.List(scope).Key()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if opened, ok := m.open[key]; ok {
		return opened, nil
	}
	config := m.task.run.engine.config
	if remotes := config.remotes(); remotes != nil {
		if err := remotes.FetchRows(ctx, key); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			m.task.note(fmt.Sprintf("stage %s: what others know of its rows is not used: %v", m.task.spec.Name, err))
		}
	}
	opened, err := memo.Open(ctx, config.Store, scope, memo.Options{
		Provenance: artifacts.Provenance{
			Pipeline: config.Pipeline, Stage: m.task.spec.Name, Run: m.task.run.id,
			User: config.User, Host: config.Host, Started: config.Clock().UTC(), Versions: config.Versions,
		},
		Signer: config.Signer,
		Warn:   func(message string) { m.task.note(fmt.Sprintf("stage %s: %s", m.task.spec.Name, message)) },
		Now:    config.Clock,
	})
	if err != nil {
		return nil, err
	}
	if m.open == nil {
		m.open = map[artifacts.Key]*memo.Memo{}
	}
	m.open[key] = opened
	return opened, nil
}

// keys are those of the results in which the rows are kept.
func (m *memos) keys() []artifacts.Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.open))
}

// seal ends the memos, however the attempt ended, and also when the run was
// called off: what was computed is not computed again. A memo that cannot be
// sealed fails no stage, since its rows stay in its journal.
func (m *memos) seal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, opened := range m.open {
		if err := opened.Close(context.Background()); err != nil {
			m.task.note(fmt.Sprintf("stage %s: its rows are known to this machine alone for now: %v", m.task.spec.Name, err))
		}
		if remotes := m.task.run.engine.config.remotes(); remotes != nil {
			remotes.ShareRows(key)
		}
	}
}
