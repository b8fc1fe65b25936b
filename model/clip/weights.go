package clip

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/safetensors"
)

// weights are the open files of a model's tensors. Their bytes are read one tensor at a time.
type weights struct {
	open    []*os.File
	tensors map[string]shard // by the tensor's name
}

// shard is the file that has a tensor.
type shard struct {
	name string
	file *safetensors.File
}

// openWeights opens model.safetensors, or else the shards that its index lists, and reads their headers.
func openWeights(files Files) (*weights, error) {
	w := &weights{tensors: map[string]shard{}}
	err := w.openAll(files)
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *weights) openAll(files Files) error {
	if _, ok := files[weightsName]; ok {
		return w.add(files, weightsName)
	}
	if _, ok := files[indexName]; !ok {
		return fmt.Errorf("the model directory has neither %s nor %s (weights of PyTorch's own format are not read: save the model as safetensors)", weightsName, indexName)
	}
	var index struct {
		Shards map[string]string `json:"weight_map"`
	}
	if err := files.decode(indexName, maxIndexSize, &index); err != nil {
		return err
	}
	for _, name := range slices.Compact(slices.Sorted(maps.Values(index.Shards))) {
		if err := w.add(files, name); err != nil {
			return fmt.Errorf("%s: %w", indexName, err)
		}
	}
	return w.agrees(index.Shards)
}

func (w *weights) add(files Files, name string) error {
	opened, err := files.open(name)
	if err != nil {
		return err
	}
	w.open = append(w.open, opened)
	about, err := opened.Stat()
	if err != nil {
		return err
	}
	file, err := safetensors.Open(opened, about.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, tensor := range file.Names() {
		if other, ok := w.tensors[tensor]; ok {
			return fmt.Errorf("tensor %q is in %s and in %s", tensor, other.name, name)
		}
		w.tensors[tensor] = shard{name, file}
	}
	return nil
}

// agrees checks that the shards hold what their index says, and nothing else.
func (w *weights) agrees(index map[string]string) error {
	for _, tensor := range slices.Sorted(maps.Keys(index)) {
		if found := w.tensors[tensor].name; found != index[tensor] {
			return fmt.Errorf("%s: tensor %q should be in %s, and is in %q", indexName, tensor, index[tensor], found)
		}
	}
	for _, tensor := range slices.Sorted(maps.Keys(w.tensors)) {
		if _, ok := index[tensor]; !ok {
			return fmt.Errorf("%s: tensor %q of %s is not in the index", indexName, tensor, w.tensors[tensor].name)
		}
	}
	return nil
}

func (w *weights) close() {
	for _, file := range w.open {
		file.Close() // only read from
	}
}

// maxShown bounds how many tensors an error names.
const maxShown = 8

// check compares names, shapes and element types with those of the layout.
func (w *weights) check(layout map[string][]int) error {
	var p problems
	for _, name := range slices.Sorted(maps.Keys(layout)) {
		from, ok := w.tensors[name]
		if !ok {
			p.add("tensor %q is missing", name)
			continue
		}
		info, err := from.file.Info(name)
		if err != nil {
			return err
		}
		if !slices.Equal(info.Shape, layout[name]) {
			p.add("%s: tensor %q has shape %v, want %v", from.name, name, info.Shape, layout[name])
		}
		if _, ok := elementTypes[info.DType]; !ok {
			p.add("%s: tensor %q is of %s, want F32, F16 or BF16", from.name, name, info.DType)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.tensors)) {
		if layout[name] == nil && !ignored[name] {
			p.add("%s: tensor %q is not of a CLIP model of this configuration", w.tensors[name].name, name)
		}
	}
	if more := len(p) - maxShown; more > 0 {
		p = append(p[:maxShown], fmt.Sprintf("and %d more", more))
	}
	return p.err()
}

// elementTypes are those of weights.
var elementTypes = map[safetensors.DType]gotorch.DType{
	safetensors.F32: gotorch.Float32, safetensors.F16: gotorch.Float16, safetensors.BF16: gotorch.BFloat16,
}

// load brings the tensors of a layout, which check found, to the session's device as dtype. One tensor at a time is on
// the host, in a buffer that the next one uses again. The tensors live until the session is closed; after an error, none
// do.
func (w *weights) load(s *gotorch.Session, layout map[string][]int, dtype gotorch.DType) (map[string]*gotorch.Tensor, error) {
	loaded := map[string]*gotorch.Tensor{}
	var buffer []byte
	for _, name := range slices.Sorted(maps.Keys(layout)) {
		tensor, err := w.tensors[name].load(s, name, dtype, &buffer)
		if err != nil {
			s.Free(slices.Collect(maps.Values(loaded))...)
			return nil, err
		}
		loaded[name] = tensor
	}
	return loaded, nil
}

func (f shard) load(s *gotorch.Session, name string, dtype gotorch.DType, buffer *[]byte) (*gotorch.Tensor, error) {
	info, err := f.file.Info(name)
	if err != nil {
		return nil, err
	}
	size, err := info.Bytes()
	if err != nil {
		return nil, err
	}
	*buffer = slices.Grow((*buffer)[:0], int(size))[:size]
	if err := f.file.Read(name, *buffer); err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	var tensor *gotorch.Tensor
	s.Scoped(func() {
		// Bytes, seen as what they are, spare a conversion in Go, and for half types half of the way to the device.
		raw := s.Call1("aten::view.dtype", s.FromUint8(*buffer), elementTypes[info.DType])
		tensor = raw.To(dtype).Reshape(shape64(info.Shape)...)
		s.Persist(tensor)
	})
	return tensor, nil
}

func shape64(shape []int) []int64 {
	out := make([]int64, len(shape))
	for i, n := range shape {
		out[i] = int64(n)
	}
	return out
}
