package tiered

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// known remembers, beside the local store, which results a remote has, so that a
// run in which nothing changed asks it nothing. It is a log of lines: the key,
// the beginning of the action's digest, and the time. A line that is lost costs
// one request.
type known struct {
	path string
	now  func() time.Time

	mu      sync.Mutex                   // guards entries
	entries map[artifacts.Key]knownEntry // nil until it was read
}

type knownEntry struct {
	action string
	seen   time.Time
}

const (
	// believeFor is how long a remote is taken to have what it once had: it may
	// have its own collection of garbage.
	believeFor = 7 * 24 * time.Hour

	// mostKnown is the number of lines from which the log is written anew when
	// it is read, without those that no longer count.
	mostKnown = 50_000
)

func actionID(action []byte) string { return artifacts.DigestOf(action).Hex()[:16] }

// has says whether the remote had this very action lately.
func (k *known) has(key artifacts.Key, action []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.load()
	entry, ok := k.entries[key]
	return ok && entry.action == actionID(action) && k.believes(entry)
}

// believes says whether what was seen then counts. A clock that was put back must
// not make it count for ever.
func (k *known) believes(e knownEntry) bool { return k.now().Sub(e.seen).Abs() < believeFor }

// add remembers that the remote has an action, or one that is to stay in its place.
func (k *known) add(key artifacts.Key, action []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.load()
	entry := knownEntry{actionID(action), k.now()}
	k.entries[key] = entry
	_ = appendTo(k.path, line(key, entry)) // what cannot be remembered is asked again
}

func line(key artifacts.Key, e knownEntry) string {
	return fmt.Sprintf("%s %s %d\n", key, e.action, e.seen.Unix())
}

// load reads the log, the first time. The caller holds mu.
func (k *known) load() {
	if k.entries != nil {
		return
	}
	k.entries = map[artifacts.Key]knownEntry{}
	f, err := os.Open(k.path)
	if err != nil {
		return
	}
	defer f.Close()
	count := 0
	for lines := bufio.NewScanner(f); lines.Scan(); count++ {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			continue
		}
		key, err := artifacts.ParseKey(fields[0])
		seen, notANumber := strconv.ParseInt(fields[2], 10, 64)
		if err == nil && notANumber == nil {
			k.entries[key] = knownEntry{fields[1], time.Unix(seen, 0)}
		}
	}
	if count > mostKnown {
		k.rewrite()
	}
}

// rewrite shortens the log. What another process adds meanwhile may be lost.
func (k *known) rewrite() {
	var text strings.Builder
	for key, entry := range k.entries {
		if k.believes(entry) {
			text.WriteString(line(key, entry))
		}
	}
	tmp, err := os.CreateTemp(filepath.Dir(k.path), filepath.Base(k.path)+"-*")
	if err != nil {
		return
	}
	defer os.Remove(tmp.Name())
	groupmode.Share(tmp)
	_, err = tmp.WriteString(text.String())
	if closing := tmp.Close(); err == nil && closing == nil {
		_ = os.Rename(tmp.Name(), k.path)
	}
}
