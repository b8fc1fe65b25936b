package prism

import (
	"fmt"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// Features are the vectors of one modality for all items, on the host.
type Features struct {
	Vectors []float32 // [items+1, size], row-major; row 0 is padding
	Present []bool    // [items+1]; nil: every item has the modality
}

// modality turns feature vectors into vectors of the model's width.
type modality struct {
	name       string
	projection *nn.Linear
	missing    *gotorch.Tensor // [1, hidden], learned: what stands for an item without the modality; nil in mode reference
	absent     *gotorch.Tensor // [rows, 1]: 1 where missing is added; nil where it is to none
	table      *nn.Embedding   // [rows, size]; nil in a model that was loaded to serve
	trainable  bool            // whether the table is
	projected  *gotorch.Tensor // [rows, hidden] while serving, else nil
}

func newModality(s *gotorch.Session, c Config, m Modality, f *Features) (*modality, error) {
	out := &modality{name: m.Name, projection: c.weights().Linear(s, m.Size, c.Hidden), trainable: c.Tables == TablesTrainable}
	if c.Missing == MissingLearned {
		out.missing = nn.NewParameter(s, nn.Normal(0, backbone.InitStd), 1, int64(c.Hidden))
	}
	if f == nil {
		return out, nil
	}
	if err := f.validate(m, c.Items); err != nil {
		return nil, err
	}
	out.fill(s, c, m, f)
	return out, nil
}

func (f *Features) validate(m Modality, items int) error {
	if got, want := len(f.Vectors), (items+1)*m.Size; got != want {
		return fmt.Errorf("modality %s: %d feature values: want %d for padding and %d items of size %d", m.Name, got, want, items, m.Size)
	}
	if got := len(f.Present); f.Present != nil && got != items+1 {
		return fmt.Errorf("modality %s: a presence mask of %d: want %d", m.Name, got, items+1)
	}
	return nil
}

// fill copies the features to the device. What an item without the modality
// gets is Config.Missing's to say, whatever its vector says.
func (m *modality) fill(s *gotorch.Session, c Config, shape Modality, f *Features) {
	m.table = c.weights().Table(s, c.Rows(), shape.Size, c.Mode == Reference)
	count := int64(c.Items)
	s.NoGrad(func() {
		items := s.FromFloat32(f.Vectors, count+1, int64(shape.Size)).Narrow(0, 1, count)
		if absent := f.absent(c.Rows()); absent != nil {
			mask := s.FromFloat32(absent, int64(c.Rows()), 1)
			items = substitute(items, mask.Narrow(0, 1, count), c.Missing)
			if m.missing != nil {
				m.absent = mask
				s.Persist(mask)
			}
		}
		m.table.Weight.Narrow(0, 1, count).CopyFrom(items)
	})
	if !m.trainable {
		m.table.Weight.RequiresGrad(false)
	}
}

// substitute replaces the vectors [items, size] where absent, [items, 1], is 1:
// by the mean of the others, or by zeros.
func substitute(items, absent *gotorch.Tensor, missing Missing) *gotorch.Tensor {
	items = items.MaskedFill(absent.Gt(0), 0)
	if missing != MissingMean {
		return items
	}
	present := absent.Neg().Add(1).Sum().Clamp(1, nil)
	return items.Add(absent.Mul(items.SumKeep(0).Div(present)))
}

// absent is 1 for items without the modality, or nil when there are none.
func (f *Features) absent(rows int) []float32 {
	var mask []float32
	for item, present := range f.Present {
		if item == 0 || present {
			continue
		}
		if mask == nil {
			mask = make([]float32, rows)
		}
		mask[item] = 1
	}
	return mask
}

func (m *modality) Parameters() []nn.Named {
	params := nn.Prefix("projection", m.projection)
	if m.missing != nil {
		params = append(params, nn.Named{Name: "missing", Tensor: m.missing})
	}
	if m.trainable && m.table != nil {
		params = append(params, nn.Named{Name: "table", Tensor: m.table.Weight})
	}
	return params
}

// project gives the vectors of items, int64 [n]: [n, hidden].
func (m *modality) project(items *gotorch.Tensor) *gotorch.Tensor {
	x := m.projection.Forward(m.table.Forward(items))
	if m.absent != nil {
		x = x.Add(backbone.Lookup(m.absent, items, -1).Mul(m.missing))
	}
	return x
}

// projectBlock bounds the memory of projecting a catalogue: rows at a time.
const projectBlock = 1 << 14

// prepare projects all items once, for serving.
func (m *modality) prepare(s *gotorch.Session) {
	if m.table == nil {
		return
	}
	s.NoGrad(func() {
		s.Scoped(func() {
			rows := m.table.Weight.Size(0)
			var blocks []*gotorch.Tensor
			for from := int64(0); from < rows; from += projectBlock {
				blocks = append(blocks, m.project(s.Arange(from, min(from+projectBlock, rows), 1)))
			}
			m.projected = s.Cat(0, blocks...)
			s.Persist(m.projected)
		})
	})
}

// release goes back to training, where the projection changes at every step.
func (m *modality) release(s *gotorch.Session) {
	if m.table != nil {
		s.Free(m.projected)
		m.projected = nil
	}
}
