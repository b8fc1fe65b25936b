package picture

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// beginningOf names the format whose first bytes these few are; empty for none.
func beginningOf(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	for _, known := range []struct{ format, magic string }{
		{"JPEG", "\xff\xd8\xff"}, {"PNG", pngSignature}, {"GIF", "GIF87a"}, {"GIF", "GIF89a"},
	} {
		if strings.HasPrefix(known.magic, string(data)) {
			return known.format
		}
	}
	if len(data) < 12 && bytes.HasPrefix([]byte("RIFF"), data[:min(4, len(data))]) && strings.HasPrefix("WEBP", string(data[min(8, len(data)):])) {
		return "WebP"
	}
	return ""
}

// magics are first bytes of what comes in place of pictures.
var magics = []struct{ magic, what string }{
	{"BM", "a BMP picture"},
	{"II*\x00", "a TIFF picture"},
	{"MM\x00*", "a TIFF picture"},
	{"\x00\x00\x01\x00", "an icon (ICO)"},
	{"\xff\x0a", "a JPEG XL picture"},
	{"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"},
	{"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"},
	{"8BPS", "a Photoshop file"},
	{"%PDF", "a PDF document"},
	{"PK\x03\x04", "a ZIP archive"},
	{"\x1f\x8b", "a gzip file"},
	{"RIFF", "a RIFF file other than WebP"},
}

// seemsToBe says, for a person, what bytes are that are no picture.
func seemsToBe(data []byte) string {
	if len(data) == 0 {
		return "empty"
	}
	for _, m := range magics {
		if bytes.HasPrefix(data, []byte(m.magic)) {
			return m.what
		}
	}
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		return mediaContainer(string(data[8:12]))
	}
	return textKind(data)
}

// mediaContainer is what an ISO base media file of a brand holds.
func mediaContainer(brand string) string {
	switch brand {
	case "avif", "avis", "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1":
		return "a HEIC/AVIF picture"
	}
	return "a video (MP4 or QuickTime)"
}

// textKind tells kinds of text apart by their beginning.
func textKind(data []byte) string {
	beginning := data[:min(len(data), 1024)]
	text := strings.ToLower(string(bytes.TrimLeft(bytes.TrimPrefix(beginning, []byte("\xef\xbb\xbf")), " \t\r\n")))
	switch {
	case strings.HasPrefix(text, "<?xml"), strings.HasPrefix(text, "<svg"):
		if strings.Contains(text, "<html") {
			return "an HTML page"
		}
		return "an XML or SVG document"
	case strings.HasPrefix(text, "<!doctype html"), strings.Contains(text, "<html"), strings.Contains(text, "<body"), strings.HasPrefix(text, "<!--"):
		return "an HTML page"
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		return "JSON text"
	case isText(beginning):
		return "plain text"
	}
	return "of an unknown kind"
}

// isText says whether bytes are UTF-8 without control characters; a character
// at the end may be cut.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 && utf8.FullRune(b) || r < ' ' && !strings.ContainsRune("\t\r\n\f", r) {
			return false
		}
		b = b[size:]
	}
	return true
}
