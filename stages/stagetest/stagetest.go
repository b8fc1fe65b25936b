// Package stagetest runs a stage without a pipeline, in tests of the stage
// families:
//
//	head := Head{Rows: stagetest.Table[Row](t, rows), Count: 3}
//	first := stagetest.Result(t, &head.First)
//	err := head.Run(ctx, stagetest.Env(t))
//	got := first()
package stagetest

import (
	"bytes"
	"compress/gzip"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages"
)

// Env is an environment with a scratch directory and a log that goes to t.
func Env(t testing.TB) *stages.Env {
	t.Helper()
	return &stages.Env{
		Name:    "test",
		Scratch: t.TempDir(),
		Resume:  t.TempDir(),
		Log:     zerolog.New(zerolog.NewTestWriter(t)),
	}
}

// TorchEnv is an environment in which libtorch is found. The test skips where
// there is none.
func TorchEnv(t testing.TB) *stages.Env {
	t.Helper()
	torchtest.Open(t)
	env := Env(t)
	env.Torch = torchtest.Options()
	return env
}

// Table is an input that holds rows.
func Table[Read, Row any](t testing.TB, rows []Row) stages.In[Read] {
	t.Helper()
	path := filepath.Join(t.TempDir(), "input.arrow")
	if err := stages.ToFile[Row](path).WriteAll(rows); err != nil {
		t.Fatalf("writing a test input: %v", err)
	}
	return stages.FromFile[Read](path)
}

// Result points an output at a temporary file and returns a function that
// reads what was written to it.
func Result[Row any](t testing.TB, out *stages.Out[Row]) func() []Row {
	t.Helper()
	path := filepath.Join(t.TempDir(), "output.arrow")
	*out = stages.ToFile[Row](path)
	return func() []Row {
		t.Helper()
		rows, err := table.ReadAll[Row](path)
		if err != nil {
			t.Fatalf("reading a test output: %v", err)
		}
		return rows
	}
}

// Counts are what a stage reported to env, by name.
func Counts(env *stages.Env) map[string]float64 {
	counts := map[string]float64{}
	for _, c := range env.Report() {
		counts[c.Name] = c.Value
	}
	return counts
}

// Gzip is the content of a file as a gzip member.
func Gzip[Content string | []byte](content Content) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(content)) // a Buffer takes all
	_ = w.Close()
	return b.Bytes()
}
