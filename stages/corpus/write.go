package corpus

import (
	"context"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// A numbering is what is left, with internal ids.
type numbering struct {
	events []event  // by user and time, with ranks
	users  []string // by id, from id 1 at index 0
	items  []string
	itemID []int32 // by rank; 0 where the item is not left
	counts []int64 // interactions by item id, from id 1 at index 0
	rank   map[string]int32
}

// number gives internal ids to the users and items that have events. Ranks are
// in the order of the external ids, so that ids are too.
func number(read *reading, events []event) *numbering {
	n := &numbering{events: events, itemID: make([]int32, len(read.items.list)), rank: read.items.number}
	for i, e := range events {
		if i == 0 || e.user != events[i-1].user {
			n.users = append(n.users, read.users.list[e.user])
		}
		n.itemID[e.item] = 1
	}
	for rank, present := range n.itemID {
		if present != 0 {
			n.items = append(n.items, read.items.list[rank])
			n.itemID[rank] = int32(len(n.items))
		}
	}
	n.counts = make([]int64, len(n.items))
	for _, e := range events {
		n.counts[n.itemID[e.item]-1]++
	}
	return n
}

// writeUsers writes the users and their sequences.
func (c *Corpus) writeUsers(ctx context.Context, n *numbering) error {
	users, err := c.Users.Create()
	if err != nil {
		return err
	}
	defer users.Abort()
	sequences, err := c.Sequences.Create()
	if err != nil {
		return err
	}
	defer sequences.Abort()
	rest := n.events
	for i, name := range n.users {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := int32(i + 1)
		sequence := n.sequence(id, rest)
		rest = rest[len(sequence.Items):]
		if err := sequences.Append(sequence); err != nil {
			return err
		}
		if err := users.Append(tables.User{ID: id, User: name, Interactions: int64(len(sequence.Items))}); err != nil {
			return err
		}
	}
	if err := sequences.Close(); err != nil {
		return err
	}
	return users.Close()
}

// sequence is that of the user whose events come first.
func (n *numbering) sequence(id int32, events []event) tables.Sequence {
	s := tables.Sequence{User: id}
	for _, e := range events {
		if e.user != events[0].user {
			break
		}
		s.Items = append(s.Items, n.itemID[e.item])
		s.Timestamps = append(s.Timestamps, e.timestamp)
	}
	return s
}

// writeItems writes the items with what is known of them.
func (c *Corpus) writeItems(ctx context.Context, env *stages.Env, n *numbering) error {
	items := make([]tables.CorpusItem, len(n.items))
	for i, name := range n.items {
		items[i] = tables.CorpusItem{ID: int32(i + 1), Item: name, Interactions: n.counts[i]}
	}
	if c.Metadata.Present() {
		known, err := c.join(ctx, n, items)
		if err != nil {
			return err
		}
		env.Count("items_without_metadata", float64(len(items)-known))
	}
	return c.Items.WriteAll(items)
}

// join fills in what the metadata say, and counts the items that they know.
func (c *Corpus) join(ctx context.Context, n *numbering, items []tables.CorpusItem) (known int, err error) {
	filled := make([]bool, len(items))
	rows := 0
	for row, err := range c.Metadata.Rows() {
		if err != nil {
			return 0, fmt.Errorf("reading items: %w", err)
		}
		if rows++; rows%65536 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		rank, ok := n.rank[row.Item]
		if !ok || n.itemID[rank] == 0 {
			continue
		}
		i := n.itemID[rank] - 1
		if filled[i] {
			return 0, fmt.Errorf("row %d of items is the second about item %q: there must be one", rows, row.Item)
		}
		filled[i] = true
		known++
		describe(&items[i], row)
	}
	return known, nil
}

// describe copies what is known of an item out of the table's memory, which is
// shared with items that are not left.
func describe(item *tables.CorpusItem, row tables.Item) {
	item.Title = strings.Clone(row.Title)
	item.Description = strings.Clone(row.Description)
	item.Brand = strings.Clone(row.Brand)
	item.ImageURL = strings.Clone(row.ImageURL)
	for _, category := range row.Categories {
		item.Categories = append(item.Categories, strings.Clone(category))
	}
	if row.Price != nil {
		price := *row.Price
		item.Price = &price
	}
}
