package server

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/prismflow/prismflow/artifacts"
)

// usableAction is the action under a key, when every blob that it names is here.
// Otherwise the error is artifacts.ErrNotFound. An action that is none, as some
// clients keep under a key, names nothing.
func (s *Server) usableAction(ctx context.Context, k artifacts.Key) ([]byte, error) {
	action, err := s.store.GetAction(ctx, k)
	if err != nil {
		return nil, err
	}
	for _, blob := range named(action) {
		if blob.Digest == emptyBlob {
			continue
		}
		size, err := s.store.Stat(ctx, blob.Digest)
		if err == nil && size != blob.Bytes {
			err = fmt.Errorf("%d bytes and not %d: %w", size, blob.Bytes, artifacts.ErrNotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("action %s: its blob %s: %w", k.Short(), blob.Digest.Short(), err)
		}
	}
	return action, nil
}

// Field numbers of the remote execution API, version 2, in what other clients
// write and this program does not.
const (
	fieldOutputDirectories = 3 // ActionResult.output_directories
	fieldStdoutDigest      = 6 // ActionResult.stdout_digest
	fieldStderrDigest      = 8 // ActionResult.stderr_digest
	fieldTreeDigest        = 3 // OutputDirectory.tree_digest
	fieldHash              = 1 // Digest.hash
	fieldSizeBytes         = 2 // Digest.size_bytes
)

// named are the blobs that an action names: its files, and what it has of
// directories and of a command's output.
func named(action []byte) []artifacts.OutputFile {
	decoded, err := artifacts.DecodeActionResult(action)
	if err != nil {
		return nil
	}
	files := decoded.OutputFiles
	_ = eachMessage(action, func(number protowire.Number, message []byte) error {
		switch number {
		case fieldStdoutDigest, fieldStderrDigest:
			files = appendDigest(files, message)
		case fieldOutputDirectories:
			return eachMessage(message, func(number protowire.Number, message []byte) error {
				if number == fieldTreeDigest {
					files = appendDigest(files, message)
				}
				return nil
			})
		}
		return nil
	})
	return files
}

// appendDigest adds the blob that a Digest message names, if it names one.
func appendDigest(files []artifacts.OutputFile, message []byte) []artifacts.OutputFile {
	var hex string
	var size int64
	for len(message) > 0 {
		number, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return files
		}
		message = message[n:]
		switch {
		case number == fieldHash && typ == protowire.BytesType:
			var text []byte
			text, n = protowire.ConsumeBytes(message)
			hex = string(text)
		case number == fieldSizeBytes && typ == protowire.VarintType:
			var value uint64
			value, n = protowire.ConsumeVarint(message)
			size = int64(value)
		default:
			n = protowire.ConsumeFieldValue(number, typ, message)
		}
		if n < 0 {
			return files
		}
		message = message[n:]
	}
	d, err := artifacts.ParseDigest("sha256:" + hex)
	if err != nil {
		return files
	}
	return append(files, artifacts.OutputFile{Digest: d, Bytes: size})
}

// eachMessage visits the fields of a message that may be messages themselves.
func eachMessage(message []byte, visit func(number protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		number, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		n = protowire.ConsumeFieldValue(number, typ, message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if typ == protowire.BytesType {
			value, m := protowire.ConsumeBytes(message)
			if m < 0 {
				return protowire.ParseError(m)
			}
			if err := visit(number, value); err != nil {
				return err
			}
		}
		message = message[n:]
	}
	return nil
}
