package prism

import (
	"fmt"
	"math"
	"slices"

	"github.com/prismflow/prismflow/model/backbone"
)

// naive is a second, slow implementation of modes causal and paper in float64:
// loops over one sequence at a time, with neither padding nor packing.
type naive struct {
	config   Config
	params   map[string]Tensor
	features []Features
}

type vector = []float64

func (n *naive) row(name string, i int) vector {
	t := n.params[name]
	width := int(t.Shape[len(t.Shape)-1])
	out := make(vector, width)
	for j := range out {
		out[j] = float64(t.Values[i*width+j])
	}
	return out
}

func (n *naive) linear(name string, x vector) vector {
	out := n.row(name+".bias", 0)
	for i := range out {
		for j, w := range n.row(name+".weight", i) {
			out[i] += w * x[j]
		}
	}
	return out
}

func (n *naive) norm(name string, x vector) vector {
	mean, variance := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	weight, bias := n.row(name+".weight", 0), n.row(name+".bias", 0)
	out := make(vector, len(x))
	for i, v := range x {
		out[i] = (v-mean)/math.Sqrt(variance+1e-12)*weight[i] + bias[i]
	}
	return out
}

func gelu(x vector) vector {
	out := make(vector, len(x))
	for i, v := range x {
		out[i] = v / 2 * (1 + math.Erf(v/math.Sqrt2))
	}
	return out
}

func plus(vs ...vector) vector {
	out := make(vector, len(vs[0]))
	for _, v := range vs {
		for i := range v {
			out[i] += v[i]
		}
	}
	return out
}

func scale(x vector, by float64) vector {
	out := make(vector, len(x))
	for i, v := range x {
		out[i] = v * by
	}
	return out
}

func dot(a, b vector) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func softmax(x vector) vector {
	most, sum := slices.Max(x), 0.0
	out := make(vector, len(x))
	for i, v := range x {
		out[i] = math.Exp(v - most)
		sum += out[i]
	}
	return scale(out, 1/sum)
}

func average(vs []vector) vector { return scale(plus(vs...), 1/float64(len(vs))) }

// modality is I_t or T_t of one item in a stream.
func (n *naive) modality(stream, m int, item int32) vector {
	shape := n.config.Modalities[m]
	name := fmt.Sprintf("modalities.%d.%s", stream, shape.Name)
	x := make(vector, shape.Size)
	absent := n.features[m].Present != nil && !n.features[m].Present[item]
	for j := range x {
		if !absent {
			x[j] = float64(n.features[m].Vectors[int(item)*shape.Size+j])
		}
	}
	out := n.linear(name+".projection", x)
	if absent {
		out = plus(out, n.row(name+".missing", 0))
	}
	return out
}

func (n *naive) expert(name string, pooled []vector) vector {
	return n.linear("experts."+name+".outer", gelu(n.linear("experts."+name+".inner", slices.Concat(pooled...))))
}

// pooled averages over what a place may see: its past, or everything.
func (n *naive) pooled(vs []vector, t int) vector {
	if n.config.Mode == Causal {
		return average(vs[:t+1])
	}
	return average(vs)
}

func (n *naive) mixture(pooled []vector, items vector) vector {
	var opinions []vector
	for _, name := range expertNames(n.config) {
		opinions = append(opinions, n.expert(name, pooled))
	}
	if len(opinions) == 1 {
		return opinions[0]
	}
	weights := softmax(scale(n.linear("gate.outer", gelu(n.linear("gate.inner", slices.Concat(append(slices.Clone(opinions), items)...)))), 1/n.config.GateTemperature))
	out := make(vector, len(items))
	for i, o := range opinions {
		out = plus(out, scale(o, weights[i]))
	}
	return out
}

// tables are the names under which each stream has its items and positions.
func (n *naive) tables() []string {
	if n.config.Backbone == backbone.STOSAName {
		return []string{"backbone.mean", "backbone.cov"}
	}
	return []string{"backbone"}
}

// hidden are the states of one sequence.
func (n *naive) hidden(items []int32) []vector {
	if n.config.Backbone == backbone.STOSAName {
		return n.stosa(items)
	}
	x := n.normed(0, items)
	for layer := range n.config.Layers {
		x = n.block(fmt.Sprintf("backbone.layers.%d", layer), x)
	}
	return x
}

// normed is what enters the backbone by one stream, behind the first norm.
func (n *naive) normed(stream int, items []int32) []vector {
	embedded, vectors := n.inputs(stream, items)
	var x []vector
	for t := range items {
		parts := []vector{embedded[t], n.row(n.tables()[stream]+".positions.weight", n.config.MaxLength-len(items)+t)}
		if len(vectors) > 0 {
			var pooled []vector
			for _, v := range vectors {
				pooled = append(pooled, n.pooled(v, t))
				parts = append(parts, v[t])
			}
			parts = append(parts, n.mixture(pooled, n.pooled(embedded, t)))
		}
		x = append(x, n.norm("backbone.norm", plus(parts...)))
	}
	return x
}

func (n *naive) inputs(stream int, items []int32) (embedded []vector, vectors [][]vector) {
	vectors = make([][]vector, len(n.config.Modalities))
	for _, item := range items {
		embedded = append(embedded, n.row(n.tables()[stream]+".items.weight", int(item)))
		for m := range vectors {
			vectors[m] = append(vectors[m], n.modality(stream, m, item))
		}
	}
	return embedded, vectors
}

func (n *naive) block(name string, x []vector) []vector {
	var keys, values, out []vector
	for t := range x {
		keys, values = append(keys, n.linear(name+".key", x[t])), append(values, n.linear(name+".value", x[t]))
		query, size := n.linear(name+".query", x[t]), n.config.Hidden/n.config.Heads
		var context vector
		for h := range n.config.Heads {
			part := func(v vector) vector { return v[h*size : (h+1)*size] }
			scores := make(vector, t+1)
			for k := range scores {
				scores[k] = dot(part(query), part(keys[k])) / math.Sqrt(float64(size))
			}
			sum := make(vector, size)
			for k, w := range softmax(scores) {
				sum = plus(sum, scale(part(values[k]), w))
			}
			context = append(context, sum...)
		}
		attended := n.norm(name+".attention_norm", plus(x[t], n.linear(name+".output", context)))
		forwarded := n.linear(name+".outer", gelu(n.linear(name+".inner", attended)))
		out = append(out, n.norm(name+".forward_norm", plus(attended, forwarded)))
	}
	return out
}

// interaction is the weighted loss of a batch, the mean of the streams. noise
// gives the unit-normal values of each stream, expert and modality, [sequences][hidden].
func (n *naive) interaction(sequences [][]int32, noise func() []vector) (mean float64) {
	streams := len(n.tables())
	for stream := range streams {
		mean += n.streamInteraction(stream, sequences, noise) / float64(streams)
	}
	return mean
}

func (n *naive) streamInteraction(stream int, sequences [][]int32, noise func() []vector) float64 {
	pooled := make([][]vector, len(n.config.Modalities)) // [modality][sequence]
	for _, items := range sequences {
		_, vectors := n.inputs(stream, items)
		for m, v := range vectors {
			pooled[m] = append(pooled[m], average(v))
		}
	}
	total := 0.0
	for e, name := range expertNames(n.config) {
		replaced := make([][]vector, len(pooled)) // [modality][sequence]
		for m := range pooled {
			for s, r := range n.matched(pooled[m], noise()) {
				inputs := column(pooled, s)
				inputs[m] = r
				replaced[m] = append(replaced[m], n.expert(name, inputs))
			}
		}
		for s := range sequences {
			total += n.config.lambdas()[e] * n.loss(e, n.expert(name, column(pooled, s)), column(replaced, s)) / float64(len(sequences))
		}
	}
	return total
}

func column(table [][]vector, s int) []vector {
	var out []vector
	for _, row := range table {
		out = append(out, row[s])
	}
	return out
}

// matched gives noise the mean and deviation of the batch, component by
// component.
func (n *naive) matched(batch, noise []vector) []vector {
	mean := average(batch)
	out := make([]vector, len(noise))
	for s, r := range noise {
		out[s] = make(vector, len(r))
		for j := range r {
			variance := 0.0
			for _, v := range batch {
				variance += (v[j] - mean[j]) * (v[j] - mean[j]) / float64(len(batch))
			}
			out[s][j] = mean[j] + r[j]*math.Sqrt(variance)
		}
	}
	return out
}

func (n *naive) loss(expert int, full vector, replaced []vector) float64 {
	cos := func(a, b vector) float64 { return dot(a, b) / math.Sqrt(dot(a, a)*dot(b, b)) }
	similar := 0.0
	for _, r := range replaced {
		similar += cos(full, r) / float64(len(replaced))
	}
	switch expert - len(replaced) {
	case 0:
		return similar
	case 1:
		return 1 - similar
	}
	hinge := n.config.Margin - (1 - cos(full, replaced[expert]))
	for m, r := range replaced {
		if m != expert {
			hinge += (1 - cos(full, r)) / float64(len(replaced)-1)
		}
	}
	return max(0, hinge)
}
