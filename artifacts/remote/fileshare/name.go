package fileshare

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// directory is the directory that a URL names: file:///abs/path and nothing else.
// An error does not repeat what might be a password.
func directory(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", errors.New("the share's URL cannot be read: write file:///abs/path")
	}
	shown := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, Opaque: u.Opaque}).String()
	dir := filepath.Clean(u.Path)
	wrong := ""
	switch {
	case u.Scheme != "file":
		wrong = "is no file:// URL; write file:///abs/path"
	case u.Host != "" || u.User != nil:
		wrong = "names a host: mount its share and write file:///abs/path, with three slashes"
	case u.Opaque != "" || u.Path == "":
		wrong = "has no absolute path: write file:///abs/path"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		wrong = "takes nothing after its path; write %3F and %23 for ? and # within it"
	case strings.ContainsRune(u.Path, 0):
		wrong = "has a zero byte in its path"
	case dir == "/":
		wrong = "is the root directory; name one that is for the cache alone"
	default:
		return dir, nil
	}
	return "", fmt.Errorf("share %s %s", shown, wrong)
}

// location is where the object of a name lies, relative to the share: where a disk
// store has it, in a directory by its first two letters, so that none grows large.
func location(name string) (string, error) {
	dir, base, _ := strings.Cut(name, "/")
	if dir != "cas" && dir != "ac" || len(base) < 3 || len(base) > maxBase || strings.Trim(base, nameLetters) != "" {
		return "", fmt.Errorf("object name %q: not cas/… or ac/… and three to %d letters and digits", name, maxBase)
	}
	return dir + "/" + base[:2] + "/" + base, nil
}

const (
	nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	maxBase     = 200 // file systems take 255
)
