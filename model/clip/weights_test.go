package clip

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/safetensors"
)

// tensorsOf are a directory's, by name.
func tensorsOf(t testing.TB, files Files) map[string]safetensors.Tensor {
	t.Helper()
	data, err := os.ReadFile(files[weightsName])
	if err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string]safetensors.Tensor{}
	for _, name := range file.Names() {
		if tensors[name], err = file.Tensor(name); err != nil {
			t.Fatal(err)
		}
	}
	return tensors
}

// split writes the tensors of a directory into two shards and their index, which change may spoil.
func split(t testing.TB, files Files, change func(index map[string]string)) Files {
	t.Helper()
	dir := t.TempDir()
	index := map[string]string{}
	shards := map[string][]safetensors.Tensor{}
	tensors := tensorsOf(t, files)
	for i, name := range slices.Sorted(maps.Keys(tensors)) {
		index[name] = fmt.Sprintf("model-0000%d-of-00002.safetensors", 1+i%2)
		shards[index[name]] = append(shards[index[name]], tensors[name])
	}
	sharded := maps.Clone(files)
	delete(sharded, weightsName)
	for name, tensors := range shards {
		sharded[name] = filepath.Join(dir, name)
		if err := writeWeights(sharded[name], tensors); err != nil {
			t.Fatal(err)
		}
	}
	change(index)
	sharded[indexName] = writeJSON(t, dir, indexName, map[string]any{"metadata": map[string]int{"total_size": 1}, "weight_map": index})
	return sharded
}

func writeJSON(t testing.TB, dir, name string, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, dir, name, string(text))
}

func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestShardsAreTheWhole(t *testing.T) {
	config := tinyConfig(GELU)
	whole := writeRandom(t, config)
	sharded := split(t, whole, func(map[string]string) {})
	var all [][]float32
	for _, files := range []Files{whole, sharded} {
		torchtest.Run(t, func(s *gotorch.Session) {
			images, texts := mustEmbed(t, s, mustLoad(t, s, files, FP32), randomPixels(config, 2), [][]int64{{1, 2, 7}})
			all = append(all, append(images, texts...))
		})
	}
	if !slices.Equal(all[0], all[1]) {
		t.Error("shards give other embeddings")
	}
}

// TestElementTypes: a directory in F32 gives what the same values in bfloat16 give, and so does one with the tensors that
// are ignored.
func TestElementTypes(t *testing.T) {
	config := tinyConfig(GELU)
	narrow := writeRandom(t, config)
	wide := rewrite(t, narrow, func(tensors map[string]safetensors.Tensor) {
		for name, tensor := range tensors {
			var values []float32
			for i := 0; i < len(tensor.Data); i += 2 {
				values = append(values, math.Float32frombits(uint32(tensor.Data[i])<<16|uint32(tensor.Data[i+1])<<24))
			}
			tensors[name] = safetensors.FromFloat32(name, tensor.Shape, values)
		}
		for name := range ignored {
			tensors[name] = safetensors.FromInt64(name, []int{1}, []int64{0})
		}
	})
	var all [][]float32
	for _, files := range []Files{narrow, wide} {
		torchtest.Run(t, func(s *gotorch.Session) {
			images, texts := mustEmbed(t, s, mustLoad(t, s, files, FP32), randomPixels(config, 2), [][]int64{{1, 2, 7}})
			all = append(all, append(images, texts...))
		})
	}
	if !slices.Equal(all[0], all[1]) {
		t.Error("F32 gives other embeddings than the same values in BF16")
	}
}

// rewrite is a directory with other weights.
func rewrite(t testing.TB, files Files, change func(map[string]safetensors.Tensor)) Files {
	t.Helper()
	tensors := tensorsOf(t, files)
	change(tensors)
	changed := maps.Clone(files)
	changed[weightsName] = filepath.Join(t.TempDir(), weightsName)
	if err := writeWeights(changed[weightsName], slices.Collect(maps.Values(tensors))); err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestBrokenWeights(t *testing.T) {
	config := tinyConfig(GELU)
	files := writeRandom(t, config)
	const projection, first, second = "visual_projection.weight", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	for _, test := range []struct {
		name  string
		files Files
		says  string
	}{
		{"none", Files{}, "neither model.safetensors nor model.safetensors.index.json"},
		{"cut off", Files{weightsName: writeFile(t, t.TempDir(), weightsName, "abc")}, "not a valid safetensors file"},
		{"missing", rewrite(t, files, func(all map[string]safetensors.Tensor) { delete(all, projection) }), `tensor "visual_projection.weight" is missing`},
		{"unexpected", rewrite(t, files, func(all map[string]safetensors.Tensor) {
			all["head.bias"] = safetensors.FromFloat32("head.bias", []int{1}, []float32{1})
		}), `model.safetensors: tensor "head.bias" is not of a CLIP model`},
		{"shape", rewrite(t, files, func(all map[string]safetensors.Tensor) {
			all[projection] = safetensors.FromFloat32(projection, []int{2}, []float32{1, 2})
		}), `model.safetensors: tensor "visual_projection.weight" has shape [2], want [5 16]`},
		{"type", rewrite(t, files, func(all map[string]safetensors.Tensor) {
			all[projection] = safetensors.FromInt64(projection, []int{5, 16}, make([]int64, 80))
		}), "is of I64, want F32, F16 or BF16"},
		{"many", rewrite(t, files, func(all map[string]safetensors.Tensor) { clear(all) }), "and 85 more"},
		{"other shard", split(t, files, func(index map[string]string) { index[projection] = second }), "should be in"},
		{"no such shard", split(t, files, func(index map[string]string) { index[projection] = "../../etc/passwd" }), "has no ../../etc/passwd"},
		{"not in the index", split(t, files, func(index map[string]string) { delete(index, projection) }), "is not in the index"},
		{"not in a shard", split(t, files, func(index map[string]string) { index["more"] = first }), `"more" should be in model-00001`},
	} {
		t.Run(test.name, func(t *testing.T) {
			torchtest.Run(t, func(s *gotorch.Session) {
				before := s.Library().LiveTensors()
				_, err := Load(s, test.files, config, FP32)
				wantError(t, test.name, err, test.says)
				if left := s.Library().LiveTensors() - before; left != 0 {
					t.Errorf("%d tensors left", left)
				}
			})
		})
	}
}
