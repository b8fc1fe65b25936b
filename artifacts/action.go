package artifacts

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// An ActionResult is what a store keeps under a key: the names, digests and
// sizes of the blobs that a result consists of, with the manifest among them
// as ManifestPath.
//
// Its form is the message build.bazel.remote.execution.v2.ActionResult of the
// remote execution API, so that an existing cache server, which reads it, can
// hold the blobs and the action together: it refuses or drops an action whose
// blobs it has not.
type ActionResult struct {
	OutputFiles []OutputFile
	ExitCode    int32 // 0 in all that this package writes
}

// An OutputFile names one blob of an ActionResult.
type OutputFile struct {
	Path   string // ManifestPath, or the name of an output
	Digest Digest
	Bytes  int64
}

// ManifestPath is the path of the manifest among an action's output files. It
// is not a valid name of an output, so it never collides with one.
const ManifestPath = "manifest.json"

// SignaturePath is the path of the manifest's signature among an action's output
// files, where somebody signed it (see package trust).
const SignaturePath = "manifest.sig"

// What a decoder believes of bytes that may come from a remote.
const (
	maxAction      = 4 << 20 // bytes
	maxActionFiles = 10_000
	maxActionPath  = 4096 // bytes
)

// Field numbers of the remote execution API, version 2.
const (
	fieldOutputFiles = 2 // ActionResult.output_files
	fieldExitCode    = 4 // ActionResult.exit_code
	fieldPath        = 1 // OutputFile.path
	fieldDigest      = 2 // OutputFile.digest
	fieldHash        = 1 // Digest.hash
	fieldSizeBytes   = 2 // Digest.size_bytes
)

// File is the output file at path.
func (a ActionResult) File(path string) (OutputFile, bool) {
	for _, f := range a.OutputFiles {
		if f.Path == path {
			return f, true
		}
	}
	return OutputFile{}, false
}

// Encode is the action as a protocol buffer message, the same bytes for the
// same action.
func (a ActionResult) Encode() []byte {
	var out []byte
	for _, f := range a.OutputFiles {
		var digest, file []byte
		digest = protowire.AppendTag(digest, fieldHash, protowire.BytesType)
		digest = protowire.AppendString(digest, f.Digest.Hex())
		if f.Bytes != 0 { // proto3 leaves zeros out
			digest = protowire.AppendTag(digest, fieldSizeBytes, protowire.VarintType)
			digest = protowire.AppendVarint(digest, uint64(f.Bytes))
		}
		file = protowire.AppendTag(file, fieldPath, protowire.BytesType)
		file = protowire.AppendString(file, f.Path)
		file = protowire.AppendTag(file, fieldDigest, protowire.BytesType)
		file = protowire.AppendBytes(file, digest)
		out = protowire.AppendTag(out, fieldOutputFiles, protowire.BytesType)
		out = protowire.AppendBytes(out, file)
	}
	if a.ExitCode != 0 {
		out = protowire.AppendTag(out, fieldExitCode, protowire.VarintType)
		out = protowire.AppendVarint(out, uint64(int64(a.ExitCode)))
	}
	return out
}

// DecodeActionResult reads an action result that may come from outside: it is
// bounded in size, and every digest and size in the result is well formed and
// every path there once. Fields that prismflow does not use, such as those
// that a server adds, are passed over.
func DecodeActionResult(b []byte) (ActionResult, error) {
	if len(b) > maxAction {
		return ActionResult{}, fmt.Errorf("action result of %d bytes where at most %d are believed", len(b), maxAction)
	}
	var a ActionResult
	err := eachField(b, func(num protowire.Number, f field) error {
		switch num {
		case fieldOutputFiles:
			file, err := decodeOutputFile(f)
			if err != nil {
				return fmt.Errorf("output file %d: %w", len(a.OutputFiles), err)
			}
			if len(a.OutputFiles) == maxActionFiles {
				return fmt.Errorf("more than %d output files", maxActionFiles)
			}
			a.OutputFiles = append(a.OutputFiles, file)
		case fieldExitCode:
			v, err := f.varint()
			a.ExitCode = int32(v)
			return err
		}
		return nil
	})
	if err != nil {
		return ActionResult{}, fmt.Errorf("action result: %w", err)
	}
	return a, a.checkPaths()
}

func (a ActionResult) checkPaths() error {
	seen := make(map[string]bool, len(a.OutputFiles))
	for _, f := range a.OutputFiles {
		if seen[f.Path] {
			return fmt.Errorf("action result: output file %q is there twice", f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

func decodeOutputFile(f field) (OutputFile, error) {
	msg, err := f.bytes()
	if err != nil {
		return OutputFile{}, err
	}
	var out OutputFile
	err = eachField(msg, func(num protowire.Number, f field) error {
		switch num {
		case fieldPath:
			path, err := f.bytes()
			if err != nil {
				return err
			}
			if len(path) > maxActionPath || !utf8.Valid(path) {
				return errors.New("malformed path")
			}
			out.Path = string(path)
		case fieldDigest:
			var err error
			out.Digest, out.Bytes, err = decodeDigest(f)
			return err
		}
		return nil
	})
	if err == nil && (out.Path == "" || out.Digest == "") {
		err = errors.New("path or digest is missing")
	}
	return out, err
}

func decodeDigest(f field) (Digest, int64, error) {
	msg, err := f.bytes()
	if err != nil {
		return "", 0, err
	}
	var hash []byte
	var size uint64
	err = eachField(msg, func(num protowire.Number, f field) error {
		var err error
		switch num {
		case fieldHash:
			hash, err = f.bytes()
		case fieldSizeBytes:
			size, err = f.varint()
		}
		return err
	})
	if err != nil {
		return "", 0, err
	}
	if size > math.MaxInt64 {
		return "", 0, fmt.Errorf("size_bytes %d is negative", int64(size))
	}
	if len(hash) > 64 {
		hash = hash[:65] // refused below, without printing what a remote sent in full
	}
	d, err := ParseDigest(digestPrefix + string(hash))
	return d, int64(size), err
}

// A field is the value of one field of a message, still undecoded.
type field struct {
	typ   protowire.Type
	value []byte
}

var errWireType = errors.New("wire type is not that of the schema")

func (f field) bytes() ([]byte, error) {
	if f.typ != protowire.BytesType {
		return nil, errWireType
	}
	v, n := protowire.ConsumeBytes(f.value)
	return v, protowire.ParseError(n)
}

func (f field) varint() (uint64, error) {
	if f.typ != protowire.VarintType {
		return 0, errWireType
	}
	v, n := protowire.ConsumeVarint(f.value)
	return v, protowire.ParseError(n)
}

// eachField calls visit for every field of a message, in order.
func eachField(msg []byte, visit func(protowire.Number, field) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		msg = msg[n:]
		n = protowire.ConsumeFieldValue(num, typ, msg)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := visit(num, field{typ, msg[:n]}); err != nil {
			return err
		}
		msg = msg[n:]
	}
	return nil
}
