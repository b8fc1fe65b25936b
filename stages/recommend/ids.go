package recommend

import (
	"errors"
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/train"
)

// UserRow is what is read of tables.User.
type UserRow struct {
	ID   int32  `arrow:"id"`
	User string `arrow:"user"`
}

// SplitRow is what is read of tables.Split.
type SplitRow struct {
	User  int32   `arrow:"user"`
	Train []int32 `arrow:"train"`
	Valid []int32 `arrow:"valid"`
	Test  []int32 `arrow:"test"`
}

// history is all that is known of a user, oldest first.
func (r SplitRow) history() []int32 { return slices.Concat(r.Train, r.Valid, r.Test) }

// ErrNoItemIDs says that nobody knows what the items of a model are called.
var ErrNoItemIDs = errors.New("the model holds no external ids of its items, since it was trained without items")

// ItemIDs are the external ids of a model's items, that of item i at i-1: those
// that the model holds, or else those of the table, in which there may be items
// that the model has not seen. The table may be absent.
func ItemIDs(model train.Model, items stages.In[train.ItemRow]) ([]string, error) {
	ids, err := train.ReadItemIDs(items)
	switch {
	case err != nil:
		return nil, err
	case model.ItemIDs == nil && ids == nil:
		return nil, ErrNoItemIDs
	case model.ItemIDs == nil && len(ids) < model.Config.Items:
		return nil, fmt.Errorf("the model has %d items and the table of items %d: they do not belong together", model.Config.Items, len(ids))
	case model.ItemIDs == nil:
		return ids[:model.Config.Items], nil
	case ids != nil && !slices.Equal(ids, model.ItemIDs):
		return nil, errors.New("the model was trained on other items than those of the table")
	}
	return model.ItemIDs, nil
}

// UserID is the internal id of a user. An *UnknownError says that there is none
// of that name.
func UserID(users stages.In[UserRow], name string) (int32, error) {
	var known []string
	for row, err := range users.Rows() {
		if err != nil {
			return 0, fmt.Errorf("reading users: %w", err)
		}
		if row.User == name {
			return row.ID, nil
		}
		known = append(known, row.User)
	}
	return 0, unknown("user", name, known)
}

// History is all that the split has of a user, oldest first; none for a user who
// is not in it.
func History(split stages.In[SplitRow], user int32) ([]int32, error) {
	for row, err := range split.Rows() {
		if err != nil {
			return nil, fmt.Errorf("reading the split: %w", err)
		}
		if row.User == user {
			return row.history(), nil
		}
	}
	return nil, nil
}

// InternalIDs are the internal ids of items by their names. The errors, joined,
// are an *UnknownError for each name that no item has.
func InternalIDs(ids, names []string) ([]int32, error) {
	of := make(map[string]int32, len(ids))
	for i, id := range ids {
		of[id] = int32(i) + 1
	}
	var found []int32
	var errs []error
	for _, name := range names {
		if id, ok := of[name]; ok {
			found = append(found, id)
		} else {
			errs = append(errs, unknown("item", name, ids))
		}
	}
	return found, errors.Join(errs...)
}

// An UnknownError says that nobody is called so.
type UnknownError struct {
	What, Name string
	Hint       string // the nearest name, as stages.Suggest puts it
}

func unknown(what, name string, known []string) *UnknownError {
	return &UnknownError{what, name, stages.Suggest(name, known)}
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("there is no %s %q%s", e.What, e.Name, e.Hint)
}
