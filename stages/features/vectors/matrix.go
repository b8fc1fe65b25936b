package vectors

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/prismflow/prismflow/model/safetensors"
	"github.com/prismflow/prismflow/stages"
)

// A matrix is a source whose rows lie one behind the other.
type matrix struct {
	io.Closer
	data  *io.SectionReader
	dtype safetensors.DType
	rows  int64
	width int
}

// file is the matrix as a file, once its width is checked.
func (m *matrix) file() (*File, error) {
	if m.width < 1 || m.width > MaxWidth {
		return nil, fmt.Errorf("vectors of %d components, and 1 to %d are allowed", m.width, MaxWidth)
	}
	return &File{source: m, rows: m.rows}, nil
}

func (m *matrix) all() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		in := bufio.NewReaderSize(io.NewSectionReader(m.data, 0, m.data.Size()), 1<<20)
		raw := make([]byte, m.width*m.dtype.Size())
		vector := make([]float64, m.width)
		for range m.rows {
			_, err := io.ReadFull(in, raw)
			if err == nil {
				err = m.dtype.Float64s(vector, raw)
			}
			if !yield(Row{Vector: vector}, err) || err != nil {
				return
			}
		}
	}
}

// openSafetensors opens the tensor of that name, or the only one.
func openSafetensors(file *os.File, size int64, name string) (*File, error) {
	weights, err := safetensors.Open(file, size)
	if err != nil {
		return nil, err
	}
	if name == "" {
		names := weights.Names()
		if len(names) != 1 {
			return nil, fmt.Errorf("the file has %d tensors: say which (%s)", len(names), listed(names))
		}
		name = names[0]
	}
	info, err := weights.Info(name)
	if err != nil {
		return nil, fmt.Errorf("%w%s; the file has %s", err, stages.Suggest(name, weights.Names()), listed(weights.Names()))
	}
	switch info.DType {
	case safetensors.F64, safetensors.F32, safetensors.F16, safetensors.BF16:
	default:
		return nil, fmt.Errorf("tensor %q is of type %s, not of floats", name, info.DType)
	}
	if len(info.Shape) != 2 {
		return nil, fmt.Errorf("tensor %q has the shape %v: a matrix of one row an item has two axes", name, info.Shape)
	}
	data, err := weights.Section(name)
	if err != nil {
		return nil, err
	}
	m := &matrix{Closer: file, data: data, dtype: info.DType, rows: int64(info.Shape[0]), width: info.Shape[1]}
	return m.file()
}

// listed names some of the names for a message.
func listed(names []string) string {
	const most = 20
	text := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}
