package lines

import (
	"bytes"
	"fmt"
	"io"
)

// A cutter cuts a text into the data of blocks, which end where lines do if
// ahead wants that.
type cutter struct {
	from  io.Reader
	ahead *ahead
	begun []byte // a block's memory, which begins with
	n     int    // bytes behind the end of the last block
}

// next is the data of the next block, with io.EOF when it is the last. An error
// that cut off a line comes with the lines before that.
func (c *cutter) next() ([]byte, error) {
	if c.begun == nil {
		c.begun = c.ahead.memory(0)
	}
	for {
		n, err := fill(c.from, c.begun[c.n:])
		c.n += n
		data := c.begun[:c.n]
		end := len(data)
		if c.ahead.most > 0 && err != io.EOF {
			end = bytes.LastIndexByte(data, '\n') + 1
		}
		switch {
		case err != nil:
			return data[:end], err
		case end > 0:
			c.begin(data[end:])
			return data[:end], nil
		case c.n > c.ahead.most:
			return nil, tooLong(c.ahead.most)
		}
		longer := c.ahead.memory(2 * len(c.begun))
		copy(longer, data)
		c.begun = longer
	}
}

// begin begins the block after one that ended before rest.
func (c *cutter) begin(rest []byte) {
	next := c.ahead.memory(len(rest) + blockBytes/2)
	c.n = copy(next, rest)
	c.begun = next
}

func tooLong(most int) error {
	return fmt.Errorf("%w: it has more than %d bytes, so this is no file of lines", ErrTooLong, most)
}

// fill reads until buffer is full and returns how much of it is, with io.EOF at
// the end of r.
func fill(r io.Reader, buffer []byte) (int, error) {
	n := 0
	for n < len(buffer) {
		k, err := r.Read(buffer[n:])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
