package corpus

import (
	"cmp"
	"slices"
)

// sort orders the events by user, and those of a user by time, source row and
// item.
func (r *reading) sort() {
	slices.SortFunc(r.events, func(a, b event) int {
		return cmp.Or(
			cmp.Compare(a.user, b.user), cmp.Compare(a.timestamp, b.timestamp),
			cmp.Compare(a.row, b.row), cmp.Compare(a.item, b.item),
		)
	})
}

// resolve keeps of each user's events with the same item what the policy says,
// and counts those that repeat an earlier one. It reuses the events' memory.
func resolve(events []event, items int, policy string) (kept []event, repeated int64) {
	last := make([]int32, items) // the user, plus one, who had the item last
	seen := func(e event) bool {
		before := last[e.item]
		last[e.item] = e.user + 1
		return before == e.user+1
	}
	if policy == "keep_last" {
		slices.Reverse(events)
		defer func() { slices.Reverse(kept) }()
	}
	kept = events[:0]
	for _, e := range events {
		again := seen(e)
		if again {
			repeated++
		}
		if !again || policy == "keep_all" {
			kept = append(kept, e)
		}
	}
	return kept, repeated
}

// A core is a k-core of interactions.
type core struct {
	events []event
	rounds int // that left something out
}

// kCore leaves out the events of users with fewer than minUser and of items
// with fewer than minItem, until nothing more is left out. What remains is the
// largest set of events in which every user and item has enough, whatever the
// order of leaving out. It reuses the events' memory.
func kCore(events []event, users, items int, minUser, minItem int64) core {
	c := core{events: events}
	ofUser, ofItem := make([]int64, users), make([]int64, items)
	for {
		clear(ofUser)
		clear(ofItem)
		for _, e := range c.events {
			ofUser[e.user]++
			ofItem[e.item]++
		}
		before := len(c.events)
		c.events = slices.DeleteFunc(c.events, func(e event) bool {
			return ofUser[e.user] < minUser || ofItem[e.item] < minItem
		})
		if len(c.events) == before {
			return c
		}
		c.rounds++
	}
}
