package clip

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Files are the files of a model directory: their names below it, as a directory or a download gives them, and the
// path of each.
type Files map[string]string

// The files of a model directory. Those of weights are weightsName, or the shards that indexName lists.
const (
	configName     = "config.json"
	preprocessName = "preprocessor_config.json"
	vocabularyName = "vocab.json"
	mergesName     = "merges.txt"
	weightsName    = "model.safetensors"
	indexName      = "model.safetensors.index.json"
)

// Limits of what is read at once. The largest in use are 3 KB, 1 MB and 60 KB.
const (
	maxSettingsSize = 1 << 20
	maxTokensSize   = 16 << 20
	maxIndexSize    = 16 << 20
)

// open opens a file of the directory; an absent one is an error that wraps fs.ErrNotExist.
func (f Files) open(name string) (*os.File, error) {
	path, ok := f[name]
	if !ok {
		return nil, fmt.Errorf("the model directory has no %s: %w", name, fs.ErrNotExist)
	}
	return os.Open(path)
}

// read reads a file of at most limit bytes.
func (f Files) read(name string, limit int64) ([]byte, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than the %d bytes that are allowed", name, limit)
	}
	return data, nil
}

// decode reads a file of JSON into v, which holds the defaults of what is left out.
func (f Files) decode(name string, limit int64, v any) error {
	data, err := f.read(name, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
