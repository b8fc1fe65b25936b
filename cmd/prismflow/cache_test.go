package main

import (
	"slices"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
)

// Blobs are counted once in each share, also where one result names one twice,
// and are a share's own where no other has them.
func TestSharesCountBlobsOnce(t *testing.T) {
	file := func(name string, bytes int64) artifacts.OutputFile {
		return artifacts.OutputFile{Digest: artifacts.DigestOf([]byte(name)), Bytes: bytes}
	}
	var s shares
	s.add("ann", []artifacts.OutputFile{file("a", 1), file("common", 10), file("common", 10)})
	s.add("ann", []artifacts.OutputFile{file("a", 1), file("b", 100)})
	s.add("bob", []artifacts.OutputFile{file("common", 10), file("c", 1000)})
	want := []cacheShare{{Name: "bob", Results: 1, Bytes: 1010, Own: 1000}, {Name: "ann", Results: 2, Bytes: 111, Own: 101}}
	if got := s.list(); !slices.Equal(got, want) {
		t.Errorf("shares %+v, want %+v", got, want)
	}
}
