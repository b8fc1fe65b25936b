package engine

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// unwritten says whether nobody can write to the file any more by a descriptor
// or a mapping that was opened before: what a process that outlived the stage
// writes after the file was hashed would be taken for what was hashed. The
// kernel grants a read lease on a file only then. Where it grants none to
// anybody, as on some network file systems, nothing is known and nothing said.
func unwritten(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // and with it the lease
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if errors.Is(err, unix.EAGAIN) {
		return errors.New("a process that the stage started still has it open for writing: the stage must wait for what it starts")
	}
	return nil
}
