package training

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// spoken are examples as "inputs→targets" of each user.
func spoken(examples []example) []string {
	var out []string
	for _, e := range examples {
		out = append(out, fmt.Sprint(e.user, e.inputs(), e.targets()))
	}
	return out
}

func TestSequencesAreTheNewestWindow(t *testing.T) {
	users := []User{{Train: []int32{1}}, {Train: []int32{1, 2, 3, 4, 5, 6}}, {Train: []int32{7, 8}}}
	want := []string{"1 [3 4 5] [4 5 6]", "2 [7] [8]"}
	if diff := cmp.Diff(want, spoken(newExamples(users, 3, Sequences))); diff != "" {
		t.Error(diff)
	}
}

// TestPrefixesAreTheSegmentsOfInDiRec is the published example: of seven items
// with a window of three, the two held out come off, and what is left gives the
// prefixes of one to three items and the window behind them.
func TestPrefixesAreTheSegmentsOfInDiRec(t *testing.T) {
	users := []User{{Train: []int32{1}}, {Train: []int32{1, 2, 3, 4, 5}}}
	want := []string{"1 [1] [2]", "1 [1 2] [3]", "1 [1 2 3] [4]", "1 [2 3 4] [5]"}
	if diff := cmp.Diff(want, spoken(newExamples(users, 3, Prefixes))); diff != "" {
		t.Error(diff)
	}
}
