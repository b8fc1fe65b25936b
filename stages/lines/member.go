package lines

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// ErrNoMember is wrapped by the error about an archive without the member that
// is to be read.
var ErrNoMember = errors.New("the archive lacks a file")

// tarMagic stands at tarMagicAt in the header of every archive since POSIX.
const (
	tarMagic   = "ustar"
	tarMagicAt = 257
)

// member is the file called name in text where that is a tar archive, and text
// itself where it is not. within is the member's path, empty when there is no
// archive. The text then ends only where the archive does, so that damage
// behind the member is found too.
func member(text *bufio.Reader, name string) (within string, _ *bufio.Reader, err error) {
	head, _ := text.Peek(tarMagicAt + len(tarMagic))
	if name == "" || !bytes.HasSuffix(head, []byte(tarMagic)) || len(head) < tarMagicAt+len(tarMagic) {
		return "", text, nil
	}
	archive := tarMember{tar: tar.NewReader(text), whole: text, name: name}
	within, err = archive.find()
	return within, bufio.NewReaderSize(&archive, 64<<10), err
}

// A tarMember reads one file of an archive, which is found by the last element
// of its path: archives differ in the directories around it. Nothing is written
// anywhere, so that no name can do harm.
type tarMember struct {
	tar   *tar.Reader
	whole io.Reader
	name  string
	ended bool // the member
}

// find goes to the member and returns its path.
func (m *tarMember) find() (string, error) {
	const most = 20 // names in a message
	var others []string
	for {
		header, err := m.tar.Next()
		switch {
		case err == io.EOF:
			return "", fmt.Errorf("%w called %s; it has %s", ErrNoMember, m.name, listed(others, most))
		case err != nil:
			return "", brokenArchive(err)
		case path.Base(header.Name) != m.name:
			if len(others) <= most { // one too many shows that there are more
				others = append(others, header.Name)
			}
		case header.Typeflag != tar.TypeReg:
			return "", fmt.Errorf("%.200q in the archive is not a regular file", header.Name)
		default:
			return header.Name, nil
		}
	}
}

func listed(names []string, most int) string {
	if len(names) == 0 {
		return "no files"
	}
	quoted := make([]string, min(len(names), most))
	for i := range quoted {
		quoted[i] = fmt.Sprintf("%.80q", names[i])
	}
	if len(names) > most {
		quoted = append(quoted, "more")
	}
	return strings.Join(quoted, ", ")
}

func (m *tarMember) Read(p []byte) (int, error) {
	if m.ended {
		return 0, io.EOF
	}
	n, err := m.tar.Read(p)
	switch {
	case err == io.EOF:
		m.ended = true
		return n, m.finish()
	case err != nil:
		return n, brokenArchive(err)
	}
	return n, nil
}

// finish reads what is behind the member, and returns io.EOF when all is well.
func (m *tarMember) finish() error {
	for {
		header, err := m.tar.Next()
		switch {
		case err == io.EOF:
			if _, err := io.Copy(io.Discard, m.whole); err != nil {
				return err
			}
			return io.EOF
		case err != nil:
			return brokenArchive(err)
		case path.Base(header.Name) == m.name:
			return fmt.Errorf("the archive has several files called %s; the second is %.200q", m.name, header.Name)
		}
	}
}

// brokenArchive says what a person can do about an archive that cannot be read.
func brokenArchive(err error) error {
	switch {
	case errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the archive is cut short; copy or download it again", ErrDamaged)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: %w; copy or download the archive again", ErrDamaged, err)
	}
	return err
}
