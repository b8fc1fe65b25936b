package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// fill publishes n results of one table of eight columns each, as a pipeline
// of n stages has them, and returns their keys.
func fill(t testing.TB, s *Store, n int) []artifacts.Key {
	t.Helper()
	keys := make([]artifacts.Key, n)
	for i := range keys {
		m := storetest.Manifest(t, s, i, map[string][]byte{"table": fmt.Appendf(nil, "rows of %d", i)})
		out := m.Outputs["table"]
		for c := range 8 {
			name := fmt.Sprintf("column_%d", c)
			out.Columns = append(out.Columns, artifacts.Column{Name: name, Type: "int64", Digest: artifacts.DigestOf([]byte(name))})
		}
		m.Outputs["table"] = out
		m.Request.Inputs = map[string]map[string]artifacts.Digest{"input": {"a": out.Digest, "b": out.Digest, "c": out.Digest}}
		m.Provenance.Versions = map[string]string{"prismflow": "1.0.0", "go": "1.26", "libtorch": "2.9.0+cpu"}
		var err error
		if m.Key, err = m.Request.Key(); err != nil {
			t.Fatal(err)
		}
		if _, err := artifacts.Publish(ctx, s, m); err != nil {
			t.Fatal(err)
		}
		keys[i] = m.Key
	}
	return keys
}

// BenchmarkLookup is what a stage costs in a run in which nothing changed:
// that of the thousand stages of a large pipeline, in turn.
func BenchmarkLookup(b *testing.B) {
	s := openTest(b)
	keys := fill(b, s, 1000)
	for i := 0; b.Loop(); i++ {
		if _, err := artifacts.Lookup(ctx, s, keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookupCold is one run from a new process: it loads what was hashed
// and records each use for its lease.
func BenchmarkLookupCold(b *testing.B) {
	s := openTest(b)
	keys := fill(b, s, 1000)
	if err := s.stamps.flush(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		fresh, err := Open(s.Dir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		lease, err := fresh.Lease(ctx, "benchmark")
		if err != nil {
			b.Fatal(err)
		}
		for _, k := range keys {
			if _, err := artifacts.Lookup(ctx, fresh, k); err != nil {
				b.Fatal(err)
			}
		}
		lease.Close()
		fresh.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "µs/lookup")
}

// BenchmarkVerified is one blob that was hashed before.
func BenchmarkVerified(b *testing.B) {
	s := openTest(b)
	d := artifacts.DigestOf([]byte("blob"))
	if err := putBytes(s, []byte("blob")); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Verified(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMaterialiseAgain is one output that people have already.
func BenchmarkMaterialiseAgain(b *testing.B) {
	s := openTest(b)
	d := artifacts.DigestOf([]byte("blob"))
	if err := putBytes(s, []byte("blob")); err != nil {
		b.Fatal(err)
	}
	dest := filepath.Join(b.TempDir(), "out", "blob")
	for i := 0; b.Loop(); i++ {
		changed, err := s.Materialise(ctx, d, dest)
		if err != nil || changed != (i == 0) {
			b.Fatal(changed, err)
		}
	}
}

// BenchmarkLoadStamps is the memory of 10,000 files.
func BenchmarkLoadStamps(b *testing.B) {
	s := openTest(b)
	for i := range 10_000 {
		s.stamps.record(fmt.Sprintf("/home/somebody/project/data/file-%d.json.gz", i),
			Stamp{Digest: artifacts.DigestOf(fmt.Append(nil, i)), ID: FileID{Device: 65024, Inode: uint64(i), Size: 123456, Modified: 1795435200123456789, Changed: 1795435200123456789}, Hashed: 1795435300123456789})
	}
	if err := s.stamps.flush(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l := newStampLog(s.stamps.path, s.stamps.lock)
		if _, ok := l.lookup("/home/somebody/project/data/file-77.json.gz"); !ok {
			b.Fatal("not there")
		}
	}
}

// BenchmarkPut is a small blob with all the syncing that it takes.
func BenchmarkPut(b *testing.B) {
	s := openTest(b)
	for i := 0; b.Loop(); i++ {
		if err := putBytes(s, fmt.Append(nil, i)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHash is a file of 256 MiB that is not remembered.
func BenchmarkHash(b *testing.B) {
	s := openTest(b)
	path := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(path, storetest.Random(256<<20, 1), 0o644); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(256 << 20)
	for b.Loop() {
		if _, err := s.hashFile(ctx, path); err != nil {
			b.Fatal(err)
		}
	}
}
