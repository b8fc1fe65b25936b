package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// streams are what a command has of the world outside: where it writes, and
// what it may ask.
type streams struct {
	out       stream // results
	err       stream // progress, logs, errors
	lookupEnv func(string) (string, bool)
	dir       string // the current directory
	now       func() time.Time
	logLevel  string
}

// A stream is an output.
type stream struct {
	io.Writer
	file     *os.File // nil in tests
	terminal bool
}

// width is the terminal's width in cells, or 0 where lines may be of any length.
func (s stream) width() int {
	if !s.terminal || s.file == nil {
		return 0
	}
	width, _, err := term.GetSize(int(s.file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

func (s stream) printf(format string, args ...any) { fmt.Fprintf(s, format, args...) }

// env is a variable of the environment, empty where it is not set.
func (s *streams) env(name string) string {
	value, _ := s.lookupEnv(name)
	return value
}

// drawable says whether a stream is a terminal that can be drawn on.
func (s *streams) drawable(to stream) bool {
	return to.terminal && s.env("TERM") != "dumb"
}

// colourful says whether a stream takes colours (see no-color.org).
func (s *streams) colourful(to stream) bool {
	return s.drawable(to) && s.env("NO_COLOR") == ""
}
