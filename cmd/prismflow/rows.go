package main

import (
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/dag"
)

// writeRows says of each stage that ran and works row by row what became of the
// rows: a run goes on where some failed, and most of them may be of an earlier one.
func (r *summary) writeRows(s *streams) {
	for _, stage := range r.report.Stages {
		if dag.State(stage.State) != dag.Ran {
			continue
		}
		switch stage.Kind {
		case "images.download":
			s.out.printf("%s: %s\n", stage.Name, downloadText(stage.Report))
		case "clip.embed":
			s.out.printf("%s: %s\n", stage.Name, embedText(stage.Report))
		}
	}
}

// embedText puts in words what an embedding counted.
func embedText(counts []artifacts.Count) string {
	var texts []string
	for _, of := range []struct{ prefix, what string }{{"images_", "pictures"}, {"texts_", "texts"}} {
		if parts := partsOf(counts, of.prefix); parts != "" {
			texts = append(texts, of.what+": "+parts)
		}
	}
	return strings.Join(texts, "; ")
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
			text += fmt.Sprintf("; %s %s: %s", thousands(n), what, partsOf(counts, what+"_"))
		}
	}
	return text
}

// partsOf lists the counts that are not 0 whose names begin with prefix.
func partsOf(counts []artifacts.Count, prefix string) string {
	var parts []string
	for _, c := range counts {
		if part, ok := strings.CutPrefix(c.Name, prefix); ok && c.Value != 0 {
			parts = append(parts, thousands(int64(c.Value))+" "+spaced(part))
		}
	}
	return strings.Join(parts, ", ")
}
