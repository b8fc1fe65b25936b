package split

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// outcome is what a stage wrote and reported.
type outcome struct {
	rows   []tables.Split
	report map[string]float64
}

func run(t testing.TB, stage stages.Runner, out *stages.Out[tables.Split]) (outcome, error) {
	t.Helper()
	result := stagetest.Result(t, out)
	env := stagetest.Env(t)
	if err := stage.Run(context.Background(), env); err != nil {
		return outcome{}, err
	}
	return outcome{rows: result(), report: stagetest.Counts(env)}, nil
}

func leaveOneOut(t testing.TB, minLength int64, sequences []tables.Sequence) (outcome, error) {
	t.Helper()
	stage := LeaveOneOut{MinLength: minLength, Sequences: stagetest.Table[sequence](t, sequences)}
	return run(t, &stage, &stage.Split)
}

// positions are sequences of a source without times.
func positions(items ...[]int32) []tables.Sequence {
	var all []tables.Sequence
	for i, list := range items {
		s := tables.Sequence{User: int32(i + 1), Items: list}
		for place := range list {
			s.Timestamps = append(s.Timestamps, int64(place+1))
		}
		all = append(all, s)
	}
	return all
}

func TestLeaveOneOut(t *testing.T) {
	got, err := leaveOneOut(t, 3, positions(
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
	if diff := cmp.Diff(want, got.rows); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wantReport := map[string]float64{
		"users": 4, "too_short_users": 2, "train_interactions": 6, "valid_answers": 4, "test_answers": 4,
		"repeated_valid_answers": 1, "repeated_test_answers": 2,
	}
	if diff := cmp.Diff(wantReport, got.report); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}

func TestMinLength(t *testing.T) {
	got, err := leaveOneOut(t, 4, positions([]int32{1, 2, 3}, []int32{1, 2, 3, 4}))
	if err != nil || len(got.rows) != 1 || got.rows[0].User != 2 || got.report["too_short_users"] != 1 {
		t.Errorf("got %v and %v", got, err)
	}
	_, err = leaveOneOut(t, 5, positions([]int32{1, 2, 3}, []int32{1, 2, 3, 4}))
	if want := "none of 2 users has the 5 items that min_length asks for: lower it, or let the corpus keep longer sequences"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestPartsAreTheSequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		items := rapid.SliceOfN(rapid.SliceOfN(rapid.Int32Range(1, 9), 3, 20), 1, 20).Draw(rt, "items")
		got, err := leaveOneOut(t, 3, positions(items...))
		if err != nil {
			rt.Fatal(err)
		}
		for i, s := range got.rows {
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
	stage := LeaveOneOut{MinLength: 3, Sequences: stagetest.Table[sequence](t, positions([]int32{1, 2, 3}))}
	stagetest.Result(t, &stage.Split)
	if err := stage.Run(ctx, stagetest.Env(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// histories are random sequences with few times, so that many are equal.
func histories(t *rapid.T, shortest int) []tables.Sequence {
	var all []tables.Sequence
	for user := range rapid.IntRange(1, 12).Draw(t, "users") {
		n := rapid.IntRange(shortest, 12).Draw(t, "length")
		s := tables.Sequence{
			User:       int32(user + 1),
			Items:      rapid.SliceOfN(rapid.Int32Range(1, 20), n, n).Draw(t, "items"),
			Timestamps: rapid.SliceOfN(rapid.Int64Range(100, 120), n, n).Draw(t, "times"),
		}
		slices.Sort(s.Timestamps)
		all = append(all, s)
	}
	return all
}

// earlyAnswers are the test answers from before training of another user, found
// by comparing each with each.
func earlyAnswers(all []tables.Sequence, train func(user int) int, test func(user int) int) float64 {
	early := 0.0
	for u, s := range all {
		for _, answer := range s.Timestamps[len(s.Items)-test(u):] {
			later := false
			for v, other := range all {
				if v != u {
					later = later || slices.ContainsFunc(other.Timestamps[:train(v)], func(t int64) bool { return t > answer })
				}
			}
			if later {
				early++
			}
		}
	}
	return early
}

func TestTrainingOnTheFutureIsCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := histories(rt, 3)
		got, err := leaveOneOut(t, 3, all)
		if err != nil {
			rt.Fatal(err)
		}
		want := earlyAnswers(all, func(u int) int { return len(all[u].Items) - 2 }, func(int) int { return 1 })
		if early, judged := got.report["test_answers_before_training"]; !judged || early != want {
			rt.Errorf("%v answers before training (judged: %v), want %v", early, judged, want)
		}
	})
}
