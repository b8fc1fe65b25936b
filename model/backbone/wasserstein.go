package backbone

import "github.com/prismflow/prismflow/model/gotorch"

// gaussian is a normal distribution for each place or item. Its components are
// independent, so cov is the diagonal of a covariance matrix.
type gaussian struct {
	mean, cov *gotorch.Tensor // [..., size] each; cov is more than 0
}

// covariance makes one of any number, as ELU(x) + 1. Written so, it is above 0 also
// where ELU rounds to -1, from x = -17 down.
func covariance(x *gotorch.Tensor) *gotorch.Tensor {
	return x.Clamp(nil, 0.0).Exp().Add(x.ReLU())
}

// point is the mean and the standard deviations side by side, [..., 2·size]. The
// squared 2-Wasserstein distance of two distributions with diagonal covariances,
// ‖μ - ν‖² + ‖√c - √d‖², is the squared Euclidean distance of their points.
func (g gaussian) point() *gotorch.Tensor {
	deviation := g.cov.Clamp(leastCovariance(g.cov.DType()), nil).Sqrt()
	return g.mean.Session().Cat(-1, g.mean, deviation)
}

// leastCovariance keeps the derivative of the root, 1/(2√c), within what a
// gradient of the type can bear.
func leastCovariance(dtype gotorch.DType) float64 {
	switch dtype {
	case gotorch.Float16, gotorch.BFloat16:
		return 1e-6
	default:
		return 1e-24
	}
}

// wasserstein is the squared distance of points [..., size], pair by pair: [...].
// It is exact: never below 0, and 0 between a point and itself.
func wasserstein(a, b *gotorch.Tensor) *gotorch.Tensor {
	return a.Sub(b).Square().Sum(-1)
}

// nearness is, for points [..., n, size] and others [..., m, size], 2a·b - ‖b‖²:
// [..., n, m]. Short of -‖a‖², which a whole row has in common, that is minus the
// squared distance, and needs no tensor of n·m·size.
func nearness(a, b *gotorch.Tensor) *gotorch.Tensor {
	return a.Mul(2).MatMul(b.Transpose(-1, -2)).Sub(b.Square().Sum(-1).Unsqueeze(-2))
}
