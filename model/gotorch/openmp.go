package gotorch

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// spinCount is how many rounds a thread of an OpenMP region looks for its next
// work before it sleeps. libgomp's own default, some 300,000, is for a machine
// that nobody else uses: the loops of a recommender are short and many, and
// where another process wants the cores the threads of a region burn their time
// waiting for one that does not run. On two cores shared with others a training
// took 2.5 s with this and 11 s, most of it spinning, without.
const spinCount = "1000"

// tameOpenMP sets the environment that OpenMP reads while it is loaded, unless
// the caller's environment decides already. It goes through the C library,
// since Go's own environment is not the one that C sees.
func tameOpenMP(getenv func(string) string) error {
	for _, decided := range []string{"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} {
		if getenv != nil && getenv(decided) != "" {
			return nil
		}
	}
	setenv, err := purego.Dlsym(purego.RTLD_DEFAULT, "setenv")
	if err != nil {
		return fmt.Errorf("telling OpenMP how to wait: %w", err)
	}
	const overwrite = 0
	name, value := []byte("GOMP_SPINCOUNT\x00"), []byte(spinCount+"\x00")
	result, _, _ := purego.SyscallN(setenv, uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&value[0])), overwrite)
	if int32(result) != 0 {
		return errors.New("telling OpenMP how to wait: the C library has no room for a variable")
	}
	return nil
}
