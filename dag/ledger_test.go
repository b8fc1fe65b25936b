package dag

import "testing"

// seats is a ledger whose nodes rank in the order of their numbers.
func seats(total Resources, claims ...Resources) *ledger {
	ranks := make([]int, len(claims))
	for i := range ranks {
		ranks[i] = i
	}
	l := newLedger(total, ranks)
	for i, claim := range claims {
		l.add(i, claim)
	}
	return l
}

func expectNext(t *testing.T, l *ledger, want int) {
	t.Helper()
	if got, _ := l.next(); got != want {
		t.Errorf("node %d may start, want %d", got, want)
	}
}

func TestLedgerFillsUpBehindANodeThatWaitsForTheGPU(t *testing.T) {
	gpu, cpu := Resources{CPU: 1, GPU: 1}, Resources{CPU: 1}
	l := seats(Resources{CPU: 3, GPU: 1}, gpu, gpu, gpu, cpu, cpu, cpu)
	expectNext(t, l, 0)
	expectNext(t, l, 3) // 1 waits for the gpu and leaves the cpus to others
	expectNext(t, l, 4)
	expectNext(t, l, none)
	l.release(gpu) // 0 ended: now 1 has both
	expectNext(t, l, 1)
	expectNext(t, l, none)
	l.release(cpu)
	expectNext(t, l, 5) // 2 waits for the gpu
	l.release(gpu)
	expectNext(t, l, 2)
	expectNext(t, l, none)
}

func TestLedgerKeepsWhatTheHeadWasShortOf(t *testing.T) {
	small, big := Resources{CPU: 1, Memory: 1}, Resources{CPU: 2, Memory: 4}
	l := seats(Resources{CPU: 4, Memory: 4}, small, big, small, small)
	expectNext(t, l, 0)
	expectNext(t, l, none) // memory is kept for 1, although there is some left
	l.release(small)
	expectNext(t, l, 1)
	expectNext(t, l, none)
	l.release(big)
	expectNext(t, l, 2)
	expectNext(t, l, 3)
	if l.free != (Resources{CPU: 2, Memory: 2}) {
		t.Errorf("%s free", l.free)
	}
}

func TestLedgerDoesNotReplaceTheHead(t *testing.T) {
	one, all := Resources{CPU: 1}, Resources{CPU: 2}
	l := newLedger(all, []int{3, 2, 1, 0}) // node 3 first
	l.add(0, one)
	expectNext(t, l, 0)
	l.add(1, all)
	expectNext(t, l, none)
	l.add(3, one) // ranks before 1, but came after 1 had become the head
	expectNext(t, l, none)
	l.release(one)
	expectNext(t, l, 1)
	l.release(all)
	expectNext(t, l, 3)
}

func TestLedgerClaims(t *testing.T) {
	rationed, unrationed := seats(Resources{CPU: 4, Memory: 8}), seats(Resources{CPU: 4})
	for _, row := range []struct {
		ledger     *ledger
		uses, want Resources
		over       bool
	}{
		{rationed, Resources{}, Resources{CPU: 1}, false},
		{rationed, Resources{CPU: 4, Memory: 8}, Resources{CPU: 4, Memory: 8}, false},
		{rationed, Resources{Memory: 9}, Resources{CPU: 4, Memory: 8}, true},
		{rationed, Resources{CPU: 5}, Resources{CPU: 4, Memory: 8}, true},
		{rationed, Resources{GPU: 1}, Resources{CPU: 4, Memory: 8}, true},
		{unrationed, Resources{Memory: 9}, Resources{CPU: 1}, false},
	} {
		if got, over := row.ledger.claim(row.uses); got != row.want || over != row.over {
			t.Errorf("%s claims %s, %v; want %s, %v", row.uses, got, over, row.want, row.over)
		}
	}
}
