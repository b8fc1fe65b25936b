package fetch

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/prismflow/prismflow/stages/gunzip"
)

// unpack writes the member of an archive to out.
func unpack(archive *os.File, member string, out *output) error {
	wanted := &search{member: path.Clean(strings.TrimPrefix(member, "/"))}
	buffered := bufio.NewReaderSize(archive, 256<<10)
	head, err := buffered.Peek(4)
	switch {
	case err != nil && err != io.EOF:
		return err
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")): // the latter of an empty one
		return wanted.inZip(archive, out)
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		buffered = bufio.NewReaderSize(gunzip.NewReader(buffered), 256<<10)
	}
	return wanted.inTar(buffered, out)
}

// mostNames is how many names of an archive a message lists.
const mostNames = 20

// A search looks for one file among those of an archive.
type search struct {
	member string
	found  string   // its path
	others []string // some other names
}

// is says whether the file called name is the one. A second one is an error.
func (s *search) is(name string) (bool, error) {
	clean := path.Clean("/" + name)
	switch {
	case !strings.HasSuffix(clean, "/"+s.member):
		if len(s.others) <= mostNames {
			s.others = append(s.others, name)
		}
		return false, nil
	case s.found != "":
		return false, fmt.Errorf("several files are called %s, among them %.200q and %.200q: give more of the path", s.member, s.found, name)
	}
	s.found = name
	return true, nil
}

// end is an error unless the file was found.
func (s *search) end() error {
	if s.found != "" {
		return nil
	}
	quoted := make([]string, min(len(s.others), mostNames))
	for i := range quoted {
		quoted[i] = fmt.Sprintf("%.80q", s.others[i])
	}
	if len(s.others) > mostNames {
		quoted = append(quoted, "more")
	}
	if len(quoted) == 0 {
		quoted = []string{"no files"}
	}
	return fmt.Errorf("the archive lacks a file called %s; it has %s", s.member, strings.Join(quoted, ", "))
}

const flagEncrypted = 1

func (s *search) inZip(archive *os.File, out *output) error {
	info, err := archive.Stat()
	if err != nil {
		return err
	}
	r, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return damaged(err)
	}
	var file *zip.File
	for _, f := range r.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if is, err := s.is(f.Name); err != nil {
			return err
		} else if is {
			file = f
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	switch {
	case !file.Mode().IsRegular():
		return fmt.Errorf("%.200q in the archive is not a regular file", file.Name)
	case file.Flags&flagEncrypted != 0:
		return fmt.Errorf("%.200q in the archive is encrypted", file.Name)
	}
	content, err := file.Open()
	if err != nil {
		return damaged(err)
	}
	defer content.Close()
	out.total = int64(min(file.UncompressedSize64, uint64(out.most)))
	return damaged(out.copy(content))
}

// inTar reads the whole archive, so that a second file of the name and damage
// behind the first are found.
func (s *search) inTar(archive io.Reader, out *output) error {
	r := tar.NewReader(archive)
	for first := true; ; first = false {
		header, err := r.Next()
		switch {
		case err == io.EOF && first:
			return errors.New("it is empty, and no archive")
		case err == io.EOF:
			if _, err := io.Copy(io.Discard, archive); err != nil {
				return damaged(err)
			}
			return s.end()
		case first && (errors.Is(err, tar.ErrHeader) || err == io.ErrUnexpectedEOF):
			return errors.New("it is no zip or tar archive, or no more than the beginning of one")
		case err != nil:
			return damaged(err)
		case header.Typeflag == tar.TypeDir:
			continue
		}
		is, err := s.is(header.Name)
		switch {
		case err != nil:
			return err
		case is && header.Typeflag != tar.TypeReg:
			return fmt.Errorf("%.200q in the archive is not a regular file", header.Name)
		case is:
			out.total = header.Size
			if err := damaged(out.copy(r)); err != nil {
				return err
			}
		}
	}
}

// damaged says what a person can do about an archive that cannot be read.
func damaged(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the archive is cut short; copy or download it again")
	case errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrFormat), errors.Is(err, tar.ErrHeader), errors.Is(err, gunzip.ErrDamaged),
		errors.As(err, new(flate.CorruptInputError)):
		return fmt.Errorf("the archive is damaged: %w; copy or download it again", err)
	}
	return err
}
