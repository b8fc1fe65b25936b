package training

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/ranking"
)

// beauty is Amazon Beauty (2014, 5-core) split leave-one-out, and the cases of
// the test part.
func beauty(t testing.TB) (Data, []ranking.Case) {
	t.Helper()
	root := os.Getenv("PRISMFLOW_TESTDATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	text, err := os.ReadFile(filepath.Join(root, "sequences", "Beauty.txt"))
	if err != nil {
		t.Skipf("real data is not here: %v; set PRISMFLOW_TESTDATA to the folder that holds sequences/Beauty.txt", err)
	}
	var data Data
	var test []ranking.Case
	for line := range strings.Lines(string(text)) {
		var items []int32
		for _, field := range strings.Fields(line)[1:] {
			item, err := strconv.ParseInt(field, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			data.Items = max(data.Items, int(item))
			items = append(items, int32(item))
		}
		n, id := len(items), len(data.Users)+1
		data.Users = append(data.Users, User{ID: int32(id), Train: items[:n-2], Valid: items[n-2 : n-1], Held: items[n-2:]})
		test = append(test, ranking.Case{Query: ranking.Query{User: id, History: items[:n-1]}, Answer: items[n-1]})
	}
	return data, test
}

// TestBeautyReachesPublishedNumbers holds the quality of SASRec with default
// settings. Published and own runs of the same protocol: BCE .053–.061 HR@10 and
// .028–.032 NDCG@10, softmax .076–.092 and .042–.053.
func TestBeautyReachesPublishedNumbers(t *testing.T) {
	if os.Getenv("PRISMFLOW_LONG") == "" {
		t.Skip("trains for many minutes; set PRISMFLOW_LONG=bce or PRISMFLOW_LONG=ce")
	}
	gates := map[Loss]ranking.At{
		BCE: {K: 10, Recall: 0.050, NDCG: 0.026}, CE: {K: 10, Recall: 0.075, NDCG: 0.043}, SampledCE: {K: 10, Recall: 0.075, NDCG: 0.043},
	}
	for _, loss := range strings.Split(os.Getenv("PRISMFLOW_LONG"), ",") {
		gate, ok := gates[Loss(loss)]
		if !ok {
			gate = gates[BCE]
			loss = string(BCE)
		}
		t.Run(loss, func(t *testing.T) {
			got := trainAndTest(t, Loss(loss))
			if got.Recall < gate.Recall || got.NDCG < gate.NDCG {
				t.Errorf("HR@10 %.4f and NDCG@10 %.4f on test, want at least %v and %v", got.Recall, got.NDCG, gate.Recall, gate.NDCG)
			}
		})
	}
}

func trainAndTest(t *testing.T, loss Loss) ranking.At {
	data, test := beauty(t)
	config := Default()
	config.Loss = loss
	lib := torchtest.Open(t)
	begun, last := time.Now(), time.Now()
	result, err := Train(t.Context(), lib, data, config, Options{Device: "cpu", Resume: os.Getenv("PRISMFLOW_RESUME"), Logf: t.Logf, Progress: func(p Progress) {
		if e := p.Finished; e != nil {
			fmt.Printf("epoch %d: loss %.4f, %s %.4f, %.1f s\n", e.Epoch, e.Loss, config.Monitor, *e.Value, time.Since(last).Seconds())
			last = time.Now()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d epochs, %.2f s each with validation; best %d", len(result.History), time.Since(begun).Seconds()/float64(len(result.History)), result.Best)
	return evaluate(t, lib, result.Model, test, data.Items)
}

func evaluate(t *testing.T, lib *gotorch.Library, snapshot prism.Snapshot, cases []ranking.Case, items int) ranking.At {
	session, err := lib.NewSession(gotorch.SessionOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var summary ranking.Summary
	if err := session.Run(func() {
		model, err := prism.Load(session, snapshot)
		if err != nil {
			t.Fatal(err)
		}
		options := ranking.DefaultOptions(items)
		options.Workers = 1
		ranks, err := ranking.Evaluate(t.Context(), model.Scorer(), cases, options)
		if err != nil {
			t.Fatal(err)
		}
		if summary, err = ranking.Summarize(ranks, []int{5, 10, 20}); err != nil {
			t.Fatal(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, at := range summary.At {
		t.Logf("test @%d: HR %.4f, NDCG %.4f, MRR %.4f", at.K, at.Recall, at.NDCG, at.MRR)
	}
	if err := ranking.Check(summary.At, 0); err != nil {
		t.Error(err)
	}
	return summary.At[1]
}

// TestBeautyHasThePublishedExamples counts what the published codes train on:
// one example a user, and for InDiRec one for each item but three of every user.
func TestBeautyHasThePublishedExamples(t *testing.T) {
	data, test := beauty(t)
	if len(data.Users) != 22363 || len(test) != 22363 || data.Items != 12101 {
		t.Errorf("%d users, %d test answers, %d items: want 22,363 twice and 12,101", len(data.Users), len(test), data.Items)
	}
	const window = 50
	if n := len(newExamples(data.Users, window, Sequences)); n != 22363 {
		t.Errorf("%d sequences, want one a user", n)
	}
	if n := len(newExamples(data.Users, window, Prefixes)); n != 198502-3*22363 {
		t.Errorf("%d prefixes, want 131,413", n)
	}
}
