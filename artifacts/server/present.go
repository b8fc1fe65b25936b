package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"

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

const (
	// maxNamed is how many blobs an action may name: as many as one in the store.
	maxNamed = 10_000

	// maxTrees is the size in bytes of all descriptions of directories together that
	// are read for one action: of maxNamed files they need a tenth of it.
	maxTrees = 16 << 20
)

// filesOf are the files that an action names. What is none, as some clients keep
// under a key, names nothing.
func filesOf(action []byte) (files []artifacts.OutputFile, isAction bool) {
	decoded, err := artifacts.DecodeActionResult(action)
	if err != nil {
		return nil, false
	}
	return decoded.OutputFiles, true
}

// namesMore says whether an action names blobs that are no files.
func namesMore(action []byte) bool {
	for range beyondFiles(action) {
		return true
	}
	return false
}

// beyondFiles are the blobs that an action names beside its files: what a command
// printed, and descriptions of directories.
func beyondFiles(action []byte) iter.Seq2[artifacts.OutputFile, bool] {
	return func(yield func(blob artifacts.OutputFile, isTree bool) bool) {
		for number, value := range messages(action) {
			switch number {
			case fieldStdoutDigest, fieldStderrDigest:
				if blob, ok := blobOf(value); ok && !yield(blob, false) {
					return
				}
			case fieldOutputDirectories:
				for tree := range blobsIn(value, fieldTreeDigest) {
					if !yield(tree, true) {
						return
					}
				}
			}
		}
	}
}

// A naming gathers the blobs that an action names, each once.
type naming struct {
	blobs []artifacts.OutputFile
	seen  map[artifacts.Digest]bool
	trees map[artifacts.Digest]bool // those that were read
	left  int64                     // bytes of descriptions of directories that may still be read
}

func newNaming(contents artifacts.OutputFile) *naming {
	return &naming{
		blobs: []artifacts.OutputFile{contents},
		seen:  map[artifacts.Digest]bool{contents.Digest: true, emptyBlob: true},
		trees: map[artifacts.Digest]bool{emptyBlob: true},
		left:  maxTrees,
	}
}

// gather adds the blobs that an action names: its files, what a command printed,
// directories and what is in them.
func (s *Server) gather(ctx context.Context, n *naming, files []artifacts.OutputFile, action []byte) error {
	for _, file := range files {
		if err := n.add(file); err != nil {
			return err
		}
	}
	for blob, isTree := range beyondFiles(action) {
		if err := n.add(blob); err != nil {
			return err
		}
		if !isTree {
			continue
		}
		err := s.addTree(ctx, n, blob.Digest)
		if err != nil && !errors.Is(err, artifacts.ErrNotFound) { // then the action is of no use, which GET says
			return err
		}
	}
	return nil
}

// add takes a blob, unless it is known.
func (n *naming) add(blob artifacts.OutputFile) error {
	if n.seen[blob.Digest] {
		return nil
	}
	if len(n.blobs) == maxNamed {
		return refuse(http.StatusRequestEntityTooLarge, "the action names more than the %d blobs that it may", maxNamed-1)
	}
	n.seen[blob.Digest] = true
	blob.Path = namedPath + blob.Digest.Hex()
	n.blobs = append(n.blobs, blob)
	return nil
}

// addTree adds the blobs that a description of a directory names, unless it was
// read already.
func (s *Server) addTree(ctx context.Context, n *naming, tree artifacts.Digest) error {
	if n.trees[tree] {
		return nil
	}
	n.trees[tree] = true
	s.readingTree.Lock()
	defer s.readingTree.Unlock()
	message, err := s.readTree(ctx, tree, n.left)
	if err != nil {
		return err
	}
	n.left -= int64(len(message))
	for number, directory := range messages(message) {
		if number != fieldTreeRoot && number != fieldTreeChildren {
			continue
		}
		for number, file := range messages(directory) {
			if number != fieldDirectoryFiles {
				continue
			}
			for blob := range blobsIn(file, fieldFileDigest) {
				if err := n.add(blob); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// readTree is the description of a directory, if it has no more than some bytes.
func (s *Server) readTree(ctx context.Context, tree artifacts.Digest, most int64) ([]byte, error) {
	f, err := s.openBlob(ctx, tree)
	if errors.Is(err, os.ErrNotExist) {
		err = artifacts.ErrNotFound // gc was quicker
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the descriptions of the action's directories have more than the %d bytes that are read", maxTrees)
	}
	message := make([]byte, info.Size())
	_, err = io.ReadFull(f, message)
	return message, err
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

// blobsIn are the blobs that the Digest messages in a field name.
func blobsIn(message []byte, field protowire.Number) iter.Seq[artifacts.OutputFile] {
	return func(yield func(artifacts.OutputFile) bool) {
		for number, value := range messages(message) {
			if number != field {
				continue
			}
			if blob, ok := blobOf(value); ok && !yield(blob) {
				return
			}
		}
	}
}

// blobOf is the blob that a Digest message names, if it names one.
func blobOf(message []byte) (blob artifacts.OutputFile, ok bool) {
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
	return blob, blob.Digest != ""
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
