package ranking_test

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/model/ranking"
)

// byID is a scorer that likes items with a large id.
type byID struct{ items int }

func (s byID) Score(_ context.Context, _ []ranking.Query, scores []float32) error {
	for i := range scores {
		scores[i] = float32(i % (s.items + 1))
	}
	return nil
}

func Example() {
	cases := []ranking.Case{
		{Query: ranking.Query{User: 0, History: []int32{1, 5}}, Answer: 4}, // 5 is seen, so 4 is first
		{Query: ranking.Query{User: 1, History: []int32{4}}, Answer: 2},    // behind 5 and 3
	}
	ranks, err := ranking.Evaluate(context.Background(), byID{5}, cases, ranking.DefaultOptions(5))
	if err != nil {
		fmt.Println(err)
		return
	}
	summary, err := ranking.Summarize(ranks, []int{1, 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, at := range summary.At {
		fmt.Printf("recall@%d %.2f  ndcg@%d %.2f  mrr@%d %.2f\n", at.K, at.Recall, at.K, at.NDCG, at.K, at.MRR)
	}
	fmt.Println("possible:", ranking.Check(summary.At, 0) == nil)
	// Output:
	// recall@1 0.50  ndcg@1 0.50  mrr@1 0.50
	// recall@3 1.00  ndcg@3 0.75  mrr@3 0.67
	// possible: true
}
