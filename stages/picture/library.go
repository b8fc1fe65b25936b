package picture

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// errNotUsable says that a library lacks a function.
var errNotUsable = errors.New("is too old")

// loadLibrary loads the first of these libraries that is there and finds its
// functions.
func loadLibrary(names []string, functions map[string]*uintptr) (handle uintptr, err error) {
	runtime.LockOSThread() // what the linker says of a failure is kept for each thread
	defer runtime.UnlockOSThread()
	var firstErr error
	for _, name := range names {
		handle, err = purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err == nil {
			return handle, resolve(handle, name, functions)
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return 0, firstErr
}

func resolve(handle uintptr, name string, functions map[string]*uintptr) error {
	for symbol, slot := range functions {
		address, err := purego.Dlsym(handle, symbol)
		if err != nil {
			return fmt.Errorf("%s %w: %w", name, errNotUsable, err)
		}
		*slot = address
	}
	return nil
}

// invoke calls a C function. A pointer among args must be written as
// uintptr(unsafe.Pointer(p)) in the argument list itself: that keeps it alive
// and in place during the call.
//
//go:uintptrescapes
func invoke(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// longestText bounds how far goString looks for the end of a text.
const longestText = 256

// goString copies a text of C.
func goString(address uintptr) string {
	if address == 0 {
		return ""
	}
	// The address is C's, which Go's collector does not move: what vet warns of
	// in a plain conversion cannot happen.
	text := unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), longestText)
	for i := range text {
		if text[i] == 0 {
			return string(text[:i])
		}
	}
	return string(text)
}
