package split

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/stages"
)

// problems are those of a kind with some of its parameters set.
func problems(t *testing.T, kind string, params map[string]any) string {
	t.Helper()
	registry, err := stages.NewRegistry(Kinds()...)
	if err != nil {
		t.Fatal(err)
	}
	k, ok := registry.Kind(kind)
	if !ok {
		t.Fatalf("no kind %s", kind)
	}
	values := stages.Values{"sequences": {V: "corpus.sequences"}}
	for name, v := range params {
		values[name] = stages.Value{V: v}
	}
	_, found := k.Bind(values, stages.BindContext{})
	if len(found) == 0 {
		return ""
	}
	return fmt.Sprint(found)
}

func TestParameters(t *testing.T) {
	type params = map[string]any
	for _, c := range []struct {
		kind   string
		params params
		want   string // in the problems; empty for none
	}{
		{"split.leave_one_out", nil, ""},
		{"split.ratio", nil, ""},
		{"split.ratio", params{"valid_share": 0., "test_share": 0.}, "test_share: must be above 0"},
		{"split.ratio", params{"valid_share": 0.5, "test_share": 0.5}, "are 1 together, must be below 1"},
		{"split.temporal", nil, ""},
		{"split.temporal", params{"valid_from": "2014-01-01", "test_from": "99.5%"}, ""},
		{"split.temporal", params{"valid_from": "2014-01-01", "test_from": "2014-01-01"}, ""},
		{"split.temporal", params{"valid_from": "95%"}, "valid_from: 95% is after test_from, which is 90%"},
		{"split.temporal", params{"valid_from": "2014-02-01", "test_from": "2014-01-31T23:59:59Z"}, "is after test_from"},
		{"split.temporal", params{"test_from": "100%"}, `test_from: "100%" is no share`},
		{"split.temporal", params{"valid_from": "yesterday"}, `valid_from: "yesterday" is no share`},
		{"split.temporal", params{"valid_from": "1/1%"}, `valid_from: "1/1%" is no share`},
	} {
		got := problems(t, c.kind, c.params)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s %v: got %q, want %q", c.kind, c.params, got, c.want)
		}
	}
}
