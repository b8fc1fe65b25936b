package picture

// Where the libraries are, by the names that programs are linked with, which
// stand for an interface that does not change. The newest comes first.
var (
	turboJPEGNames = []string{"libturbojpeg.so.0"}
	libWebPNames   = []string{"libwebp.so.7", "libwebp.so.6"}
)

const (
	turboJPEGRemedy = "apt-get install libturbojpeg0"
	libWebPRemedy   = "apt-get install libwebp7"
)
