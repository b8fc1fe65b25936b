package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// AddToFile adds a member to the file of a set, unless the key is there already.
// What else stands in the file stays as it is.
func AddToFile(path string, m Member) (added bool, err error) {
	set, err := ReadSet(path)
	if err != nil {
		return false, err
	}
	if !set.Add(m) {
		return false, nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("reading who is trusted: %w", err)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return true, replaceFile(path, string(text)+m.String()+"\n")
}

// RemoveFromFile takes all keys of a name out of the file of a set, and says how
// many they were.
func RemoveFromFile(path, name string) (removed int, err error) {
	set, err := ReadSet(path)
	if err != nil {
		return 0, err
	}
	if removed = set.Remove(name); removed == 0 {
		return 0, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("reading who is trusted: %w", err)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		member, _, _ := strings.Cut(line, "#")
		if fields := strings.Fields(member); len(fields) == 0 || fields[0] != name {
			kept.WriteString(line)
		}
	}
	return removed, replaceFile(path, kept.String())
}

// replaceFile writes a file whole or not at all.
func replaceFile(path, text string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing who is trusted: %w", err)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".trusted-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
