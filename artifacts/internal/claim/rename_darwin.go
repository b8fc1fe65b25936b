package claim

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameNew is renameatx_np(2).
func renameNew(root *os.Root, from, to string) error {
	return inParents(root, from, to, func(fromDir int, from string, toDir int, to string) error {
		return unix.RenameatxNp(fromDir, from, toDir, to, unix.RENAME_EXCL)
	})
}
