package prism

import (
	"slices"

	"github.com/prismflow/prismflow/model/gotorch"
)

// A userBlock is a block of users in a comparison with all items, which come in
// strips of grid.items. The users are in the order of their answers, so those
// whose answer lies in one strip are neighbours.
type userBlock struct {
	*comparison
	low, high int // the rows of the comparison that are its users

	states  *gotorch.Tensor // [users, size]
	columns *gotorch.Tensor // int64 [users, 1]: where in its strip the answer is
	before  []int           // before[j]: users whose answer lies before strip j
	scratch *gotorch.Tensor // float32, with room for a comparison of a block's scores

	seenPlaces *gotorch.Tensor // int64: where in the scores of its strip each seen item is, strip by strip; nil when there is none
	seenBefore []int           // seenBefore[j]: seen items before strip j

	// The results, as in comparison.
	answers    *gotorch.Tensor
	tallies    *gotorch.Tensor
	seenScores []*gotorch.Tensor
}

func newUserBlock(c *comparison, states *gotorch.Tensor, low, high int) *userBlock {
	session, users := c.model.session, int64(high-low)
	b := &userBlock{
		comparison: c, states: states, low: low, high: high,
		tallies: session.ZerosOf(gotorch.Float64, tallyRows, users),
	}
	b.scratch = session.Empty(gotorch.Float32, users*int64(b.width(0)))
	b.findAnswers()
	b.findSeen()
	return b
}

// strips is their number.
func (b *userBlock) strips() int {
	return (b.model.config.Items + b.grid.items - 1) / b.grid.items
}

// width is the number of items in a strip. Only the last may have fewer.
func (b *userBlock) width(strip int) int {
	return min(b.grid.items, b.model.config.Items-strip*b.grid.items)
}

// find says in which strip an item is, and where there.
func (b *userBlock) find(item int32) (strip, column int) {
	return (int(item) - 1) / b.grid.items, (int(item) - 1) % b.grid.items
}

// scores are the scores [users, width] of a strip's items. They are the same to
// the bit each time.
func (b *userBlock) scores(strip int) *gotorch.Tensor {
	first := strip*b.grid.items + 1
	return b.model.backbone.ScoreRange(b.states, int64(first), int64(b.width(strip)))
}

func (b *userBlock) findAnswers() {
	columns := make([]int64, 0, b.high-b.low)
	b.before = make([]int, b.strips()+1)
	for _, row := range b.rows[b.low:b.high] {
		strip, column := b.find(b.cases[row].Answer)
		columns = append(columns, int64(column))
		b.before[strip+1]++
	}
	for j := range b.strips() {
		b.before[j+1] += b.before[j]
	}
	b.columns = b.model.session.FromInt64(columns, int64(len(columns)), 1)
}

// findSeen finds the places of the items that are no candidates.
func (b *userBlock) findSeen() {
	var places []int64
	for strip, seen := range b.seenItems() {
		b.seenBefore = append(b.seenBefore, len(places))
		for _, s := range seen {
			_, column := b.find(s.item)
			places = append(places, int64((s.row-b.low)*b.width(strip)+column))
		}
		b.seen = append(b.seen, seen...)
	}
	b.seenBefore = append(b.seenBefore, len(places))
	if len(places) > 0 {
		b.seenPlaces = b.model.session.FromInt64(places)
	}
}

// seenItems are the items of the histories by strip, each once for a user and
// without the answer; none when seen items are candidates.
func (b *userBlock) seenItems() [][]seenItem {
	byStrip := make([][]seenItem, b.strips())
	if !b.filterSeen {
		return byStrip
	}
	var items []int32
	for row := b.low; row < b.high; row++ {
		user := &b.cases[b.rows[row]]
		items = append(items[:0], user.History...)
		slices.Sort(items)
		for _, item := range slices.Compact(items) {
			if item != user.Answer {
				strip, _ := b.find(item)
				byStrip[strip] = append(byStrip[strip], seenItem{row, item})
			}
		}
	}
	return byStrip
}

// takeAnswers computes the strips in which answers lie, most often one or two.
// tally computes them again: to keep them would take memory without bound.
func (b *userBlock) takeAnswers() {
	session := b.model.session
	var parts []*gotorch.Tensor
	for j := range b.strips() {
		first, count := b.answersIn(j)
		if count == 0 {
			continue
		}
		session.Scoped(func() {
			part := b.scores(j).Narrow(0, first, count).Gather(1, b.columns.Narrow(0, first, count))
			session.Keep(part)
			parts = append(parts, part)
		})
	}
	b.answers = session.Cat(0, parts...)
}

// answersIn are the users whose answer lies in a strip.
func (b *userBlock) answersIn(strip int) (first, count int64) {
	return int64(b.before[strip]), int64(b.before[strip+1] - b.before[strip])
}

// tally compares the scores of a strip with those of the answers.
func (b *userBlock) tally(strip int) {
	scores := b.scores(strip)
	better, atLeast := b.count("aten::gt.Tensor_out", scores), b.count("aten::ge.Tensor_out", scores)
	b.add(isBetter, 0, better)
	b.add(isAtLeast, 0, atLeast)
	b.add(hasNaN, 0, b.model.session.Call1("aten::amax", scores, []int{1}).IsNaN()) // a NaN is the largest of all, wherever it is
	b.tallyTiedBefore(strip, scores, atLeast.Sub(better))
	b.takeSeen(strip, scores)
}

// count is for how many of the scores the comparison with the answer's holds,
// [users]. It goes through float32, in which every count of a strip is exact:
// what libtorch compares to bool it adds up without vector instructions, which
// takes five times as long in 1.13.
func (b *userBlock) count(comparison string, scores *gotorch.Tensor) *gotorch.Tensor {
	out := b.scratch.Narrow(0, 0, scores.Numel()).View(scores.Shape()...)
	return b.model.session.Call1(comparison, scores, b.answers, gotorch.Named("out", out)).Sum(1)
}

// tallyTiedBefore counts what ties with an answer and has a smaller id: in a
// strip before that of the answer everything that ties, in its own what stands
// before it. tied, [users], counts the answer in its own strip too.
func (b *userBlock) tallyTiedBefore(strip int, scores, tied *gotorch.Tensor) {
	first, count := b.answersIn(strip)
	if behind, users := first+count, tied.Size(0); behind < users {
		b.add(isTiedBefore, behind, tied.Narrow(0, behind, users-behind))
	}
	// To look where the ties are costs as much as all else, and most often there is none.
	if count == 0 || tied.Narrow(0, first, count).Max().Item() == 1 {
		return
	}
	ties := scores.Narrow(0, first, count).Eq(b.answers.Narrow(0, first, count))
	before := b.model.session.Arange(0, scores.Size(1), 1).Lt(b.columns.Narrow(0, first, count))
	b.add(isTiedBefore, first, ties.LogicalAnd(before).Sum(1))
}

func (b *userBlock) takeSeen(strip int, scores *gotorch.Tensor) {
	from, to := int64(b.seenBefore[strip]), int64(b.seenBefore[strip+1])
	if from == to {
		return
	}
	seen := scores.Reshape(-1).IndexSelect(0, b.seenPlaces.Narrow(0, from, to-from))
	b.model.session.Keep(seen)
	b.seenScores = append(b.seenScores, seen)
}

// add adds counts to a row of the tallies, from a user on.
func (b *userBlock) add(row int, from int64, counts *gotorch.Tensor) {
	b.tallies.Select(0, int64(row)).Narrow(0, from, counts.Size(0)).AddInPlace(counts, 1)
}
