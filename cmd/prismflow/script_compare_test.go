package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages/tables"
)

// scriptEvaluations writes what evaluate stages might have written, for a command
// to copy: "evaluations DIR" makes DIR/MODEL-SEED.metrics and .ranks for the
// models good, fair and poor and the seeds 1 to 3, and DIR/fewer-1, which is of
// fewer users, and DIR/false-1, whose metrics are not those of its ranks.
func scriptEvaluations(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: evaluations DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	const users = 400
	for _, m := range []struct {
		name  string
		place float64 // mean place of an answer
		seeds int
		users int
		error float64
	}{{"good", 8, 3, users, 0}, {"fair", 30, 3, users, 0}, {"poor", 90, 3, users, 0}, {"fewer", 30, 1, users - 1, 0}, {"false", 30, 1, users, 0.1}} {
		for seed := range m.seeds {
			e := evaluation{users: m.users}
			e.add("prism", m.place, uint64(seed+1), m.error)
			e.add("popularity", 150, 0, 0)
			e.add("knn", 100, 0, 0)
			path := filepath.Join(dir, m.name+"-"+strconv.Itoa(seed+1))
			ts.Check(writeRowsTo(path+".metrics", e.metrics))
			ts.Check(writeRowsTo(path+".ranks", e.ranks))
		}
	}
}

// An evaluation is made of random ranks, the same for the same model and seed.
type evaluation struct {
	users   int
	metrics []tables.Metric
	ranks   []tables.Rank
}

func (e *evaluation) add(model string, place float64, seed uint64, mistake float64) {
	const candidates = 500
	random := rand.New(rand.NewPCG(uint64(place), seed))
	var ranks []ranking.Rank
	for user := range e.users {
		at := min(candidates, 1+int(random.ExpFloat64()*place))
		ranks = append(ranks, ranking.Rank{User: user + 1, Answer: int32(user%7 + 1), First: at, Last: at, Candidates: candidates})
		e.ranks = append(e.ranks, tables.Rank{Model: model, Split: "test", User: int32(user + 1), Answer: int32(user%7 + 1), Rank: float64(at), Candidates: candidates})
	}
	summary, err := ranking.Summarize(ranks, []int{5, 10})
	if err != nil {
		panic(err) // there are ranks
	}
	for _, at := range summary.At {
		for _, metric := range []ranking.Metric{ranking.Recall, ranking.NDCG, ranking.MRR} {
			e.metrics = append(e.metrics, tables.Metric{Model: model, Split: "test", Metric: string(metric), K: int32(at.K), Value: at.Value(metric) + mistake, Users: int64(e.users)})
		}
	}
}

func writeRowsTo[Row any](path string, rows []Row) error {
	w, err := table.Create[Row](path)
	if err != nil {
		return err
	}
	if err := w.AppendAll(rows); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = w.Close()
	return err
}
