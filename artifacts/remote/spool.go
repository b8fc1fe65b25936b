package remote

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// spoolMemory is up to how many bytes a spool is kept in memory.
const spoolMemory = 8 << 20

// A spool keeps bytes until they are sent: a few in memory, many in a temporary
// file that has no name any more, so that nothing stays when the process dies.
type spool struct {
	dir  string
	size int64 // written so far
	buf  bytes.Buffer
	file *os.File // nil while buf is enough
}

func (s *Store) newSpool() *spool { return &spool{dir: s.opts.TempDir} }

// A spoolError says that a spool could not be written: its disk is full, or there
// is none.
type spoolError struct{ error }

func (e spoolError) Unwrap() error { return e.error }

func isSpoolFull(err error) bool {
	var e spoolError
	return errors.As(err, &e)
}

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.write(p)
	s.size += int64(n)
	if err != nil {
		return n, spoolError{err}
	}
	return n, nil
}

func (s *spool) write(p []byte) (int, error) {
	if s.file != nil {
		return s.file.Write(p)
	}
	if s.size+int64(len(p)) <= spoolMemory {
		return s.buf.Write(p)
	}
	if err := s.spill(); err != nil {
		return 0, err
	}
	return s.file.Write(p)
}

// spill moves what is in memory to a file.
func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, "prismflow-send-")
	if err != nil {
		return err
	}
	s.file = f
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	_, err = s.buf.WriteTo(f)
	s.buf = bytes.Buffer{}
	return err
}

// open opens what was written. It may be called again, until Close.
func (s *spool) open() (io.ReadCloser, error) {
	if s.file != nil {
		return readerAt{io.NewSectionReader(s.file, 0, s.size)}, nil
	}
	return readerAt{io.NewSectionReader(bytes.NewReader(s.buf.Bytes()), 0, s.size)}, nil
}

// readerAt is a section that needs no closing.
type readerAt struct{ *io.SectionReader }

func (readerAt) Close() error { return nil }

// Close gives the spool's bytes up.
func (s *spool) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
