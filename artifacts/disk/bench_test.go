package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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

// BenchmarkHash is a file of 256 MiB that is not remembered, against sha256sum
// on the same file, a turn each.
func BenchmarkHash(b *testing.B) {
	s := openTest(b)
	path := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(path, storetest.Random(256<<20, 1), 0o644); err != nil {
		b.Fatal(err)
	}
	againstSha256sum(b, 256<<20, []string{path}, func() error {
		_, err := s.hashFile(ctx, path)
		return err
	})
}

// BenchmarkVerify is a store of 16 blobs of 16 MiB, against sha256sum over the
// same files, which hashes one after the other.
func BenchmarkVerify(b *testing.B) {
	s := openTest(b)
	var paths []string
	for i := range 16 {
		paths = append(paths, s.blobPath(storetest.Put(b, s, storetest.Random(16<<20, uint64(i))).Hex()))
	}
	againstSha256sum(b, 256<<20, paths, func() error {
		report, err := s.Verify(ctx, VerifyOptions{})
		if err == nil && (report.Blobs != 16 || len(report.Problems) > 0) {
			err = fmt.Errorf("verified %+v", report)
		}
		return err
	})
}

// againstSha256sum measures what hashes bytes of files, in turn with sha256sum,
// which needs to be there, and reports how many times as fast it is.
func againstSha256sum(b *testing.B, bytes int64, paths []string, hash func() error) {
	b.SetBytes(bytes)
	var theirs time.Duration
	for b.Loop() {
		if err := hash(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		began := time.Now()
		if err := exec.Command("sha256sum", paths...).Run(); err != nil {
			b.Fatal(err)
		}
		theirs += time.Since(began)
		b.StartTimer()
	}
	b.ReportMetric(theirs.Seconds()/b.Elapsed().Seconds(), "×sha256sum")
}

// BenchmarkEachResult lists a store of 10,000 results.
func BenchmarkEachResult(b *testing.B) {
	const results = 10_000
	s := openTest(b)
	fillQuickly(b, s, results)
	for b.Loop() {
		found := 0
		err := s.EachResult(ctx, func(r Result) error {
			found++
			return r.Damaged
		})
		if err != nil || found != results {
			b.Fatal(found, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/results, "µs/result")
}

// fillQuickly is fill for many results: it does not wait for the disk.
func fillQuickly(b *testing.B, s *Store, n int) {
	b.Helper()
	model := openTest(b)
	key := fill(b, model, 1)[0]
	m, err := artifacts.LookupManifest(ctx, model, key)
	if err != nil {
		b.Fatal(err)
	}
	write := func(path string, content []byte) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, content, 0o666)); err != nil {
			b.Fatal(err)
		}
	}
	for i := range n {
		m.Request.Params = map[string]any{"seed": i}
		rows := fmt.Append(nil, "rows of ", i)
		out := m.Outputs["table"]
		out.Digest, out.Bytes = artifacts.DigestOf(rows), int64(len(rows))
		m.Outputs["table"] = out
		if m.Key, err = m.Request.Key(); err != nil {
			b.Fatal(err)
		}
		encoded, err := m.Encode()
		if err != nil {
			b.Fatal(err)
		}
		manifest := artifacts.OutputFile{Path: artifacts.ManifestPath, Digest: artifacts.DigestOf(encoded), Bytes: int64(len(encoded))}
		table := artifacts.OutputFile{Path: "table", Digest: out.Digest, Bytes: out.Bytes}
		write(s.blobPath(out.Digest.Hex()), rows)
		write(s.blobPath(manifest.Digest.Hex()), encoded)
		write(s.actionPath(m.Key), artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{manifest, table}}.Encode())
	}
}
