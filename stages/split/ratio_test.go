package split

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

func ratio(t testing.TB, valid, test float64, sequences []tables.Sequence) (outcome, error) {
	t.Helper()
	stage := Ratio{ValidShare: valid, TestShare: test, MinLength: 3, Sequences: stagetest.Table[sequence](t, sequences)}
	return run(t, &stage, &stage.Split)
}

func TestRatioRounds(t *testing.T) {
	for _, c := range []struct {
		items       int
		valid, test float64
		parts       [3]int
	}{
		{10, 0.1, 0.2, [3]int{7, 1, 2}},
		{100, 0.29, 0.29, [3]int{42, 29, 29}}, // the product is below 29
		{19, 0.1, 0.1, [3]int{17, 1, 1}},
		{3, 0.01, 0.01, [3]int{1, 1, 1}},
		{3, 0.5, 0.4, [3]int{1, 1, 1}},
		{5, 0.5, 0.1, [3]int{2, 2, 1}},
		{9, 0, 0.25, [3]int{7, 0, 2}},
		{9, 0.25, 0, [3]int{7, 2, 0}},
	} {
		items := make([]int32, c.items)
		for i := range items {
			items[i] = int32(i + 1)
		}
		got, err := ratio(t, c.valid, c.test, positions(items))
		if err != nil {
			t.Fatal(err)
		}
		row := got.rows[0]
		if parts := [3]int{len(row.Train), len(row.Valid), len(row.Test)}; parts != c.parts || !slices.Equal(slices.Concat(row.Train, row.Valid, row.Test), items) {
			t.Errorf("%d items with %v and %v: %v, want %v", c.items, c.valid, c.test, row, c.parts)
		}
	}
}

func TestRatioLeavesSomethingToTrainOn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		valid, test := rapid.Float64Range(0, 0.5).Draw(rt, "valid"), rapid.Float64Range(0, 0.5).Draw(rt, "test")
		if len((&Ratio{ValidShare: valid, TestShare: test}).Validate()) > 0 {
			rt.Skip("refused")
		}
		all := histories(rt, 3)
		got, err := ratio(t, valid, test, all)
		if err != nil {
			rt.Fatal(err)
		}
		for i, row := range got.rows {
			if len(row.Train) == 0 || !slices.Equal(slices.Concat(row.Train, row.Valid, row.Test), all[i].Items) {
				rt.Errorf("%v of %v", row, all[i].Items)
			}
			for share, n := range map[float64]int{valid: len(row.Valid), test: len(row.Test)} {
				if exact := share * float64(len(all[i].Items)); share > 0 && n < 1 || n > 1 && math.Abs(exact-float64(n)) > 1 {
					rt.Errorf("%v of %d items are %d", share, len(all[i].Items), n)
				}
			}
		}
		want := earlyAnswers(all, func(u int) int { return len(got.rows[u].Train) }, func(u int) int { return len(got.rows[u].Test) })
		if early := got.report["test_answers_before_training"]; early != want {
			rt.Errorf("%v answers before training, want %v", early, want)
		}
	})
}
