package engine

import (
	"context"
	"errors"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
)

// hitReason says why a stage need not run.
func (e *Engine) hitReason(ctx context.Context, stage string, request artifacts.Request, hit artifacts.Manifest) string {
	reason := e.known(ctx, stage, request, hit.Key)
	if hit.Incomplete != "" {
		reason += "; " + incomplete(hit)
	}
	return reason
}

// known says since when there is a result under a key.
func (e *Engine) known(ctx context.Context, stage string, request artifacts.Request, key artifacts.Key) string {
	last, ok := e.history.Stages[stage]
	switch {
	case !ok:
		return "in the cache already"
	case last.Key == key:
		return "unchanged"
	}
	if d := e.sinceLast(ctx, stage, request); len(d) > 0 {
		return "computed before; since the last run: " + sentence(d)
	}
	return "computed before"
}

// again says why a stage is entered although its result is there; it is empty
// for one that is not. A run that may ask nobody takes what there is.
func (e *Engine) again(spec stages.Spec, standing artifacts.Manifest) string {
	if e.config.Offline {
		return ""
	}
	if r, ok := spec.Stage.(stages.Revalidator); ok && r.Revalidates() != "" {
		return r.Revalidates()
	}
	if standing.Incomplete != "" {
		return incomplete(standing)
	}
	return ""
}

func incomplete(m artifacts.Manifest) string { return "incomplete: " + m.Incomplete }

// missReason says why a stage has to run.
func (e *Engine) missReason(ctx context.Context, stage string, key artifacts.Key, request artifacts.Request, miss error) string {
	last, ok := e.history.Stages[stage]
	var m *artifacts.Miss
	unusable := miss != nil && !(errors.As(miss, &m) && m.Err == nil)
	switch {
	case unusable:
		return "the cached result cannot be used: " + reasonOf(miss)
	case !ok:
		return "never run"
	case last.Key == key && last.Manifest != nil:
		return "the last result was not kept"
	case last.Key == key:
		return "its result is no longer in the cache"
	}
	if d := e.sinceLast(ctx, stage, request); len(d) > 0 {
		return sentence(d)
	}
	return "it differs from the last run, whose record is no longer in the cache"
}

func reasonOf(miss error) string {
	var m *artifacts.Miss
	if errors.As(miss, &m) {
		return m.Reason
	}
	return miss.Error()
}

// sinceLast is how a request differs from that of the stage's last run.
func (e *Engine) sinceLast(ctx context.Context, stage string, request artifacts.Request) []Difference {
	manifest, err := e.LastManifest(ctx, stage)
	if err != nil {
		return nil
	}
	return differences(manifest.Request, request)
}
