package backbone

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPackPutsEverySequenceInOneRowOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(1, 50), 1, 300).Draw(t, "lengths")
		rows := Pack(lengths)
		taken := make([]bool, rows.Places())
		for i, start := range rows.Start {
			if start/rows.Width != (start+lengths[i]-1)/rows.Width {
				t.Fatalf("sequence %d at %d with %d items leaves its row of %d", i, start, lengths[i], rows.Width)
			}
			for j := range lengths[i] {
				if taken[start+j] {
					t.Fatalf("place %d is taken twice", start+j)
				}
				taken[start+j] = true
			}
		}
		if got, want := len(rows.Tokens()), sum(lengths); got != want {
			t.Fatalf("%d tokens, want %d", got, want)
		}
	})
}

func TestPackLeavesFewPlacesEmpty(t *testing.T) {
	lengths := make([]int, 256)
	for i := range lengths {
		lengths[i] = 2 + i%9
	}
	lengths[7] = 50
	rows := Pack(lengths)
	if empty := float64(rows.Places()-sum(lengths)) / float64(rows.Places()); empty > 0.05 {
		t.Errorf("%.0f %% of the places are empty", 100*empty)
	}
}

func TestPositionsAreRightAligned(t *testing.T) {
	lengths := []int{2, 4, 1}
	for name, rows := range map[string]Rows{"packed": Pack(lengths), "padded": Pad(lengths, 8)} {
		positions := rows.positions(8)
		for i, place := range rows.Newest() {
			if positions[place] != 7 {
				t.Errorf("%s: the newest item of sequence %d has position %d, want 7", name, i, positions[place])
			}
		}
	}
	if got, want := Pad(lengths, 8).positions(8)[:8], []int64{0, 1, 2, 3, 4, 5, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("a padded row has positions %v, want %v", got, want)
	}
}

func sum(values []int) (total int) {
	for _, v := range values {
		total += v
	}
	return total
}
