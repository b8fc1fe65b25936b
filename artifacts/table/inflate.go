package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// A codecID is the compression of a batch's buffers, by Arrow's numbers.
type codecID int64

const (
	codecNone codecID = -1
	codecLZ4  codecID = 0
	codecZstd codecID = 1
)

// What a buffer says of its size is believed as far as its codec can get: a
// zstd block of four bytes may stand for 128 KiB, and a byte of LZ4 for 255.
// maxInflated bounds it besides.
const (
	zstdMaxRatio = 32 << 10
	lz4MaxRatio  = 256
	maxInflated  = 1 << 30
)

// inflated is the size that a compressed buffer says it has, and what is to
// be inflated. The size is -1 for one that was left as it is.
func inflated(raw []byte) (size int64, rest []byte, err error) {
	if len(raw) < 8 {
		return 0, nil, fmt.Errorf("a compressed buffer of %d bytes", len(raw))
	}
	return int64(binary.LittleEndian.Uint64(raw)), raw[8:], nil
}

// inflate undoes the compression of one buffer of an Arrow file.
func (f *File) inflate(codec codecID, raw []byte) ([]byte, error) {
	size, rest, err := inflated(raw)
	if err != nil {
		return nil, err
	}
	if size == -1 {
		out := alignedBytes(int64(len(rest)))
		copy(out, rest)
		return out, nil
	}
	ratio := int64(zstdMaxRatio)
	if codec == codecLZ4 {
		ratio = lz4MaxRatio
	}
	switch {
	case size < 0 || size > int64(len(rest))*ratio:
		return nil, fmt.Errorf("%d compressed bytes cannot hold %d", len(rest), size)
	case size > maxInflated:
		return nil, fmt.Errorf("a compressed buffer of %d bytes in one record batch; write batches of at most %d", size, maxInflated)
	}
	out := alignedBytes(size)
	if codec == codecLZ4 {
		return out, inflateLZ4(out, rest)
	}
	return out, f.inflateZstd(out, rest)
}

func (f *File) inflateZstd(out, compressed []byte) error {
	if f.zstd == nil {
		var err error
		// One goroutine: the caller waits for the buffer anyway.
		f.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxInflated), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
	}
	got, err := f.zstd.DecodeAll(compressed, out[:0])
	if err == nil && len(got) != len(out) {
		err = fmt.Errorf("%d bytes, %d announced", len(got), len(out))
	}
	if err != nil {
		return fmt.Errorf("inflating zstd: %w", err)
	}
	return nil
}

func inflateLZ4(out, compressed []byte) error {
	r := lz4.NewReader(bytes.NewReader(compressed))
	if _, err := io.ReadFull(r, out); err != nil {
		return fmt.Errorf("inflating lz4: %w", err)
	}
	var more [1]byte
	if n, _ := r.Read(more[:]); n > 0 {
		return fmt.Errorf("inflating lz4: more than the %d bytes announced", len(out))
	}
	return nil
}
