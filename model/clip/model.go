package clip

import (
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// Precision is that of weights and arithmetic.
type Precision string

// The precisions. Half types are for CUDA; a CPU computes BF16 too, mostly more slowly than FP32.
const (
	FP32 Precision = "fp32"
	FP16 Precision = "fp16"
	BF16 Precision = "bf16"
)

// elementType is how a device holds numbers of the precision.
func (p Precision) elementType(device gotorch.Device) (gotorch.DType, error) {
	switch p {
	case FP32:
		return gotorch.Float32, nil
	case BF16:
		return gotorch.BFloat16, nil
	case FP16:
		if device.Type == gotorch.CPU {
			return 0, fmt.Errorf("precision fp16 on the CPU: want fp32 there, or a CUDA device")
		}
		return gotorch.Float16, nil
	}
	return 0, fmt.Errorf("precision %q: want fp32, fp16 or bf16", p)
}

// A Model computes embeddings. It belongs to its session, as its tensors do: one goroutine at a time, inside Run.
type Model struct {
	session *gotorch.Session
	config  Config
	dtype   gotorch.DType
	vision  vision
	text    text
}

// vision is the vision transformer.
type vision struct {
	patch     *nn.Linear      // of the values of a patch: a convolution whose windows do not overlap
	class     *gotorch.Tensor // [hidden], the token before those of patches
	positions *gotorch.Tensor // [1 + patches, hidden]
	before    *nn.LayerNorm
	encoder   encoder
	after     *nn.LayerNorm
	project   *nn.Linear
}

// text is the text transformer.
type text struct {
	tokens    *nn.Embedding
	positions *gotorch.Tensor // [positions, hidden]
	encoder   encoder
	after     *nn.LayerNorm
	project   *nn.Linear
}

// Load reads the weights of a directory, model.safetensors or the shards of model.safetensors.index.json, onto the
// session's device. Every tensor of the configuration must be there, in its shape, and no other. Call it inside the
// session's Run; the model lives as long as the session.
func Load(s *gotorch.Session, files Files, config Config, precision Precision) (*Model, error) {
	m := &Model{session: s, config: config}
	var err error
	if m.dtype, err = precision.elementType(s.Device()); err != nil {
		return nil, err
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	w, err := openWeights(files)
	if err != nil {
		return nil, err
	}
	defer w.close()
	layout := config.layout()
	if err := w.check(layout); err != nil {
		return nil, fmt.Errorf("the weights do not fit the configuration: %w", err)
	}
	loaded, err := w.load(s, layout, m.dtype)
	if err != nil {
		return nil, fmt.Errorf("loading weights: %w", err)
	}
	s.NoGrad(func() { m.assemble(loaded) })
	return m, nil
}

func (m *Model) assemble(p parts) {
	v, t := m.config.Vision, m.config.Text
	m.vision = vision{
		patch:     &nn.Linear{Weight: p["vision_model.embeddings.patch_embedding.weight"].View(int64(v.Hidden), -1)},
		class:     p["vision_model.embeddings.class_embedding"],
		positions: p["vision_model.embeddings.position_embedding.weight"],
		before:    p.norm(preNormName, v.NormEps),
		encoder:   newEncoder(m.session, p, "vision_model", v.EncoderConfig, false),
		after:     p.norm("vision_model.post_layernorm", v.NormEps),
		project:   p.linear("visual_projection"),
	}
	m.session.Persist(m.vision.patch.Weight)
	m.text = text{
		tokens:    &nn.Embedding{Weight: p["text_model.embeddings.token_embedding.weight"], Padding: nn.NoPadding},
		positions: p["text_model.embeddings.position_embedding.weight"],
		encoder:   newEncoder(m.session, p, "text_model", t.EncoderConfig, true),
		after:     p.norm("text_model.final_layer_norm", t.NormEps),
		project:   p.linear("text_projection"),
	}
}

// Config is the model's.
func (m *Model) Config() Config { return m.config }

// Images embeds pictures, pixels [n, 3, height, width] of Preprocess.Pixels, as float32 [n, projection]. The embeddings
// are not normalised. The result belongs to the current scope.
func (m *Model) Images(pixels *gotorch.Tensor) (*gotorch.Tensor, error) {
	v := m.config.Vision
	shape := pixels.Shape()
	size := int64(v.ImageSize)
	if len(shape) != 4 || shape[0] < 1 || !slices.Equal(shape[1:], []int64{channels, size, size}) {
		return nil, fmt.Errorf("pictures of shape %v: want [n, %d, %d, %d] with n at least 1", shape, channels, size, size)
	}
	return m.alone(func() *gotorch.Tensor {
		return m.vision.embed(pixels.To(m.dtype), int64(v.patches()), int64(v.PatchSize))
	}), nil
}

// embed maps [n, 3, height, width] to [n, projection].
func (v *vision) embed(pixels *gotorch.Tensor, side, patch int64) *gotorch.Tensor {
	s := pixels.Session()
	n, hidden := pixels.Size(0), v.class.Size(0)
	cut := pixels.Narrow(2, 0, side*patch).Narrow(3, 0, side*patch).Reshape(n, channels, side, patch, side, patch)
	patches := v.patch.Forward(cut.Permute(0, 2, 4, 1, 3, 5).Reshape(n, side*side, channels*patch*patch))
	states := v.before.Forward(s.Cat(1, v.class.Expand(n, 1, hidden), patches).Add(v.positions))
	v.encoder.apply(states)
	return v.project.Forward(v.after.Forward(states.Select(1, 0)))
}

// Texts embeds texts, given as the tokens of Tokenizer.Encode, as float32 [n, projection]. Shorter ones are padded to the
// longest; since no token sees those behind it, what they are padded with does not matter. The embeddings are not
// normalised. The result belongs to the current scope.
func (m *Model) Texts(ids [][]int64) (*gotorch.Tensor, error) {
	batch, err := m.config.Text.batch(ids)
	if err != nil {
		return nil, err
	}
	return m.alone(func() *gotorch.Tensor { return m.text.embed(m.session, batch) }), nil
}

func (t *text) embed(s *gotorch.Session, b textBatch) *gotorch.Tensor {
	n := int64(len(b.ends))
	states := t.tokens.Forward(s.FromInt64(b.ids, n, b.length)).Add(t.positions.Narrow(0, 0, b.length))
	t.encoder.apply(states)
	ends := states.Flatten(0, 1).IndexSelect(0, s.FromInt64(b.ends))
	return t.project.Forward(t.after.Forward(ends))
}

// alone frees all that fn makes but its result, which becomes float32.
func (m *Model) alone(fn func() *gotorch.Tensor) (out *gotorch.Tensor) {
	m.session.Scoped(func() {
		m.session.NoGrad(func() {
			out = fn().To(gotorch.Float32)
			m.session.Keep(out)
		})
	})
	return out
}

// textBatch are texts side by side.
type textBatch struct {
	length int64   // of each text with its padding
	ids    []int64 // [n, length]
	ends   []int64 // the place in ids of each text's end
}

func (c TextConfig) batch(texts [][]int64) (textBatch, error) {
	if len(texts) == 0 {
		return textBatch{}, fmt.Errorf("no texts: want at least 1")
	}
	length := 0
	for _, ids := range texts {
		length = max(length, len(ids))
	}
	b := textBatch{length: int64(length), ids: make([]int64, len(texts)*length)}
	for i, ids := range texts {
		end, err := c.end(ids)
		if err != nil {
			return textBatch{}, fmt.Errorf("text %d: %w", i, err)
		}
		copy(b.ids[i*length:], ids)
		b.ends = append(b.ends, int64(i*length+end))
	}
	return b, nil
}

// end is the place in a text whose state stands for all of it: that of the end token, or of the greatest id, where the
// configuration does not know the end token.
func (c TextConfig) end(ids []int64) (int, error) {
	if len(ids) == 0 || len(ids) > c.Positions {
		return 0, fmt.Errorf("%d tokens: want 1 … %d", len(ids), c.Positions)
	}
	for _, id := range ids {
		if id < 0 || id >= int64(c.Vocabulary) {
			return 0, fmt.Errorf("token %d: want 0 … %d", id, c.Vocabulary-1)
		}
	}
	if c.EndToken == LegacyEndToken {
		return slices.Index(ids, slices.Max(ids)), nil
	}
	at := slices.Index(ids, c.EndToken)
	if at < 0 {
		return 0, fmt.Errorf("has no end token %d", c.EndToken)
	}
	return at, nil
}
