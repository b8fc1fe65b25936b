package split

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

func temporal(t testing.TB, stage Temporal, sequences []tables.Sequence) (outcome, error) {
	t.Helper()
	stage.Sequences = stagetest.Table[sequence](t, sequences)
	return run(t, &stage, &stage.Split)
}

// shop has ten interactions: user 3 is new at 150 and item 9 is cold there.
func shop() []tables.Sequence {
	return []tables.Sequence{
		{User: 1, Items: []int32{1, 2, 3, 9}, Timestamps: []int64{100, 110, 150, 190}},
		{User: 2, Items: []int32{2, 1}, Timestamps: []int64{120, 130}},
		{User: 3, Items: []int32{3, 1}, Timestamps: []int64{160, 200}},
		{User: 4, Items: []int32{3, 2}, Timestamps: []int64{140, 190}},
	}
}

func TestTemporal(t *testing.T) {
	all := []tables.Split{
		{User: 1, Train: []int32{1, 2}, Valid: []int32{3}, Test: []int32{9}},
		{User: 2, Train: []int32{2, 1}, Valid: []int32{}, Test: []int32{}},
		{User: 3, Train: []int32{}, Valid: []int32{3}, Test: []int32{1}},
		{User: 4, Train: []int32{3}, Valid: []int32{}, Test: []int32{2}},
	}
	withoutNew := []tables.Split{all[0], all[1], all[3]}
	withoutCold := slices.Clone(all)
	withoutCold[0].Test = []int32{}
	for _, c := range []struct {
		name            string
		from            [2]string
		newUsers, cold  string
		want            []tables.Split
		users, answered float64
	}{
		// Times in order: 100 110 120 130 140 150 160 190 190 200.
		{"shares", [2]string{"50%", "70%"}, "leave_out", "keep", withoutNew, 3, 2},
		{"equal times stay together", [2]string{"50%", "80%"}, "leave_out", "keep", withoutNew, 3, 2},
		{"times", [2]string{"1970-01-01T00:02:30Z", "1970-01-01T00:03:10Z"}, "leave_out", "keep", withoutNew, 3, 2},
		{"new users kept", [2]string{"50%", "70%"}, "keep", "keep", all, 4, 3},
		{"cold items left out", [2]string{"50%", "70%"}, "keep", "leave_out", withoutCold, 4, 3},
	} {
		got, err := temporal(t, Temporal{ValidFrom: c.from[0], TestFrom: c.from[1], NewUsers: c.newUsers, ColdItems: c.cold}, shop())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got.rows); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
		for name, want := range map[string]float64{
			"users": c.users, "users_without_answer": c.users - c.answered, "new_users": 1, "cold_valid_answers": 0, "cold_test_answers": 1,
			"train_interactions": 5, "valid_from_time": 150, "test_from_time": 190,
		} {
			if got.report[name] != want {
				t.Errorf("%s: %s is %v, want %v", c.name, name, got.report[name], want)
			}
		}
	}
}

func TestNoTrainingFromTheFuture(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := histories(rt, 1)
		stage := Temporal{
			ValidFrom: rapid.SampledFrom([]string{"30%", "50%", "1970-01-01T00:01:45Z"}).Draw(rt, "valid"),
			TestFrom:  rapid.SampledFrom([]string{"60%", "90%", "1970-01-01T00:01:58Z"}).Draw(rt, "test"),
			NewUsers:  "keep", ColdItems: "keep",
		}
		got, err := temporal(t, stage, all)
		if err != nil {
			rt.Skip("nothing to train on or to ask: ", err)
		}
		valid, test := int64(got.report["valid_from_time"]), int64(got.report["test_from_time"])
		for i, row := range got.rows {
			if !slices.Equal(slices.Concat(row.Train, row.Valid, row.Test), all[i].Items) {
				rt.Fatalf("%v of %v", row, all[i].Items)
			}
			for place, at := range all[i].Timestamps {
				inTrain, inTest := place < len(row.Train), place >= len(row.Train)+len(row.Valid)
				if inTrain != (at < valid) || inTest != (at >= test) {
					rt.Errorf("user %d: place %d at %d, cuts %d and %d: %v", row.User, place, at, valid, test, row)
				}
			}
		}
	})
}

func TestWhatCannotBeDividedByTime(t *testing.T) {
	unordered := shop()
	unordered[1].Timestamps = []int64{130, 120}
	for want, c := range map[string]struct {
		from [2]string
		all  []tables.Sequence
	}{
		"have positions and no times":    {[2]string{"80%", "90%"}, positions([]int32{1, 2, 3}, []int32{3, 4})},
		"times of user 2 are not in":     {[2]string{"80%", "90%"}, unordered},
		"there is nothing to train on":   {[2]string{"1960-01-01", "90%"}, shop()},
		"(1 users are new, 0 answers":    {[2]string{"50%", "1980-01-01"}, shop()},
		"which is after test_from (10%)": {[2]string{"1980-01-01", "10%"}, shop()},
	} {
		_, err := temporal(t, Temporal{ValidFrom: c.from[0], TestFrom: c.from[1], NewUsers: "leave_out", ColdItems: "keep"}, c.all)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
