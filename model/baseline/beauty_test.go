package baseline

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/ranking"
)

// sequencesFile returns the path of a published sequence file, or skips.
func sequencesFile(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("PRISMFLOW_TESTDATA")
	if root == "" {
		root = filepath.Join(moduleRoot(t), "..", "shared", "data")
	}
	path := filepath.Join(root, "sequences", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real data is not here: %v; set PRISMFLOW_TESTDATA to the folder that holds sequences/%s", err, name)
	}
	return path
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
}

// readSequences reads lines "user item item …", oldest first.
func readSequences(t testing.TB, path string) (items int, sequences [][]int32) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var sequence []int32
		for _, field := range strings.Fields(line)[1:] {
			item, err := strconv.ParseInt(field, 10, 32)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			items = max(items, int(item))
			sequence = append(sequence, int32(item))
		}
		sequences = append(sequences, sequence)
	}
	return items, sequences
}

// leaveOneOut returns what is trained on, and the test cases.
func leaveOneOut(sequences [][]int32) (training [][]int32, test []ranking.Case) {
	for user, s := range sequences {
		n := len(s)
		training = append(training, s[:n-2])
		test = append(test, ranking.Case{Query: ranking.Query{User: user, History: s[:n-1]}, Answer: s[n-1]})
	}
	return training, test
}

func summarize(t testing.TB, scorer ranking.Scorer, cases []ranking.Case, items int, ties ranking.Ties) ranking.Summary {
	t.Helper()
	options := ranking.DefaultOptions(items)
	options.Ties = ties
	ranks, err := ranking.Evaluate(context.Background(), scorer, cases, options)
	if err != nil {
		t.Fatal(err)
	}
	summary, err := ranking.Summarize(ranks, []int{5, 10, 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := ranking.Check(summary.At, 0); err != nil {
		t.Error(err)
	}
	return summary
}

// The published numbers of both baselines on Beauty's test answers, all items ranked, seen items out. Those of the kNN
// were computed by an independent program. Popularity was published as .0115 and .0055, which is by id.
func TestBeauty(t *testing.T) {
	items, sequences := readSequences(t, sequencesFile(t, "Beauty.txt"))
	training, test := leaveOneOut(sequences)
	if len(test) != 22363 || items != 12101 {
		t.Fatalf("%d users and %d items, want 22363 and 12101: not the published file", len(test), items)
	}
	popularity, err := FitPopularity(items, training)
	if err != nil {
		t.Fatal(err)
	}
	knn, err := FitKNN(t.Context(), items, training, DefaultKNN())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		scorer       ranking.Scorer
		ties         ranking.Ties
		recall, ndcg string // at 5, 10, 20
	}{
		{"popularity", popularity, ranking.Pessimistic, "0.0068 0.0110 0.0198", "0.0039 0.0053 0.0074"},
		{"popularity", popularity, ranking.ByID, "0.0075 0.0115 0.0203", "0.0041 0.0055 0.0076"},
		{"knn", knn, ranking.Pessimistic, "0.0594 0.0803 0.1064", "0.0444 0.0510 0.0577"},
		{"knn", knn, ranking.ByID, "0.0596 0.0805 0.1064", "0.0445 0.0512 0.0578"},
	} {
		s := summarize(t, c.scorer, test, items, c.ties)
		if s.Users != 22363 || s.Impossible != 0 || s.Unanswered != 0 {
			t.Errorf("%s: %d users, %d impossible, %d unanswered", c.name, s.Users, s.Impossible, s.Unanswered)
		}
		if got := inFourDigits(s.At, ranking.Recall); got != c.recall {
			t.Errorf("%s, ties %s: recall %s, want %s", c.name, c.ties, got, c.recall)
		}
		if got := inFourDigits(s.At, ranking.NDCG); got != c.ndcg {
			t.Errorf("%s, ties %s: ndcg %s, want %s", c.name, c.ties, got, c.ndcg)
		}
	}
}

func inFourDigits(table []ranking.At, m ranking.Metric) string {
	var digits []string
	for _, at := range table {
		digits = append(digits, strconv.FormatFloat(at.Value(m), 'f', 4, 64))
	}
	return strings.Join(digits, " ")
}
