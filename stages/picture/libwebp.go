package picture

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"
)

// libWebP is libwebp.
type libWebP struct {
	version string

	getInfo, decodeRGB, getVersion uintptr
}

var loadLibWebP = sync.OnceValues(func() (*libWebP, error) {
	lib := &libWebP{}
	_, err := loadLibrary(libWebPNames, map[string]*uintptr{
		"WebPGetInfo": &lib.getInfo, "WebPDecodeRGBInto": &lib.decodeRGB, "WebPGetDecoderVersion": &lib.getVersion,
	})
	if err != nil {
		return nil, fmt.Errorf("no libwebp (%w): %s", err, libWebPRemedy)
	}
	number := uint32(invoke(lib.getVersion))
	lib.version = fmt.Sprintf("%d.%d.%d", number>>16&0xff, number>>8&0xff, number&0xff)
	return lib, nil
})

// decode decodes the frame's pixels alone: alpha would be dropped anyway, and
// the plain interface refuses animations.
func (lib *libWebP) decode(f *webpFile) (RGB, error) {
	data := f.plain()
	said := new(struct{ width, height int32 })
	if int32(invoke(lib.getInfo, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)),
		uintptr(unsafe.Pointer(&said.width)), uintptr(unsafe.Pointer(&said.height)))) == 0 {
		return RGB{}, errors.New("libwebp cannot read its header")
	}
	to := newRGB(f.frame.Dx(), f.frame.Dy())
	if int(said.width) != to.Width || int(said.height) != to.Height {
		return RGB{}, fmt.Errorf("libwebp sees %d×%d pixels where %d×%d are", said.width, said.height, to.Width, to.Height)
	}
	if invoke(lib.decodeRGB, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)),
		uintptr(unsafe.Pointer(&to.Pix[0])), uintptr(len(to.Pix)), uintptr(3*to.Width)) == 0 {
		return RGB{}, errors.New("libwebp cannot decode it")
	}
	return to, nil
}
