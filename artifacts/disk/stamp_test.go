package disk

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

func TestRacy(t *testing.T) {
	const second = int64(time.Second)
	const ms = int64(time.Millisecond)
	base := 1_795_435_200 * second
	for _, test := range []struct {
		name                      string
		modified, changed, hashed int64
		exact, want               bool
	}{
		{name: "long ago", modified: base + 1, changed: base + 1, hashed: base + 100*second},
		{name: "in the same tick", modified: base + 1, changed: base + 1, hashed: base + 1 + 9*ms, want: true},
		{name: "at the same time", modified: base + 1, changed: base + 1, hashed: base + 1, want: true},
		{name: "a few ticks later", modified: base + 1, changed: base + 1, hashed: base + 1 + 26*ms},
		{name: "changed just now, modified set back", modified: base - 9*second + 1, changed: base + 1, hashed: base + 1 + ms, want: true},
		{name: "changed long ago, modified set forward", modified: base + 1000*second, changed: base + 1, hashed: base + 5*second},
		{name: "file system without change times", modified: base + 1, changed: 0, hashed: base + 1 + ms, want: true},
		{name: "whole seconds, in the next", modified: base, changed: base, hashed: base + 2*second, want: true},
		{name: "whole seconds, later", modified: base, changed: base, hashed: base + 4*second},
		{name: "clock of the file system is ahead", modified: base + 9*second + 1, changed: base + 9*second + 1, hashed: base + 1, want: true},
		{name: "exact", modified: base + 1, changed: base + 1, hashed: base + 1, exact: true},
	} {
		s := Stamp{ID: FileID{Modified: test.modified, Changed: test.changed}, Hashed: test.hashed, exact: test.exact}
		if got := s.racy(); got != test.want {
			t.Errorf("%s: racy is %v, want %v", test.name, got, test.want)
		}
	}
}

// inexact makes a store believe that its file system's clock ticks.
func inexact(s *Store) *Store {
	s.exact = func(uint64) bool { return false }
	return s
}

// TestTamperedBlobIsNoticed: whatever is kept of the file's looks.
func TestTamperedBlobIsNoticed(t *testing.T) {
	b := storetest.Random(5000, 1)
	d := artifacts.DigestOf(b)
	for name, tamper := range map[string]func(t *testing.T, path string){
		"flipped, size and times kept": flip,
		"cut off":                      func(t *testing.T, path string) { must(t, os.Truncate(path, 4999)) },
		"emptied":                      func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) },
		"grown": func(t *testing.T, path string) {
			must(t, os.Chmod(path, 0o644))
			must(t, os.WriteFile(path, append(bytes.Clone(b), 0), 0o644))
		},
		"replaced by a file with the same size and times": func(t *testing.T, path string) {
			info, err := os.Lstat(path)
			must(t, err)
			must(t, os.WriteFile(path+".new", storetest.Random(5000, 2), 0o444))
			must(t, os.Chtimes(path+".new", info.ModTime(), info.ModTime()))
			must(t, os.Rename(path+".new", path))
		},
	} {
		for _, exact := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/exact times %v", name, exact), func(t *testing.T) {
				s := openTest(t)
				if !exact {
					inexact(s)
				}
				must(t, putBytes(s, b))
				path, err := s.Verified(ctx, d)
				must(t, err)
				tamper(t, path) // at once: within the tick
				_, err = s.Verified(ctx, d)
				if !errors.Is(err, artifacts.ErrNotFound) || !errors.Is(err, artifacts.ErrCorrupt) {
					t.Fatalf("Verified: %v, want ErrNotFound and ErrCorrupt", err)
				}
				if !strings.Contains(err.Error(), "quarantine") {
					t.Errorf("Verified: %v, does not say where the blob is now", err)
				}
				storetest.Absent(t, s, d)
				must(t, putBytes(s, b)) // computed again
				if _, err := s.Verified(ctx, d); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerifiedHashesOnce: what is remembered is used, also by other processes.
// A stamp that lies about the digest shows whether it was.
func TestVerifiedHashesOnce(t *testing.T) {
	s := openTest(t)
	b := []byte("blob")
	d := artifacts.DigestOf(b)
	must(t, putBytes(s, b))
	path, err := s.Verified(ctx, d)
	must(t, err)
	st, ok := s.stamps.lookup(d.Hex())
	if !ok || st.Digest != d {
		t.Fatalf("remembered is %v, %v", st, ok)
	}
	lie := artifacts.DigestOf([]byte("another"))
	must(t, os.Rename(path, path+".aside"))
	must(t, os.MkdirAll(filepath.Dir(s.blobPath(lie.Hex())), 0o777))
	must(t, os.Rename(path+".aside", s.blobPath(lie.Hex())))
	info, err := os.Lstat(s.blobPath(lie.Hex()))
	must(t, err)
	id, err := fileID(info)
	must(t, err)
	s.stamps.record(lie.Hex(), Stamp{Digest: lie, ID: id, Hashed: id.Changed + int64(time.Second)})
	must(t, s.stamps.flush())
	other, err := Open(s.Dir(), Options{})
	must(t, err)
	defer other.Close()
	for _, s := range []*Store{s, other} {
		if _, err := s.Verified(ctx, lie); err != nil {
			t.Errorf("read again though remembered: %v", err)
		}
	}
	for now := id; now.Changed == id.Changed; { // until the clock of file times has gone on
		must(t, os.Chmod(s.blobPath(lie.Hex()), 0o644)) // a change is a doubt
		now, err = statFile(s.blobPath(lie.Hex()))
		must(t, err)
	}
	for _, s := range []*Store{s, other} {
		if _, err := s.Verified(ctx, lie); !errors.Is(err, artifacts.ErrNotFound) {
			t.Errorf("changed and not read again: %v", err)
		}
	}
}

func TestFileHasher(t *testing.T) {
	s := openTest(t)
	files := s.Files()
	path := filepath.Join(t.TempDir(), "input")
	must(t, os.WriteFile(path, []byte("one"), 0o644))
	digest := func() (artifacts.Digest, Stamp) {
		t.Helper()
		d, st, err := files.Digest(ctx, path)
		must(t, err)
		return d, st
	}
	unchanged := func(st Stamp, want bool) {
		t.Helper()
		if same, err := files.Unchanged(path, st); err != nil || same != want {
			t.Errorf("Unchanged: %v, %v, want %v", same, err, want)
		}
	}
	d, st := digest()
	if d != artifacts.DigestOf([]byte("one")) {
		t.Errorf("digest of the file is %s", d)
	}
	unchanged(st, true)
	again, _ := digest()
	if again != d {
		t.Errorf("a second time it is %s", again)
	}

	info, err := os.Stat(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte("two"), 0o644)) // the same size, at once
	must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	unchanged(st, false)
	d, st = digest()
	if d != artifacts.DigestOf([]byte("two")) {
		t.Errorf("after an edit with size and time kept, the digest is %s", d)
	}

	must(t, os.Chtimes(path, time.Now(), time.Now()))
	unchanged(st, false) // a touch might hide two edits
	if d, _ := digest(); d != artifacts.DigestOf([]byte("two")) {
		t.Errorf("after a touch the digest is %s", d)
	}

	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	if d, _, err := files.Digest(ctx, link); err != nil || d != artifacts.DigestOf([]byte("two")) {
		t.Errorf("through a link: %s, %v", d, err)
	}
	other := filepath.Join(t.TempDir(), "other")
	must(t, os.WriteFile(other, []byte("elsewhere"), 0o644))
	must(t, os.Remove(link))
	must(t, os.Symlink(other, link))
	if d, _, err := files.Digest(ctx, link); err != nil || d != artifacts.DigestOf([]byte("elsewhere")) {
		t.Errorf("through a link that was changed: %s, %v", d, err)
	}

	_, st = digest()
	must(t, os.Remove(path))
	unchanged(st, false)
	if _, _, err := files.Digest(ctx, path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("of a missing file: %v", err)
	}
}

// TestFileHasherOnTicks: the same within one tick of the file system's clock,
// where stat tells nothing.
func TestFileHasherOnTicks(t *testing.T) {
	s := inexact(openTest(t))
	files := s.Files()
	path := filepath.Join(t.TempDir(), "input")
	for i := range 50 {
		content := fmt.Appendf(nil, "%04d", i)
		must(t, os.WriteFile(path, content, 0o644))
		d, st, err := files.Digest(ctx, path)
		must(t, err)
		if d != artifacts.DigestOf(content) {
			t.Fatalf("edit %d was not noticed", i)
		}
		if same, err := files.Unchanged(path, st); err != nil || !same {
			t.Fatalf("Unchanged: %v, %v", same, err)
		}
		// Forge what a write within the tick looks like from outside.
		must(t, os.WriteFile(path, []byte("FAKE"), 0o644))
		st.ID, err = statFile(path)
		must(t, err)
		st.Hashed = st.ID.Changed
		s.stamps.record(path, st)
		if same, err := files.Unchanged(path, st); err != nil || same {
			t.Fatalf("Unchanged of a file written within the tick: %v, %v", same, err)
		}
		if d, _, err := files.Digest(ctx, path); err != nil || d != artifacts.DigestOf([]byte("FAKE")) {
			t.Fatalf("digest of a file written within the tick: %s, %v", d, err)
		}
	}
}

func TestFileHasherRefuses(t *testing.T) {
	files := openTest(t).Files()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	must(t, syscall.Mkfifo(pipe, 0o644))
	for _, path := range []string{dir, pipe, "/dev/null"} {
		if _, _, err := files.Digest(ctx, path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("Digest of %s: %v", path, err)
		}
	}
}

// TestHashOfAChangingFile: what is written while it is read has no digest.
func TestHashOfAChangingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "growing")
	for writes, want := range []error{nil, nil, nil, ErrChanging} {
		must(t, os.WriteFile(path, nil, 0o644))
		left := writes
		s, err := Open(t.TempDir(), Options{Now: func() time.Time { // asked between stat and reading
			if left > 0 {
				left--
				must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), writes-left), 0o644))
			}
			return time.Now()
		}})
		must(t, err)
		defer s.Close()
		d, _, err := s.Files().Digest(ctx, path)
		if !errors.Is(err, want) {
			t.Errorf("%d writes: %v, want %v", writes, err, want)
		}
		if err == nil && d != artifacts.DigestOf(bytes.Repeat([]byte("x"), writes)) {
			t.Errorf("%d writes: not the digest of the last", writes)
		}
	}
}

func TestStampLogSurvivesDamage(t *testing.T) {
	dir := t.TempDir()
	open := func() *stampLog { return newStampLog(filepath.Join(dir, "stat"), filepath.Join(dir, "stat.lock")) }
	stamp := func(i int) Stamp {
		return Stamp{Digest: artifacts.DigestOf(fmt.Append(nil, i)), ID: FileID{Device: 1, Inode: uint64(i), Size: int64(i), Modified: -5, Changed: 1 << 60}, Hashed: 7, exact: i%2 == 0}
	}
	names := []string{"/a", "/with space", "/with\nline feed", `/with \backslash\n`, "/\xff not text", strings.Repeat("0", 64)}
	l := open()
	for i, name := range names {
		l.record(name, stamp(i+100)) // outdated
		l.record(name, stamp(i))
	}
	must(t, l.flush())
	file, err := os.ReadFile(l.path)
	must(t, err)
	check := func(what string, l *stampLog, missing ...string) {
		t.Helper()
		for i, name := range names {
			got, ok := l.lookup(name)
			if len(missing) > 0 && missing[0] == name {
				if ok && got == stamp(i) {
					t.Errorf("%s: %q is still there", what, name)
				}
				continue
			}
			if diff := cmp.Diff(stamp(i), got, cmpopts.EquateComparable(Stamp{})); diff != "" || !ok {
				t.Errorf("%s: %q (-want +got):\n%s", what, name, diff)
			}
		}
	}
	check("as written", open())

	last := names[len(names)-1]
	must(t, os.WriteFile(l.path, file[:len(file)-30], 0o644))
	check("cut off", open(), last)
	l = open()
	l.record(last, stamp(len(names)-1)) // by one who does not know of the damage
	must(t, l.flush())
	check("cut off and appended to", open())

	flipped := bytes.Clone(file)
	flipped[len(flipped)-20] ^= 1
	must(t, os.WriteFile(l.path, flipped, 0o644))
	check("flipped", open(), last)

	must(t, os.WriteFile(l.path, append(storetest.Random(5000, 1), append([]byte{'\n'}, file...)...), 0o644))
	check("behind garbage", open())

	l = open()
	must(t, l.compact(func(name string) bool { return name != last }))
	check("compacted", open(), last)
	if small, err := os.ReadFile(l.path); err != nil || len(small) > len(file)/2 {
		t.Errorf("compacted to %d of %d bytes, %v", len(small), len(file), err)
	}
}

func TestStampLogCompactsItself(t *testing.T) {
	s := openTest(t)
	for i := range 5000 {
		s.stamps.record("/same", Stamp{Hashed: int64(i), ID: FileID{Size: 1}})
	}
	must(t, s.stamps.flush())
	other := newStampLog(s.stamps.path, s.stamps.lock)
	if st, ok := other.lookup("/same"); !ok || st.Hashed != 4999 {
		t.Errorf("lookup: %v, %v", st, ok)
	}
	if info, err := os.Stat(s.stamps.path); err != nil || info.Size() > 1000 {
		t.Errorf("size is %d, %v", info.Size(), err)
	}
}

func FuzzParseStamps(f *testing.F) {
	f.Add([]byte("\n"))
	f.Add(appendStamp(nil, "/path\nwith \\", Stamp{Digest: artifacts.DigestOf(nil), ID: FileID{1, 2, 3, 4, 5}, Hashed: 6, exact: true}))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkStamps(t, data)
		checkStamps(t, sealed(data))
	})
}

// sealed gives every line the checksum that it needs to be looked at.
func sealed(data []byte) []byte {
	var out []byte
	for _, line := range bytes.Split(data, []byte{'\n'}) {
		if len(line) > crcDigits {
			line = line[crcDigits+1:]
		}
		out = fmt.Appendf(out, "%08x %s\n", crc32.Checksum(line, stampTable), line)
	}
	return out
}

func checkStamps(t *testing.T, data []byte) {
	byName, lines := parseStamps(data)
	if lines < len(byName) {
		t.Errorf("%d names on %d lines", len(byName), lines)
	}
	var out []byte
	for name, s := range byName {
		out = appendStamp(out, name, s)
	}
	again, _ := parseStamps(out)
	if len(again) != len(byName) {
		t.Fatalf("%d names, %d after a round trip", len(byName), len(again))
	}
	for name, s := range byName {
		if again[name] != s {
			t.Errorf("%q: %v, %v after a round trip", name, s, again[name])
		}
	}
}
