package gotorch_test

import (
	"embed"
	"math"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// array is a tensor as one would write it without libraries: values row by row.
type array struct {
	shape []int
	data  []float64
}

// build computes every element from its index.
func build(shape []int, f func(i []int) float64) array {
	a := array{shape: shape}
	index := make([]int, len(shape))
	var fill func(dim int)
	fill = func(dim int) {
		if dim == len(shape) {
			a.data = append(a.data, f(index))
			return
		}
		for index[dim] = range shape[dim] {
			fill(dim + 1)
		}
	}
	fill(0)
	return a
}

func (a array) at(i ...int) float64 {
	offset := 0
	for d, n := range a.shape {
		offset = offset*n + i[d]
	}
	return a.data[offset]
}

func (a array) each(f func(float64) float64) array {
	return build(a.shape, func(i []int) float64 { return f(a.at(i...)) })
}

// with pairs each element with that of b, whose sizes of one are repeated.
func (a array) with(b array, f func(x, y float64) float64) array {
	return build(a.shape, func(i []int) float64 {
		j := slices.Clone(i[len(i)-len(b.shape):])
		for d, n := range b.shape {
			j[d] = min(j[d], n-1)
		}
		return f(a.at(i...), b.at(j...))
	})
}

// line is the elements along a dimension.
func (a array) line(dim int, i []int) []float64 {
	out := make([]float64, a.shape[dim])
	for k := range out {
		j := slices.Clone(i)
		j[dim] = k
		out[k] = a.at(j...)
	}
	return out
}

// along replaces each line of a dimension by a line as long.
func (a array) along(dim int, f func([]float64) []float64) array {
	return build(a.shape, func(i []int) float64 { return f(a.line(dim, i))[i[dim]] })
}

// fold makes one number of each line of a dimension, which stays with size one.
func (a array) fold(dim int, f func([]float64) float64) array {
	shape := slices.Clone(a.shape)
	shape[dim] = 1
	return build(shape, func(i []int) float64 { return f(a.line(dim, i)) })
}

func (a array) as(shape ...int) array { return array{shape, a.data} }

func scalar(v float64) array { return array{[]int{}, []float64{v}} }

func random(r *rand.Rand, shape ...int) array {
	return build(shape, func([]int) float64 { return 4*r.Float64() - 2 })
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func sum(v []float64) (total float64) {
	for _, x := range v {
		total += x
	}
	return total
}

func mean(v []float64) float64 { return sum(v) / float64(len(v)) }

func norm(v []float64) (total float64) {
	for _, x := range v {
		total += x * x
	}
	return math.Sqrt(total)
}

func logSumExp(v []float64) (total float64) {
	for _, x := range v {
		total += math.Exp(x)
	}
	return math.Log(total)
}

// argBest is the index of the element that no other one beats.
func argBest(v []float64, beats func(x, y float64) bool) int {
	best := 0
	for i, x := range v {
		if beats(x, v[best]) {
			best = i
		}
	}
	return best
}

func greater(x, y float64) bool { return x > y }
func less(x, y float64) bool    { return x < y }

// order is the indices of v's elements, greatest first.
func order(v []float64) []float64 {
	indices := make([]int, len(v))
	for i := range indices {
		indices[i] = i
	}
	slices.SortStableFunc(indices, func(i, j int) int {
		return int(truth(v[i] < v[j])) - int(truth(v[i] > v[j]))
	})
	out := make([]float64, len(v))
	for i, index := range indices {
		out[i] = float64(index)
	}
	return out
}

func matmul(a, b array) array {
	return build([]int{a.shape[0], b.shape[1]}, func(i []int) (total float64) {
		for k := range a.shape[1] {
			total += a.at(i[0], k) * b.at(k, i[1])
		}
		return total
	})
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// comparison is what an operation gives beside what it should.
type comparison struct {
	got  *gotorch.Tensor
	want array
}

// comparisons run every operation on random numbers, in libtorch and in the
// simplest Go. Names are those of methods.
func comparisons(s *gotorch.Session) map[string]func() []comparison {
	type T = *gotorch.Tensor
	r := rand.New(rand.NewPCG(1, 2))
	x, y, row := random(r, 2, 3, 4), random(r, 2, 3, 4), random(r, 4)
	positive := x.each(func(v float64) float64 { return math.Abs(v) + 0.1 })
	m, n := random(r, 3, 4), random(r, 4, 5)
	a, b := m.each(func(v float64) float64 { return truth(v > 0) }), random(r, 3, 4).each(func(v float64) float64 { return truth(v > 0) })
	rounded := x.each(math.Round)

	in := func(v array) T {
		shape := make([]int64, len(v.shape))
		for i, d := range v.shape {
			shape[i] = int64(d)
		}
		if len(shape) == 0 {
			return s.Call1("aten::full", shape, v.data[0], gotorch.Named("dtype", gotorch.Float64), gotorch.Named("device", s.Device()))
		}
		return s.FromFloat64(v.data, shape...)
	}
	mask := func(v array) T { return in(v).Ne(0) }
	ints := func(v ...int64) T { return s.FromInt64(v) }
	one := func(got T, want array) []comparison { return []comparison{{got, want}} }

	unaryOf := func(x array, op func(T) T, f func(float64) float64) func() []comparison {
		return func() []comparison { return one(op(in(x)), x.each(f)) }
	}
	unary := func(op func(T) T, f func(float64) float64) func() []comparison { return unaryOf(x, op, f) }
	// binary tries a tensor of the same shape, a broadcast one and a number.
	binaryOf := func(x, y array, op func(T, any) T, f func(x, y float64) float64) func() []comparison {
		return func() []comparison {
			return []comparison{
				{op(in(x), in(y)), x.with(y, f)},
				{op(in(x), in(row)), x.with(row, f)},
				{op(in(x), 2.0), x.each(func(v float64) float64 { return f(v, 2) })},
			}
		}
	}
	binary := func(op func(T, any) T, f func(x, y float64) float64) func() []comparison {
		return binaryOf(x, y, op, f)
	}
	compared := func(op func(T, any) T, f func(x, y float64) bool) func() []comparison {
		return binaryOf(rounded, y.each(math.Round), op, func(x, y float64) float64 { return truth(f(x, y)) })
	}
	// paired is for operations on two tensors that return one.
	paired := func(op func(T, T) T, f func(x, y float64) float64) func() []comparison {
		return func() []comparison { return one(op(in(x), in(y)), x.with(y, f)) }
	}
	logical := func(op func(T, T) T, f func(x, y bool) bool) func() []comparison {
		return func() []comparison {
			return one(op(mask(a), mask(b)), a.with(b, func(x, y float64) float64 { return truth(f(x != 0, y != 0)) }))
		}
	}
	reduced := func(op func(T, ...int) T, f func([]float64) float64) func() []comparison {
		return func() []comparison {
			return []comparison{
				{op(in(x)), scalar(f(x.data))},
				{op(in(x), 1), x.fold(1, f).as(2, 4)},
				{op(in(x), -1), x.fold(2, f).as(2, 3)},
			}
		}
	}
	kept := func(op func(T, ...int) T, f func([]float64) float64) func() []comparison {
		return func() []comparison { return one(op(in(x), 1), x.fold(1, f)) }
	}
	lines := func(op func(T, int) T, f func([]float64) []float64) func() []comparison {
		return func() []comparison {
			return []comparison{{op(in(x), 1), x.along(1, f)}, {op(in(x), -1), x.along(2, f)}}
		}
	}
	// best is for the greatest or least of each line and where it is.
	best := func(op func(T, int, bool) (T, T), beats func(x, y float64) bool) func() []comparison {
		return func() []comparison {
			values, indices := op(in(x), 1, true)
			flat, _ := op(in(x), 1, false)
			value := func(v []float64) float64 { return v[argBest(v, beats)] }
			return []comparison{
				{values, x.fold(1, value)},
				{indices, x.fold(1, func(v []float64) float64 { return float64(argBest(v, beats)) })},
				{flat, x.fold(1, value).as(2, 4)},
			}
		}
	}
	// moved is for operations that only move elements.
	moved := func(op func(T) T, shape []int, from func(i []int) []int) func() []comparison {
		return func() []comparison {
			return one(op(in(x)), build(shape, func(i []int) float64 { return x.at(from(i)...) }))
		}
	}
	filled := func(op func() T, v float64, shape ...int) func() []comparison {
		return func() []comparison { return one(op(), build(shape, func([]int) float64 { return v })) }
	}
	same := func(i []int) []int { return i }

	return map[string]func() []comparison{
		"Add": binary(T.Add, func(x, y float64) float64 { return x + y }),
		"Sub": binary(T.Sub, func(x, y float64) float64 { return x - y }),
		"Mul": binary(T.Mul, func(x, y float64) float64 { return x * y }),
		"Div": binary(T.Div, func(x, y float64) float64 { return x / y }),
		"Pow": func() []comparison {
			return []comparison{
				{in(positive).Pow(in(y)), positive.with(y, math.Pow)},
				{in(x).Pow(3), x.each(func(v float64) float64 { return v * v * v })},
			}
		},
		"Eq": compared(T.Eq, func(x, y float64) bool { return x == y }),
		"Ne": compared(T.Ne, func(x, y float64) bool { return x != y }),
		"Lt": compared(T.Lt, less),
		"Le": compared(T.Le, func(x, y float64) bool { return x <= y }),
		"Gt": compared(T.Gt, greater),
		"Ge": compared(T.Ge, func(x, y float64) bool { return x >= y }),

		"Neg":    unary(T.Neg, func(v float64) float64 { return -v }),
		"Abs":    unary(T.Abs, math.Abs),
		"Exp":    unary(T.Exp, math.Exp),
		"Log":    unaryOf(positive, T.Log, math.Log),
		"Log1p":  unaryOf(positive, T.Log1p, math.Log1p),
		"Sqrt":   unaryOf(positive, T.Sqrt, math.Sqrt),
		"Rsqrt":  unaryOf(positive, T.Rsqrt, func(v float64) float64 { return 1 / math.Sqrt(v) }),
		"Square": unary(T.Square, func(v float64) float64 { return v * v }),
		"Sin":    unary(T.Sin, math.Sin),
		"Cos":    unary(T.Cos, math.Cos),
		"Erf":    unary(T.Erf, math.Erf),
		"Floor":  unary(T.Floor, math.Floor),
		"Sign":   unaryOf(rounded, T.Sign, func(v float64) float64 { return truth(v > 0) - truth(v < 0) }),

		"Sigmoid":    unary(T.Sigmoid, sigmoid),
		"LogSigmoid": unary(T.LogSigmoid, func(v float64) float64 { return math.Log(sigmoid(v)) }),
		"Tanh":       unary(T.Tanh, math.Tanh),
		"ReLU":       unary(T.ReLU, func(v float64) float64 { return max(v, 0) }),
		"GELU":       unary(T.GELU, func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) }),
		"SiLU":       unary(T.SiLU, func(v float64) float64 { return v * sigmoid(v) }),
		"Softplus":   unary(T.Softplus, func(v float64) float64 { return math.Log(1 + math.Exp(v)) }),
		"ELU":        unary(T.ELU, func(v float64) float64 { return max(v, 0) + min(math.Exp(v)-1, 0) }),

		"IsNaN": unaryOf(array{[]int{3}, []float64{1, math.NaN(), inf}}, T.IsNaN, func(v float64) float64 { return truth(math.IsNaN(v)) }),
		"IsInf": unaryOf(array{[]int{3}, []float64{math.NaN(), -inf, inf}}, T.IsInf, func(v float64) float64 { return truth(math.IsInf(v, 0)) }),
		"Clamp": unary(func(t T) T { return t.Clamp(-0.5, 1) }, func(v float64) float64 { return min(max(v, -0.5), 1) }),

		"Maximum":    paired(T.Maximum, func(x, y float64) float64 { return max(x, y) }),
		"Minimum":    paired(T.Minimum, func(x, y float64) float64 { return min(x, y) }),
		"LogicalAnd": logical(T.LogicalAnd, func(x, y bool) bool { return x && y }),
		"LogicalOr":  logical(T.LogicalOr, func(x, y bool) bool { return x || y }),
		"LogicalNot": unaryOf(a, T.LogicalNot, func(v float64) float64 { return truth(v == 0) }),

		"All":    func() []comparison { return one(mask(a).All(), scalar(slices.Min(a.data))) },
		"Any":    func() []comparison { return one(mask(a).Any(), scalar(slices.Max(a.data))) },
		"AllDim": func() []comparison { return one(mask(a).AllDim(1), a.fold(1, slices.Min[[]float64]).as(3)) },
		"AnyDim": func() []comparison { return one(mask(a).AnyDim(0), a.fold(0, slices.Max[[]float64]).as(4)) },

		"Sum":      reduced(T.Sum, sum),
		"Mean":     reduced(T.Mean, mean),
		"SumKeep":  kept(T.SumKeep, sum),
		"MeanKeep": kept(T.MeanKeep, mean),
		"NormKeep": kept(T.NormKeep, norm),
		"Norm":     func() []comparison { return one(in(x).Norm(), scalar(norm(x.data))) },
		"Max":      func() []comparison { return one(in(x).Max(), scalar(slices.Max(x.data))) },
		"Min":      func() []comparison { return one(in(x).Min(), scalar(slices.Min(x.data))) },
		"MaxDim":   best(T.MaxDim, greater),
		"MinDim":   best(T.MinDim, less),
		"ArgMax": func() []comparison {
			return one(in(x).ArgMax(1), x.fold(1, func(v []float64) float64 { return float64(argBest(v, greater)) }).as(2, 4))
		},
		"ArgMin": func() []comparison {
			return one(in(x).ArgMin(1), x.fold(1, func(v []float64) float64 { return float64(argBest(v, less)) }).as(2, 4))
		},
		"LogSumExp": func() []comparison { return one(in(x).LogSumExp(1), x.fold(1, logSumExp).as(2, 4)) },
		"TopK": func() []comparison {
			_, indices := in(m).TopK(2)
			all := m.along(1, order)
			return one(indices, build([]int{3, 2}, func(i []int) float64 { return all.at(i...) }))
		},
		"Sort": func() []comparison {
			values, indices := in(x).Sort(1, true)
			return []comparison{
				{indices, x.along(1, order)},
				{values, x.along(1, func(v []float64) []float64 {
					v = slices.Sorted(slices.Values(v))
					slices.Reverse(v)
					return v
				})},
			}
		},
		"Cumsum": lines(T.Cumsum, func(v []float64) []float64 {
			for i := range v[1:] {
				v[i+1] += v[i]
			}
			return v
		}),
		"Softmax": lines(T.Softmax, func(v []float64) []float64 {
			total := logSumExp(v)
			for i := range v {
				v[i] = math.Exp(v[i] - total)
			}
			return v
		}),
		"LogSoftmax": lines(T.LogSoftmax, func(v []float64) []float64 {
			total := logSumExp(v)
			for i := range v {
				v[i] -= total
			}
			return v
		}),

		"MatMul": func() []comparison {
			product := matmul(m, n)
			return []comparison{
				{in(m).MatMul(in(n)), product},
				{in(m).View(1, 3, 4).MatMul(in(n)), product.as(1, 3, 5)},
			}
		},
		"Bmm": func() []comparison {
			return one(s.Stack(0, in(m), in(m)).Bmm(s.Stack(0, in(n), in(n))).Select(0, 1), matmul(m, n))
		},
		"Dot": func() []comparison {
			return one(in(row).Dot(in(row)), scalar(norm(row.data)*norm(row.data)))
		},

		"T": func() []comparison {
			return one(in(m).T(), build([]int{4, 3}, func(i []int) float64 { return m.at(i[1], i[0]) }))
		},
		"Transpose": moved(func(t T) T { return t.Transpose(0, -1) }, []int{4, 3, 2}, func(i []int) []int { return []int{i[2], i[1], i[0]} }),
		"Permute":   moved(func(t T) T { return t.Permute(2, 0, 1) }, []int{4, 2, 3}, func(i []int) []int { return []int{i[1], i[2], i[0]} }),
		"Reshape":   func() []comparison { return one(in(x).Reshape(4, -1), x.as(4, 6)) },
		"View":      func() []comparison { return one(in(x).View(6, 4), x.as(6, 4)) },
		"Flatten":   func() []comparison { return one(in(x).Flatten(1, 2), x.as(2, 12)) },
		"Unsqueeze": func() []comparison { return one(in(x).Unsqueeze(1), x.as(2, 1, 3, 4)) },
		"Squeeze":   func() []comparison { return one(in(row).View(1, 4).Squeeze(0), row) },
		"Expand": func() []comparison {
			return one(in(row).Expand(3, -1), build([]int{3, 4}, func(i []int) float64 { return row.at(i[1]) }))
		},
		"Repeat":     moved(func(t T) T { return t.Repeat(1, 2, 1) }, []int{2, 6, 4}, func(i []int) []int { return []int{i[0], i[1] % 3, i[2]} }),
		"Narrow":     moved(func(t T) T { return t.Narrow(2, 1, 2) }, []int{2, 3, 2}, func(i []int) []int { return []int{i[0], i[1], i[2] + 1} }),
		"Slice":      moved(func(t T) T { return t.Slice(2, -3, 4, 2) }, []int{2, 3, 2}, func(i []int) []int { return []int{i[0], i[1], 1 + 2*i[2]} }),
		"Select":     moved(func(t T) T { return t.Select(1, -1) }, []int{2, 4}, func(i []int) []int { return []int{i[0], 2, i[1]} }),
		"Split":      moved(func(t T) T { return t.Split(3, 2)[1] }, []int{2, 3, 1}, func(i []int) []int { return []int{i[0], i[1], 3} }),
		"Chunk":      moved(func(t T) T { return t.Chunk(2, 0)[1] }, []int{1, 3, 4}, func(i []int) []int { return []int{1, i[1], i[2]} }),
		"Contiguous": moved(func(t T) T { return t.Transpose(0, 1).Contiguous() }, []int{3, 2, 4}, func(i []int) []int { return []int{i[1], i[0], i[2]} }),
		"Clone":      moved(T.Clone, x.shape, same),
		"Detach":     moved(T.Detach, x.shape, same),
		"ToDevice":   moved(func(t T) T { return t.ToDevice(s.Device()) }, x.shape, same),
		"To":         unary(func(t T) T { return t.To(gotorch.Int64) }, math.Trunc),

		"IndexSelect": moved(func(t T) T { return t.IndexSelect(1, ints(2, 0)) }, []int{2, 2, 4}, func(i []int) []int { return []int{i[0], 2 - 2*i[1], i[2]} }),
		"Index":       moved(func(t T) T { return t.Index(nil, ints(2, 0)) }, []int{2, 2, 4}, func(i []int) []int { return []int{i[0], 2 - 2*i[1], i[2]} }),
		"Gather": func() []comparison {
			return one(in(m).Gather(1, ints(3, 0, 1).View(3, 1)), array{[]int{3, 1}, []float64{m.at(0, 3), m.at(1, 0), m.at(2, 1)}})
		},
		"ScatterAdd": func() []comparison {
			want := slices.Clone(row.data)
			want[2] += 1 + 10
			want[0] += 100
			return one(in(row).ScatterAdd(0, ints(2, 2, 0), in(array{[]int{3}, []float64{1, 10, 100}})), array{[]int{4}, want})
		},
		"ScatterAddInPlace": func() []comparison {
			want := slices.Clone(row.data)
			want[1] += 7
			return one(in(row).ScatterAddInPlace(0, ints(1), in(array{[]int{1}, []float64{7}})), array{[]int{4}, want})
		},
		"NonZero": func() []comparison {
			var want []float64
			for i, v := range a.data {
				if v != 0 {
					want = append(want, float64(i/4), float64(i%4))
				}
			}
			return one(in(a).NonZero(), array{[]int{len(want) / 2, 2}, want})
		},
		"MaskedFill": func() []comparison {
			return one(in(m).MaskedFill(mask(a), -7), m.with(a, func(x, y float64) float64 { return x*(1-y) - 7*y }))
		},
		"MaskedSelect": func() []comparison {
			var want []float64
			for i, v := range a.data {
				if v != 0 {
					want = append(want, m.data[i])
				}
			}
			return one(in(m).MaskedSelect(mask(a)), array{[]int{len(want)}, want})
		},
		"Tril": func() []comparison {
			return one(in(m).Tril(-1), build(m.shape, func(i []int) float64 { return m.at(i...) * truth(i[1] <= i[0]-1) }))
		},
		"Triu": func() []comparison {
			return one(in(m).Triu(1), build(m.shape, func(i []int) float64 { return m.at(i...) * truth(i[1] >= i[0]+1) }))
		},
		"Cat": func() []comparison {
			return one(s.Cat(1, in(m), in(m)), build([]int{3, 8}, func(i []int) float64 { return m.at(i[0], i[1]%4) }))
		},
		"Stack": func() []comparison {
			return one(s.Stack(1, in(row), in(row)), build([]int{4, 2}, func(i []int) float64 { return row.at(i[0]) }))
		},
		"Where": func() []comparison {
			return one(s.Where(mask(a), in(m), in(b)), build(m.shape, func(i []int) float64 { return a.at(i...)*m.at(i...) + (1-a.at(i...))*b.at(i...) }))
		},

		"AddInPlace": func() []comparison {
			return []comparison{
				{in(x).AddInPlace(in(row), -2), x.with(row, func(x, y float64) float64 { return x - 2*y })},
				{in(x).AddInPlace(3, 0.5), x.each(func(v float64) float64 { return v + 1.5 })},
			}
		},
		"MulInPlace": binary(T.MulInPlace, func(x, y float64) float64 { return x * y }),
		"DivInPlace": binary(T.DivInPlace, func(x, y float64) float64 { return x / y }),
		"AddcmulInPlace": func() []comparison {
			return one(in(x).AddcmulInPlace(in(y), in(y), 0.5), x.with(y, func(x, y float64) float64 { return x + 0.5*y*y }))
		},
		"AddcdivInPlace": func() []comparison {
			return one(in(x).AddcdivInPlace(in(y), in(positive), 2), x.with(y, func(x, y float64) float64 { return x + 2*y/(math.Abs(x)+0.1) }))
		},
		"ZeroInPlace":  unary(T.ZeroInPlace, func(float64) float64 { return 0 }),
		"FillInPlace":  unary(func(t T) T { return t.FillInPlace(2.5) }, func(float64) float64 { return 2.5 }),
		"ClampInPlace": unary(func(t T) T { return t.ClampInPlace(nil, 0.5) }, func(v float64) float64 { return min(v, 0.5) }),
		"ExpInPlace":   unary(T.ExpInPlace, math.Exp),
		"LtInPlace":    unary(func(t T) T { return t.LtInPlace(0.25) }, func(v float64) float64 { return truth(v < 0.25) }),
		"CopyFrom":     paired(T.CopyFrom, func(_, y float64) float64 { return y }),
		"MaskedFillInPlace": func() []comparison {
			return one(in(m).MaskedFillInPlace(mask(a), 9), m.with(a, func(x, y float64) float64 { return x*(1-y) + 9*y }))
		},

		"Zeros":     filled(func() T { return s.Zeros(2, 3) }, 0, 2, 3),
		"ZerosOf":   filled(func() T { return s.ZerosOf(gotorch.Int64, 2) }, 0, 2),
		"Ones":      filled(func() T { return s.Ones(3) }, 1, 3),
		"Full":      filled(func() T { return s.Full(-1.5, 2, 2) }, -1.5, 2, 2),
		"FullOf":    filled(func() T { return s.FullOf(gotorch.Uint8, 7, 2) }, 7, 2),
		"Scalar":    func() []comparison { return one(s.Scalar(2.5), scalar(2.5)) },
		"ZerosLike": filled(func() T { return s.ZerosLike(in(x)) }, 0, x.shape...),
		"OnesLike":  filled(func() T { return s.OnesLike(in(x)) }, 1, x.shape...),
		"Empty": func() []comparison {
			return one(s.Empty(gotorch.Float64, 2, 3).FillInPlace(1), array{[]int{2, 3}, []float64{1, 1, 1, 1, 1, 1}})
		},
		"Eye": func() []comparison {
			return one(s.Eye(3), build([]int{3, 3}, func(i []int) float64 { return truth(i[0] == i[1]) }))
		},
		"Arange": func() []comparison { return one(s.Arange(-2, 7, 3), array{[]int{3}, []float64{-2, 1, 4}}) },

		"FromFloat64": func() []comparison { return one(s.FromFloat64(x.data, 2, 3, 4), x) },
		"FromFloat32": func() []comparison { return one(s.FromFloat32([]float32{1, 2.5}), array{[]int{2}, []float64{1, 2.5}}) },
		"FromInt64": func() []comparison {
			return one(s.FromInt64([]int64{-3, 1 << 40}), array{[]int{2}, []float64{-3, 1 << 40}})
		},
		"FromUint8": func() []comparison { return one(s.FromUint8([]uint8{0, 255}), array{[]int{2}, []float64{0, 255}}) },
		"FromBool":  func() []comparison { return one(s.FromBool([]bool{true, false}), array{[]int{2}, []float64{1, 0}}) },
	}
}

func TestOperationsAreTheNaiveOnes(t *testing.T) {
	s := torchtest.Session(t)
	for name, compare := range comparisons(s) {
		t.Run(name, func(t *testing.T) {
			if err := s.Run(func() {
				for i, c := range compare() {
					want := make([]int64, len(c.want.shape))
					for d, n := range c.want.shape {
						want[d] = int64(n)
					}
					if diff := cmp.Diff(want, c.got.Shape()); diff != "" {
						t.Errorf("%d: shape: %s", i, diff)
					}
					if diff := cmp.Diff(c.want.data, c.got.Float64s(), cmpopts.EquateApprox(1e-12, 1e-12)); diff != "" {
						t.Errorf("%d: %s", i, diff)
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// otherwiseTested are the methods that compute nothing that the simplest Go
// could, and the test that each has.
var otherwiseTested = map[string]string{
	"Rand": "TestRandomOperators", "Randn": "TestRandomOperators", "RandInt": "TestRandomOperators", "RandPerm": "TestRandomOperators",
	"NormalInPlace": "TestRandomOperators", "UniformInPlace": "TestRandomOperators", "BernoulliInPlace": "TestRandomOperators",

	"Backward": "TestBackwardFiniteDifference", "Gradients": "TestGradients", "BackwardWith": "TestGradients", "Grad": "TestGradients",
	"SetGrad": "TestGradients", "RequiresGrad": "TestGradients", "NeedsGrad": "TestNoGrad", "NoGrad": "TestNoGrad",

	"Float32s": "TestHostRoundTrip", "Int64s": "TestHostRoundTrip", "Bools": "TestHostRoundTrip", "Item": "TestHostRoundTrip",
	"Shape": "TestHostRoundTrip", "Float64s": "TestOperatorsAtTheEdges", "CopyToFloat32": "TestDescriptions", "DType": "TestDescriptions",
	"Device": "TestDescriptions", "Dim": "TestDescriptions", "Size": "TestDescriptions", "Numel": "TestDescriptions",
	"String": "TestDescriptions", "Session": "TestDescriptions",

	"Call": "TestCallFillsDefaultsAndNames", "Call1": "TestCallFillsDefaultsAndNames", "CallAny": "TestCallFillsDefaultsAndNames",
	"Run": "TestRunPassesOtherPanicsAndCleansUp", "Scoped": "TestScopesFreeWhatTheyMade", "Keep": "TestKeepMovesToTheEnclosingScope",
	"Persist": "TestPersistLivesUntilClose", "Free": "TestPersistLivesUntilClose", "Close": "TestPersistLivesUntilClose", "Valid": "TestPersistLivesUntilClose",
	"Generator": "TestGenerators", "NewGenerator": "TestGenerators", "Library": "TestScopesFreeWhatTheyMade", "Threads": "TestDevices",
	"Synchronize": "TestDevices", "EmptyCache": "TestDevices", "Memory": "TestDevices",
	"NewGraph": "TestGraphRunsAreSteps", "Autocast": "TestAutocastPrecision", "AllowTF32": "TestAllowTF32",
}

//go:embed *_test.go
var testSources embed.FS

// Every exported method of Tensor and Session is compared with the naive
// computation or has a test of its own that calls it.
func TestEveryMethodIsTested(t *testing.T) {
	compared := comparisons(torchtest.Session(t))
	tests := testBodies(t)
	for _, receiver := range []any{(*gotorch.Tensor)(nil), (*gotorch.Session)(nil)} {
		typ := reflect.TypeOf(receiver)
		for i := range typ.NumMethod() {
			name := typ.Method(i).Name
			if _, ok := compared[name]; ok {
				continue
			}
			test := otherwiseTested[name]
			if test == "" {
				t.Errorf("%v.%s: add it to comparisons, or name its test in otherwiseTested", typ, name)
			} else if !strings.Contains(tests[test], "."+name) {
				t.Errorf("%v.%s: %s does not call it", typ, name, test)
			}
		}
	}
}

// testBodies is the source of every test of this package.
func testBodies(t *testing.T) map[string]string {
	bodies := map[string]string{}
	files, err := testSources.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^func (Test\w+)`)
	for _, f := range files {
		text, err := testSources.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		starts := function.FindAllSubmatchIndex(text, -1)
		for i, at := range starts {
			end := len(text)
			if i+1 < len(starts) {
				end = starts[i+1][0]
			}
			bodies[string(text[at[2]:at[3]])] = string(text[at[0]:end])
		}
	}
	return bodies
}

func TestDescriptions(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		x := s.FromFloat32([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
		if x.Dim() != 2 || x.Size(-1) != 3 || x.Numel() != 6 || x.DType() != gotorch.Float32 || x.Session() != s {
			t.Errorf("%d dimensions, last of size %d, %d elements of %v", x.Dim(), x.Size(-1), x.Numel(), x.DType())
		}
		if got := x.Device().Type; got != s.Device().Type {
			t.Errorf("on %v, want %v", got, s.Device())
		}
		if got := x.String(); got != "Tensor float32[2 3]" {
			t.Errorf("String is %q", got)
		}
		values := make([]float32, 6)
		x.CopyToFloat32(values)
		if values[5] != 6 {
			t.Errorf("copied %v", values)
		}
	})
}
