package synthetic

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/prismflow/prismflow/stages/synthetic/site"
)

// Groups of users, by what they prefer.
const (
	GroupVisual  = "visual"  // items that look one way, whatever they are
	GroupTextual = "textual" // items that are one thing, however they look
	GroupCross   = "cross"   // items that are one thing and look one way
	GroupNone    = "none"    // nothing: they follow popularity
)

// settings say how a world is made.
type settings struct {
	users, items     int
	looks, topics    int     // values of the visual and of the textual attribute
	length           float64 // mean interactions of a user
	faithful         float64 // share of interactions that follow the preference
	skew             float64 // exponent of the items' popularity by rank
	withoutImage     float64 // share of items that have no picture
	faulty           float64 // share of pictures that are not simply sent
	visual, textual  float64 // shares of users; what remains of 1 is none
	cross            float64
	optimumPositions int // the planted optimum is computed for this many positions
}

// A world is items with attributes and users with preferences, from which
// interactions are drawn.
type world struct {
	settings settings
	random   *rand.Rand
	items    []item
	users    []user
}

type item struct {
	id         string
	look       int // visual attribute: visible in the picture only
	topic      int // textual attribute: readable in the text only
	popularity float64
	hasImage   bool
	behaviour  site.Behaviour // of the picture
}

func (it item) pictureName() string { return it.id + ".png" }

type user struct {
	id      string
	group   string
	look    int // preferred; -1 when the user does not care
	topic   int
	history []int // indices of items, oldest first; the last is the test answer
	days    []int // of the interactions, days since the first possible one
	// optimum is the probability that the best possible ranking, which knows
	// the user's preference, has the last item among the first positions.
	optimum float64
}

// newWorld draws a world. That takes time in proportion to users, their
// interactions and items; ctx ends it early.
func newWorld(ctx context.Context, s settings, seed uint64) (*world, error) {
	w := &world{settings: s, random: rand.New(rand.NewPCG(seed, 0x70726973_6d666c6f))}
	w.makeItems()
	// From a stream of its own: how the site behaves changes nothing else.
	w.makeFaults(rand.New(rand.NewPCG(seed, 0x73697465_66617565)))
	return w, w.makeUsers(ctx)
}

// makeItems draws attributes independently, so that neither says anything of
// the other, and gives every item a rank of popularity that says nothing of
// its attributes.
func (w *world) makeItems() {
	ranks := w.random.Perm(w.settings.items)
	for i := range w.settings.items {
		w.items = append(w.items, item{
			id:         externalID("B", w.random, i),
			look:       w.random.IntN(w.settings.looks),
			topic:      w.random.IntN(w.settings.topics),
			popularity: math.Pow(float64(ranks[i]+1), -w.settings.skew),
			hasImage:   w.random.Float64() >= w.settings.withoutImage,
		})
	}
}

// faults are the behaviours of pictures that are not simply sent, and in what
// proportion they are met: of thirty, ten never arrive. Few are busy, as an
// adult client then leaves the whole site alone for a second.
var faults = []struct {
	behaviour site.Behaviour
	weight    float64
}{
	{site.Slow, 6}, {site.Moved, 4}, {site.Failing, 5}, {site.Busy, 1}, {site.CutShort, 4},
	{site.Missing, 4}, {site.Gone, 2}, {site.HTML, 2}, {site.Truncated, 2},
}

func (w *world) makeFaults(random *rand.Rand) {
	var total float64
	for _, f := range faults {
		total += f.weight
	}
	for i := range w.items {
		faulty, x := random.Float64() < w.settings.faulty, random.Float64()*total
		if !faulty {
			continue
		}
		for _, f := range faults {
			if x -= f.weight; x < 0 {
				w.items[i].behaviour = f.behaviour
				break
			}
		}
	}
}

// externalID is a ten-character identifier in the manner of Amazon's, whose
// order says nothing of i, though it contains it and so does not repeat.
func externalID(prefix string, random *rand.Rand, i int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	var scramble [4]byte
	for j := range scramble {
		scramble[j] = letters[random.IntN(len(letters))]
	}
	return fmt.Sprintf("%s%s%05d", prefix, scramble[:], i)
}

func (w *world) makeUsers(ctx context.Context) error {
	for i := range w.settings.users {
		if err := ctx.Err(); err != nil {
			return err
		}
		u := user{id: externalID("A", w.random, i), look: -1, topic: -1}
		u.group = w.group()
		if u.group == GroupVisual || u.group == GroupCross {
			u.look = w.random.IntN(w.settings.looks)
		}
		if u.group == GroupTextual || u.group == GroupCross {
			u.topic = w.random.IntN(w.settings.topics)
		}
		w.live(&u)
		w.users = append(w.users, u)
	}
	return nil
}

func (w *world) group() string {
	x := w.random.Float64()
	for _, g := range []struct {
		name  string
		share float64
	}{{GroupVisual, w.settings.visual}, {GroupTextual, w.settings.textual}, {GroupCross, w.settings.cross}} {
		if x < g.share {
			return g.name
		}
		x -= g.share
	}
	return GroupNone
}

// minimumLength lets every user pass a 5-core's side of the users.
const minimumLength = 5

// live draws what a user does: items that it has not had, with the
// probabilities of chances, until a length that is exponential above the
// minimum.
func (w *world) live(u *user) {
	length := minimumLength + int(w.random.ExpFloat64()*math.Max(0, w.settings.length-minimumLength))
	length = min(length, w.settings.items/2)
	day := w.random.IntN(2000)
	seen := make(map[int]bool, length)
	for n := range length {
		chances := w.chances(u, seen)
		if n == length-1 {
			u.optimum = best(chances, w.settings.optimumPositions)
		}
		pick := w.draw(chances)
		seen[pick] = true
		u.history = append(u.history, pick)
		u.days = append(u.days, day)
		day += w.random.IntN(20) // 0: two on one day, as happens in the real files
	}
}

// chances is the probability of each item to be the user's next: with
// probability faithful one that it prefers, else any, both in proportion to
// popularity among what it has not had.
func (w *world) chances(u *user, seen map[int]bool) []float64 {
	chances := make([]float64, len(w.items))
	var preferred, all float64
	for i, it := range w.items {
		if seen[i] {
			continue
		}
		all += it.popularity
		if u.prefers(it) {
			preferred += it.popularity
		}
	}
	faithful := w.settings.faithful
	if u.group == GroupNone || preferred == 0 {
		faithful = 0
	}
	for i, it := range w.items {
		if seen[i] {
			continue
		}
		chances[i] = (1 - faithful) * it.popularity / all
		if faithful > 0 && u.prefers(it) {
			chances[i] += faithful * it.popularity / preferred
		}
	}
	return chances
}

func (u *user) prefers(it item) bool {
	return (u.look < 0 || u.look == it.look) && (u.topic < 0 || u.topic == it.topic)
}

func (w *world) draw(chances []float64) int {
	x := w.random.Float64()
	last := 0
	for i, p := range chances {
		if p == 0 {
			continue
		}
		if x < p {
			return i
		}
		x -= p
		last = i
	}
	return last // only by rounding
}

// best is the sum of the k largest chances.
func best(chances []float64, k int) float64 {
	sorted := slices.Clone(chances)
	slices.SortFunc(sorted, func(a, b float64) int { return cmp.Compare(b, a) })
	var sum float64
	for _, p := range sorted[:min(k, len(sorted))] {
		sum += p
	}
	return sum
}
