package training

import (
	"errors"
	"fmt"
	"slices"
)

// A User is one user's data as the trainer sees it.
type User struct {
	ID    int32
	Train []int32 // what is learned from, oldest first
	Valid []int32 // the items that followed, to validate with; none is fine
	Held  []int32 // items that RejectAll keeps out of the negatives; unused otherwise
}

// Data is what a model is trained and validated on. Items are numbered 1…Items.
type Data struct {
	Items      int
	Users      []User
	Modalities []Modality
}

// Modality is one kind of item feature, such as the picture's.
type Modality struct {
	Name    string
	Size    int       // length of one vector
	Vectors []float32 // [Items+1, Size], row-major; row 0 is padding
	Present []bool    // [Items+1]; where false the item has no such feature and its vector is not read
}

// maxProblems bounds an error about data: one wrong export breaks every user.
const maxProblems = 10

// Validate lists the first problems of the data.
func (d Data) Validate() error {
	var problems []error
	if d.Items < 1 {
		problems = append(problems, errors.New("no items"))
	}
	for _, m := range d.Modalities {
		problems = append(problems, m.problems(d.Items)...)
	}
	for i := range d.Users {
		if len(problems) >= maxProblems {
			break
		}
		problems = append(problems, d.Users[i].problems(d.Items)...)
	}
	if d.learners() == 0 {
		problems = append(problems, errors.New("no user has two items to train on, so there is nothing to learn"))
	}
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems], errors.New("and more"))
	}
	return errors.Join(problems...)
}

func (u *User) problems(items int) []error {
	var problems []error
	for i, item := range u.Train {
		if item < 1 || int(item) > items {
			problems = append(problems, fmt.Errorf("user %d: item %d at place %d of the training part: items are 1…%d", u.ID, item, i, items))
			break
		}
	}
	for _, other := range []struct {
		what  string
		items []int32
	}{{"held-out", u.Held}, {"validation", u.Valid}} {
		for _, item := range other.items {
			if item < 1 || int(item) > items {
				problems = append(problems, fmt.Errorf("user %d: %s item %d: items are 1…%d", u.ID, other.what, item, items))
				break
			}
		}
	}
	return problems
}

func (m *Modality) problems(items int) []error {
	var problems []error
	if m.Name == "" || m.Size < 1 {
		problems = append(problems, fmt.Errorf("modality %q of size %d: want a name and a size of at least 1", m.Name, m.Size))
	}
	if got, want := len(m.Vectors), (items+1)*m.Size; got != want {
		problems = append(problems, fmt.Errorf("modality %s: %d values for %d items of size %d: want %d", m.Name, got, items, m.Size, want))
	}
	if got, want := len(m.Present), items+1; got != want {
		problems = append(problems, fmt.Errorf("modality %s: a mask of %d: want %d, one for each item and the padding", m.Name, got, want))
	}
	for i, v := range m.Vectors {
		if v-v != 0 { // infinite or not a number
			problems = append(problems, fmt.Errorf("modality %s: item %d has the value %v at %d", m.Name, i/m.Size, v, i%m.Size))
			break
		}
	}
	return problems
}

// learners is the number of users who have a target to learn.
func (d Data) learners() int {
	n := 0
	for i := range d.Users {
		if len(d.Users[i].Train) > 1 {
			n++
		}
	}
	return n
}

// known is the set, sorted and without repetitions, of items that are no
// negatives for a user.
func (u *User) known(reject Rejection) []int32 {
	var set []int32
	if reject != RejectNone {
		set = slices.Clone(u.Train)
	}
	if reject == RejectAll {
		set = append(set, u.Held...)
	}
	slices.Sort(set)
	return slices.Compact(set)
}
