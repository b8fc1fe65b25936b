package site

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
)

// The archive is a zip file of uncompressed entries: the pictures, one below
// pictureDir for each name, and the manifest. Nothing in it depends on the time
// or the machine, so the same pictures make the same bytes.
const (
	format       = 1
	manifestName = "manifest.json"
	pictureDir   = "pictures/"
)

// Bounds of what an archive may hold. Writer keeps them, and reading believes
// no archive that exceeds them.
const (
	maxPictures     = 1_000_000
	maxPictureBytes = 1 << 20
	maxNameBytes    = 128
	maxManifest     = 256 << 20 // of a million longest names
)

// A manifest says how every picture of the archive behaves.
type manifest struct {
	Format   int     `json:"format"`
	Pictures []entry `json:"pictures"`
}

type entry struct {
	Name      string    `json:"name"`
	Behaviour Behaviour `json:"behaviour,omitempty"`
}

// A Writer writes an archive of pictures.
type Writer struct {
	zip      *zip.Writer
	manifest manifest
	names    map[string]bool
}

// NewWriter writes an archive to w, which the caller closes after Close.
func NewWriter(w io.Writer) *Writer {
	return &Writer{zip: zip.NewWriter(w), manifest: manifest{Format: format, Pictures: []entry{}}, names: map[string]bool{}}
}

// Add adds a picture of at most 1 MiB, which will be at URL(name): letters,
// digits, '.', '_' and '-'. A picture that does not arrive is added like any other.
func (w *Writer) Add(name string, behaviour Behaviour, picture []byte) error {
	e := entry{name, behaviour}
	if err := e.check(); err != nil {
		return err
	}
	switch {
	case w.names[name]:
		return fmt.Errorf("picture %s is there twice", name)
	case len(w.names) == maxPictures:
		return fmt.Errorf("picture %s: an archive holds at most %d", name, maxPictures)
	case len(picture) > maxPictureBytes:
		return fmt.Errorf("picture %s has %d bytes, and at most %d are kept", name, len(picture), maxPictureBytes)
	}
	w.names[name] = true
	w.manifest.Pictures = append(w.manifest.Pictures, e)
	return w.put(pictureDir+name, picture)
}

// Close ends the archive with its manifest.
func (w *Writer) Close() error {
	text, err := json.Marshal(w.manifest)
	if err != nil {
		return err
	}
	if err := w.put(manifestName, text); err != nil {
		return err
	}
	return w.zip.Close()
}

func (w *Writer) put(name string, data []byte) error {
	out, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return err
}

func (e entry) check() error {
	if !validName(e.Name) {
		return fmt.Errorf("%.200q cannot be the name of a picture: 1 to %d letters, digits, '.', '_' and '-', the first no '.'", e.Name, maxNameBytes)
	}
	if !e.Behaviour.known() {
		return fmt.Errorf("picture %s: there is no behaviour %.50q", e.Name, e.Behaviour)
	}
	return nil
}

// validName admits names that mean the same in an archive, an address and any
// file system.
func validName(name string) bool {
	if name == "" || len(name) > maxNameBytes || name[0] == '.' {
		return false
	}
	for _, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
