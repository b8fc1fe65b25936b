package disk

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
)

// TestDirectoriesAreDurableFirst: before a blob gets its name, that of its directory
// is on the disk, whoever made it, and each process sees to that once.
func TestDirectoriesAreDurableFirst(t *testing.T) {
	blob := []byte("five little ducks")
	hex := artifacts.DigestOf(blob).Hex()
	var did []string
	record := func(op, path string) error {
		if op == "rename" || op == "syncdir" && filepath.Base(path) == "cas" {
			did = append(did, op)
		}
		return nil
	}
	for _, maker := range []string{"nobody", "an earlier process", "another process, after a first look"} {
		dir := t.TempDir()
		other, err := Open(dir, Options{})
		must(t, err)
		defer other.Close()
		if maker == "an earlier process" {
			must(t, putBytes(other, blob))
		}
		s, err := open(dir, Options{}, record)
		must(t, err)
		defer s.Close()
		if maker == "another process, after a first look" {
			must(t, s.fan.survey(nil, filepath.Join(dir, "cas")))
			must(t, putBytes(other, blob))
		}
		did = nil
		must(t, putBytes(s, blob))
		if first := slices.Index(did, "syncdir"); first < 0 || first > slices.Index(did, "rename") {
			t.Errorf("made by %s: cas/%s is not synced before a blob is moved into it: %q", maker, hex[:2], did)
		}
		did = nil
		must(t, putBytes(s, blob))
		if slices.Contains(did, "syncdir") {
			t.Errorf("made by %s: cas is synced again: %q", maker, did)
		}
	}
}

// TestDirectoryThatIsRemoved is made again.
func TestDirectoryThatIsRemoved(t *testing.T) {
	blob := []byte("five little ducks")
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	defer s.Close()
	must(t, putBytes(s, blob))
	removed := filepath.Dir(s.blobPath(artifacts.DigestOf(blob).Hex()))
	must(t, os.RemoveAll(removed))
	must(t, putBytes(s, blob))
}
