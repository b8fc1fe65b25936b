package remote

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/prismflow/prismflow/artifacts"
)

// A blob is packed when a sample of it shrinks by an eighth or more: text and
// repeated values do; embeddings, pictures and archives do not, and would cost
// both sides their time.
const (
	samplePieces = 4
	samplePiece  = 64 << 10
	gain         = 8 // one part in so many must be saved
)

// choose is the form in which a content is sent.
func (s *Store) choose(content Content) (form, error) {
	if !s.mayPack(content.Size) {
		return plain, nil
	}
	sample, err := sampleOf(content)
	if err != nil {
		return plain, local(err)
	}
	encoder, err := s.encoder()
	if err != nil {
		return plain, local(err)
	}
	defer s.encoders.Put(encoder)
	if len(encoder.EncodeAll(sample, nil)) <= len(sample)-len(sample)/gain {
		return packed, nil
	}
	return plain, nil
}

// sampleOf is some of a content: pieces from all over it where it can be read so,
// as files can, otherwise its beginning.
func sampleOf(content Content) ([]byte, error) {
	r, err := content.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	sample := make([]byte, min(content.Size, samplePieces*samplePiece))
	at, ok := r.(io.ReaderAt)
	if !ok || content.Size <= int64(len(sample)) {
		n, err := io.ReadFull(r, sample)
		return sample[:n], notShort(err)
	}
	n := 0
	for i := range int64(samplePieces) {
		got, err := at.ReadAt(sample[n:n+samplePiece], content.Size/samplePieces*i)
		n += got
		if notShort(err) != nil {
			return nil, err
		}
	}
	return sample[:n], nil
}

// notShort is err, unless it says that a content is shorter than it should be:
// who sends it finds that out.
func notShort(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// encoder is one that nobody else uses; it is put back into s.encoders.
func (s *Store) encoder() (*zstd.Encoder, error) {
	if encoder, ok := s.encoders.Get().(*zstd.Encoder); ok {
		return encoder, nil
	}
	return zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(zstd.SpeedFastest), // uploads go on beside a run that needs the processor
		zstd.WithAllLitEntropyCompression(true),  // numbers shrink though nothing in them repeats
		zstd.WithWindowSize(maxWindow/2),
	)
}

// pack compresses a content, whose bytes it verifies, into a spool, since the size
// of what is sent has to be known before.
func (s *Store) pack(ctx context.Context, d artifacts.Digest, content Content) (*spool, error) {
	r, err := content.Open()
	if err != nil {
		return nil, local(err)
	}
	defer r.Close()
	encoder, err := s.encoder()
	if err != nil {
		return nil, local(err)
	}
	defer s.encoders.Put(encoder)
	spool := s.newSpool()
	encode := encodeStream
	if content.Size <= packedAtOnce {
		encode = encodeAtOnce
	}
	if err := encode(ctx, spool, encoder, r, d, content.Size); err != nil {
		spool.Close()
		return nil, local(err)
	}
	return spool, nil
}

// packedAtOnce is the size of the largest blob that is compressed in one piece:
// its header makes readers take no more memory than it has bytes.
const packedAtOnce = 1 << 20

func encodeAtOnce(ctx context.Context, w io.Writer, encoder *zstd.Encoder, r io.Reader, d artifacts.Digest, size int64) error {
	var buf bytes.Buffer
	if err := artifacts.CopyVerified(ctx, &buf, r, d, size); err != nil {
		return err
	}
	_, err := w.Write(encoder.EncodeAll(buf.Bytes(), nil))
	return err
}

func encodeStream(ctx context.Context, w io.Writer, encoder *zstd.Encoder, r io.Reader, d artifacts.Digest, size int64) error {
	encoder.ResetContentSize(w, size)
	defer encoder.Reset(nil) // it must not keep w
	if err := artifacts.CopyVerified(ctx, encoder, r, d, size); err != nil {
		return err
	}
	return encoder.Close()
}
