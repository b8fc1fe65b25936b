package prism

import (
	"fmt"
	"math"
	"slices"
)

// normal is a distribution with a diagonal covariance.
type normal struct{ mean, cov vector }

// distance is the squared 2-Wasserstein distance, written as its definition has it.
func (a normal) distance(b normal) (sum float64) {
	for i := range a.mean {
		sum += math.Pow(a.mean[i]-b.mean[i], 2) + math.Pow(math.Sqrt(a.cov[i])-math.Sqrt(b.cov[i]), 2)
	}
	return sum
}

func (a normal) part(from, to int) normal { return normal{a.mean[from:to], a.cov[from:to]} }

func elu(x vector) vector {
	out := make(vector, len(x))
	for i, v := range x {
		out[i] = v
		if v < 0 {
			out[i] = math.Expm1(v)
		}
	}
	return out
}

func eluPlusOne(x vector) vector {
	out := elu(x)
	for i := range out {
		out[i]++
	}
	return out
}

// stosa are the states of one sequence, whose first norms are given by stream:
// mean and covariance side by side.
func (n *naive) stosa(means, covs []vector) []vector {
	var x []normal
	for t := range means {
		x = append(x, normal{elu(means[t]), eluPlusOne(covs[t])})
	}
	for layer := range n.config.Layers {
		x = n.stosaLayer(fmt.Sprintf("backbone.layers.%d", layer), x)
	}
	var out []vector
	for _, state := range x {
		out = append(out, slices.Concat(state.mean, state.cov))
	}
	return out
}

func (n *naive) stosaLayer(name string, x []normal) []normal {
	project := func(what string, of normal) normal {
		return normal{n.linear(name+".mean."+what, of.mean), eluPlusOne(n.linear(name+".cov."+what, of.cov))}
	}
	var keys, values, out []normal
	for t := range x {
		keys, values = append(keys, project("key", x[t])), append(values, project("value", x[t]))
		context := n.stosaContext(project("query", x[t]), keys, values)
		out = append(out, normal{
			n.stosaSettle(name, "mean", x[t].mean, context.mean),
			eluPlusOne(n.stosaSettle(name, "cov", x[t].cov, context.cov)),
		})
	}
	return out
}

// stosaContext is what one query takes from the values, head by head.
func (n *naive) stosaContext(query normal, keys, values []normal) (context normal) {
	size := n.config.Hidden / n.config.Heads
	for from := 0; from < n.config.Hidden; from += size {
		scores := make(vector, len(keys))
		for k := range keys {
			scores[k] = -query.part(from, from+size).distance(keys[k].part(from, from+size)) / math.Sqrt(float64(size))
		}
		mean, cov := make(vector, size), make(vector, size)
		for k, w := range softmax(scores) {
			value := values[k].part(from, from+size)
			mean, cov = plus(mean, scale(value.mean, w)), plus(cov, scale(value.cov, w*w))
		}
		context = normal{append(context.mean, mean...), append(context.cov, cov...)}
	}
	return context
}

func (n *naive) stosaSettle(name, stream string, x, context vector) vector {
	of := name + "." + stream
	attended := n.norm(name+".attention_norm", plus(x, n.linear(of+".output", context)))
	forwarded := n.linear(of+".outer", elu(n.linear(of+".inner", attended)))
	return n.norm(of+".forward_norm", plus(attended, forwarded))
}
