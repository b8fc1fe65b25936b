package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"

	"github.com/prismflow/prismflow/artifacts"
)

// A refusal is an answer other than what was asked for, and why, for whoever
// asked.
type refusal struct {
	status int
	why    string
}

func (r *refusal) Error() string { return r.why }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// statusGone is what logs and metrics say of a client that left before its
// answer. Nobody receives it.
const statusGone = 499

// A bodyError is an error of reading what the client sends: not ours.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// refusalOf is how an error is answered. What it says of this machine stays
// here: in the log.
func refusalOf(ctx context.Context, err error) *refusal {
	var told *refusal
	var body *bodyError
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &body) && errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{http.StatusRequestTimeout, "the body came too slowly"}
	case errors.As(err, &body), ctx.Err() != nil:
		return &refusal{statusGone, "the client left"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &refusal{http.StatusInsufficientStorage, "the server's disk is full"}
	case errors.Is(err, artifacts.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return &refusal{http.StatusNotFound, "not here"}
	}
	return &refusal{http.StatusInternalServerError, "the server has an error of its own; its log has it"}
}
