//go:build !linux

package picture

// Where the libraries are: on the search path, or where Homebrew puts them.
var (
	turboJPEGNames = []string{"libturbojpeg.0.dylib", "/opt/homebrew/opt/jpeg-turbo/lib/libturbojpeg.0.dylib", "/usr/local/opt/jpeg-turbo/lib/libturbojpeg.0.dylib"}
	libWebPNames   = []string{"libwebp.7.dylib", "/opt/homebrew/opt/webp/lib/libwebp.7.dylib", "/usr/local/opt/webp/lib/libwebp.7.dylib"}
)

const (
	turboJPEGRemedy = "brew install jpeg-turbo"
	libWebPRemedy   = "brew install webp"
)
