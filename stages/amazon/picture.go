package amazon

import (
	"regexp"
	"strings"
)

// sizeSuffix is what Amazon's image server puts before a file name's extension
// to ask for a variant, as in 51Iph04Jy3L._SX38_SY50_CR,0,0,38,50_.jpg. Without
// it the name is that of the picture itself.
var sizeSuffix = regexp.MustCompile(`\._[^/]*_(\.[A-Za-z0-9]+)$`)

// picture is the address of the largest picture of an item, empty when there
// is none. Of several pictures the first is the item's own. The two variants
// of the 2018 files list the same ones: one as imageURL and imageURLHighRes,
// the other as thumbnails called image. With original, the address of the
// picture itself is made from a thumbnail's, as those who made the first
// variant did.
func (p product) picture(original bool) (string, error) {
	for _, name := range []string{"imageURLHighRes", "imUrl", "imageURL", "image"} {
		list, err := texts(p.Value(name), name)
		if err != nil {
			return "", err
		}
		for _, url := range list {
			if url = address(url); url == "" {
				continue
			}
			if original && (name == "imageURL" || name == "image") {
				url = sizeSuffix.ReplaceAllString(url, "$1")
			}
			return url, nil
		}
	}
	return "", nil
}

// address is a URL of a picture, or empty for anything else and for Amazon's
// own picture that says there is none.
func address(text string) string {
	text = strings.TrimSpace(text)
	web := strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
	if !web || strings.Contains(text, "/no-img-") || strings.ContainsFunc(text, notInURL) {
		return ""
	}
	return text
}

func notInURL(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }
