package gunzip

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
)

// goInflater inflates in Go.
type goInflater struct{ reader io.ReadCloser }

func (z *goInflater) reset(from *bufio.Reader) {
	if z.reader == nil {
		z.reader = flate.NewReader(from)
		return
	}
	// It returns an error to satisfy other implementations, and never has one.
	_ = z.reader.(flate.Resetter).Reset(from, nil)
}

func (z *goInflater) Read(p []byte) (int, error) {
	n, err := z.reader.Read(p)
	if errors.As(err, new(flate.CorruptInputError)) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}

// rest is nothing: of a bufio.Reader flate takes byte by byte.
func (z *goInflater) rest() []byte { return nil }
