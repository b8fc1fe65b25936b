package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// ReadModel reads a model table.
func ReadModel(in stages.In[tables.ModelPart]) (Model, error) {
	parts, err := in.All()
	if err != nil {
		return Model{}, fmt.Errorf("reading the model: %w", err)
	}
	return DecodeModel(parts)
}

// Serving is where a model is used.
type Serving struct {
	Torch   gotorch.Options
	Device  string // cpu, cuda, cuda:N or auto
	Threads int    // inside one operator on the CPU
}

// Served is a model that is ready for use.
type Served struct {
	*prism.Model
	Items  int    // that it ranks, with ids from 1
	Torch  string // libtorch's version
	Device string
}

// Use loads the model into a libtorch and calls use on the thread of its session.
// What was served is gone when use returns.
func (m Model) Use(ctx context.Context, at Serving, use func(Served) error) (err error) {
	lib, err := gotorch.Open(ctx, at.Torch)
	if err != nil {
		return fmt.Errorf("using a trained model needs libtorch: %w", err)
	}
	session, err := lib.NewSession(gotorch.SessionOptions{Device: at.Device, Threads: at.Threads})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	var failure error
	if err := session.Run(func() {
		var model *prism.Model
		if model, failure = prism.Load(session, m.Snapshot); failure == nil {
			failure = use(Served{model, m.Config.Items, lib.Installation().Version, session.Device().String()})
		}
	}); err != nil {
		return err
	}
	return failure
}
