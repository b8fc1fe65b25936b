package clip

import (
	"cmp"
	"container/heap"
)

// pair are two neighbouring tokens of a word.
type pair struct{ left, right int32 }

// merge is the token that a pair becomes, and its rank: pairs of low rank are merged first.
type merge struct{ rank, token int32 }

// mergeAll joins the tokens of a word in place until no pair of neighbours can be merged, always the pair of the lowest
// rank first and of equal ones the leftmost, and returns what is left. A heap of pairs keeps a word of a megabyte from
// taking quadratic time. Since no merge makes a pair of a lower rank than its own (OpenTokenizer sees to that), the order
// is the same as that of the reference, which merges all pairs of a rank at once.
func mergeAll(merges map[pair]merge, word []int32) []int32 {
	w := newMerging(merges, word)
	for w.queue.Len() > 0 {
		w.apply(heap.Pop(&w.queue).(candidate))
	}
	merged := word[:0]
	for at := 0; at < len(w.next); at = w.next[at] {
		merged = append(merged, w.tokens[at])
	}
	return merged
}

// merging is a word in the making: a list of tokens, linked in both directions. A token that was merged into the one
// before it is absent.
type merging struct {
	merges     map[pair]merge
	tokens     []int32
	prev, next []int // of each token: -1 before the first, len(tokens) behind the last
	queue      candidates
}

const absent = -1

func newMerging(merges map[pair]merge, word []int32) *merging {
	w := &merging{merges: merges, tokens: word, prev: make([]int, len(word)), next: make([]int, len(word))}
	for i := range word {
		w.prev[i], w.next[i] = i-1, i+1
	}
	for i := range word {
		w.propose(i)
	}
	return w
}

// propose queues the merge of the token at a place with the one behind it, if there is such a merge.
func (w *merging) propose(at int) {
	if at < 0 || w.next[at] == len(w.tokens) {
		return
	}
	p := pair{w.tokens[at], w.tokens[w.next[at]]}
	if m, ok := w.merges[p]; ok {
		heap.Push(&w.queue, candidate{merge: m, pair: p, at: at})
	}
}

// apply merges, unless one of the two tokens was merged otherwise since.
func (w *merging) apply(c candidate) {
	second := w.next[c.at]
	if w.tokens[c.at] != c.left || second == len(w.tokens) || w.tokens[second] != c.right {
		return
	}
	w.tokens[c.at], w.tokens[second] = c.token, absent
	w.next[c.at] = w.next[second]
	if behind := w.next[c.at]; behind < len(w.tokens) {
		w.prev[behind] = c.at
	}
	w.propose(w.prev[c.at])
	w.propose(c.at)
}

// candidate is a merge that the pair at a place allowed when it was queued.
type candidate struct {
	merge
	pair
	at int
}

// candidates are a heap of those to be merged.
type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(c[i].rank, c[j].rank), cmp.Compare(c[i].at, c[j].at)) < 0
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := len(*c) - 1
	popped := (*c)[last]
	*c = (*c)[:last]
	return popped
}
