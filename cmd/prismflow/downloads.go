package main

import (
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/dag"
)

// downloadKind is the kind whose stages fetch pictures.
const downloadKind = "images.download"

// writeDownloads says of each stage that fetched pictures what became of them:
// a run goes on where some failed, and whoever ran it should know which way.
func (r *summary) writeDownloads(s *streams) {
	for _, stage := range r.report.Stages {
		if stage.Kind == downloadKind && dag.State(stage.State) == dag.Ran {
			s.out.printf("%s: %s\n", stage.Name, downloadText(stage.Report))
		}
	}
}

// downloadText puts in words what a download counted.
func downloadText(counts []artifacts.Count) string {
	counted := map[string]int64{}
	for _, c := range counts {
		counted[c.Name] = int64(c.Value)
	}
	text := fmt.Sprintf("%s of %s", thousands(counted["pictures"]), count(int(counted["pictures"]+counted["failed"]), "picture"))
	if n := counted["downloaded"]; n > 0 {
		text += fmt.Sprintf("; %s downloaded, %s", thousands(n), byteSize(counted["bytes"]))
	}
	for _, what := range []string{"retried", "failed"} {
		if n := counted[what]; n > 0 {
			text += fmt.Sprintf("; %s %s: %s", thousands(n), what, byCause(counts, what+"_"))
		}
	}
	return text
}

// byCause lists the counts whose names begin with prefix.
func byCause(counts []artifacts.Count, prefix string) string {
	var parts []string
	for _, c := range counts {
		if cause, ok := strings.CutPrefix(c.Name, prefix); ok {
			parts = append(parts, thousands(int64(c.Value))+" "+strings.ReplaceAll(cause, "_", " "))
		}
	}
	return strings.Join(parts, ", ")
}
