package exec

import (
	"bytes"
	"fmt"
	"io"
)

// lastWords passes on what a command prints and keeps its last line, which for
// most programs that fail is the one that says why.
type lastWords struct {
	w       io.Writer
	line    []byte // the newest one that is not blank
	growing bool   // whether it goes on
}

// maxLastWords bounds what is kept of a line, in bytes.
const maxLastWords = 300

func newLastWords(w io.Writer) *lastWords {
	if w == nil {
		w = io.Discard
	}
	return &lastWords{w: w}
}

func (l *lastWords) Write(p []byte) (int, error) {
	for i, piece := range bytes.Split(p, []byte("\n")) {
		if i > 0 {
			l.growing = false
		}
		if !l.growing && len(bytes.TrimSpace(piece)) == 0 {
			continue
		}
		if !l.growing {
			l.line = l.line[:0]
		}
		l.growing = true
		l.line = append(l.line, piece[:min(len(piece), maxLastWords-len(l.line))]...)
	}
	return l.w.Write(p)
}

// text is the line as a part of a message; empty when nothing was printed.
func (l *lastWords) text() string {
	if len(l.line) == 0 {
		return ""
	}
	return fmt.Sprintf(" and last printed %q", bytes.ToValidUTF8(bytes.TrimSpace(l.line), []byte("\uFFFD")))
}
