package clip

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// naive is the model again, in loops and float64.
type naive struct {
	config  Config
	tensors map[string][]float64
}

func newNaive(t testing.TB, files Files, config Config) naive {
	t.Helper()
	w, err := openWeights(files)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	n := naive{config: config, tensors: map[string][]float64{}}
	for _, name := range slices.Collect(maps.Keys(w.tensors)) {
		values, err := w.tensors[name].file.Float64(name)
		if err != nil {
			t.Fatal(err)
		}
		n.tensors[name] = values
	}
	return n
}

// linear is W x, and plus b where there is one.
func (n naive) linear(name string, x []float64) []float64 {
	weight, bias := n.tensors[name+".weight"], n.tensors[name+".bias"]
	y := make([]float64, len(weight)/len(x))
	for o := range y {
		for i := range x {
			y[o] += weight[o*len(x)+i] * x[i]
		}
		if bias != nil {
			y[o] += bias[o]
		}
	}
	return y
}

func (n naive) norm(name string, x []float64, eps float64) []float64 {
	mean, variance := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v-mean)/math.Sqrt(variance+eps)*n.tensors[name+".weight"][i] + n.tensors[name+".bias"][i]
	}
	return y
}

func (c EncoderConfig) activate(x float64) float64 {
	if c.Activation == GELU {
		return x / 2 * (1 + math.Erf(x/math.Sqrt2))
	}
	return x / (1 + math.Exp(-1.702*x))
}

// encode changes the states of one sequence.
func (n naive) encode(part string, c EncoderConfig, states [][]float64, causal bool) {
	for l := range c.Layers {
		name := layerName(part, l)
		read := make([][]float64, len(states))
		for i := range states {
			read[i] = n.norm(name+".layer_norm1", states[i], c.NormEps)
		}
		for i, seen := range n.attention(name+".self_attn", c.Heads, read, causal) {
			add(states[i], n.linear(name+".self_attn.out_proj", seen))
		}
		for _, state := range states {
			inner := n.linear(name+".mlp.fc1", n.norm(name+".layer_norm2", state, c.NormEps))
			for i := range inner {
				inner[i] = c.activate(inner[i])
			}
			add(state, n.linear(name+".mlp.fc2", inner))
		}
	}
}

func (n naive) attention(name string, heads int, x [][]float64, causal bool) [][]float64 {
	hidden := len(x[0])
	width := hidden / heads
	out := make([][]float64, len(x))
	for i := range x {
		out[i] = make([]float64, hidden)
		visible := len(x)
		if causal {
			visible = i + 1
		}
		for h := range heads {
			part := func(of string, at int) []float64 { return n.linear(name+"."+of, x[at])[h*width:][:width] }
			weights, sum := make([]float64, visible), 0.0
			for j := range weights {
				weights[j] = math.Exp(dot(part("q_proj", i), part("k_proj", j)) / math.Sqrt(float64(width)))
				sum += weights[j]
			}
			for j, weight := range weights {
				for k, v := range part("v_proj", j) {
					out[i][h*width+k] += weight / sum * v
				}
			}
		}
	}
	return out
}

func (n naive) image(pixels []float32) []float64 {
	v := n.config.Vision
	positions := n.tensors["vision_model.embeddings.position_embedding.weight"]
	states := [][]float64{slices.Clone(n.tensors["vision_model.embeddings.class_embedding"])}
	for top := 0; top+v.PatchSize <= v.ImageSize; top += v.PatchSize {
		for left := 0; left+v.PatchSize <= v.ImageSize; left += v.PatchSize {
			var patch []float64
			for c := range v.Channels {
				for y := range v.PatchSize {
					for x := range v.PatchSize {
						patch = append(patch, float64(pixels[(c*v.ImageSize+top+y)*v.ImageSize+left+x]))
					}
				}
			}
			states = append(states, n.linear("vision_model.embeddings.patch_embedding", patch))
		}
	}
	for i := range states {
		add(states[i], positions[i*v.Hidden:][:v.Hidden])
		states[i] = n.norm(preNormName, states[i], v.NormEps)
	}
	n.encode("vision_model", v.EncoderConfig, states, false)
	return n.linear("visual_projection", n.norm("vision_model.post_layernorm", states[0], v.NormEps))
}

func (n naive) text(ids []int64, end int) []float64 {
	c := n.config.Text
	tokens, positions := n.tensors["text_model.embeddings.token_embedding.weight"], n.tensors["text_model.embeddings.position_embedding.weight"]
	var states [][]float64
	for i, id := range ids {
		states = append(states, slices.Clone(tokens[int(id)*c.Hidden:][:c.Hidden]))
		add(states[i], positions[i*c.Hidden:][:c.Hidden])
	}
	n.encode("text_model", c.EncoderConfig, states, true)
	return n.linear("text_projection", n.norm("text_model.final_layer_norm", states[end], c.NormEps))
}

func add(x, y []float64) {
	for i := range x {
		x[i] += y[i]
	}
}

func dot(x, y []float64) (sum float64) {
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}

// tinyConfig has sizes that all differ, and pictures that patches do not fill.
func tinyConfig(activation Activation) Config {
	return Config{
		Projection: 5,
		Text: TextConfig{
			EncoderConfig: EncoderConfig{Hidden: 12, Intermediate: 20, Layers: 2, Heads: 3, Activation: activation, NormEps: 1e-5},
			Vocabulary:    30, Positions: 9, EndToken: 7,
		},
		Vision: VisionConfig{
			EncoderConfig: EncoderConfig{Hidden: 16, Intermediate: 24, Layers: 3, Heads: 2, Activation: activation, NormEps: 1e-3},
			ImageSize:     14, PatchSize: 4, Channels: 3,
		},
	}
}

// writeRandom is a directory of WriteRandom.
func writeRandom(t testing.TB, config Config) Files {
	t.Helper()
	dir := t.TempDir()
	if err := WriteRandom(dir, config, 1); err != nil {
		t.Fatal(err)
	}
	return filesOf(t, dir)
}

// TestModelIsTheNaiveOne compares both encoders with loops in float64: both activations, both rules for a text's end, texts
// of many lengths in one batch.
func TestModelIsTheNaiveOne(t *testing.T) {
	ids := [][]int64{{1, 7}, {1, 2, 3, 7, 9, 7}, {7}, {4, 28, 29, 29, 7, 3, 2, 1, 0}}
	for _, test := range []struct {
		activation Activation
		end        int64
		ends       []int // where the texts end by this rule
	}{
		{QuickGELU, 7, []int{1, 3, 0, 4}},
		{GELU, LegacyEndToken, []int{1, 4, 0, 2}},
	} {
		t.Run(fmt.Sprint(test.activation, test.end), func(t *testing.T) {
			config := tinyConfig(test.activation)
			config.Text.EndToken = test.end
			files := writeRandom(t, config)
			reference := newNaive(t, files, config)
			pixels := randomPixels(config, 3)
			var images, texts []float32
			for i := range 3 {
				images = append(images, narrow(reference.image(pixels[i*len(pixels)/3:][:len(pixels)/3]))...)
			}
			for i := range ids {
				texts = append(texts, narrow(reference.text(ids[i], test.ends[i]))...)
			}
			torchtest.Run(t, func(s *gotorch.Session) {
				gotImages, gotTexts := mustEmbed(t, s, mustLoad(t, s, files, FP32), pixels, ids)
				closeTo(t, "images", gotImages, images, 1e-5)
				closeTo(t, "texts", gotTexts, texts, 1e-5)
			})
		})
	}
}

func randomPixels(config Config, n int) []float32 {
	r := rand.New(rand.NewPCG(2, 0))
	pixels := make([]float32, n*channels*config.Vision.ImageSize*config.Vision.ImageSize)
	for i := range pixels {
		pixels[i] = float32(r.NormFloat64())
	}
	return pixels
}

func narrow(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}
