package tiered

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// appendTo adds text to the file at path, which is made where it is absent. It is
// a single write, so that what several processes add stays whole. A link that
// somebody of the group put there is not followed.
func appendTo(path, text string) error {
	if err := groupmode.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	groupmode.Share(f)
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Close()
}
