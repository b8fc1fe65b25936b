package site

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// An archive is one that was opened, with all that its directory says checked.
// Pictures are read when they are asked for, by several goroutines at once.
type archive struct {
	file     *os.File
	pictures map[string]stored // by name
}

type stored struct {
	behaviour Behaviour
	file      *zip.File
}

// openArchive opens an archive that may come from anywhere. Nothing of it is
// unpacked to disk, and no entry is compressed, so what it can make a reader
// hold is bounded by its own size.
func openArchive(path string) (*archive, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a := &archive{file: file}
	if err := a.index(); err != nil {
		return nil, errors.Join(fmt.Errorf("archive of pictures %s: %w", path, err), file.Close())
	}
	return a, nil
}

func (a *archive) close() error { return a.file.Close() }

func (a *archive) index() error {
	info, err := a.file.Stat()
	if err != nil {
		return err
	}
	reader, err := zip.NewReader(a.file, info.Size())
	if err != nil {
		return err
	}
	if n := len(reader.File); n > maxPictures+1 {
		return fmt.Errorf("has %d entries, and at most %d are read", n, maxPictures+1)
	}
	files, err := filesByName(reader.File)
	if err != nil {
		return err
	}
	m, err := readManifest(files[manifestName])
	if err != nil {
		return err
	}
	delete(files, manifestName)
	a.pictures, err = join(m, files)
	return err
}

// filesByName checks the entries one by one.
func filesByName(entries []*zip.File) (map[string]*zip.File, error) {
	files := make(map[string]*zip.File, len(entries))
	for _, file := range entries {
		limit := uint64(maxPictureBytes)
		name, isPicture := strings.CutPrefix(file.Name, pictureDir)
		switch {
		case file.Name == manifestName:
			limit = maxManifest
		case !isPicture || !validName(name):
			return nil, fmt.Errorf("entry %.200q is neither %s nor a picture", file.Name, manifestName)
		}
		switch {
		case files[file.Name] != nil:
			return nil, fmt.Errorf("entry %s is there twice", file.Name)
		case file.Method != zip.Store || file.CompressedSize64 != file.UncompressedSize64:
			return nil, fmt.Errorf("entry %s is compressed", file.Name)
		case file.UncompressedSize64 > limit:
			return nil, fmt.Errorf("entry %s has %d bytes, and at most %d are read", file.Name, file.UncompressedSize64, limit)
		}
		files[file.Name] = file
	}
	return files, nil
}

func readManifest(file *zip.File) (manifest, error) {
	var m manifest
	if file == nil {
		return m, fmt.Errorf("has no %s", manifestName)
	}
	text, err := read(file)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", manifestName, err)
	}
	if m.Format != format {
		return m, fmt.Errorf("%s has format %d, and %d is read", manifestName, m.Format, format)
	}
	return m, nil
}

// join gives each picture of the manifest its file. Every file must be used.
func join(m manifest, files map[string]*zip.File) (map[string]stored, error) {
	pictures := make(map[string]stored, len(m.Pictures))
	for _, e := range m.Pictures {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", manifestName, err)
		}
		file := files[pictureDir+e.Name]
		if file == nil {
			return nil, fmt.Errorf("%s names picture %s once more than it is there", manifestName, e.Name)
		}
		delete(files, file.Name)
		pictures[e.Name] = stored{e.Behaviour, file}
	}
	for name := range files {
		return nil, fmt.Errorf("entry %s is not in %s", name, manifestName)
	}
	return pictures, nil
}

// read is the content of an uncompressed entry, whose checksum is checked.
func read(file *zip.File) ([]byte, error) {
	content, err := file.Open()
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", file.Name, err)
	}
	defer content.Close()
	data, err := io.ReadAll(content)
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", file.Name, err)
	}
	return data, nil
}
