package dag

import "container/heap"

// ledger keeps the budgets and the nodes that wait for them, and says which
// one may start next.
//
// Nodes are taken by rank. The first that does not fit becomes the head, and
// stays it until it starts, whatever comes meanwhile. Of what the head is short
// of, its claim is from then on kept for it; of the rest smaller nodes may go
// on taking. It is kept one resource after the other, the gpu first and the cpu
// last, as a node that waits hours for the gpu must not idle the cpus as well.
// A kept resource comes free when what holds it now ends, so after three such
// turns at most the head has everything: no node is passed over for ever.
//
// Waiting nodes are kept in one heap per distinct claim, as in most graphs
// there are few, so that finding one that fits does not mean looking at all.
type ledger struct {
	total, free Resources
	rationed    bool // memory is
	ranks       []int
	byRank      []int // the inverse of ranks
	classes     []*class
	byClaim     map[Resources]*class

	head      int // the node that is next whatever comes, or none
	headClaim Resources
	kept      kept
}

const none = -1

// class is the waiting nodes of one claim, by rank.
type class struct {
	claim   Resources
	waiting intHeap
}

// kept marks the resources of which the head's claim is kept free.
type kept struct{ cpu, gpu, memory bool }

func newLedger(total Resources, ranks []int) *ledger {
	byRank := make([]int, len(ranks))
	for i, rank := range ranks {
		byRank[rank] = i
	}
	return &ledger{total: total, free: total, rationed: total.Memory > 0, ranks: ranks, byRank: byRank,
		byClaim: map[Resources]*class{}, head: none}
}

// claim returns what a node occupies of this ledger's budgets, and whether it
// wants more than there is. Such a node occupies everything, so that it runs,
// and runs alone.
func (l *ledger) claim(uses Resources) (claim Resources, over bool) {
	uses.CPU = max(1, uses.CPU)
	if !l.rationed {
		uses.Memory = 0
	}
	if !uses.fit(l.total) {
		return l.total, true
	}
	return uses, false
}

// add puts a node among the waiting.
func (l *ledger) add(node int, claim Resources) {
	c := l.byClaim[claim]
	if c == nil {
		c = &class{claim: claim}
		l.byClaim[claim] = c
		l.classes = append(l.classes, c)
	}
	heap.Push(&c.waiting, l.ranks[node])
}

// next takes the node that may start now, if there is one. The caller gives its
// claim back by release.
func (l *ledger) next() (node int, ok bool) {
	if l.head == none {
		l.head, l.headClaim, ok = l.pop(func(Resources) bool { return true })
		if !ok {
			return none, false
		}
	}
	if l.headClaim.fit(l.free) {
		node = l.head
		l.occupy(l.headClaim)
		l.head, l.kept = none, kept{}
		return node, true
	}
	room := l.besideHead()
	node, claim, ok := l.pop(func(claim Resources) bool { return claim.fit(room) })
	if ok {
		l.occupy(claim)
	}
	return node, ok
}

// besideHead returns what other nodes may take while the head waits, after
// keeping the first of the resources that the head is short of now.
func (l *ledger) besideHead() Resources {
	switch want := l.headClaim; {
	case want.GPU > l.free.GPU:
		l.kept.gpu = true
	case want.Memory > l.free.Memory:
		l.kept.memory = true
	default:
		l.kept.cpu = true
	}
	room := l.free
	if l.kept.gpu {
		room.GPU -= l.headClaim.GPU
	}
	if l.kept.memory {
		room.Memory -= l.headClaim.Memory
	}
	if l.kept.cpu {
		room.CPU -= l.headClaim.CPU
	}
	return room
}

// pop takes the waiting node of the lowest rank among those whose claim passes.
func (l *ledger) pop(passes func(Resources) bool) (node int, claim Resources, ok bool) {
	var best *class
	for _, c := range l.classes {
		if len(c.waiting) > 0 && (best == nil || c.waiting[0] < best.waiting[0]) && passes(c.claim) {
			best = c
		}
	}
	if best == nil {
		return none, Resources{}, false
	}
	return l.byRank[heap.Pop(&best.waiting).(int)], best.claim, true
}

func (l *ledger) occupy(claim Resources) {
	l.free.CPU -= claim.CPU
	l.free.GPU -= claim.GPU
	l.free.Memory -= claim.Memory
}

// release gives a claim back.
func (l *ledger) release(claim Resources) {
	l.free.CPU += claim.CPU
	l.free.GPU += claim.GPU
	l.free.Memory += claim.Memory
}

// fit says whether there is room for a claim. Room may be negative, for what is
// kept for another node; who claims nothing of it is not concerned.
func (claim Resources) fit(room Resources) bool {
	return (claim.CPU == 0 || claim.CPU <= room.CPU) &&
		(claim.GPU == 0 || claim.GPU <= room.GPU) &&
		(claim.Memory == 0 || claim.Memory <= room.Memory)
}
