package training

// An example is one sequence to learn from: inputs, and what follows.
type example struct {
	user  int     // index in Data.Users
	items []int32 // inputs are all but the last, each with the item that follows
	last  bool    // only the last item is a target
}

func (e example) inputs() []int32 { return e.items[:len(e.items)-1] }

// targets are the items that follow: one for each input, or the last alone.
func (e example) targets() []int32 {
	if e.last {
		return e.items[len(e.items)-1:]
	}
	return e.items[1:]
}

// newExamples cuts users' training items to windows of inputs. Users with fewer
// than two items have no target and are left out.
func newExamples(users []User, window int, kind Examples) []example {
	var examples []example
	for i := range users {
		items := users[i].Train
		first := len(items) // the shortest prefix, its target included
		if kind == Prefixes {
			first = 2
		}
		for end := max(2, first); end <= len(items); end++ {
			examples = append(examples, example{user: i, items: items[max(0, end-window-1):end], last: kind == Prefixes})
		}
	}
	return examples
}
