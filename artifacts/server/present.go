package server

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/prismflow/prismflow/artifacts"
)

// Field numbers of the remote execution API, version 2, in what other clients
// write and this program does not.
const (
	fieldOutputDirectories = 3 // ActionResult.output_directories
	fieldStdoutDigest      = 6 // ActionResult.stdout_digest
	fieldStderrDigest      = 8 // ActionResult.stderr_digest
	fieldTreeDigest        = 3 // OutputDirectory.tree_digest
	fieldTreeRoot          = 1 // Tree.root
	fieldTreeChildren      = 2 // Tree.children
	fieldDirectoryFiles    = 1 // Directory.files
	fieldFileDigest        = 2 // FileNode.digest
	fieldHash              = 1 // Digest.hash
	fieldSizeBytes         = 2 // Digest.size_bytes
)

// maxTree is the size in bytes of the largest description of a directory that is
// read.
const maxTree = 16 << 20

// A naming is what an action says of blobs.
type naming struct {
	files []artifacts.OutputFile // its files
	more  []artifacts.OutputFile // what a command printed, and descriptions of directories
	trees []artifacts.OutputFile // those of more that describe directories
}

// namingOf reads an action. One that is none, as some clients keep under a key,
// names nothing.
func namingOf(action []byte) naming {
	decoded, err := artifacts.DecodeActionResult(action)
	if err != nil {
		return naming{}
	}
	n := naming{files: decoded.OutputFiles}
	for number, value := range messages(action) {
		switch number {
		case fieldStdoutDigest, fieldStderrDigest:
			n.more = appendDigest(n.more, value)
		case fieldOutputDirectories:
			n.trees = append(n.trees, digestsIn(value, fieldTreeDigest)...)
		}
	}
	n.more = append(n.more, n.trees...)
	return n
}

// inTree are the blobs that a description of a directory names.
func (s *Server) inTree(ctx context.Context, tree artifacts.OutputFile) ([]artifacts.OutputFile, error) {
	if tree.Bytes > maxTree {
		return nil, refuse(413, "the description %s of a directory has %d bytes, at most %d are read", tree.Digest.Short(), tree.Bytes, maxTree)
	}
	r, err := s.store.Get(ctx, tree.Digest)
	if err != nil {
		return nil, err
	}
	message, err := io.ReadAll(io.LimitReader(r, maxTree+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	var found []artifacts.OutputFile
	for number, directory := range messages(message) {
		if number != fieldTreeRoot && number != fieldTreeChildren {
			continue
		}
		for number, file := range messages(directory) {
			if number == fieldDirectoryFiles {
				found = append(found, digestsIn(file, fieldFileDigest)...)
			}
		}
	}
	return found, nil
}

// allHere says whether every blob is here: the error is artifacts.ErrNotFound
// when one is not.
func (s *Server) allHere(ctx context.Context, blobs []artifacts.OutputFile) error {
	for _, blob := range blobs {
		if blob.Digest == emptyBlob {
			continue
		}
		size, err := s.store.Stat(ctx, blob.Digest)
		if err == nil && size != blob.Bytes {
			err = fmt.Errorf("%d bytes and not %d: %w", size, blob.Bytes, artifacts.ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("its blob %s: %w", blob.Digest.Short(), err)
		}
	}
	return nil
}

// digestsIn are the blobs that the Digest messages in a field name.
func digestsIn(message []byte, field protowire.Number) (found []artifacts.OutputFile) {
	for number, value := range messages(message) {
		if number == field {
			found = appendDigest(found, value)
		}
	}
	return found
}

// appendDigest adds the blob that a Digest message names, if it names one.
func appendDigest(found []artifacts.OutputFile, message []byte) []artifacts.OutputFile {
	var blob artifacts.OutputFile
	for number, f := range fields(message) {
		switch {
		case number == fieldHash && f.typ == protowire.BytesType:
			hex, _ := protowire.ConsumeBytes(f.value)
			blob.Digest, _ = artifacts.ParseDigest("sha256:" + string(hex))
		case number == fieldSizeBytes && f.typ == protowire.VarintType:
			size, _ := protowire.ConsumeVarint(f.value)
			blob.Bytes = int64(size)
		}
	}
	if blob.Digest == "" {
		return found
	}
	return append(found, blob)
}

// messages are the fields of a message that may be messages themselves.
func messages(message []byte) func(yield func(protowire.Number, []byte) bool) {
	return func(yield func(protowire.Number, []byte) bool) {
		for number, f := range fields(message) {
			if f.typ != protowire.BytesType {
				continue
			}
			if value, n := protowire.ConsumeBytes(f.value); n < 0 || !yield(number, value) {
				return
			}
		}
	}
}

// A field is the value of a field of a message, still encoded.
type field struct {
	typ   protowire.Type
	value []byte
}

// fields are those of a message, as far as it is one.
func fields(message []byte) func(yield func(protowire.Number, field) bool) {
	return func(yield func(protowire.Number, field) bool) {
		for len(message) > 0 {
			number, typ, n := protowire.ConsumeTag(message)
			if n < 0 {
				return
			}
			message = message[n:]
			n = protowire.ConsumeFieldValue(number, typ, message)
			if n < 0 || !yield(number, field{typ, message[:n]}) {
				return
			}
			message = message[n:]
		}
	}
}
