package sequences

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

type outcome struct {
	Sequences []tables.Sequence
	Items     []tables.CorpusItem
	Users     []tables.User
	Report    map[string]float64
}

func runOn(t testing.TB, ids string, paths ...string) (outcome, error) {
	t.Helper()
	stage := Import{Source: stages.SourceFiles(paths...), IDs: ids}
	sequences, items, users := stagetest.Result(t, &stage.Sequences), stagetest.Result(t, &stage.Items), stagetest.Result(t, &stage.Users)
	env := stagetest.Env(t)
	if err := stage.Run(context.Background(), env); err != nil {
		return outcome{}, err
	}
	out := outcome{sequences(), items(), users(), map[string]float64{}}
	for _, c := range env.Report() {
		out.Report[c.Name] = c.Value
	}
	return out, nil
}

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.txt")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSorted(t *testing.T) {
	got, err := runOn(t, "sorted", write(t, "u2 10 2 10\nu1\t2  b \n"))
	if err != nil {
		t.Fatal(err)
	}
	want := outcome{
		Sequences: []tables.Sequence{{User: 1, Items: []int32{2, 3}, Timestamps: []int64{1, 2}}, {User: 2, Items: []int32{1, 2, 1}, Timestamps: []int64{1, 2, 3}}},
		Items:     []tables.CorpusItem{{ID: 1, Item: "10", Interactions: 2}, {ID: 2, Item: "2", Interactions: 2}, {ID: 3, Item: "b", Interactions: 1}},
		Users:     []tables.User{{ID: 1, User: "u1", Interactions: 2}, {ID: 2, User: "u2", Interactions: 3}},
		Report:    map[string]float64{"interactions": 5, "users": 2, "items": 3},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAsGiven(t *testing.T) {
	var text strings.Builder
	for user := 12; user >= 1; user-- {
		fmt.Fprintf(&text, "%d %d 1\n", user, user)
	}
	got, err := runOn(t, "as_given", write(t, text.String()))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range got.Sequences {
		if id := int32(i + 1); s.User != id || !slices.Equal(s.Items, []int32{id, 1}) || got.Items[i].Item != fmt.Sprint(id) || got.Users[i].User != fmt.Sprint(id) {
			t.Errorf("row %d: %v %v %v", i, s, got.Items[i], got.Users[i])
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ ids, text, want string }{
		{"sorted", "1 2 3\n\n2 3 4\n", ":2: the line is blank"},
		{"sorted", "1 2 3\n2 3 4\n \t\n", ":3: the line is blank"},
		{"sorted", "1 2\n2\n", `:2: user "2" has no items: a line is "user item item …", separated by spaces`},
		{"sorted", "1,2,3\n", `:1: user "1,2,3" has no items: a line is "user item item …", separated by spaces`},
		{"sorted", "1 2\n2 3\n1 4\n", `:3: user "1" has a sequence already, at PATH:1`},
		{"sorted", "1 2\x003\n", `:1: "2\x003" is not a word: it has control characters, or is not valid UTF-8`},
		{"sorted", "1 \xff\n", `:1: "\xff" is not a word: it has control characters, or is not valid UTF-8`},
		{"as_given", "1 2\n2 x\n", `:2: "x" is not a whole number from 1, as ids = "as_given" requires`},
		{"as_given", "1 0\n", `:1: "0" is not a whole number from 1, as ids = "as_given" requires`},
		{"as_given", "1 -1\n", `:1: "-1" is not a whole number from 1, as ids = "as_given" requires`},
		{"as_given", "1 01\n", `:1: "01" is not a whole number from 1, as ids = "as_given" requires`},
		{"as_given", "1 +1\n", `:1: "+1" is not a whole number from 1, as ids = "as_given" requires`},
		{"as_given", "1 4294967297\n", `:1: "4294967297" is not a whole number from 1, as ids = "as_given" requires`},
	} {
		path := write(t, c.text)
		_, err := runOn(t, c.ids, path)
		if want := path + strings.ReplaceAll(c.want, "PATH", path); err == nil || err.Error() != want {
			t.Errorf("%q: error %v\nwant %s", c.text, err, want)
		}
	}
	for _, c := range []struct{ ids, text, want string }{
		{"sorted", "", "the source holds no sequences: is it the right file?"},
		{"as_given", "1 1 2 2147483647\n", `items: number 3 does not occur, though there are 3 and 2147483647 does: ids = "as_given" needs 1 to N without a gap, ids = "sorted" does not`},
		{"as_given", "2 1\n", `users: number 1 does not occur, though there are 1 and 2 does: ids = "as_given" needs 1 to N without a gap, ids = "sorted" does not`},
	} {
		if _, err := runOn(t, c.ids, write(t, c.text)); err == nil || err.Error() != c.want {
			t.Errorf("%q: error %v\nwant %s", c.text, err, c.want)
		}
	}
	if _, err := runOn(t, "sorted", write(t, "1 2\n"), write(t, "1 3\n")); err == nil || !strings.Contains(err.Error(), "has a sequence already") {
		t.Errorf("one user in two files: error %v", err)
	}
}

func TestNamesLeadBackToTheFile(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		users := rapid.SliceOfNDistinct(rapid.IntRange(1, 99), 1, 20, rapid.ID).Draw(rt, "users")
		var text strings.Builder
		want := map[string]string{}
		for _, u := range users {
			items := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 9).Draw(rt, "items")
			line := strings.Trim(fmt.Sprint(items), "[]")
			fmt.Fprintf(&text, "%d %s\n", u, line)
			want[fmt.Sprint(u)] = line
		}
		out, err := runOn(t, "sorted", write(t, text.String()))
		if err != nil {
			rt.Fatal(err)
		}
		got := map[string]string{}
		for i, s := range out.Sequences {
			names := make([]string, len(s.Items))
			for j, id := range s.Items {
				names[j] = out.Items[id-1].Item
			}
			got[out.Users[i].User] = strings.Join(names, " ")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

func TestRealSequences(t *testing.T) {
	for _, c := range []struct {
		file                       string
		users, items, interactions float64
	}{
		{"sequences/Beauty.txt", 22363, 12101, 198502},
		{"sequences/Office_Products.txt", 4905, 2420, 53258},
		{"sequences/Amazon_Instant_Video.txt", 5130, 1685, 37126},
	} {
		want := map[string]float64{"users": c.users, "items": c.items, "interactions": c.interactions}
		for _, ids := range []string{"sorted", "as_given"} {
			out, err := runOn(t, ids, stagetest.RealData(t, c.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, out.Report); diff != "" {
				t.Errorf("%s, %s: (-want +got)\n%s", c.file, ids, diff)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"1 2 3", "", " ", "1", "u\ti i", "1 \xff", "01 +1", "\x00"} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, line []byte, asGiven bool) {
		tokens, err := parse(line, asGiven)
		if err != nil {
			return
		}
		again, err := parse(bytes.Join(tokens, []byte(" ")), asGiven)
		if err != nil || len(tokens) < 2 || !slices.EqualFunc(tokens, again, bytes.Equal) {
			t.Errorf("%q: %q, then %q (%v)", line, tokens, again, err)
		}
	})
}
