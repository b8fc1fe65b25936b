package training

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// negatives draws items that a user has not had, uniformly and without
// rejection. Of a user's k known items s₁ < … < s_k, s_i - i unknown ones are
// smaller than s_i; so the r-th unknown item, r from 0, is r + 1 + #{i: s_i - i ≤ r},
// and the count is one binary search for all users at once when the numbers
// s_i - i of all users stand in one sorted list, each raised by user·stride.
type negatives struct {
	stride  int64
	gaps    *gotorch.Tensor // int64 [known items of all users]
	offset  *gotorch.Tensor // int64 [users, 1]: where each user's gaps begin
	unknown *gotorch.Tensor // float64 [users, 1]: how many items are unknown to each
}

// newNegatives prepares drawing from 1…items. The tensors live in the current
// scope's session until it closes.
func newNegatives(s *gotorch.Session, users []User, items int, reject Rejection) *negatives {
	n := &negatives{stride: int64(items) + 1}
	var gaps, offsets []int64
	unknown := make([]float64, len(users))
	for i := range users {
		known := users[i].known(reject)
		if len(known) == items {
			known = nil // nothing else is left: any item has to do
		}
		offsets = append(offsets, int64(len(gaps)))
		unknown[i] = float64(items - len(known))
		for j, item := range known {
			gaps = append(gaps, int64(i)*n.stride+int64(item)-int64(j)-1)
		}
	}
	gaps = append(gaps, int64(len(users))*n.stride) // above every search, so that the list is never empty
	n.gaps = s.FromInt64(gaps, int64(len(gaps)))
	n.offset = s.FromInt64(offsets, int64(len(offsets)), 1)
	n.unknown = s.FromFloat64(unknown, int64(len(unknown)), 1)
	s.Persist(n.gaps, n.offset, n.unknown)
	return n
}

// draw gives count negatives to each entry of users, an int64 vector of indices:
// int64 [len(users), count].
func (n *negatives) draw(users *gotorch.Tensor, count int) *gotorch.Tensor {
	s := users.Session()
	// float64: with float32's 24 bits some items of a large catalogue would be drawn more often than others.
	uniform := s.Call1("aten::rand.generator", []int64{users.Numel(), int64(count)}, gotorch.Named("dtype", gotorch.Float64), gotorch.Named("device", s.Device()))
	r := uniform.Mul(backbone.Lookup(n.unknown, users, -1)).To(gotorch.Int64)
	wanted := r.Add(users.Mul(n.stride).Unsqueeze(1))
	smaller := s.Call1("aten::searchsorted.Tensor", n.gaps, wanted, gotorch.Named("right", true)).Sub(backbone.Lookup(n.offset, users, -1))
	return r.Add(smaller).Add(1)
}
