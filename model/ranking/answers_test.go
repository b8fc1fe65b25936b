package ranking

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// listed is a user's whole list of items, best first; each metric is computed
// from it as its definition says.
func listed(list []int32, answers []int32, k int) At {
	at := At{K: k}
	ideal := 0.0
	for i := range answers {
		if i < k {
			ideal += 1 / math.Log2(float64(i)+2)
		}
	}
	for i, item := range list[:min(k, len(list))] {
		if !slices.Contains(answers, item) {
			continue
		}
		if at.MRR == 0 {
			at.MRR = 1 / float64(i+1)
		}
		at.Recall += 1 / float64(len(answers))
		at.NDCG += 1 / math.Log2(float64(i)+2) / ideal
	}
	return at
}

// orders are the lists that a tie rule allows: one, or under Expected all that
// have the scores in order.
func orders(scores []float32, candidates, answers []int32, ties Ties) [][]int32 {
	isAnswer := func(item int32) int { return one(slices.Contains(answers, item)) }
	sorted := slices.Clone(candidates)
	slices.SortFunc(sorted, func(a, b int32) int {
		behind := 0
		if ties == Pessimistic {
			behind = isAnswer(a) - isAnswer(b)
		}
		return cmp.Or(cmp.Compare(scores[b], scores[a]), behind, cmp.Compare(a, b))
	})
	if ties != Expected {
		return [][]int32{sorted}
	}
	var all [][]int32
	var extend func(list, rest []int32)
	extend = func(list, rest []int32) {
		if len(rest) == 0 {
			all = append(all, list)
		}
		for i, item := range rest {
			if scores[item] == scores[rest[0]] {
				extend(append(slices.Clone(list), item), slices.Delete(slices.Clone(rest), i, i+1))
			}
		}
	}
	extend(nil, sorted)
	return all
}

func TestSeveralAnswersAreWhatTheListSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const items = 6
		item := rapid.Int32Range(1, items)
		scores := append([]float32{0}, rapid.SliceOfN(rapid.SampledFrom([]float32{1, 2, 3}), items, items).Draw(t, "scores")...)
		history := rapid.SliceOfN(item, 0, 3).Draw(t, "history")
		answers := rapid.SliceOfNDistinct(item, 1, 4, rapid.ID[int32]).Draw(t, "answers")
		options := Options{Items: items, FilterSeen: rapid.Bool().Draw(t, "filter")}
		var candidates []int32
		for i := int32(1); i <= items; i++ {
			if !options.FilterSeen || !slices.Contains(history, i) {
				candidates = append(candidates, i)
			}
		}
		cases := AppendCases(nil, Query{History: history}, append(answers, answers[0]))
		for _, options.Ties = range []Ties{Pessimistic, ByID, Expected} {
			for _, scorer := range []Scorer{table{scores}, sparseTable{table{scores}}, countingTable{table{scores}}} {
				ranks, err := Evaluate(context.Background(), scorer, cases, options)
				if err != nil {
					t.Fatal(err)
				}
				s, err := Summarize(ranks, []int{1, 2, 3, 6, 9})
				if err != nil {
					t.Fatal(err)
				}
				if err := CheckSeveral(s.At, 0); err != nil {
					t.Fatal(err)
				}
				for i, got := range s.At {
					var want At
					all := orders(scores, candidates, answers, options.Ties)
					for _, list := range all {
						at, n := listed(list, answers, got.K), float64(len(all))
						want = At{K: got.K, Recall: want.Recall + at.Recall/n, NDCG: want.NDCG + at.NDCG/n, MRR: want.MRR + at.MRR/n}
					}
					if diff := gocmp.Diff(want, s.At[i], cmpopts.EquateApprox(0, 1e-9)); diff != "" {
						t.Fatalf("%s, %T, ranks %+v (-want +got):\n%s", options.Ties, scorer, ranks, diff)
					}
				}
			}
		}
	})
}

// By hand: of three answers the places are 1, 4 and none.
func TestSeveralAnswersByHand(t *testing.T) {
	answers := Answers{{Answer: 7, First: 4, Last: 4}, {Answer: 3, First: 1, Last: 1}, {Answer: 5, First: 90, Last: 90, Outcome: Impossible}}
	ideal := 1 + 1/math.Log2(3) + 1/math.Log2(4)
	for k, want := range map[int]At{
		1:   {Recall: 1. / 3, NDCG: 1, MRR: 1},
		2:   {Recall: 1. / 3, NDCG: 1 / (1 + 1/math.Log2(3)), MRR: 1},
		4:   {Recall: 2. / 3, NDCG: (1 + 1/math.Log2(5)) / ideal, MRR: 1},
		100: {Recall: 2. / 3, NDCG: (1 + 1/math.Log2(5)) / ideal, MRR: 1},
	} {
		for _, m := range []Metric{Recall, NDCG, MRR} {
			if got := answers.Value(m, k); math.Abs(got-want.Value(m)) > 1e-12 {
				t.Errorf("%s@%d is %v, want %v", m, k, got, want.Value(m))
			}
		}
	}
}

func TestUsersAreCountedOnce(t *testing.T) {
	ranks := []Rank{{User: 1, First: 1, Last: 1}, {User: 1, First: 4, Last: 4, Tied: 2}, {User: 2, Outcome: Unanswered}, {User: 3, First: 9, Last: 9, Outcome: Impossible}}
	got, err := Summarize(ranks, []int{2})
	want := Summary{Users: 2, Answers: 3, Impossible: 1, Tied: 1, Unanswered: 1, At: []At{{K: 2, Recall: .25, NDCG: .5 / (1 + 1/math.Log2(3)), MRR: .5}}}
	if diff := gocmp.Diff(want, got, almost); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	c, err := Compare(Recall, 2, [][]Rank{ranks}, [][]Rank{{ranks[0], {User: 1, First: 2, Last: 2}, ranks[2], ranks[3]}})
	if err != nil || c.Users != 2 || c.Difference != .25 || c.Better != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	q := Query{User: 4, History: []int32{1}}
	for want, cases := range map[string][]Case{
		"after 1 answers comes 2":  {{Query: q, Answer: 2}, {Query: q, Answer: 2}},
		"comes 0":                  {{Query: q, Answer: 2}, {Query: q}},
		"with different histories": {{Query: q, Answer: 2}, {Query: Query{User: 4}, Answer: 3}},
	} {
		_, err := Evaluate(t.Context(), table{4: make([]float32, 4)}, cases, DefaultOptions(3))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
