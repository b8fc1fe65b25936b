package gunzip

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

const isalName = "ISA-L"

// isal is the library.
type isal struct{ init, inflate uintptr }

// loadISAL loads the library, once for the life of the process.
var loadISAL = sync.OnceValues(func() (*isal, error) {
	lib, err := findISAL()
	if err != nil {
		return nil, fmt.Errorf("no %s (%w): %s", isalName, err, isalRemedy)
	}
	if err := lib.try(); err != nil {
		return nil, fmt.Errorf("%s is there but not used: %w", isalName, err)
	}
	return lib, nil
})

func findISAL() (*isal, error) {
	runtime.LockOSThread() // what the linker says of a failure is kept for each thread
	defer runtime.UnlockOSThread()
	lib := &isal{}
	var missing error
	for _, name := range isalNames {
		handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			missing = errors.Join(missing, err)
			continue
		}
		if lib.init, err = purego.Dlsym(handle, "isal_inflate_init"); err == nil {
			lib.inflate, err = purego.Dlsym(handle, "isal_inflate")
		}
		return lib, err
	}
	return nil, missing
}

// try inflates a sample whose end is followed by more, since this package relies
// on the layout of the library's state, and a library of another layout must not
// be found out by somebody's data.
func (lib *isal) try() error {
	const behind = "trailer8"
	want := bytes.Repeat([]byte("some text, "), 1000)
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(want); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	packed.WriteString(behind)
	from := bufio.NewReaderSize(&packed, 16)
	z := lib.inflater()
	z.reset(from)
	got, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	rest, err := io.ReadAll(io.MultiReader(bytes.NewReader(z.rest()), from))
	if err != nil || !bytes.Equal(got, want) || string(rest) != behind {
		return errors.New("it does not do what its version 2 does")
	}
	return nil
}

// isalState is the beginning of the library's struct inflate_state, and the one
// field behind its tables that is needed.
type isalState struct {
	nextOut      uintptr
	availOut     uint32
	totalOut     uint32
	nextIn       uintptr
	readIn       uint64 // bits that were taken and not used yet
	availIn      uint32
	readInLength int32 // how many of readIn
	tables       [21160 - 40]byte
	blockState   int32
	// The struct has 87,368 bytes in version 2.30. What a later one may add has
	// room here.
	others [128<<10 - 21164]byte
}

// blockFinished is the blockState in which all output was given.
const blockFinished = 5

// isalInflater inflates with the library.
type isalInflater struct {
	lib   *isal
	state *isalState
	from  *bufio.Reader
}

func (lib *isal) inflater() *isalInflater { return &isalInflater{lib: lib, state: new(isalState)} }

func (z *isalInflater) reset(from *bufio.Reader) {
	z.from = from
	invoke(z.lib.init, uintptr(unsafe.Pointer(z.state)))
}

func (z *isalInflater) Read(p []byte) (int, error) {
	p = p[:min(len(p), math.MaxInt32)]
	for {
		if z.state.blockState == blockFinished {
			return 0, io.EOF
		}
		_, err := z.from.Peek(1)
		if err != nil && err != io.EOF {
			return 0, err
		}
		in, _ := z.from.Peek(z.from.Buffered())
		code, used, made := z.step(in, p)
		_, _ = z.from.Discard(used) // which are buffered
		switch {
		case code < 0:
			return made, fmt.Errorf("%w: corrupt data (%s says %d)", ErrDamaged, isalName, code)
		case made > 0:
			return made, nil
		case z.state.blockState == blockFinished:
		case err == io.EOF:
			return 0, io.ErrUnexpectedEOF
		case used == 0:
			return 0, fmt.Errorf("%w: %s does not go on", ErrDamaged, isalName)
		}
	}
}

// step inflates of in, which may be empty, to out, and says how much of both.
func (z *isalInflater) step(in, out []byte) (code int32, used, made int) {
	code = z.call(uintptr(unsafe.Pointer(unsafe.SliceData(in))), len(in), uintptr(unsafe.Pointer(unsafe.SliceData(out))), len(out))
	return code, len(in) - int(z.state.availIn), len(out) - int(z.state.availOut)
}

// call keeps what in and out point to where it is until the library is done.
//
//go:uintptrescapes
func (z *isalInflater) call(in uintptr, inBytes int, out uintptr, outBytes int) int32 {
	z.state.nextIn, z.state.availIn = in, uint32(inBytes)
	z.state.nextOut, z.state.availOut = out, uint32(outBytes)
	return int32(invoke(z.lib.inflate, uintptr(unsafe.Pointer(z.state))))
}

// rest are the whole bytes among the bits that the library took ahead.
func (z *isalInflater) rest() []byte {
	n := min(max(int(z.state.readInLength), 0), 64)
	bits := z.state.readIn >> (n % 8)
	rest := make([]byte, n/8)
	for i := range rest {
		rest[i] = byte(bits >> (8 * i))
	}
	return rest
}

// invoke calls a C function with a pointer to the state.
//
//go:uintptrescapes
func invoke(fn uintptr, state uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, state)
	return r
}
