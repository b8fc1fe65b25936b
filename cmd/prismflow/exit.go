package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages/engine"
)

// Exit codes. They are a contract: exitCodes is their documentation.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitCache       = 3
	exitInterrupted = 130
)

const exitCodes = `Exit codes:
  0    fine
  1    a stage failed, or the command could not do its work
  2    wrong usage, or an invalid pipeline
  3    the cache failed where it was needed
  130  interrupted`

// A usageError says that the command was called wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// A cacheError says that the cache could not be used.
type cacheError struct{ error }

func (e cacheError) Unwrap() error { return e.error }

// A reportedError was told already and only decides the exit code.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }

// exitCode is the code that an error stands for.
func exitCode(ctx context.Context, err error) int {
	var usage usageError
	var invalid *pipelines.Invalid
	switch {
	case err == nil:
		return exitOK
	case errors.As(context.Cause(ctx), new(interruption)):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &invalid):
		return exitUsage
	case isCacheFailure(err):
		return exitCache
	}
	return exitFailed
}

// isCacheFailure says whether the cache is to blame. A full disk is, wherever
// it was noticed: everything that the engine writes is written into the cache.
func isCacheFailure(err error) bool {
	var cache cacheError
	var space *disk.SpaceError
	return errors.As(err, &cache) || errors.As(err, &space) || errors.Is(err, engine.ErrStore) ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
