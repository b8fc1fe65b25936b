package memo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// journalOf is the only journal of a store.
func journalOf(t *testing.T, s *disk.Store) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.StateDir(), "memo", "*", "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("journals %v, %v, want one", found, err)
	}
	return found[0]
}

// file is a file of these values, whose keys are keyOf their places; ends is
// where each record ends.
func fileOf(values ...string) (content []byte, ends []int) {
	content = []byte(magic)
	for i, value := range values {
		content = appendRecord(content, keyOf(i), []byte(value))
		ends = append(ends, len(content))
	}
	return content, ends
}

// A journal that breaks off anywhere gives the rows before that place; the
// damaged end is counted, and what follows is as if it had never been there.
func TestJournalThatBreaksOff(t *testing.T) {
	values := []string{"first", "", "third"}
	whole, ends := fileOf(values...)
	for cut := range len(whole) + 1 {
		s := openStore(t, t.TempDir())
		m := openMemo(t, s, Options{})
		put(t, m, keyOf(9), "")
		path := journalOf(t, s)
		m.release()
		if err := os.WriteFile(path, whole[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		want, good := map[Key]string{}, 0
		for i, end := range ends {
			if end <= cut {
				want[keyOf(i)], good = values[i], end
			}
		}
		m = openMemo(t, s, Options{})
		expect(t, m, want, 5)
		if lost := m.Stats().CutBytes; good > 0 && lost != int64(cut-good) {
			t.Errorf("cut at %d: %d bytes counted, want %d", cut, lost, cut-good)
		}
		want[keyOf(4)] = "later"
		put(t, m, keyOf(4), "later")
		if cut%16 == 0 {
			closeMemo(t, m) // which syncs, and takes most of the time
		} else {
			m.release()
		}
		expect(t, openMemo(t, s, Options{}), want, 5)
		s.Close()
	}
}

// A flipped bit anywhere costs rows and makes none wrong.
func TestFlippedBits(t *testing.T) {
	values := []string{"first", "", "third"}
	whole, _ := fileOf(values...)
	for bit := range 8 * len(whole) {
		flipped := bytes.Clone(whole)
		flipped[bit/8] ^= 1 << (bit % 8)
		x, _ := indexOf(flipped)
		known := 0
		for i := range values {
			at, ok := x.places[keyOf(i)]
			if !ok {
				continue
			}
			value, err := x.read(keyOf(i), at)
			if err == nil && string(value) != values[i] {
				t.Errorf("bit %d: row %d is %q", bit, i, value)
			}
			if err == nil {
				known++
			}
		}
		if known == len(values) {
			t.Errorf("bit %d: nobody noticed", bit)
		}
		_, _ = eachRecord(bytes.NewReader(flipped), int64(len(flipped)), func(record []byte, _ span) {
			if i := int(record[keyAt]); string(record[valueAt:len(record)-4]) != values[i] {
				t.Errorf("bit %d: row %d is %q in a journal", bit, i, record[valueAt:])
			}
		})
	}
}

// indexOf is an index of what a file holds, and where that ends.
func indexOf(content []byte) (*index, int64) {
	x := newIndex()
	number := x.file(bytes.NewReader(content))
	end, _ := eachHeader(bytes.NewReader(content), int64(len(content)), func(key Key, at span) { x.add(key, number, at) })
	return x, end
}

// publishSegment lists a blob as the only segment of the scope.
func publishSegment(t *testing.T, s *disk.Store, content []byte) {
	t.Helper()
	d := artifacts.DigestOf(content)
	if err := s.Put(ctx, d, int64(len(content)), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	m := openMemo(t, s, Options{})
	if err := m.publish(ctx, []segment{{digest: d, bytes: int64(len(content)), rows: 3}}); err != nil {
		t.Fatal(err)
	}
	m.release()
}

// A record that is damaged in a segment is not known; those beside it are. It is
// counted and told of once, and does not get into other segments.
func TestDamagedRecord(t *testing.T) {
	content, ends := fileOf("first", "second", "third", "fourth")
	content[ends[0]+valueAt] ^= 1
	content[ends[2]-1] ^= 1
	s := openStore(t, t.TempDir())
	publishSegment(t, s, content)
	var warnings []string
	m := openMemo(t, s, Options{Warn: func(message string) { warnings = append(warnings, message) }})
	want := map[Key]string{keyOf(0): "first", keyOf(3): "fourth"}
	for range 2 {
		for i := range 4 {
			if _, known, err := m.Get(keyOf(i)); known != (want[keyOf(i)] != "") || err != nil {
				t.Errorf("row %d known: %v, %v", i, known, err)
			}
		}
	}
	expect(t, m, want, 4)
	if got := m.Stats().Damaged; got != 2 || len(warnings) != 1 {
		t.Errorf("%d damaged, told of %q", got, warnings)
	}
	closeMemo(t, m)
	for i := range maxSmall + 1 { // so that segments are merged
		m := openMemo(t, s, Options{})
		put(t, m, keyOf(10+i), "more")
		want[keyOf(10+i)] = "more"
		closeMemo(t, m)
	}
	m = openMemo(t, s, Options{})
	expect(t, m, want, 30)
	if got := m.Stats().Damaged; got != 0 {
		t.Errorf("%d damaged records were copied", got)
	}
}

// Whatever a remote calls a segment, the rest of the memo works.
func TestHostileSegments(t *testing.T) {
	good, _ := fileOf("first", "second")
	long := bytes.Clone(good)
	copy(long[len(magic):], "\xff\xff\xff\xff")
	for name, content := range map[string][]byte{
		"empty": {}, "too short": []byte("prism"), "other magic": bytes.Replace(good, []byte("1"), []byte("2"), 1),
		"a length beyond the end": long, "no row": []byte(magic), "noise": bytes.Repeat([]byte{7}, 5000),
	} {
		s := openStore(t, t.TempDir())
		publishSegment(t, s, content)
		m := openMemo(t, s, Options{})
		put(t, m, keyOf(3), "mine")
		closeMemo(t, m)
		m = openMemo(t, s, Options{})
		expect(t, m, map[Key]string{keyOf(3): "mine"}, 5)
		if cut := m.Stats().CutBytes; name == "a length beyond the end" && cut != int64(len(content)-len(magic)) {
			t.Errorf("%s: %d bytes counted", name, cut)
		}
	}
}

// sealSome seals rows in three segments and returns the blobs.
func sealSome(t *testing.T, s *disk.Store) (list []segment, want map[Key]string) {
	t.Helper()
	want = map[Key]string{}
	var m *Memo
	for i := range 3 {
		m = openMemo(t, s, Options{})
		for j := range 2 {
			want[keyOf(2*i+j)] = fmt.Sprint(i, j)
			put(t, m, keyOf(2*i+j), want[keyOf(2*i+j)])
		}
		closeMemo(t, m)
	}
	return listed(t, s, m), want
}

func listed(t *testing.T, s *disk.Store, m *Memo) []segment {
	t.Helper()
	segments, err := list(ctx, s, m.Key())
	if err != nil {
		t.Fatal(err)
	}
	return segments
}

func blobOf(s *disk.Store, d artifacts.Digest) string {
	return filepath.Join(s.Dir(), "cas", d.Hex()[:2], d.Hex())
}

// A segment that is gone or corrupt costs its rows alone, and is off the list
// when something new is sealed.
func TestLostSegment(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"gone":    os.Remove,
		"corrupt": func(path string) error { return errors.Join(os.Chmod(path, 0o644), os.Truncate(path, 20)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			list, want := sealSome(t, s)
			if err := damage(blobOf(s, list[1].digest)); err != nil {
				t.Fatal(err)
			}
			delete(want, keyOf(2))
			delete(want, keyOf(3))
			var warnings []string
			m := openMemo(t, s, Options{Warn: func(message string) { warnings = append(warnings, message) }})
			expect(t, m, want, 10)
			if lost := m.Stats().Lost; lost != 2 || len(warnings) != 1 {
				t.Errorf("%d rows lost, told of %q", lost, warnings)
			}
			want[keyOf(9)] = "new"
			put(t, m, keyOf(9), "new")
			closeMemo(t, m)
			expect(t, openMemo(t, s, Options{Warn: func(message string) { t.Error(message) }}), want, 10)
		})
	}
}

// A list that cannot be read is as none, and is replaced.
func TestUnusableList(t *testing.T) {
	s := openStore(t, t.TempDir())
	sealSome(t, s)
	m := openMemo(t, s, Options{})
	m.release()
	if err := s.PutAction(ctx, m.Key(), []byte("\xff"), true); err != nil {
		t.Fatal(err)
	}
	warned := false
	m = openMemo(t, s, Options{Warn: func(string) { warned = true }})
	put(t, m, keyOf(1), "one")
	closeMemo(t, m)
	if !warned {
		t.Error("no warning")
	}
	expect(t, openMemo(t, s, Options{}), map[Key]string{keyOf(1): "one"}, 10)
}

func TestVerifyMendsTheList(t *testing.T) {
	s := openStore(t, t.TempDir())
	list, want := sealSome(t, s)
	mend := func(ctx context.Context, k artifacts.Key) (bool, error) { return Mend(ctx, s, k) }
	if r, err := s.Verify(ctx, disk.VerifyOptions{Repair: true, Mend: mend}); err != nil || len(r.Problems) != 0 || r.Actions != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := os.Remove(blobOf(s, list[0].digest)); err != nil {
		t.Fatal(err)
	}
	delete(want, keyOf(0))
	delete(want, keyOf(1))
	if r, err := s.Verify(ctx, disk.VerifyOptions{Repair: true, Mend: mend}); err != nil || len(r.Problems) != 1 || !r.Problems[0].Repaired {
		t.Errorf("%+v, %v", r, err)
	}
	m := openMemo(t, s, Options{Warn: func(message string) { t.Error(message) }})
	expect(t, m, want, 10)
	for _, segment := range list[1:] {
		if err := os.Remove(blobOf(s, segment.digest)); err != nil {
			t.Fatal(err)
		}
	}
	if mended, err := Mend(ctx, s, m.Key()); mended || err != nil {
		t.Errorf("a list of nothing was mended: %v, %v", mended, err)
	}
}

// A result of a stage is not taken for a list.
func TestMendLeavesOthersAlone(t *testing.T) {
	s := openStore(t, t.TempDir())
	key, err := scope.Key()
	if err != nil {
		t.Fatal(err)
	}
	out := []byte("output")
	d := artifacts.DigestOf(out)
	manifest := artifacts.Manifest{Format: 1, Key: key, Request: scope, Outputs: map[string]artifacts.Output{
		"gone": {Digest: d, Bytes: int64(len(out))},
	}}
	if err := errors.Join(s.Put(ctx, d, int64(len(out)), bytes.NewReader(out)), artifacts.Replace(ctx, s, manifest), os.Remove(blobOf(s, d))); err != nil {
		t.Fatal(err)
	}
	for _, k := range []artifacts.Key{key, artifacts.Key(d.Hex())} {
		if mended, err := Mend(ctx, s, k); mended || err != nil {
			t.Errorf("mended %v, %v", mended, err)
		}
	}
}

// What is overridden is gone after a merge, also from segments that were full.
func TestMerge(t *testing.T) {
	s := openStore(t, t.TempDir())
	options := Options{SegmentBytes: 1000}
	want := map[Key]string{}
	var m *Memo
	for round := range 30 {
		m = openMemo(t, s, options)
		for i := range 5 {
			key := keyOf(i + round%3*5)
			want[key] = strings.Repeat(string(rune('a'+round)), 100)
			put(t, m, key, want[key])
		}
		closeMemo(t, m)
	}
	m = openMemo(t, s, options)
	expect(t, m, want, 20)
	var bytes, live int64
	for _, segment := range listed(t, s, m) {
		bytes += segment.bytes
	}
	for _, file := range m.index.files {
		live += file.live
	}
	if bytes > 3*live || len(m.index.files) > maxSmall+10 {
		t.Errorf("%d bytes in %d segments, of which %d are in use", bytes, len(m.index.files), live)
	}
}

func TestRemoveJournals(t *testing.T) {
	s := openStore(t, t.TempDir())
	m := openMemo(t, s, Options{})
	put(t, m, keyOf(1), "one")
	path := journalOf(t, s)
	later := time.Now().Add(time.Hour)
	if n, err := RemoveJournals(s.StateDir(), later); n != 0 || err != nil {
		t.Errorf("%d journals removed under a memo, %v", n, err)
	}
	m.release()
	if n, err := RemoveJournals(s.StateDir(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("%d recent journals removed, %v", n, err)
	}
	if n, err := RemoveJournals(s.StateDir(), later); n != 1 || err != nil {
		t.Errorf("%d journals removed, %v", n, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	if n, err := RemoveJournals(filepath.Join(t.TempDir(), "never"), later); n != 0 || err != nil {
		t.Errorf("%d journals removed from nowhere, %v", n, err)
	}
}

// With a lease gc takes nothing that an open memo needs, nor what it seals.
func TestGCBesideAMemo(t *testing.T) {
	s := openStore(t, t.TempDir())
	_, want := sealSome(t, s)
	lease, err := s.Lease(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	gc := func() {
		t.Helper()
		if _, err := s.GC(ctx, disk.GCOptions{MaxBytes: 1}); err != nil {
			t.Fatal(err)
		}
	}
	m, other := openMemo(t, s, Options{}), openMemo(t, s, Options{})
	gc()
	for i := range maxSmall { // the segments that other has open are merged
		key := keyOf(20 + i)
		want[key] = "new"
		put(t, m, key, "new")
		closeMemo(t, m)
		gc()
		m = openMemo(t, s, Options{})
	}
	expect(t, m, want, 40)
	for i := range 6 {
		if value, known, err := other.Get(keyOf(i)); !known || err != nil || string(value) != want[keyOf(i)] {
			t.Errorf("row %d: %q, %v, %v", i, value, known, err)
		}
	}
	closeMemo(t, other)
	lease.Close()
	gc()
	if left := listed(t, s, m); len(left) != 0 {
		t.Errorf("without a lease %d segments stay", len(left))
	}
}

// FuzzSegment reads any bytes as a segment and as a journal. What is right in a
// journal is right in a segment, and lies within the file.
func FuzzSegment(f *testing.F) {
	whole, ends := fileOf("first", "", strings.Repeat("third", 2000))
	f.Add(whole)
	f.Add(whole[:ends[1]+3])
	f.Add([]byte(magic))
	f.Add(slices.Concat(whole, whole[len(magic):]))
	f.Fuzz(func(t *testing.T, content []byte) {
		x, end := indexOf(content)
		if end > int64(len(content)) {
			t.Fatalf("the records end at %d of %d", end, len(content))
		}
		for key, at := range x.places {
			if at.offset < int64(len(magic)) || at.offset+at.span().size() > end {
				t.Errorf("record at %d, %d bytes, of %d", at.offset, at.length, end)
			}
			_, _ = x.read(key, at)
		}
		values := map[Key][]byte{}
		checked, err := eachRecord(bytes.NewReader(content), int64(len(content)), func(record []byte, at span) {
			key := Key(record[keyAt:valueAt])
			value, ok := valueOf(record, key)
			if !ok || int64(len(record)) != at.size() {
				t.Errorf("the record at %d is not right", at.offset)
			}
			values[key] = bytes.Clone(value)
		})
		if err != nil || checked > end {
			t.Fatalf("as a journal it ends at %d, %v, as a segment at %d", checked, err, end)
		}
		for key, want := range values {
			at := x.places[key]
			if at.offset >= checked {
				continue // overridden by one that is not right
			}
			if value, err := x.read(key, at); err != nil || !bytes.Equal(value, want) {
				t.Errorf("read %.40q, %v, want %.40q", value, err, want)
			}
		}
	})
}
