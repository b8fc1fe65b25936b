package engine

import (
	"context"

	"github.com/prismflow/prismflow/artifacts"
)

// An Explanation says everything about one stage's key: what it is made of,
// what it was made of last time, and what stands under it.
type Explanation struct {
	Format  int                  `json:"format"`
	Stage   StageReport          `json:"stage"`
	Request *artifacts.Request   `json:"request,omitempty"` // absent when a need would run first
	Last    *artifacts.Manifest  `json:"last,omitempty"`    // of the stage's last run
	Changes []Difference         `json:"changes"`           // from Last's request to Request
	Stands  *artifacts.Manifest  `json:"stands,omitempty"`  // what the cache holds under the key
	Remote  *artifacts.Manifest  `json:"remote,omitempty"`  // what a remote holds under it, if the cache does not
	Others  []artifacts.Manifest `json:"alternatives,omitempty"`
}

// Explain explains one stage.
func (e *Engine) Explain(ctx context.Context, name string) (Explanation, error) {
	spec, err := e.spec(name)
	if err != nil {
		return Explanation{}, err
	}
	specs, err := e.selected([]string{name})
	if err != nil {
		return Explanation{}, err
	}
	states, err := e.states(ctx, specs, nil)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{Format: ReportFormat, Changes: []Difference{}}
	results := map[string]map[string]artifacts.Output{}
	for need, state := range states {
		results[need] = state.outputs
	}
	x.Stage, x.Remote = states[name].report, states[name].remote
	if last, err := e.LastManifest(ctx, name); err == nil {
		x.Last = &last
	}
	if x.Stage.Key == "" {
		return x, nil
	}
	sources := e.resolver(true)
	resolved, err := sources.resolve(ctx, spec, nil)
	if err != nil {
		return x, nil // the stage's state says it already
	}
	req, err := request(spec, results, resolved)
	if err != nil {
		return x, err
	}
	x.Request = &req
	if x.Last != nil {
		x.Changes = append(x.Changes, differences(x.Last.Request, req)...)
	}
	if stands, err := artifacts.LookupManifest(ctx, e.config.Store, x.Stage.Key); err == nil {
		x.Stands = &stands
	}
	x.Others, err = artifacts.Alternatives(ctx, e.config.Store, x.Stage.Key)
	return x, err
}
