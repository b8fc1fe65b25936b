package foreign

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// Parquet's mixture of run lengths and packed bits, by the examples of its
// definition.
func TestRuns(t *testing.T) {
	for _, c := range []struct {
		data  []byte
		width uint
		n     int
		want  string
	}{
		{[]byte{3, 0x88, 0xc6, 0xfa}, 3, 8, "[0 1 2 3 4 5 6 7]"},                                         // one group of packed bits
		{[]byte{3, 0x88, 0xc6, 0xfa}, 3, 5, "[0 1 2 3 4]"},                                               // of which some are padding
		{[]byte{8, 2, 3, 0x88, 0xc6, 0xfa}, 3, 6, "[2 2 2 2 0 1]"},                                       // four times 2 before them
		{[]byte{4, 0x34, 0x12}, 13, 2, "[4660 4660]"},                                                    // a number of two bytes
		{[]byte{6}, 0, 3, "[0 0 0]"},                                                                     // no bits at all
		{[]byte{0, 1, 0, 1, 6, 1}, 1, 3, "[1 1 1]"},                                                      // runs of nothing
		{[]byte{3, 0x88, 0xc6}, 3, 8, "the file is broken"},                                              // cut off
		{[]byte{4}, 3, 2, "the file is broken"},                                                          // cut off
		{nil, 3, 1, "the file is broken"},                                                                // empty
		{[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 8, 1000, "the file is broken"}, // 2⁶³ groups
	} {
		values := []uint32{}
		err := eachRun(c.data, c.width, c.n, func(value uint32, times int) error {
			for range times {
				values = append(values, value)
			}
			return nil
		})
		got := fmt.Sprint(values)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%x of %d bits: got %s, want %s", c.data, c.width, got, c.want)
		}
	}
}

func TestJoined(t *testing.T) {
	if got := joined([]byte{1, 2, 3, 4, 5, 6}, 3, 2); !bytes.Equal(got, []byte{1, 4, 2, 5, 3, 6}) {
		t.Errorf("got %v", got)
	}
}
