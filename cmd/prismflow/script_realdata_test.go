package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/prismflow/prismflow/stages/engine"
)

// scriptExecuted checks which stages the last `run --json` executed; all others
// were to come from the cache.
func scriptExecuted(ts *testscript.TestScript, neg bool, want []string) {
	if neg {
		ts.Fatalf("! executed is not supported")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var report engine.Report
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &report))
	var got []string
	for _, stage := range report.Stages {
		switch stage.State {
		case "ran":
			got = append(got, stage.Name)
		case "cached":
		default:
			ts.Fatalf("stage %s is %s: %s", stage.Name, stage.State, stage.Error)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		ts.Fatalf("executed [%s], want [%s]", strings.Join(got, " "), strings.Join(want, " "))
	}
}

// scriptRetitle changes the titles in a gzipped metadata file of the lines that
// contain a text: "retitle FILE TEXT FROM TO".
func scriptRetitle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: retitle FILE TEXT FROM TO")
	}
	path := ts.MkAbs(args[0])
	compressed, err := os.ReadFile(path)
	ts.Check(err)
	reader, err := gzip.NewReader(bytes.NewReader(compressed))
	ts.Check(err)
	text, err := io.ReadAll(reader)
	ts.Check(err)
	changed := 0
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, args[1]) && strings.Contains(line, args[2]) {
			line = strings.Replace(line, args[2], args[3], 1)
			changed++
		}
		_, err := writer.Write([]byte(line))
		ts.Check(err)
	}
	ts.Check(writer.Close())
	if changed == 0 {
		ts.Fatalf("no line has both %q and %q", args[1], args[2])
	}
	ts.Check(os.WriteFile(path, out.Bytes(), 0o666))
}
