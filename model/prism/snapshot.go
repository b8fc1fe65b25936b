package prism

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// A Snapshot is a trained model on the host, enough to serve it. Instead of
// feature tables it holds every item's projected vectors, which are smaller and
// all that serving needs; so it cannot be trained further.
type Snapshot struct {
	Config  Config
	Tensors []Tensor // by name
}

// Tensor is a named array on the host.
type Tensor struct {
	Name   string
	Shape  []int64
	Values []float32 // row-major
}

func hostTensor(p nn.Named) Tensor {
	return Tensor{Name: p.Name, Shape: p.Tensor.Shape(), Values: p.Tensor.Float32s()}
}

// Prepare projects every item's features once, so that forward passes until
// Release look them up. Parameters must not change in between.
func (m *Model) Prepare() {
	m.eachModality(func(_ string, mod *modality) { mod.prepare(m.session) })
}

// Release ends what Prepare began.
func (m *Model) Release() {
	m.eachModality(func(_ string, mod *modality) { mod.release(m.session) })
}

func (m *Model) eachModality(fn func(name string, mod *modality)) {
	for i, modalities := range m.streams {
		for _, mod := range modalities {
			fn(modalityName(i, mod), mod)
		}
	}
}

// Export copies a prepared model to the host.
func (m *Model) Export() (Snapshot, error) {
	out := Snapshot{Config: m.config}
	tensors, err := m.serving()
	if err != nil {
		return Snapshot{}, fmt.Errorf("exporting a model: %w", err)
	}
	for _, p := range tensors {
		out.Tensors = append(out.Tensors, hostTensor(p))
	}
	slices.SortFunc(out.Tensors, func(a, b Tensor) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// serving are the tensors that a serving model needs: all parameters but
// feature tables, and the projected items.
func (m *Model) serving() ([]nn.Named, error) {
	tables := map[*gotorch.Tensor]bool{}
	var projected []nn.Named
	var err error
	m.eachModality(func(name string, mod *modality) {
		if mod.projected == nil {
			err = fmt.Errorf("%s: its items are not projected: call Prepare", name)
			return
		}
		if mod.table != nil {
			tables[mod.table.Weight] = true
		}
		projected = append(projected, nn.Named{Name: name + ".projected", Tensor: mod.projected})
	})
	params := slices.DeleteFunc(m.Parameters(), func(p nn.Named) bool { return tables[p.Tensor] })
	return append(params, projected...), err
}

// Load makes a model that serves from a snapshot. Every tensor must be there,
// in its shape, and no other. Call it inside the session's Run.
func Load(s *gotorch.Session, snapshot Snapshot) (*Model, error) {
	if err := snapshot.plausible(); err != nil {
		return nil, fmt.Errorf("loading a model: %w", err)
	}
	m, err := build(s, snapshot.Config, func(int) *Features { return nil })
	if err != nil {
		return nil, err
	}
	m.eachModality(func(_ string, mod *modality) {
		mod.projected = s.Zeros(int64(m.config.Rows()), int64(m.config.Hidden))
		s.Persist(mod.projected)
	})
	tensors, err := m.serving()
	if err != nil {
		return nil, fmt.Errorf("loading a model: %w", err)
	}
	if err := assign(s, tensors, snapshot.Tensors); err != nil {
		return nil, fmt.Errorf("loading a model: %w", err)
	}
	return m, nil
}

// plausible keeps a broken configuration from asking for more memory than the
// snapshot itself took.
func (s Snapshot) plausible() error {
	values := 0
	for _, t := range s.Tensors {
		values += len(t.Values)
	}
	if c := s.Config; c.Items > values || c.Hidden > values || c.Items*c.Hidden > values {
		return fmt.Errorf("%d items of size %d, but %d values in all", c.Items, c.Hidden, values)
	}
	return nil
}

// ExportParameters copies what is trained to the host, to continue later.
func (m *Model) ExportParameters() []Tensor {
	var out []Tensor
	for _, p := range m.Parameters() {
		out = append(out, hostTensor(p))
	}
	return out
}

// ImportParameters continues from ExportParameters of a model of the same
// configuration.
func (m *Model) ImportParameters(tensors []Tensor) error {
	if err := assign(m.session, m.Parameters(), tensors); err != nil {
		return fmt.Errorf("importing parameters: %w", err)
	}
	return nil
}

// assign copies host tensors to tensors of the same names and shapes. Nothing
// changes when one does not fit.
func assign(s *gotorch.Session, to []nn.Named, from []Tensor) error {
	byName := make(map[string]Tensor, len(from))
	for _, t := range from {
		byName[t.Name] = t
	}
	if len(from) != len(to) || len(byName) != len(to) {
		return fmt.Errorf("%d tensors of %d names: want %d", len(from), len(byName), len(to))
	}
	for _, p := range to {
		t, ok := byName[p.Name]
		if !ok {
			return fmt.Errorf("tensor %q is missing", p.Name)
		}
		if want := p.Tensor.Shape(); !slices.Equal(t.Shape, want) || int64(len(t.Values)) != p.Tensor.Numel() {
			return fmt.Errorf("tensor %q has shape %v and %d values: want shape %v", p.Name, t.Shape, len(t.Values), want)
		}
	}
	s.NoGrad(func() {
		for _, p := range to {
			s.Scoped(func() { p.Tensor.CopyFrom(s.FromFloat32(byName[p.Name].Values, byName[p.Name].Shape...)) })
		}
	})
	return nil
}
