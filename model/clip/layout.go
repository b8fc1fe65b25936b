package clip

import "fmt"

// layout are the shapes of the tensors that a model is made of, by the names that Hugging Face gives them.
func (c Config) layout() map[string][]int {
	shapes := map[string][]int{}
	t, v := c.Text, c.Vision
	shapes["text_model.embeddings.token_embedding.weight"] = []int{t.Vocabulary, t.Hidden}
	shapes["text_model.embeddings.position_embedding.weight"] = []int{t.Positions, t.Hidden}
	t.addLayers(shapes, "text_model")
	addNorm(shapes, "text_model.final_layer_norm", t.Hidden)
	shapes["text_projection.weight"] = []int{c.Projection, t.Hidden}

	shapes["vision_model.embeddings.class_embedding"] = []int{v.Hidden}
	shapes["vision_model.embeddings.patch_embedding.weight"] = []int{v.Hidden, v.Channels, v.PatchSize, v.PatchSize}
	shapes["vision_model.embeddings.position_embedding.weight"] = []int{1 + v.patches()*v.patches(), v.Hidden}
	addNorm(shapes, preNormName, v.Hidden)
	v.addLayers(shapes, "vision_model")
	addNorm(shapes, "vision_model.post_layernorm", v.Hidden)
	shapes["visual_projection.weight"] = []int{c.Projection, v.Hidden}
	return shapes
}

// preNormName is spelt as in the published models.
const preNormName = "vision_model.pre_layrnorm"

// ignored are tensors that published models have as well and that embeddings do not depend on.
var ignored = map[string]bool{
	"logit_scale":                          true,
	"text_model.embeddings.position_ids":   true,
	"vision_model.embeddings.position_ids": true,
}

func (c EncoderConfig) addLayers(shapes map[string][]int, part string) {
	for i := range c.Layers {
		layer := layerName(part, i)
		for _, projection := range []string{"q_proj", "k_proj", "v_proj", "out_proj"} {
			addLinear(shapes, layer+".self_attn."+projection, c.Hidden, c.Hidden)
		}
		addLinear(shapes, layer+".mlp.fc1", c.Hidden, c.Intermediate)
		addLinear(shapes, layer+".mlp.fc2", c.Intermediate, c.Hidden)
		addNorm(shapes, layer+".layer_norm1", c.Hidden)
		addNorm(shapes, layer+".layer_norm2", c.Hidden)
	}
}

func layerName(part string, i int) string { return fmt.Sprintf("%s.encoder.layers.%d", part, i) }

func addLinear(shapes map[string][]int, name string, in, out int) {
	shapes[name+".weight"], shapes[name+".bias"] = []int{out, in}, []int{out}
}

func addNorm(shapes map[string][]int, name string, width int) {
	shapes[name+".weight"], shapes[name+".bias"] = []int{width}, []int{width}
}
