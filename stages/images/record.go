package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/picture"
)

// recordVersion is that of record and of what examine lets pass.
const recordVersion = 1

// A record is what is remembered of a URL that was asked for: the picture that
// it served, but for its bytes, or why there is none.
type record struct {
	Status       int32  `json:"status,omitempty"`
	FinalURL     string `json:"final_url,omitempty"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`

	MediaType string `json:"media_type,omitempty"`
	Width     int32  `json:"width,omitempty"`
	Height    int32  `json:"height,omitempty"`
	SHA256    string `json:"sha256,omitempty"`
	Bytes     int64  `json:"bytes,omitempty"`

	Cause     cause  `json:"cause,omitempty"` // empty when there is a picture
	Error     string `json:"error,omitempty"`
	Transient bool   `json:"transient,omitempty"`
	Terms     string `json:"terms,omitempty"` // the limits that made it a failure; under others it is worth another try
}

// recordOf describes the picture that data are.
func recordOf(data []byte, info picture.Info) record {
	digest := sha256.Sum256(data)
	return record{
		MediaType: info.MediaType, Width: int32(info.Width), Height: int32(info.Height),
		SHA256: hex.EncodeToString(digest[:]), Bytes: int64(len(data)),
	}
}

// recordFailure describes a failure under the terms of the stage.
func recordFailure(f *failure, terms string) record {
	r := record{Status: int32(f.status), Cause: f.cause, Error: f.text, Transient: f.transient}
	if f.limits {
		r.Terms = terms
	}
	return r
}

func (r record) picture() bool { return r.Cause == "" }

// failure is what the record of a failure describes.
func (r record) failure() *failure {
	return &failure{cause: r.Cause, text: r.Error, status: int(r.Status), transient: r.Transient}
}

func (r record) encode() ([]byte, error) { return json.Marshal(r) }

// decodeRecord reads what encode wrote. The bytes may have come from a shared
// cache, so they are believed no more than a picture's header is.
func decodeRecord(data []byte) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, err
	}
	return r, r.check()
}

func (r record) check() error {
	switch {
	case !r.picture() && r.Error == "":
		return fmt.Errorf("the failure %q has no text", r.Cause)
	case !r.picture():
		return nil
	case r.Error != "" || r.Transient || r.Terms != "":
		return errors.New("a picture that is a failure, too")
	case r.MediaType == "" || r.Width < 1 || r.Height < 1 || r.Bytes < 1:
		return fmt.Errorf("a picture %q of %d × %d pixels in %d bytes", r.MediaType, r.Width, r.Height, r.Bytes)
	}
	if digest, err := hex.DecodeString(r.SHA256); err != nil || len(digest) != sha256.Size {
		return fmt.Errorf("the picture's digest %.70q is no SHA-256", r.SHA256)
	}
	return nil
}

func (r record) pixels() int64 { return int64(r.Width) * int64(r.Height) }

// A shelf remembers records by URL and pictures by content, of all stages that
// use the same store: what several URLs serve, such as the notice that there is
// no picture, is kept once, and records are read without the pictures.
type shelf struct{ memo stages.Memo }

// shelfScope has no parameters, so that changed limits ask nobody again for what
// they do not concern. It has the archive of a site: in each a URL may stand for
// another picture.
func shelfScope(site []stages.File) artifacts.Request {
	scope := artifacts.Request{Kind: "images.download/rows", Version: recordVersion}
	for _, archive := range site {
		scope.Files = map[string][]artifacts.FileDigest{"site": {{Digest: archive.Digest}}}
	}
	return scope
}

func recordKey(url string) stages.MemoKey {
	return stages.MemoKeyOf([]byte("url"), []byte(url))
}

func bytesKey(sha256 string) stages.MemoKey {
	return stages.MemoKeyOf([]byte("sha256"), []byte(sha256))
}

// record is what is remembered of url. One that is damaged, or whose picture is
// lost, is not known.
func (s shelf) record(url string) (r record, known bool, err error) {
	data, known, err := s.memo.Get(recordKey(url))
	if err != nil || !known {
		return record{}, false, err
	}
	r, damage := decodeRecord(data)
	if damage != nil || r.picture() && !s.memo.Has(bytesKey(r.SHA256)) {
		return record{}, false, nil
	}
	return r, true, nil
}

// keep remembers what url served: the picture before the record that needs it.
func (s shelf) keep(url string, r record, picture []byte) error {
	if r.picture() && !s.has(r) {
		if err := s.memo.Put(bytesKey(r.SHA256), picture); err != nil {
			return fmt.Errorf("keeping a picture: %w", err)
		}
	}
	data, err := r.encode()
	if err == nil {
		err = s.memo.Put(recordKey(url), data)
	}
	if err != nil {
		return fmt.Errorf("keeping what is known of a picture: %w", err)
	}
	return nil
}

// has says whether the picture of a record is there and whole.
func (s shelf) has(r record) bool {
	if !s.memo.Has(bytesKey(r.SHA256)) {
		return false
	}
	_, whole, err := s.bytes(r)
	return whole && err == nil
}

// bytes is the picture of a record, if it is not lost or damaged.
func (s shelf) bytes(r record) ([]byte, bool, error) {
	data, known, err := s.memo.Get(bytesKey(r.SHA256))
	if err != nil || !known {
		return nil, false, err
	}
	digest := sha256.Sum256(data)
	return data, hex.EncodeToString(digest[:]) == r.SHA256, nil
}
