package stages

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseHubModel(t *testing.T) {
	commit := strings.Repeat("0a", 20)
	for text, want := range map[string]HubModel{
		"hf://openai/clip-vit-base-patch32":           {"openai", "clip-vit-base-patch32", "main"},
		"hf://openai/clip-vit-base-patch32@refs/pr/3": {"openai", "clip-vit-base-patch32", "refs/pr/3"},
		"hf://a_b/c.d@" + commit:                      {"a_b", "c.d", commit},
	} {
		got, err := ParseHubModel(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if got.Pinned() != (got.Revision == commit) {
			t.Errorf("%s: pinned %v", text, got.Pinned())
		}
	}
	for _, text := range []string{
		"hf://", "hf://clip", "hf://openai/", "hf:///clip", "hf://a/b/c", "hf://../b", "hf://a/..", "hf://a/b..c", "hf://a/b?x",
		"hf://a/b@", "hf://a/b@../../x", "hf://a/b@x y", "hf://a/b@/x", "hf://a/b@x%2f", "http://a/b", "hf://user:secret@a/b",
	} {
		if got, err := ParseHubModel(text); err == nil {
			t.Errorf("%s is taken for %v", text, got)
		}
	}
}

func TestHubModelsStayInTheirPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model, err := ParseHubModel("hf://" + rapid.StringMatching(`[a-c./%]{1,3}/[a-c./%\\]{1,3}(@[a-c./%\\@]{1,4})?`).Draw(t, "path"))
		if err == nil && (strings.ContainsAny(model.Owner+model.Name, `/\%@`) || strings.Contains(model.String(), "..") || strings.ContainsAny(model.Revision, `\%@`)) {
			t.Errorf("%v", model)
		}
	})
}

func TestHubModelsAreCheckedBeforeAnythingRuns(t *testing.T) {
	kind := Declare[hubUser]("test", 1, "x")
	for want, values := range map[string]Values{
		"weights: \"hf://clip\" is no model":                         {"weights": {V: "hf://clip"}},
		"file: hf://a/b is a directory":                              {"file": {V: "hf://a/b"}},
		"weights_sha256: a SHA-256 pins one file and no directory; ": {"weights": {V: "hf://a/b"}, "weights_sha256": {V: strings.Repeat("0", 64)}},
	} {
		_, problems := kind.Bind(values, BindContext{})
		if len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("problems %v, want %q", problems, want)
		}
	}
	if len(kind.Params) != 3 {
		t.Errorf("parameters %v, want both sources, and a pin of the file", kind.Params)
	}
	stage, problems := kind.Bind(Values{"weights": {V: "hf://a/b@main"}}, BindContext{})
	if len(problems) > 0 || !stage.Sources()[0].Directories {
		t.Errorf("%v", problems)
	}
}

type hubUser struct {
	Weights Source `stage:"weights" doc:"x" optional:"true" directory:"true"`
	File    Source `stage:"file" doc:"x" optional:"true"`
}

func (*hubUser) Run(context.Context, *Env) error { return nil }
