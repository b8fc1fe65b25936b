package pipelines_test

import (
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/synthetic"
	"github.com/prismflow/prismflow/stages/tables"
)

const plantedSeeds = 5

// TestPlanted runs planted.toml with five seeds: features must help, most of
// all those users whose preference neither modality tells alone, and must not
// help when they are dealt out to the wrong items. Gains are differences of
// Recall@10 over the same users, so their error is that of a paired comparison.
func TestPlanted(t *testing.T) {
	if os.Getenv("PRISMFLOW_LONG") == "" {
		t.Skip("trains 15 models: set PRISMFLOW_LONG=1, or run make test-long")
	}
	torchtest.Open(t) // for its reason to skip
	groups := []string{synthetic.GroupVisual, synthetic.GroupTextual, synthetic.GroupCross, synthetic.GroupNone}
	gains, controls := map[string]*mean{}, &mean{}
	for _, group := range append(groups, "all") {
		gains[group] = &mean{}
	}
	for seed := 1; seed <= plantedSeeds; seed++ {
		users := runPlanted(t, seed)
		summarise(t, seed, groups, users)
		for _, u := range users {
			gain := u.hit["right"] - u.hit["none"]
			gains[u.group].add(gain)
			gains["all"].add(gain)
			controls.add(u.hit["wrong"] - u.hit["none"])
		}
	}
	for _, group := range append(groups, "all") {
		t.Logf("gain of Recall@10 for %-8s %+.4f ± %.4f", group, gains[group].value(), gains[group].error())
	}
	t.Logf("gain with shuffled features  %+.4f ± %.4f", controls.value(), controls.error())
	const sigmas = 2 // of a mean over some 4,000 users a group; one-sided, p < 0.025
	if gain := gains["all"]; gain.value() < sigmas*gain.error() {
		t.Errorf("features gain %.4f ± %.4f", gain.value(), gain.error())
	}
	cross := gains[synthetic.GroupCross]
	for _, group := range []string{synthetic.GroupVisual, synthetic.GroupTextual, synthetic.GroupNone} {
		if other := gains[group]; cross.value()-other.value() < sigmas*math.Hypot(cross.error(), other.error()) {
			t.Errorf("cross-modal users gain %.4f and %s users %.4f: the first were to gain most", cross.value(), group, other.value())
		}
	}
	if controls.value() > sigmas*controls.error() {
		t.Errorf("shuffled features gain %.4f ± %.4f: they say nothing and must not help", controls.value(), controls.error())
	}
}

// A plantedUser is one user of one seed: whether each model had its answer
// among the first ten, and the probability that the best possible ranking has.
type plantedUser struct {
	group   string
	optimum float64
	hit     map[string]float64
}

func runPlanted(t *testing.T, seed int) []plantedUser {
	t.Helper()
	e := runShipped(t, "planted.toml", map[string]string{"seed": strconv.Itoa(seed)}, t.TempDir())
	users := map[int32]*plantedUser{}
	planted := map[string]synthetic.PlantedUser{}
	for _, row := range result[synthetic.PlantedUser](t, e, "synthetic.planted") {
		planted[row.User] = row
	}
	for _, row := range result[tables.User](t, e, "corpus.users") {
		truth := planted[row.User]
		users[row.ID] = &plantedUser{group: truth.Group, optimum: truth.Optimum, hit: map[string]float64{}}
	}
	for _, model := range []string{"none", "right", "wrong"} {
		for _, rank := range result[tables.Rank](t, e, model+".ranks") {
			if rank.Model == "prism" && rank.Rank <= 10 {
				users[rank.User].hit[model] = 1
			}
		}
	}
	list := make([]plantedUser, 0, len(users))
	for _, u := range users {
		list = append(list, *u)
	}
	return list
}

// summarise prints Recall@10 of the three models beside the planted optimum.
func summarise(t *testing.T, seed int, groups []string, users []plantedUser) {
	t.Helper()
	for _, group := range append(groups, "all") {
		var optimum mean
		recall := map[string]*mean{"none": {}, "right": {}, "wrong": {}}
		for _, u := range users {
			if group != "all" && u.group != group {
				continue
			}
			optimum.add(u.optimum)
			for model, m := range recall {
				m.add(u.hit[model])
			}
		}
		t.Logf("seed %d %-8s %5.0f users: optimum %.4f, without features %.4f, with %.4f, shuffled %.4f", seed, group,
			optimum.n, optimum.value(), recall["none"].value(), recall["right"].value(), recall["wrong"].value())
	}
}

// A mean of values and its standard error.
type mean struct{ n, sum, squares float64 }

func (m *mean) add(x float64)  { m.n++; m.sum += x; m.squares += x * x }
func (m *mean) value() float64 { return m.sum / m.n }
func (m *mean) error() float64 {
	variance := m.squares/m.n - m.value()*m.value()
	return math.Sqrt(variance / m.n)
}
