package pipelines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// TestAttributes compares PRISM on attributes with its backbone alone, seed by
// seed on the same users of Amazon Beauty, and prints what comes out, whichever
// way. It takes hours, but for what PRISMFLOW_CACHE has already:
//
//	PRISMFLOW_LONG=attributes go test ./pipelines -run Attributes -timeout 0 -v
func TestAttributes(t *testing.T) {
	if !strings.Contains(os.Getenv("PRISMFLOW_LONG"), "attributes") {
		t.Skip("trains six models on Amazon Beauty: set PRISMFLOW_LONG=attributes")
	}
	torchtest.Open(t) // for its reason to skip
	cache := os.Getenv("PRISMFLOW_CACHE")
	if cache == "" {
		cache = t.TempDir()
	}
	var with, without [][]ranking.Rank
	for seed := 1; seed <= 3; seed++ {
		e := runShipped(t, filepath.Join("bench", "beauty_prism_attributes.toml"), map[string]string{
			"file":       stagetest.RealData(t, "sequences/Beauty.txt"),
			"attributes": stagetest.RealData(t, "sequences/Beauty_item2attributes.json"),
			"seed":       strconv.Itoa(seed),
		}, cache)
		with = append(with, places(result[tables.Rank](t, e, "evaluate_on.ranks")))
		without = append(without, places(result[tables.Rank](t, e, "evaluate_off.ranks")))
	}
	for _, metric := range []ranking.Metric{ranking.Recall, ranking.NDCG} {
		for _, k := range []int{10, 20} {
			c, err := ranking.Compare(metric, k, without, with)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s@%d without %.4f, with %.4f: difference %+.4f ± %.4f over users, ± %.4f over seeds (%s), better for %d, worse for %d; signed ranks: %+v",
				metric, k, c.Baseline, c.Candidate, c.Difference, c.UserError, c.RunError, eachRun(c.RunDifferences), c.Better, c.Worse, c.SignedRank)
		}
	}
	byPlace, err := ranking.ComparePlaces(without, with)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("places of the answers: signed ranks %+v", byPlace)
}

// places are the test ranks of the trained model.
func places(rows []tables.Rank) []ranking.Rank {
	var ranks []ranking.Rank
	for _, row := range rows {
		if row.Model != "prism" || row.Split != "test" {
			continue
		}
		place := int(row.Rank)
		ranks = append(ranks, ranking.Rank{
			User: int(row.User), Answer: row.Answer, First: place, Last: place, Candidates: int(row.Candidates), Outcome: ranking.Ranked,
		})
	}
	return ranks
}

func eachRun(differences []float64) string {
	texts := make([]string, len(differences))
	for i, d := range differences {
		texts[i] = fmt.Sprintf("%+.4f", d)
	}
	return strings.Join(texts, ", ")
}
