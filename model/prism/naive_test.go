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
	params   map[string]matrix
	features []Features
}

type vector = []float64

type matrix struct {
	width  int
	values vector
}

func newNaive(m *Model, features []Features) *naive {
	n := &naive{config: m.config, params: map[string]matrix{}, features: features}
	for _, p := range m.ExportParameters() {
		values := make(vector, len(p.Values))
		for i, v := range p.Values {
			values[i] = float64(v)
		}
		n.params[p.Name] = matrix{int(p.Shape[len(p.Shape)-1]), values}
	}
	return n
}

// row must not be changed.
func (n *naive) row(name string, i int) vector {
	m := n.params[name]
	return m.values[i*m.width : (i+1)*m.width]
}

func (n *naive) linear(name string, x vector) vector {
	out := slices.Clone(n.row(name+".bias", 0))
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

// view is one stream of one sequence.
type view struct {
	embedded []vector   // [place]
	vectors  [][]vector // [modality][place]
}

// tables are the names under which each stream has its items and positions.
func (n *naive) tables() []string {
	if n.config.Backbone == backbone.STOSAName {
		return []string{"backbone.mean", "backbone.cov"}
	}
	return []string{"backbone"}
}

// views are all streams of one sequence.
func (n *naive) views(items []int32) []view {
	out := make([]view, len(n.tables()))
	for stream := range out {
		out[stream] = n.view(stream, items)
	}
	return out
}

func (n *naive) view(stream int, items []int32) view {
	v := view{vectors: make([][]vector, len(n.config.Modalities))}
	for _, item := range items {
		v.embedded = append(v.embedded, n.row(n.tables()[stream]+".items.weight", int(item)))
		for m := range v.vectors {
			v.vectors[m] = append(v.vectors[m], n.modality(stream, m, item))
		}
	}
	return v
}

// modality is I_t or T_t of one item.
func (n *naive) modality(stream, m int, item int32) vector {
	shape, features := n.config.Modalities[m], n.features[m]
	name := fmt.Sprintf("modalities.%d.%s", stream, shape.Name)
	absent := !features.Present[item]
	x := n.feature(m, int(item))
	if absent {
		x = make(vector, shape.Size)
		if n.config.Missing == MissingMean {
			x = n.meanFeature(m)
		}
	}
	if n.config.Tables == TablesTrainable {
		x = n.row(name+".table", int(item))
	}
	out := n.linear(name+".projection", x)
	if absent && n.config.Missing == MissingLearned {
		out = plus(out, n.row(name+".missing", 0))
	}
	return out
}

func (n *naive) feature(m, item int) vector {
	x := make(vector, n.config.Modalities[m].Size)
	for j := range x {
		x[j] = float64(n.features[m].Vectors[item*len(x)+j])
	}
	return x
}

func (n *naive) meanFeature(m int) vector {
	var present []vector
	for item, yes := range n.features[m].Present {
		if item > 0 && yes {
			present = append(present, n.feature(m, item))
		}
	}
	return average(present)
}

func (n *naive) expert(e int, pooled []vector) vector {
	name := "experts." + expertNames(n.config)[e]
	return n.linear(name+".outer", gelu(n.linear(name+".inner", slices.Concat(pooled...))))
}

// pooled averages over what experts and gate read at a place: the item alone,
// its past, or everything.
func (n *naive) pooled(vs []vector, t int) vector {
	switch {
	case n.config.FusionScope == ScopeItem:
		return vs[t]
	case n.config.Mode == Causal:
		return average(vs[:t+1])
	default:
		return average(vs)
	}
}

func (n *naive) pooledModalities(v view, t int) []vector {
	var out []vector
	for _, vs := range v.vectors {
		out = append(out, n.pooled(vs, t))
	}
	return out
}

func (n *naive) mixture(v view, t int) vector {
	pooled := n.pooledModalities(v, t)
	var opinions []vector
	for e := range n.config.Experts() {
		opinions = append(opinions, n.expert(e, pooled))
	}
	if len(opinions) == 1 {
		return opinions[0]
	}
	inputs := slices.Concat(append(slices.Clone(opinions), n.pooled(v.embedded, t))...)
	weights := softmax(scale(n.linear("gate.outer", gelu(n.linear("gate.inner", inputs))), 1/n.config.GateTemperature))
	out := make(vector, n.config.Hidden)
	for i, o := range opinions {
		out = plus(out, scale(o, weights[i]))
	}
	return out
}

// hidden are the states of one sequence.
func (n *naive) hidden(items []int32) []vector {
	views := n.views(items)
	return n.encode(views, func(stream, t int) vector { return n.fused(views[stream], t) })
}

// fused is what experts and modalities add to a stream at one place.
func (n *naive) fused(v view, t int) vector {
	if len(v.vectors) == 0 {
		return make(vector, n.config.Hidden)
	}
	sum := n.mixture(v, t)
	for _, vs := range v.vectors {
		if n.config.DirectSum {
			sum = plus(sum, vs[t])
		}
	}
	return sum
}

// encode gives the states of one sequence, with something added to each stream
// at each place.
func (n *naive) encode(views []view, added func(stream, t int) vector) []vector {
	inputs := make([][]vector, len(views)) // [stream][place]
	for stream, v := range views {
		for t, e := range v.embedded {
			position := n.row(n.tables()[stream]+".positions.weight", n.config.MaxLength-len(v.embedded)+t)
			inputs[stream] = append(inputs[stream], n.norm("backbone.norm", plus(e, position, added(stream, t))))
		}
	}
	if n.config.Backbone == backbone.STOSAName {
		return n.stosa(inputs[0], inputs[1])
	}
	return n.sasrec(inputs[0])
}

// sasrec are the states of one sequence, whose first norm is x.
func (n *naive) sasrec(x []vector) []vector {
	for layer := range n.config.Layers {
		x = n.block(fmt.Sprintf("backbone.layers.%d", layer), x)
	}
	return x
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

// noiseRows gives unit-normal values, [rows][width].
type noiseRows func(rows, width int) []vector

// replacements stand for modalities: [stream][expert][modality][sequence].
type replacements [][][][]vector

func (n *naive) replacements(sequences [][]int32, noise noiseRows) replacements {
	out := make(replacements, len(n.tables()))
	for stream := range out {
		pooled := make([][]vector, len(n.config.Modalities)) // [modality][sequence]
		for _, items := range sequences {
			for m, p := range n.pooledModalities(n.view(stream, items), len(items)-1) {
				pooled[m] = append(pooled[m], p)
			}
		}
		for range n.config.Experts() {
			var expert [][]vector
			for _, batch := range pooled {
				expert = append(expert, n.replace(batch, noise))
			}
			out[stream] = append(out[stream], expert)
		}
	}
	return out
}

// replace is what stands for one modality in each sequence of a batch.
func (n *naive) replace(batch []vector, noise noiseRows) []vector {
	size := len(batch[0])
	switch n.config.Replacement {
	case ReplaceUnit:
		return noise(len(batch), size)
	case ReplaceZero:
		return slices.Repeat([]vector{make(vector, size)}, len(batch))
	case ReplaceMean:
		return slices.Repeat([]vector{average(batch)}, len(batch))
	case ReplacePermute:
		return followers(batch, noise(len(batch), 1))
	default:
		return matched(batch, noise(len(batch), size))
	}
}

// followers gives each vector the one with the next greater key, and that with
// the greatest key the one with the least.
func followers(batch, keys []vector) []vector {
	out := make([]vector, len(batch))
	for i := range batch {
		least, next := 0, -1
		for j, key := range keys {
			if key[0] < keys[least][0] {
				least = j
			}
			if key[0] > keys[i][0] && (next < 0 || key[0] < keys[next][0]) {
				next = j
			}
		}
		if next < 0 {
			next = least
		}
		out[i] = batch[next]
	}
	return out
}

// matched gives noise the mean and deviation of the batch, component by
// component.
func matched(batch, noise []vector) []vector {
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

// interaction is the weighted loss of a batch.
func (n *naive) interaction(sequences [][]int32, replaced replacements) float64 {
	total := 0.0
	for e, lambda := range n.config.lambdas() {
		for s, items := range sequences {
			compared := n.compared(e, items, func(stream, m int) vector { return replaced[stream][e][m][s] })
			for _, c := range compared {
				total += lambda * n.loss(e, c) / float64(len(sequences)*len(compared))
			}
		}
	}
	return total
}

// naiveComparison is what follows from all modalities and from each one replaced.
type naiveComparison struct {
	full     vector
	replaced []vector // by modality
}

// compare makes one of what is given for a modality to replace, and for -1 to
// replace none.
func (n *naive) compare(follows func(m int) vector) naiveComparison {
	c := naiveComparison{full: follows(-1)}
	for m := range n.config.Modalities {
		c.replaced = append(c.replaced, follows(m))
	}
	return c
}

// compared is what the loss of one expert looks at in one sequence: what it
// says in each stream, or the one state that is predicted.
func (n *naive) compared(e int, items []int32, replacement func(stream, m int) vector) []naiveComparison {
	views, newest := n.views(items), len(items)-1
	say := func(stream, m, t int) vector {
		pooled := n.pooledModalities(views[stream], t)
		if m >= 0 {
			pooled[m] = replacement(stream, m)
		}
		return n.expert(e, pooled)
	}
	if n.config.LossOn == LossOnPrediction {
		return []naiveComparison{n.compare(func(m int) vector {
			return n.encode(views, func(stream, t int) vector { return say(stream, m, t) })[newest]
		})}
	}
	var said []naiveComparison
	for stream := range views {
		said = append(said, n.compare(func(m int) vector { return say(stream, m, newest) }))
	}
	return said
}

func (n *naive) distance(a, b vector) float64 {
	if n.config.Distance == DistanceEuclidean {
		squares := 0.0
		for i := range a {
			squares += (a[i] - b[i] + distanceEps) * (a[i] - b[i] + distanceEps)
		}
		return math.Sqrt(squares)
	}
	return 1 - similarity(a, b)
}

func similarity(a, b vector) float64 { return dot(a, b) / math.Sqrt(dot(a, a)*dot(b, b)) }

func (n *naive) loss(expert int, c naiveComparison) float64 {
	others := float64(len(c.replaced) - 1)
	hinge, similar := n.config.Margin, 0.0
	for m, r := range c.replaced {
		similar += similarity(c.full, r) / float64(len(c.replaced))
		if m == expert {
			hinge -= n.distance(c.full, r)
		} else {
			hinge += n.distance(c.full, r) / others
		}
	}
	switch expert - len(c.replaced) {
	case 0:
		return similar
	case 1:
		return 1 - similar
	default:
		return max(0, hinge)
	}
}
