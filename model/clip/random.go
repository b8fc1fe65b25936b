package clip

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/model/safetensors"
)

// WriteRandom writes a model with random weights into a directory: config.json, preprocessor_config.json and
// model.safetensors in bfloat16. It is for measurements and tests, which need a model of a size and not what one has
// learnt. There is no vocabulary in it.
func WriteRandom(dir string, config Config, seed uint64) error {
	if err := config.Validate(); err != nil {
		return err
	}
	preprocess := map[string]int{"size": config.Vision.ImageSize, "crop_size": config.Vision.ImageSize}
	for name, settings := range map[string]any{configName: config, preprocessName: preprocess} {
		text, err := json.Marshal(settings)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			return err
		}
	}
	return writeWeights(filepath.Join(dir, weightsName), randomWeights(config, seed))
}

func writeWeights(path string, tensors []safetensors.Tensor) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := safetensors.Write(file, nil, tensors); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return file.Close()
}

func randomWeights(config Config, seed uint64) []safetensors.Tensor {
	r := rand.New(rand.NewPCG(seed, 0))
	layout := config.layout()
	var tensors []safetensors.Tensor
	for _, name := range slices.Sorted(maps.Keys(layout)) {
		tensors = append(tensors, randomTensor(r, name, layout[name]))
	}
	return tensors
}

// randomTensor draws values of such a size that states keep theirs: uniformly with a variance of one over the inputs, and
// around one for what norms multiply by.
func randomTensor(r *rand.Rand, name string, shape []int) safetensors.Tensor {
	count, inputs := 1, 1
	for i, n := range shape {
		count *= n
		if i > 0 {
			inputs *= n
		}
	}
	mean, reach := float32(0), float32(math.Sqrt(3/float64(inputs)))
	if len(shape) == 1 {
		reach = 0.1
		if strings.HasSuffix(name, ".weight") {
			mean = 1
		}
	}
	data := make([]byte, 0, 2*count)
	for range count {
		value := mean + reach*(2*r.Float32()-1)
		data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(value)>>16))
	}
	return safetensors.Tensor{Info: safetensors.Info{Name: name, DType: safetensors.BF16, Shape: shape}, Data: data}
}
