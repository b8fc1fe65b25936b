package claim

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameNew is renameat2(2), which network file systems refuse with EINVAL.
func renameNew(root *os.Root, from, to string) error {
	return inParents(root, from, to, func(fromDir int, from string, toDir int, to string) error {
		return unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE)
	})
}
