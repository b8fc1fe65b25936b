package tiered

import (
	"fmt"
	"os"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
)

// How often the bytes of a blob pass through files here: the system counts. What
// comes in one piece is written and never read again; of parts each byte is read
// once, for the hash, from the page cache. Neither storing it nor looking the result
// up reads it again.
func TestHowOftenBytesAreRead(t *testing.T) {
	for name, want := range map[string]struct{ reads, writes int64 }{
		"small": {0, 1}, "stream": {0, 1}, "parts": {1, 1},
	} {
		content := ways[name]
		p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
		key := ann.compute("table", content).Key
		ann.share([]Remote{inParts(t, p)}, "table")
		c := bob.cache(inParts(t, p))
		readBefore, writtenBefore := moved(t)
		if _, _, err := c.Fetch(ctx, key, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := artifacts.Lookup(ctx, bob.store, key); err != nil {
			t.Fatal(err)
		}
		read, written := moved(t)
		read, written = read-readBefore, written-writtenBefore
		size := int64(len(content))
		if most := want.reads*size + others; read > most {
			t.Errorf("%s: %d bytes were read of a blob of %d, want at most %d", name, read, size, most)
		}
		if most := want.writes*size + others; written > most {
			t.Errorf("%s: %d bytes were written of a blob of %d, want at most %d", name, written, size, most)
		}
	}
}

// TestBytesOfAResumedFetch: what is here already is hashed once, after it was read for
// the checksums of its parts, and is not written.
func TestBytesOfAResumedFetch(t *testing.T) {
	content := ways["parts"]
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	key := ann.compute("table", content).Key
	ann.share([]Remote{inParts(t, p)}, "table")
	breakOff(t, p, bob, key, 2)
	c := bob.cache(inParts(t, p))
	readBefore, writtenBefore := moved(t)
	if _, _, err := c.Fetch(ctx, key, nil); err != nil {
		t.Fatal(err)
	}
	read, written := moved(t)
	size := int64(len(content))
	if got, most := read-readBefore, size+2*passPart+others; got > most {
		t.Errorf("%d bytes were read of a blob of %d, of which %d were here; want at most %d", got, size, 2*passPart, most)
	}
	if got, most := written-writtenBefore, size-2*passPart+others; got > most {
		t.Errorf("%d bytes were written of a blob of %d, of which %d were here; want at most %d", got, size, 2*passPart, most)
	}
}

// others is what else a fetch and the tests before it may read and write: manifest,
// action, locks, what was hashed.
const others = 64 << 10

// moved is how many bytes this process has read from files and written to them.
func moved(t testing.TB) (read, written int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("the system does not count: %v", err)
	}
	if _, err := fmt.Sscanf(string(text), "rchar: %d\nwchar: %d\n", &read, &written); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return read, written
}
