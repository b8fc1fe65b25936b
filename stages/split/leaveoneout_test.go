package split

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

func split(t testing.TB, minLength int64, sequences []tables.Sequence) ([]tables.Split, map[string]float64, error) {
	t.Helper()
	stage := LeaveOneOut{MinLength: minLength, Sequences: stagetest.Table[sequence](t, sequences)}
	result := stagetest.Result(t, &stage.Split)
	env := stagetest.Env(t)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, nil, err
	}
	report := map[string]float64{}
	for _, c := range env.Report() {
		report[c.Name] = c.Value
	}
	return result(), report, nil
}

func sequences(items ...[]int32) []tables.Sequence {
	var all []tables.Sequence
	for i, list := range items {
		all = append(all, tables.Sequence{User: int32(i + 1), Items: list, Timestamps: make([]int64, len(list))})
	}
	return all
}

func TestLeaveOneOut(t *testing.T) {
	got, report, err := split(t, 3, sequences(
		[]int32{1, 2, 3, 4}, []int32{5}, []int32{7, 8, 9}, []int32{1, 2}, []int32{4, 5, 4, 4}, []int32{1, 2, 1},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []tables.Split{
		{User: 1, Train: []int32{1, 2}, Valid: []int32{3}, Test: []int32{4}},
		{User: 3, Train: []int32{7}, Valid: []int32{8}, Test: []int32{9}},
		{User: 5, Train: []int32{4, 5}, Valid: []int32{4}, Test: []int32{4}},
		{User: 6, Train: []int32{1}, Valid: []int32{2}, Test: []int32{1}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wantReport := map[string]float64{
		"users": 4, "too_short_users": 2, "train_interactions": 6, "repeated_valid_answers": 1, "repeated_test_answers": 2,
	}
	if diff := cmp.Diff(wantReport, report); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}

func TestMinLength(t *testing.T) {
	got, report, err := split(t, 4, sequences([]int32{1, 2, 3}, []int32{1, 2, 3, 4}))
	if err != nil || len(got) != 1 || got[0].User != 2 || report["too_short_users"] != 1 {
		t.Errorf("got %v, %v and %v", got, report, err)
	}
	_, _, err = split(t, 5, sequences([]int32{1, 2, 3}, []int32{1, 2, 3, 4}))
	if want := "none of 2 users has the 5 items that min_length asks for: lower it, or let the corpus keep longer sequences"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestPartsAreTheSequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		items := rapid.SliceOfN(rapid.SliceOfN(rapid.Int32Range(1, 9), 3, 20), 1, 20).Draw(rt, "items")
		got, _, err := split(t, 3, sequences(items...))
		if err != nil {
			rt.Fatal(err)
		}
		for i, s := range got {
			if len(s.Valid) != 1 || len(s.Test) != 1 || len(s.Train) == 0 {
				rt.Fatalf("split %v", s)
			}
			if whole := slices.Concat(s.Train, s.Valid, s.Test); !slices.Equal(whole, items[i]) {
				rt.Fatalf("split %v of %v", s, items[i])
			}
		}
	})
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	stage := LeaveOneOut{MinLength: 3, Sequences: stagetest.Table[sequence](t, sequences([]int32{1, 2, 3}))}
	stagetest.Result(t, &stage.Split)
	if err := stage.Run(ctx, stagetest.Env(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
