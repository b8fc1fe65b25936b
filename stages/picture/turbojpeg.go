package picture

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Numbers of TurboJPEG's interface (turbojpeg.h).
const (
	tjPixelRGB  = 0  // TJPF_RGB
	tjPixelCMYK = 11 // TJPF_CMYK
	tjFatal     = 1  // TJERR_FATAL; anything else is a warning, and there are pixels
)

// turboJPEG is libjpeg-turbo by its interface TurboJPEG.
type turboJPEG struct {
	version string

	initDecompress, header, decompress, errorText, errorCode, destroy uintptr
}

var loadTurboJPEG = sync.OnceValues(func() (*turboJPEG, error) {
	lib := &turboJPEG{version: "2.x"} // it does not tell more
	handle, err := loadLibrary(turboJPEGNames, map[string]*uintptr{
		"tjInitDecompress": &lib.initDecompress, "tjDecompressHeader3": &lib.header, "tjDecompress2": &lib.decompress,
		"tjGetErrorStr2": &lib.errorText, "tjGetErrorCode": &lib.errorCode, "tjDestroy": &lib.destroy,
	})
	if err != nil {
		return nil, fmt.Errorf("no libjpeg-turbo (%w): %s", err, turboJPEGRemedy)
	}
	if _, err := purego.Dlsym(handle, "tj3Init"); err == nil {
		lib.version = "3.x"
	}
	return lib, nil
})

// decode decodes by a decompressor of its own. One that was used before keeps
// tables, which a later picture that lacks them would be decoded with; making
// one takes a few thousandths of the time of a picture.
func (lib *turboJPEG) decode(f *jpegFile) (RGB, error) {
	handle := invoke(lib.initDecompress)
	if handle == 0 {
		return RGB{}, errors.New("libjpeg-turbo has no memory")
	}
	defer invoke(lib.destroy, handle)
	if err := lib.checkHeader(handle, f); err != nil {
		return RGB{}, err
	}
	if f.components != 4 {
		to := newRGB(f.width, f.height)
		return to, lib.pixels(handle, f, to.Pix, tjPixelRGB)
	}
	ink := make([]byte, 4*f.width*f.height)
	if err := lib.pixels(handle, f, ink, tjPixelCMYK); err != nil {
		return RGB{}, err
	}
	for i := range ink { // Adobe's are inverted, and PIL takes all for Adobe's
		ink[i] = ^ink[i]
	}
	to := newRGB(f.width, f.height)
	rgbOfCMYK(ink, to)
	return to, nil
}

// checkHeader compares the size that the library reads with the one that the
// memory is made for: given another one, the library would scale. Its own result
// does not count, as it has a complaint about any rare subsampling.
func (lib *turboJPEG) checkHeader(handle uintptr, f *jpegFile) error {
	said := new(struct{ width, height, subsampling, colours int32 })
	invoke(lib.header, handle, uintptr(unsafe.Pointer(&f.data[0])), uintptr(len(f.data)),
		uintptr(unsafe.Pointer(&said.width)), uintptr(unsafe.Pointer(&said.height)),
		uintptr(unsafe.Pointer(&said.subsampling)), uintptr(unsafe.Pointer(&said.colours)))
	switch {
	case said.width == 0 && said.height == 0:
		return lib.problem(handle)
	case int(said.width) != f.width || int(said.height) != f.height:
		return fmt.Errorf("libjpeg-turbo sees %d×%d pixels where %d×%d are", said.width, said.height, f.width, f.height)
	}
	return nil
}

// pixels fills to. Warnings are no errors, as for PIL.
func (lib *turboJPEG) pixels(handle uintptr, f *jpegFile, to []byte, format uintptr) error {
	result := invoke(lib.decompress, handle, uintptr(unsafe.Pointer(&f.data[0])), uintptr(len(f.data)),
		uintptr(unsafe.Pointer(&to[0])), uintptr(f.width), 0, uintptr(f.height), format, 0)
	if int32(result) != 0 && int32(invoke(lib.errorCode, handle)) == tjFatal {
		return lib.problem(handle)
	}
	return nil
}

// problem is what the library last said.
func (lib *turboJPEG) problem(handle uintptr) error {
	return fmt.Errorf("libjpeg-turbo: %s", strings.TrimSpace(goString(invoke(lib.errorText, handle))))
}
