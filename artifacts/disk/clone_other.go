//go:build !linux

package disk

import (
	"errors"
	"os"
)

// cloneFile is implemented for Linux alone; elsewhere files are copied.
func cloneFile(src, dst *os.File) error { return errors.ErrUnsupported }
