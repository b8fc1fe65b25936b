package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// extensions are those of the files of a directory of pictures. What a file is
// its content tells.
var extensions = []string{".jpg", ".jpeg", ".png", ".gif", ".webp"}

// findFiles finds the files of the directory by the escaped item id in their
// names. No name is ever made of an item id: ids are looked up among the names
// that there are.
func (r *run) findFiles(context.Context) error {
	r.files = map[string]stages.File{}
	for _, file := range r.Directory.Files() {
		escaped, ok := cutExtension(file.Name)
		if !ok || strings.Contains(escaped, "/") {
			continue
		}
		item, err := url.PathUnescape(escaped)
		if err != nil {
			return fmt.Errorf("the name of the picture %s is not a percent-escaped item id: %w", file.Name, err)
		}
		if other, twice := r.files[item]; twice {
			return fmt.Errorf("item %s has two pictures, %s and %s", item, other.Name, file.Name)
		}
		r.files[item] = file
	}
	return nil
}

func cutExtension(name string) (string, bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || !slices.Contains(extensions, strings.ToLower(name[dot:])) {
		return "", false
	}
	return name[:dot], true
}

// readPicture reads a picture from a file.
func (r *run) readPicture(path string) (record, []byte, *failure) {
	data, f := readFileUpTo(path, r.MaxBytes)
	if f != nil {
		return record{}, nil, f
	}
	known, err := examine(data, r.limits())
	if err != nil {
		return record{}, nil, byError(err)
	}
	known.Status = http.StatusOK
	return known, data, nil
}

func readFileUpTo(path string, most int64) ([]byte, *failure) {
	info, err := os.Stat(path) // first: opening a pipe would wait for somebody to write to it
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, permanent(notFound, "there is no such file")
	case err != nil:
		return nil, permanent(unreadable, "the file cannot be read: %v", pathless(err))
	case !info.Mode().IsRegular():
		return nil, permanent(unreadable, "it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, permanent(unreadable, "the file cannot be read: %v", pathless(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, permanent(unreadable, "the file cannot be read: %v", pathless(err))
	case int64(len(data)) > most:
		return nil, permanent(tooLarge, "it has more than the %d bytes that max_bytes allows", most)
	}
	return data, nil
}

// pathless is the error without the path, which may differ between machines.
func pathless(err error) error {
	var withPath *fs.PathError
	if errors.As(err, &withPath) {
		return withPath.Err
	}
	return err
}
