package main

import (
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/prismflow/prismflow/dag"
)

// A progressLine tells on stderr how far a command is that does one long piece of
// work: drawn over itself on a terminal, else a line every few seconds. Work that
// takes a moment is not told of.
type progressLine struct {
	s        *streams
	what     string // is shown before it; empty where the command says it
	unit     string
	progress *progress
	told     time.Time
	drawn    bool
}

func newProgressLine(s *streams, what, unit string) *progressLine {
	now := s.now()
	return &progressLine{s: s, what: what, unit: unit, progress: newProgress(dag.Event{Time: now}), told: now}
}

// show is called with what is done, and may be called often.
func (l *progressLine) show(done, total int64) {
	now := l.s.now()
	l.progress.apply(dag.Event{Time: now, Done: done, Total: total, Unit: l.unit})
	every := progressEvery
	if l.s.drawable(l.s.err) {
		every = liveInterval
	}
	if now.Sub(l.told) < every {
		return
	}
	l.told = now
	text := l.progress.text(now)
	if l.what != "" {
		text = l.what + ": " + text
	}
	if !l.s.drawable(l.s.err) {
		l.s.err.printf("%-8s %s\n", "…", text)
		return
	}
	if width := l.s.err.width(); width > 0 {
		text = ansi.Truncate(text, width-1, "…")
	}
	l.drawn = true
	l.s.err.printf("\r%s%s", ansi.EraseLineRight, text)
}

// clear takes away what is drawn.
func (l *progressLine) clear() {
	if l.drawn {
		l.s.err.printf("\r%s", ansi.EraseLineRight)
	}
}
