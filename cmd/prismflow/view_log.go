package main

import (
	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/dag"
)

// A logView passes on what stages log, from a level on.
type logView struct{ log zerolog.Logger }

func newLogView(s *streams) *logView { return &logView{newLogger(s.err, s)} }

// newLogger writes lines for people on a terminal and JSON elsewhere.
func newLogger(to stream, s *streams) zerolog.Logger {
	logger := zerolog.New(to)
	if to.terminal {
		logger = zerolog.New(zerolog.ConsoleWriter{Out: to, NoColor: !s.colourful(to), TimeFormat: "15:04:05"})
	}
	return logger.Level(parseLogLevel(s.logLevel))
}

func (v *logView) close() {}

func (v *logView) event(e dag.Event) {
	if e.Type != dag.StageLog {
		return
	}
	level, err := zerolog.ParseLevel(e.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	v.log.WithLevel(level).Time("time", e.Time).Str("stage", e.Stage).Fields(e.Fields).Msg(e.Message)
}
