package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

func main() { os.Exit(realMain()) }

// realMain is the program up to its exit code.
func realMain() int {
	ctx, stop := interruptible(context.Background(), os.Stderr)
	defer stop()
	// Go's HTTP client prints through package log what servers send out of turn,
	// into the middle of the drawing; what matters of it comes back as an error.
	log.SetOutput(io.Discard)
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prismflow: finding the current directory:", err)
		return exitFailed
	}
	return execute(ctx, os.Args[1:], &streams{
		out:       newStream(os.Stdout),
		err:       newStream(os.Stderr),
		lookupEnv: os.LookupEnv,
		dir:       dir,
		now:       time.Now,
	})
}

func newStream(f *os.File) stream {
	return stream{Writer: f, file: f, terminal: term.IsTerminal(int(f.Fd()))}
}

// showCursor is what a terminal needs that was left in the middle of a drawing.
const showCursor = "\x1b[?25h"

// interruptible is a context that ends with the first SIGINT or SIGTERM, so
// that a run stops cleanly. The second ends the process at once.
func interruptible(parent context.Context, stderr *os.File) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		received, ok := <-signals
		if !ok {
			return
		}
		cancel(interruption{received})
		if _, again := <-signals; !again {
			return
		}
		killCommands()
		if term.IsTerminal(int(stderr.Fd())) {
			fmt.Fprint(stderr, showCursor)
		}
		fmt.Fprintln(stderr, "\nkilled")
		os.Exit(exitInterrupted)
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}

// An interruption is why a context ended: a signal that asks to stop.
type interruption struct{ signal os.Signal }

func (i interruption) Error() string { return i.signal.String() }
