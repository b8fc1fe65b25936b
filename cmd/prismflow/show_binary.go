package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages/picture"
)

// shownBinary tells what binary values are, instead of their bytes.
var shownBinary = table.Binary{Text: appendBinaryText, JSON: appendBinaryJSON}

// binaryReport is what `show --json` prints for a binary value.
type binaryReport struct {
	MediaType string `json:"media_type,omitempty"` // of a whole picture; so are width and height
	Width     int    `json:"width,omitempty"`
	Height    int    `json:"height,omitempty"`
	Bytes     int    `json:"bytes"`
	SHA256    string `json:"sha256"`
}

func reportBinary(value []byte) binaryReport {
	sum := sha256.Sum256(value)
	report := binaryReport{Bytes: len(value), SHA256: hex.EncodeToString(sum[:])}
	// Nothing is decoded, so that no size is too large to be told.
	if info, err := picture.Inspect(value, picture.Limits{Pixels: math.MaxInt64}); err == nil {
		report.MediaType, report.Width, report.Height = info.MediaType, info.Width, info.Height
	}
	return report
}

// shownDigest is how much of a digest people are shown.
const shownDigest = 12

func appendBinaryText(dst, value []byte) []byte {
	if len(value) == 0 {
		return append(dst, "0 B"...)
	}
	report := reportBinary(value)
	if report.MediaType != "" {
		dst = fmt.Appendf(dst, "%s %d×%d ", report.MediaType, report.Width, report.Height)
	}
	return fmt.Appendf(dst, "%s sha256:%s", byteSize(int64(len(value))), report.SHA256[:shownDigest])
}

func appendBinaryJSON(dst, value []byte) []byte {
	text, err := json.Marshal(reportBinary(value))
	if err != nil { // texts and numbers cannot fail
		panic(err)
	}
	return append(dst, text...)
}
