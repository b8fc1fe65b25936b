package clip

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/model/clip"
	"github.com/prismflow/prismflow/stages"
)

// A model is a model's directory, opened as far as that takes no libtorch.
type model struct {
	sources    []stages.File
	files      clip.Files
	config     clip.Config
	preprocess clip.Preprocess
	tokenizer  *clip.Tokenizer
}

// openModel checks the files of a model's directory.
func openModel(sources []stages.File) (model, error) {
	m := model{sources: sources, files: clip.Files{}}
	for _, file := range sources {
		if m.files[file.Name] != "" {
			return m, fmt.Errorf("%s is there twice: name one directory", file.Name)
		}
		m.files[file.Name] = file.Path
	}
	var errs [3]error
	m.config, errs[0] = clip.ReadConfig(m.files)
	m.preprocess, errs[1] = clip.ReadPreprocess(m.files)
	m.tokenizer, errs[2] = clip.OpenTokenizer(m.files)
	return m, errors.Join(errs[:]...)
}

const preprocessName = "preprocessor_config.json"

// digests are the files that a modality's vectors depend on. What else lies in
// the directory, such as a README, costs no vector when it changes.
func (m model) digests(of modality) []artifacts.FileDigest {
	var digests []artifacts.FileDigest
	for _, file := range m.sources {
		if matters(file.Name, of) {
			digests = append(digests, artifacts.FileDigest{Name: file.Name, Digest: file.Digest})
		}
	}
	slices.SortFunc(digests, func(a, b artifacts.FileDigest) int { return strings.Compare(a.Name, b.Name) })
	return digests
}

func matters(name string, of modality) bool {
	switch name {
	case "config.json", "model.safetensors.index.json":
		return true
	case preprocessName:
		return of == image
	case "vocab.json", "merges.txt":
		return of == text
	}
	return strings.HasSuffix(name, ".safetensors")
}

// width is the number of components of a vector.
func (m model) width() int { return m.config.Projection }

// values is the number of a preprocessed picture.
func (m model) values() int {
	c, h, w := m.preprocess.Shape()
	return c * h * w
}

// A shape is what a row costs in one of the two transformers.
type shape struct {
	tokens, hidden, heads int
}

func (m model) shape(of modality) shape {
	if of == text {
		t := m.config.Text
		return shape{t.Positions, t.Hidden, t.Heads}
	}
	v := m.config.Vision
	side := v.ImageSize / v.PatchSize
	return shape{1 + side*side, v.Hidden, v.Heads}
}

// bytes is about what one row needs while it goes through a layer: the states
// before and after a norm, queries, keys and values, the wide part of the
// feed-forward network twice, and what attention compares.
func (s shape) bytes() int64 {
	const statesAlive = 14
	return 4 * int64(s.tokens) * (statesAlive*int64(s.hidden) + 2*int64(s.heads)*int64(s.tokens))
}

// What a batch may take where its size is not given. More rows at once make
// neither device faster; on the CPU they could cost the property that leastRows
// is about, so that no more than these are taken there at all.
const (
	cpuBatchBytes  = 512 << 20
	cpuBatchRows   = 32
	cudaBatchBytes = 2 << 30
	cudaBatchRows  = 256
)

// batchRows is how many rows are encoded at once.
func (m model) batchRows(of modality, asked int, cuda bool) int {
	bytes, rows := int64(cpuBatchBytes), int64(cpuBatchRows)
	if cuda {
		bytes, rows = cudaBatchBytes, cudaBatchRows
	}
	switch {
	case asked > 0 && cuda:
		return asked
	case asked > 0:
		return min(asked, cpuBatchRows)
	}
	return int(max(1, min(rows, bytes/m.shape(of).bytes())))
}
