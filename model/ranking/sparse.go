package ranking

import "fmt"

func (w *worker) rankSparse() error {
	for i, row := range w.rows {
		c := &w.cases[row]
		entries, err := w.sparse.AppendScores(w.entries[:0], w.queries[i])
		if err != nil {
			return fmt.Errorf("scoring user %d: %w", c.User, err)
		}
		w.entries = entries
		if err := w.checkEntries(c.User); err != nil {
			return err
		}
		w.markSeen(c)
		w.ranks[row] = w.place(c, w.countSparse(c.Answer))
	}
	return nil
}

// checkEntries also marks the items as listed.
func (w *worker) checkEntries(user int) error {
	w.listed.clear()
	for _, e := range w.entries {
		switch {
		case e.Item < 1 || int(e.Item) > w.Items:
			return fmt.Errorf("user %d: the scorer gave a score to item %d, but items are 1…%d", user, e.Item, w.Items)
		case e.Score != e.Score:
			return fmt.Errorf("user %d: the score of item %d is not a number", user, e.Item)
		case !w.listed.add(e.Item):
			return fmt.Errorf("user %d: the scorer gave item %d twice", user, e.Item)
		}
	}
	return nil
}

// countSparse compares the listed items one by one, and all others at once: they have the score 0.
func (w *worker) countSparse(answer int32) Counts {
	a := w.scoreOf(answer)
	var counts Counts
	// Unlisted candidates other than the answer, and those of them with a smaller id: all, less the seen, less the listed.
	rest, restBefore := w.Items-1, int(answer)-1
	for _, item := range w.seen.items {
		rest -= one(item != answer)
		restBefore -= one(item < answer)
	}
	for _, e := range w.entries {
		if e.Item == answer || w.seen.has(e.Item) {
			continue
		}
		rest--
		restBefore -= one(e.Item < answer)
		counts.Better += one(e.Score > a)
		counts.Tied += one(e.Score == a)
		counts.TiedBefore += one(e.Score == a && e.Item < answer)
	}
	switch {
	case a < 0:
		counts.Better += rest
	case a == 0:
		counts.Tied += rest
		counts.TiedBefore += restBefore
	}
	return counts
}

func (w *worker) scoreOf(answer int32) float32 {
	if !w.listed.has(answer) {
		return 0
	}
	for _, e := range w.entries {
		if e.Item == answer {
			return e.Score
		}
	}
	return 0
}
