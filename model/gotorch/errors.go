package gotorch

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoLibtorch is matched by the error of [Find] and [Open] when there is no
// libtorch to be found. The error's text lists the places tried and the remedy.
var ErrNoLibtorch = errors.New("no libtorch found")

// ErrNoCompiler is matched by the error of [Build] and [Open] when the shim has
// to be compiled and there is no C++ compiler.
var ErrNoCompiler = errors.New("no C++ compiler found")

// A NotFoundError reports every place where libtorch was looked for.
type NotFoundError struct {
	Tried []string // "place: reason", in the order tried
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("%v (tried %s); install it with `apt-get install libtorch-dev libopenblas0-openmp g++`, or name one with --libtorch DIR or LIBTORCH=DIR",
		ErrNoLibtorch, strings.Join(e.Tried, "; "))
}

// Is makes errors.Is(err, ErrNoLibtorch) true.
func (e *NotFoundError) Is(target error) bool { return target == ErrNoLibtorch }

// A BuildError is a failed compilation of the shim.
type BuildError struct {
	Command string // the compiler command line
	Output  string // the tail of what the compiler printed
	Err     error
}

func (e *BuildError) Error() string {
	return fmt.Sprintf("compiling the libtorch shim: %v\n%s\ncommand: %s", e.Err, e.Output, e.Command)
}

func (e *BuildError) Unwrap() error { return e.Err }

// An Error is a failed operation on tensors. Operations panic with it inside
// [Session.Run], which returns it.
type Error struct {
	Op   string   // "aten::mm", or the method's name
	Args []string // what was passed: "Tensor float32[2 3]", "int 1", …
	Msg  string   // the reason: the first line of libtorch's message, or ours
}

func (e *Error) Error() string {
	if len(e.Args) == 0 {
		return fmt.Sprintf("%s: %s", e.Op, e.Msg)
	}
	return fmt.Sprintf("%s(%s): %s", e.Op, strings.Join(e.Args, ", "), e.Msg)
}

// firstLine keeps libtorch's reason and drops the pages of dispatcher tables
// and source frames that can follow it.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

// recoverError turns the panic of an operation into an error and lets others
// pass.
func recoverError(err *error) {
	r := recover()
	if r == nil {
		return
	}
	var ok bool
	if *err, ok = r.(*Error); !ok {
		panic(r)
	}
}
