package sequences

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// Import is the stage kind sequences.import.
type Import struct {
	Source stages.Source `stage:"source" doc:"files of \"user item item …\" lines"`
	IDs    string        `stage:"ids" default:"sorted" enum:"sorted,as_given" doc:"whether internal ids follow the sorted external ones, or are the numbers in the file"`

	Sequences stages.Out[tables.Sequence]   `stage:"sequences" doc:"one row for each user, by id: items and positions, oldest first"`
	Items     stages.Out[tables.CorpusItem] `stage:"items" doc:"one row for each item, by id, without texts"`
	Users     stages.Out[tables.User]       `stage:"users" doc:"one row for each user, by id"`
}

// Run reads the source and writes sequences, items and users.
func (s *Import) Run(ctx context.Context, env *stages.Env) error {
	asGiven := s.IDs == "as_given"
	file, err := read(ctx, env, s.Source.Files(), asGiven)
	if err != nil {
		return err
	}
	users, err := file.users.number(asGiven)
	if err != nil {
		return fmt.Errorf("users: %w", err)
	}
	items, err := file.items.number(asGiven)
	if err != nil {
		return fmt.Errorf("items: %w", err)
	}
	env.Count("interactions", float64(file.interactions))
	env.Count("users", float64(len(users.names)))
	env.Count("items", float64(len(items.names)))
	if err := s.writeSequences(ctx, file, users, items); err != nil {
		return err
	}
	return s.writeItems(file, items)
}

// writeSequences writes the users and their sequences by id.
func (s *Import) writeSequences(ctx context.Context, file *contents, users, items ids) error {
	order := make([]int32, len(users.of)) // line by user id
	for line, id := range users.of {
		order[id-1] = int32(line)
	}
	sequences := make([]tables.Sequence, len(order))
	rows := make([]tables.User, len(order))
	for i, line := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		words := file.sequences[line]
		sequences[i] = sequence(int32(i+1), words, items)
		rows[i] = tables.User{ID: int32(i + 1), User: users.names[i], Interactions: int64(len(words))}
	}
	if err := s.Sequences.WriteAll(sequences); err != nil {
		return err
	}
	return s.Users.WriteAll(rows)
}

func sequence(user int32, words []int32, items ids) tables.Sequence {
	s := tables.Sequence{User: user, Items: make([]int32, len(words)), Timestamps: make([]int64, len(words))}
	for i, word := range words {
		s.Items[i] = items.of[word]
		s.Timestamps[i] = int64(i + 1)
	}
	return s
}

func (s *Import) writeItems(file *contents, items ids) error {
	rows := make([]tables.CorpusItem, len(items.names))
	for i, name := range items.names {
		rows[i] = tables.CorpusItem{ID: int32(i + 1), Item: name}
	}
	for _, words := range file.sequences {
		for _, word := range words {
			rows[items.of[word]-1].Interactions++
		}
	}
	return s.Items.WriteAll(rows)
}
