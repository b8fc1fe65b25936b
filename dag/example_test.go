package dag_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/prismflow/prismflow/dag"
)

// count is a Task: reused when it is said to be at hand, else computed.
type count struct {
	atHand bool
	err    error
}

func (c count) Reuse(context.Context) (dag.Outcome, bool, error) {
	return dag.Outcome{Reason: "no result yet"}, c.atHand, nil
}

func (c count) Execute(context.Context, int) (dag.Outcome, error) { return dag.Outcome{}, c.err }

func Example() {
	g, err := dag.New([]dag.Node{
		{Name: "reviews", Task: count{atHand: true}},
		{Name: "corpus", Needs: []string{"reviews"}, Task: count{}},
		{Name: "images", Needs: []string{"corpus"}, Task: count{err: errors.New("no route to host")}},
		{Name: "embed", Needs: []string{"images"}, Task: count{}},
		{Name: "split", Needs: []string{"corpus"}, Task: count{}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	results, err := g.Run(context.Background(), dag.Options{Budget: dag.Resources{CPU: 2}})
	for _, r := range results {
		fmt.Printf("%s: %s %q\n", r.Name, r.State, r.CausedBy)
	}
	fmt.Println("error:", err)
	// Output:
	// reviews: cached ""
	// corpus: ran ""
	// images: failed ""
	// embed: skipped "images"
	// split: ran ""
	// error: images: no route to host
}

func ExampleGraph_Text() {
	g, err := dag.New([]dag.Node{
		{Name: "reviews", Kind: "amazon.reviews"},
		{Name: "metadata", Kind: "amazon.metadata"},
		{Name: "corpus", Kind: "corpus", Needs: []string{"reviews", "metadata"}},
		{Name: "split", Kind: "split.leave_one_out", Needs: []string{"corpus"}},
	})
	if err == nil {
		err = g.Text(os.Stdout, func(name string) string {
			if name == "split" {
				return "stale"
			}
			return "fresh"
		})
	}
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// ●    reviews   amazon.reviews       fresh
	// │ ●  metadata  amazon.metadata      fresh
	// ●─╯  corpus    corpus               fresh
	// ○    split     split.leave_one_out  stale
}
